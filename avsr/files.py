"""The only reader and writer of audio, video, JSON, JSONL and weights.

Everything written goes to a temporary name in the same folder and is renamed when complete, so that
a reader never sees half a file, whatever stops the writer.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsr.units import SAMPLE_RATE_HZ, VIDEO_FPS

if TYPE_CHECKING:
    import torch

SOUNDFILE_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".aiff", ".aif"}


class MediaError(ValueError):
    """A file that cannot be used as the audio or video that it was asked to be."""


def _check_file(path: Path) -> None:
    if not path.exists():
        raise MediaError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise MediaError(f"{path}: is a folder, not a media file; name a file in it")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: file is empty (0 bytes); copy or download it again")


@contextmanager
def write_atomically(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that is renamed to ``path`` on success.

    On any exception (Ctrl-C included) the temporary file is removed and ``path`` is untouched.

    Raises:
        OSError: the disk is full or not writable; the message names ``path`` and what to do.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept: encoders choose the container by it.
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(
                errno.ENOSPC,
                f"disk full while writing {path}; free some space and run the same command again, "
                "finished parts are kept",
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def read_audio(path: Path | str, sample_rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """Audio of a sound or video file as mono float32, resampled.

    Args:
        path: any container that libsndfile or FFmpeg (PyAV) reads; all channels are averaged.
        sample_rate_hz: rate of the result in Hz; windowed-sinc resampling (torchaudio).

    Returns:
        float32 (S,), nominal range [-1, 1].

    Raises:
        MediaError: missing, empty, truncated or non-media file, no audio stream, no samples.
    """
    path = Path(path)
    _check_file(path)
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        waveform, rate = _read_with_soundfile(path)
    else:
        waveform, rate = _read_audio_with_av(path)
    if waveform.size == 0:
        raise MediaError(f"{path}: audio has 0 samples; give a file with sound in it")
    if not np.isfinite(waveform).all():
        raise MediaError(f"{path}: audio has NaN or infinite samples; write the file again")
    return resample(waveform, rate, sample_rate_hz)


def _read_with_soundfile(path: Path) -> tuple[np.ndarray, int]:
    import soundfile

    try:
        waveform, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise MediaError(
            f"{path}: not readable as audio ({error}); is it truncated or another format?"
        ) from error
    return waveform.mean(axis=1), int(rate)


def _read_audio_with_av(path: Path) -> tuple[np.ndarray, int]:
    import av

    chunks: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MediaError(f"{path}: has no audio stream; give a file with sound")
            stream = container.streams.audio[0]
            rate = int(stream.codec_context.sample_rate)
            declared = stream.frames  # 0 where the container does not tell
            decoded = 0
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
            for frame in container.decode(stream):
                decoded += 1
                chunks.extend(out.to_ndarray()[0] for out in resampler.resample(frame))
            chunks.extend(out.to_ndarray()[0] for out in resampler.resample(None))
    except av.FFmpegError as error:
        raise MediaError(
            f"{path}: not readable as audio ({error.strerror}); is it truncated or not media?"
        ) from error
    _check_complete(path, "audio packets", decoded, declared, tolerance=3)
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32), rate


def _check_complete(path: Path, what: str, found: int, declared: int, tolerance: int) -> None:
    """Refuse a file that ends before what its container declares (a download that broke off)."""
    if found < declared - tolerance:
        raise MediaError(
            f"{path}: is truncated, {found} of {declared} {what} decode; copy or download it again"
        )


def resample(waveform: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Windowed-sinc resampling of float32 (S,) between integer rates in Hz, by torchaudio."""
    if from_hz == to_hz:
        return np.ascontiguousarray(waveform, dtype=np.float32)
    import torch
    from torchaudio.functional import resample as torchaudio_resample

    tensor = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))
    return torchaudio_resample(tensor, from_hz, to_hz).numpy()


def write_wav(
    path: Path | str,
    waveform: np.ndarray,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    *,
    subtype: str = "PCM_16",
) -> None:
    """Write float (S,) in [-1, 1] as WAV; ``subtype`` is ``"PCM_16"`` or ``"FLOAT"``.

    Raises:
        ValueError: PCM_16 was asked for samples outside [-1, 1] (they would clip), or NaN.
    """
    import soundfile

    waveform = np.asarray(waveform)
    peak = float(np.abs(waveform).max(initial=0.0))
    if not np.isfinite(peak) or (subtype == "PCM_16" and peak > 1.0):
        raise ValueError(
            f"{path}: peak {peak:.3f} is outside [-1, 1] and would clip; "
            "scale the signal or write subtype='FLOAT'"
        )
    with write_atomically(path) as temporary:
        soundfile.write(str(temporary), waveform, sample_rate_hz, subtype=subtype, format="WAV")


def read_video(path: Path | str, fps: float | Fraction = VIDEO_FPS) -> np.ndarray:
    """Frames of a video, resampled by time to a constant rate.

    Output frame ``t`` is the source frame shown at ``(t + 0.5) / fps`` seconds after the first one,
    so that 24, 29.97, 30 and 50 fps keep the clip's duration; a variable rate is followed.

    Returns:
        uint8 RGB (T, H, W, 3), contiguous.

    Raises:
        MediaError: missing, empty, truncated or non-media file, or no video stream.
    """
    import av

    path = Path(path)
    _check_file(path)
    frames: list[np.ndarray] = []
    times_s: list[float] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path}: has no video stream; give a file with pictures")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or stream.guessed_rate or VIDEO_FPS)
            declared = stream.frames  # 0 where the container does not tell
            for index, frame in enumerate(container.decode(stream)):
                frames.append(frame.to_ndarray(format="rgb24"))
                times_s.append(index / rate if frame.pts is None else float(frame.time))
    except av.FFmpegError as error:
        raise MediaError(
            f"{path}: not readable as video ({error.strerror}); is it truncated or not media?"
        ) from error
    if not frames:
        raise MediaError(f"{path}: video has 0 frames; give a file with pictures")
    _check_complete(path, "video frames", len(frames), declared, tolerance=1)
    shown = frame_index_at_rate(np.asarray(times_s), rate, float(fps))
    return np.stack([frames[i] for i in shown])


def frame_index_at_rate(times_s: np.ndarray, source_fps: float, fps: float) -> np.ndarray:
    """Which source frame is on screen at the middle of each frame of a constant rate.

    Args:
        times_s: float (N,) presentation times of the source frames in seconds, ascending.
        source_fps: average source rate, which gives the last frame its length.
        fps: rate of the result.

    Returns:
        int64 (T,), T = round(duration * fps), at least 1.
    """
    relative = times_s - times_s[0]
    duration_s = float(relative[-1]) + 1.0 / source_fps
    count = max(1, round(duration_s * fps))
    middles = (np.arange(count) + 0.5) / fps
    shown = np.searchsorted(relative, middles + 1e-6, side="right") - 1
    return np.clip(shown, 0, len(times_s) - 1)


def write_video(
    path: Path | str,
    frames: Iterable[np.ndarray],
    fps: int | Fraction = VIDEO_FPS,
    audio: np.ndarray | None = None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> None:
    """Write an MP4 (H.264, AAC) that browsers play.

    Args:
        frames: uint8 RGB (H, W, 3) with even H and W, one after the other.
        fps: frames per second.
        audio: float (S,) in [-1, 1], or ``None`` for a silent film.

    Raises:
        ValueError: no frame, or a frame of another shape than the first.
    """
    import av

    with write_atomically(path) as temporary:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as out:
            video = out.add_stream("libx264", rate=fps, options={"crf": "20", "preset": "veryfast"})
            video.pix_fmt = "yuv420p"
            if audio is not None:
                sound = out.add_stream("aac", rate=sample_rate_hz, layout="mono")
            count = 0
            for frame in frames:
                if count == 0:
                    video.height, video.width = frame.shape[:2]
                if frame.shape[:2] != (video.height, video.width):
                    raise ValueError(
                        f"{path}: frame {count} is {frame.shape[:2]}, the first was "
                        f"{(video.height, video.width)}; all frames need one size"
                    )
                out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                count += 1
            if count == 0:
                raise ValueError(f"{path}: no frames to write")
            out.mux(video.encode(None))
            if audio is not None:
                planar = np.ascontiguousarray(audio, dtype=np.float32)[None]
                block = av.AudioFrame.from_ndarray(planar, format="fltp", layout="mono")
                block.sample_rate, block.pts = sample_rate_hz, 0
                block.time_base = Fraction(1, sample_rate_hz)
                fifo = av.AudioFifo()
                fifo.write(block)
                for part in fifo.read_many(sound.codec_context.frame_size or 1024, partial=True):
                    out.mux(sound.encode(part))
                out.mux(sound.encode(None))


def read_json(path: Path | str) -> Any:
    """Parse a UTF-8 JSON file.

    Raises:
        ValueError: not JSON; the message names file and line.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); write it again") from error


def write_json(path: Path | str, value: Any) -> None:
    """Write indented UTF-8 JSON, atomically; NaN is refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_jsonl(path: Path | str) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file; blank lines are skipped.

    Raises:
        ValueError: a line is not a JSON object; the message names file and line number.
    """
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number}: not valid JSON ({error.msg})") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}:{number}: is a {type(row).__name__}, not a JSON object")
            yield row


def write_jsonl(path: Path | str, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as JSON lines, atomically; returns how many."""
    count = 0
    with write_atomically(path) as temporary, open(temporary, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def sha256_file(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save_weights(
    path: Path | str, state: dict[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors as safetensors with string metadata, atomically."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with write_atomically(path) as temporary:
        try:
            save_file(tensors, str(temporary), metadata)
        except SafetensorError as error:  # what the library makes of a full disk
            if "os error 28" not in str(error):
                raise
            raise OSError(errno.ENOSPC, str(error)) from error


def load_weights(path: Path | str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        ValueError: missing, truncated or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such weights file; give a .safetensors file of a run")
    try:
        with safe_open(str(path), framework="pt") as stream:
            state = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return state, dict(stream.metadata() or {})
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a complete safetensors file ({error}); copy it again"
        ) from error
