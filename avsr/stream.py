"""A file or standard input, recognised at the pace at which it would be heard and seen."""

# S samples at 16 kHz, H W picture, frames of 40 ms

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from avsr.decode.live import LiveText
from avsr.files import MediaError, probe_media, stream_audio, stream_video
from avsr.live import LiveRecognizer
from avsr.live_mouth import LiveMouth
from avsr.schema import Modality
from avsr.tracking import FaceTracker, TrackingError, find_face_landmarker
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_FPS

Pace = Literal["real", "fast"]
SAME_START_S = 0.02  # sound and pictures that start within half a frame start together


@dataclass(frozen=True)
class Piece:
    """What is heard and seen in one frame of 40 ms; ``None`` where there is nothing of it.

    samples: float32 (S,), S up to 640, fewer only at the end. picture: uint8 RGB (H, W, 3).
    """

    samples: np.ndarray | None
    picture: np.ndarray | None


@dataclass
class Latency:
    """What was measured of a stream, and what its algorithm waits for."""

    algorithmic_ms: float
    duration_s: float = 0.0
    busy_s: float = 0.0  # computing
    compute_ms: list[float] = field(default_factory=list)  # of the pieces that completed a chunk
    # From when such a piece was due until its text was there; with pace "real" only.
    behind_ms: list[float] = field(default_factory=list)

    @property
    def line(self) -> str:
        """One line for a person."""
        parts = [f"latency: algorithm {self.algorithmic_ms:.1f} ms (chunk and look-ahead)"]
        for name, values in (("compute", self.compute_ms), ("behind", self.behind_ms)):
            if values:
                middle, high = np.percentile(values, (50, 95))
                parts.append(f"{name} median {middle:.1f} ms, 95th percentile {high:.1f} ms")
        if self.duration_s > 0:
            factor = self.busy_s / self.duration_s
            parts.append(f"{self.duration_s:.2f} s in {factor:.3f} x real time")
        return "; ".join(parts)


def stream(
    pieces: Iterable[Piece],
    live: LiveRecognizer,
    mouth: LiveMouth | None,
    *,
    pace: Pace,
    say: Callable[[LiveText], None],
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Latency:
    """Recognise pieces one after the other.

    Args:
        pieces: see :func:`pieces_of_file` and :func:`pieces_of_pcm`.
        live: gets what its modality needs of them.
        mouth: finds the mouth in the pictures.
        pace: ``"real"`` gives each piece when it would be over; ``"fast"`` at once.
        say: called with each new text.
        clock, sleep: seconds; other ones for tests.
    """
    latency = Latency(live.latency_ms)
    started = clock()
    for number, piece in enumerate(pieces):
        due = started + (number + 1) / VIDEO_FPS
        if pace == "real" and (wait := due - clock()) > 0:
            sleep(wait)
        begun, before = clock(), live.num_frames
        for text in _push(live, mouth, piece):
            say(text)
        done = clock()
        latency.busy_s += done - begun
        if live.num_frames > before:
            latency.compute_ms.append(1000 * (done - begun))
            if pace == "real":
                latency.behind_ms.append(1000 * (done - due))
    begun = clock()
    for text in live.finish():
        say(text)
    latency.busy_s += clock() - begun
    latency.duration_s = live.num_frames / VIDEO_FPS
    return latency


def _push(live: LiveRecognizer, mouth: LiveMouth | None, piece: Piece) -> list[LiveText]:
    said: list[LiveText] = []
    if "audio" in live.encoder.streams:
        heard = piece.samples
        said += live.push_silence(1) if heard is None else live.push_sound(heard)
    if mouth is not None:
        said += live.push_mouth(None if piece.picture is None else mouth.crop(piece.picture))
    return said


def pieces_of_file(path: Path, modality: Modality) -> Iterator[Piece]:
    """The pieces of a sound or video file, any rates; of the modality's streams.

    A stream that starts later or ends earlier than the other is ``None`` there, a sound that
    starts later silent.

    Raises:
        MediaError: a file that cannot be read, or lacks a stream.
    """
    media = probe_media(path)
    if modality != "video" and not media.has_audio:
        raise MediaError(f"{path}: has no audio stream; '--modality video' needs none")
    if modality != "audio" and not media.has_video:
        raise MediaError(f"{path}: has no video stream; '--modality audio' needs none")
    if modality == "audio":
        yield from (Piece(samples, None) for samples in frames_of(stream_audio(path)))
    elif modality == "video":
        yield from (Piece(None, picture) for picture in stream_video(path))
    else:
        sound = frames_of(_delayed(stream_audio(path), media.audio_delay_s))
        for samples, picture in zip_longest(sound, stream_video(path)):
            yield Piece(samples, picture)


def _delayed(blocks: Iterator[np.ndarray], delay_s: float) -> Iterator[np.ndarray]:
    """Zeros before a sound that starts late; without its beginning where it starts early."""
    delay = round(delay_s * SAMPLE_RATE_HZ) if abs(delay_s) > SAME_START_S else 0
    if delay > 0:
        yield np.zeros(delay, np.float32)
    skip = max(0, -delay)
    for block in blocks:
        yield block[skip:]
        skip = max(0, skip - len(block))


def frames_of(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Samples in blocks of any size as frames of 640, the last one maybe shorter."""
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        whole = len(held) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
        yield from held[:whole].reshape(-1, SAMPLES_PER_FRAME)
        held = held[whole:]
    if len(held):
        yield held


def pieces_of_pcm(source: BinaryIO, warn: Callable[[str], None]) -> Iterator[Piece]:
    """The pieces of raw 16 kHz 16-bit little-endian mono PCM, as they come.

    Raises:
        MediaError: not one sample.
    """
    heard = False
    while data := source.read(2 * SAMPLES_PER_FRAME):
        if len(data) % 2:
            warn("the sound ends within a sample, whose byte is left out; is it 16-bit PCM?")
            data = data[:-1]
        if data:
            heard = True
            yield Piece(np.frombuffer(data, "<i2").astype(np.float32) / 32768.0, None)
    if not heard:
        raise MediaError("standard input: no sound came; pipe 16 kHz 16-bit mono PCM into it")


def stream_source(
    source: str,
    live: LiveRecognizer,
    *,
    modality: Modality,
    pace: Pace,
    landmarker_model: Path | None,
    standard_input: BinaryIO,
    say: Callable[[LiveText], None],
    warn: Callable[[str], None],
) -> Latency:
    """Recognise a file, or raw PCM on standard input, which is named ``"-"``.

    Args:
        source: sound or video file, or ``"-"``.
        live: of the same modality.
        modality: what is read of the file; standard input is sound alone.
        pace: see :func:`stream`.
        landmarker_model: ``face_landmarker.task`` for the visual modalities; ``None`` looks for it
            in this folder, in the cache and in AVSR_DATA.
        standard_input: bytes.
        say: called with each new text.
        warn: called with a line about what is odd in the input.

    Raises:
        ValueError: what a file or the face tracker lacks for the modality.
    """
    if source == "-":
        if modality != "audio":
            raise ValueError(
                f"modality {modality!r} needs pictures, standard input is sound alone; give a "
                "video file, or --modality audio"
            )
        if standard_input.isatty():
            raise ValueError("standard input is a terminal; pipe 16 kHz 16-bit mono PCM into it")
        pieces = pieces_of_pcm(standard_input, warn)
    else:
        pieces = pieces_of_file(Path(source), modality)
    with ExitStack() as stack:
        mouth = None
        if modality != "audio":
            model = landmarker_model or find_face_landmarker(os.environ.get("AVSR_DATA"))
            if model is None:
                raise TrackingError(
                    "reading lips needs the face tracker's model; run 'avsr fetch "
                    "face-landmarker', or give its path with --landmarker-model"
                )
            probe_media(source)  # a file that cannot be read is said before the tracker is loaded
            mouth = LiveMouth(stack.enter_context(FaceTracker(model)))
        return stream(pieces, live, mouth, pace=pace, say=say)
