"""The only reader and writer of audio, video, JSON, JSONL and weights.

Everything written goes to a temporary name in the same folder and is renamed when complete, so that
a reader never sees half a file, whatever stops the writer.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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


@dataclass(frozen=True)
class MediaStreams:
    """What a file has in it.

    audio_delay_s: by how much the sound starts after the pictures, 0 where one of them is missing.
    """

    has_audio: bool
    has_video: bool
    audio_delay_s: float = 0.0


def probe_media(path: Path | str) -> MediaStreams:
    """Which streams a sound or video file has; a cover picture is no video.

    Raises:
        MediaError: missing, empty or non-media file.
    """
    path = Path(path)
    _check_file(path)
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        return MediaStreams(has_audio=True, has_video=False)
    audio_s, video_s = (_first_time(path, kind) for kind in ("audio", "video"))
    delay_s = audio_s - video_s if audio_s is not None and video_s is not None else 0.0
    return MediaStreams(audio_s is not None, video_s is not None, delay_s)


def _first_time(path: Path, kind: str) -> float | None:
    """When the first frame of a kind of stream is shown or heard, ``None`` without the stream."""
    import av

    try:
        with av.open(str(path)) as container:
            streams = container.streams.audio if kind == "audio" else _pictures(container)
            if not streams:
                return None
            first = next(container.decode(streams[0]), None)
            return 0.0 if first is None or first.pts is None else float(first.time)
    except av.FFmpegError as error:
        raise MediaError(
            f"{path}: not readable as media ({error.strerror}); is it truncated or not media?"
        ) from error


def _pictures(container: Any) -> list[Any]:
    """Video streams without the cover pictures of music files."""
    from av.stream import Disposition

    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


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
    blocks = list(_audio_blocks(Path(path)))
    waveform = np.concatenate([block for block, _ in blocks])
    return resample(waveform, blocks[0][1], sample_rate_hz)


def stream_audio(
    path: Path | str, sample_rate_hz: int = SAMPLE_RATE_HZ, block_s: float = 10.0
) -> Iterator[np.ndarray]:
    """The samples of :func:`read_audio` in blocks, in memory that does not grow with the file.

    Args:
        block_s: about as many seconds are resampled at a time, above 0.

    Yields:
        float32 (S,); all together they equal :func:`read_audio` to rounding (1e-6).

    Raises:
        MediaError: as :func:`read_audio`; what is only seen at the file's end, at the end.
    """
    held, rate, done = np.zeros(0, np.float32), 0, 0  # done: samples of `held` given out already
    for block, rate in _audio_blocks(Path(path)):
        held = np.concatenate([held, block])
        step, margin = _resampling_step(rate, sample_rate_hz)
        ready = (len(held) - margin) // step * step
        if ready - done >= block_s * rate:
            yield _resampled_part(held, rate, sample_rate_hz, done, ready)
            drop = max(0, ready - margin)
            held, done = held[drop:], ready - drop
    yield _resampled_part(held, rate, sample_rate_hz, done, None)


def _resampling_step(rate: int, to_hz: int) -> tuple[int, int]:
    """Input samples that make whole output samples, and a multiple that covers the filter."""
    step = rate // math.gcd(rate, to_hz)
    # torchaudio's filter reaches 6 zero crossings of the lower rate, rolled off at 0.99.
    reach = math.ceil(7 * rate / min(rate, to_hz)) + step
    return step, math.ceil(reach / step) * step


def _resampled_part(
    held: np.ndarray, rate: int, to_hz: int, start: int, end: int | None
) -> np.ndarray:
    """Resampled ``held[start:end]``; what stands around it is heard by the filter."""
    step, margin = _resampling_step(rate, to_hz)
    until = None if end is None else end + margin
    out = resample(held[:until], rate, to_hz)
    per_step = to_hz // math.gcd(rate, to_hz)
    return out[start // step * per_step : None if end is None else end // step * per_step]


def _audio_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Mono float32 blocks of a file and its rate in Hz."""
    _check_file(path)
    soundfiles = path.suffix.lower() in SOUNDFILE_SUFFIXES
    count = 0
    for block, rate in (_soundfile_blocks if soundfiles else _av_blocks)(path):
        if not np.isfinite(block).all():
            raise MediaError(f"{path}: audio has NaN or infinite samples; write the file again")
        count += len(block)
        yield block, rate
    if count == 0:
        raise MediaError(f"{path}: audio has 0 samples; give a file with sound in it")


def _soundfile_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as stream:
            for block in stream.blocks(1 << 16, dtype="float32", always_2d=True):
                yield block.mean(axis=1), int(stream.samplerate)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise MediaError(
            f"{path}: not readable as audio ({error}); is it truncated or another format?"
        ) from error


def _av_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    import av

    decoded = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MediaError(f"{path}: has no audio stream; give a file with sound")
            stream = container.streams.audio[0]
            rate = int(stream.codec_context.sample_rate)
            declared = stream.frames  # 0 where the container does not tell
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
            for frame in container.decode(stream):
                decoded += 1
                for out in resampler.resample(frame):
                    yield out.to_ndarray()[0], rate
            for out in resampler.resample(None):
                yield out.to_ndarray()[0], rate
    except av.FFmpegError as error:
        raise MediaError(
            f"{path}: not readable as audio ({error.strerror}); is it truncated or not media?"
        ) from error
    _check_complete(path, "audio packets", decoded, declared, tolerance=3)


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

    Samples that are int16 already, as of :func:`avsr.noise.to_int16`, are written as they are.

    Raises:
        ValueError: PCM_16 was asked for samples outside [-1, 1] (they would clip), or NaN.
    """
    import soundfile

    waveform = np.asarray(waveform)
    # libsndfile takes a float's full scale for 32767: int16 by way of float would lose the last bit
    ready = waveform.dtype == np.int16 and subtype == "PCM_16"
    peak = 0.0 if ready else float(np.abs(waveform).max(initial=0.0))
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
    return np.stack(list(stream_video(path, fps)))


def stream_video(path: Path | str, fps: float | Fraction = VIDEO_FPS) -> Iterator[np.ndarray]:
    """The frames of :func:`read_video` one by one, in memory that does not grow with the file.

    Yields:
        uint8 RGB (H, W, 3); one object may come several times.

    Raises:
        MediaError: as :func:`read_video`; what is only seen at the file's end, at the end.
    """
    import av

    path = Path(path)
    _check_file(path)
    decoded = 0
    try:
        with av.open(str(path)) as container:
            pictures = _pictures(container)
            if not pictures:
                raise MediaError(f"{path}: has no video stream; give a file with pictures")
            stream = pictures[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or stream.guessed_rate or VIDEO_FPS)
            declared = stream.frames  # 0 where the container does not tell

            def timed() -> Iterator[tuple[Any, float]]:
                nonlocal decoded
                for frame in container.decode(stream):
                    yield frame, decoded / rate if frame.pts is None else float(frame.time)
                    decoded += 1

            last, picture = None, np.zeros(0, np.uint8)
            for frame in _at_rate(timed(), rate, float(fps)):
                if frame is not last:
                    last, picture = frame, frame.to_ndarray(format="rgb24")
                yield picture
    except av.FFmpegError as error:
        raise MediaError(
            f"{path}: not readable as video ({error.strerror}); is it truncated or not media?"
        ) from error
    if decoded == 0:
        raise MediaError(f"{path}: video has 0 frames; give a file with pictures")
    _check_complete(path, "video frames", decoded, declared, tolerance=1)


Item = TypeVar("Item")


def _at_rate(timed: Iterable[tuple[Item, float]], source_fps: float, fps: float) -> Iterator[Item]:
    """Which source frame is on screen at the middle of each frame of a constant rate.

    Args:
        timed: source frames and their presentation times in seconds, ascending.
        source_fps: average source rate, which gives the last frame its length.
        fps: rate of the result.

    Yields:
        round(duration * fps) frames, at least 1 where there is a source frame.
    """
    count, first_s, shown, time_s = 0, 0.0, None, 0.0
    for frame, at_s in timed:
        if shown is None:
            first_s = at_s
        time_s = at_s - first_s
        while shown is not None and (count + 0.5) / fps + 1e-6 < time_s:
            yield shown
            count += 1
        shown = frame
    if shown is None:
        return
    total = max(1, round((time_s + 1.0 / source_fps) * fps))
    for _ in range(count, total):
        yield shown


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
        ValueError: missing, truncated or not safetensors. A pickle is told apart by its first
            bytes and never loaded: loading one runs what is in it.
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
        with open(path, "rb") as raw:
            start = raw.read(4)
        if start[:1] == b"\x80" or start == b"PK\x03\x04":  # pickle, or torch.save's archive
            raise ValueError(
                f"{path}: is a pickle (.pt, .pth), which can hold any program, and was not opened; "
                "give a .safetensors file"
            ) from error
        raise ValueError(
            f"{path}: not a complete safetensors file ({error}); copy it again"
        ) from error
