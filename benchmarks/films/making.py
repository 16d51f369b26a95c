"""Long films out of a corpus's short clips, with the words that are said in them and when."""

# S samples at 16 kHz, T frames at 25 fps, H W picture

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avsr.data.manifest import decode_row
from avsr.files import stream_video, write_video, write_wav
from avsr.text import normalise
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

MARGIN_S = 0.04  # of quiet that stays on either side of a sentence whose pauses are cut
FADE = 80  # samples, so that a cut does not click


@dataclass(frozen=True)
class Clip:
    """One sentence.

    waveform: float32 (S,). words: each with its start and end in seconds. film: its video file.
    crops: uint8 (T, 96, 96), as the corpus was prepared.
    """

    name: str
    text: str
    waveform: np.ndarray
    words: tuple[tuple[str, float, float], ...]
    film: Path
    crops: np.ndarray


def clips_of(rows: Any, media: Path) -> list[Clip]:
    """The clips of a prepared split; ``media`` is the folder of their ``source`` names."""
    found = []
    for row in rows:
        one = decode_row(row)
        words = tuple((word.word, word.start_s, word.end_s) for word in one.words)
        found.append(
            Clip(
                one.utterance_id,
                normalise(one.text),
                one.audio[: one.num_samples],
                words,
                media / one.source,
                one.mouth_crops,
            )
        )
    return found


def groups_of(clips: Sequence[Clip], size: int) -> list[list[Clip]]:
    """Neighbours in groups of ``size``; the last may be smaller."""
    return [list(clips[start : start + size]) for start in range(0, len(clips), size)]


def without_pauses(clip: Clip) -> np.ndarray:
    """Sound (S,) from the first word to the last, and 40 ms more on either side, faded."""
    if not clip.words:
        return clip.waveform
    first = max(0, round((clip.words[0][1] - MARGIN_S) * SAMPLE_RATE_HZ))
    last = round((clip.words[-1][2] + MARGIN_S) * SAMPLE_RATE_HZ)
    part = clip.waveform[first:last].copy()
    ramp = np.linspace(0, 1, FADE, dtype=np.float32)
    part[:FADE] *= ramp
    part[-FADE:] *= ramp[::-1]
    return part


def whole_frames(waveform: np.ndarray, num_frames: int) -> np.ndarray:
    """Sound (640 T,) of so many frames: cut, or filled up with zeros."""
    samples = num_frames * SAMPLES_PER_FRAME
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


def sound_file(path: Path, parts: Sequence[np.ndarray]) -> Path:
    """A WAV file of several stretches of sound."""
    write_wav(path, np.concatenate(list(parts)).clip(-1, 1))
    return path


def film_file(path: Path, clips: Sequence[Clip]) -> Path:
    """One film of several clips with their sound."""
    counts: list[int] = []

    def pictures() -> Iterator[np.ndarray]:
        for clip in clips:
            counts.append(0)
            for frame in stream_video(clip.film):
                counts[-1] += 1
                yield frame

    frames = list(pictures())
    sound = [whole_frames(clip.waveform, n) for clip, n in zip(clips, counts, strict=True)]
    write_video(path, frames, audio=np.concatenate(sound).clip(-1, 1))
    return path


def two_faces(path: Path, left: Clip, right: Clip, heard: Clip) -> Path:
    """Two clips side by side, with the sound of one of them."""
    pairs = list(zip(stream_video(left.film), stream_video(right.film), strict=False))
    frames = [np.concatenate([a, b], axis=1) for a, b in pairs]
    write_video(path, frames, audio=whole_frames(heard.waveform, len(frames)).clip(-1, 1))
    return path
