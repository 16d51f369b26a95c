"""A film of any length, window by window: its sound, and the mouth of the one who talks.

Both streams are read as they are needed and forgotten after their window, so memory does not grow
with the file.
"""

# S samples, T frames at 25 fps

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from avsr.data.dataset import Example, features_of, middle_crop
from avsr.decode.windows import WindowConfig, next_cut
from avsr.face_tracks import FaceTracks, Mouths
from avsr.files import stream_audio, stream_video
from avsr.synchrony import SynchronyConfig, voice_level_db
from avsr.tracking import FaceTracker
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_FPS, num_video_frames

SAME_START_S = 0.02  # streams that start within half a frame start together
DEFAULT_SYNCHRONY = SynchronyConfig()


@dataclass(frozen=True)
class TalkWindow:
    """A stretch of a film ready to be decoded.

    first_frame: of the example, in the film. cut_s: where the window before it ends, in seconds.
    overlap_s: both hear so much before and after the cut.
    """

    first_frame: int
    cut_s: float
    overlap_s: float
    example: Example


@dataclass
class FilmFacts:
    """What was found in a film while its windows were read; complete after the last one."""

    num_samples: int = 0
    num_pictures: int = 0  # frames that were looked at
    num_valid: int = 0  # of these with the talker's face
    most_faces: int = 0  # to choose from at one time
    talkers: list[tuple[float, int]] = field(default_factory=list)  # from second, track

    @property
    def duration_s(self) -> float:
        """Length of the longer stream."""
        return max(self.num_samples / SAMPLE_RATE_HZ, self.num_pictures / VIDEO_FPS)


class _Sound:
    """Samples of a stream, read up to where they are needed."""

    def __init__(self, blocks: Iterator[np.ndarray], delay_s: float) -> None:
        delay = round(delay_s * SAMPLE_RATE_HZ) if abs(delay_s) > SAME_START_S else 0
        self._blocks = blocks
        self._held = np.zeros(max(0, delay), np.float32)
        self._skip = max(0, -delay)
        self._first = 0  # number of the first held sample
        self.ended = False

    @property
    def num_samples(self) -> int:
        return self._first + len(self._held)

    def fill(self, until: int) -> None:
        """Read on until there is all of frame ``until``, or the end."""
        while not self.ended and self.num_samples < until * SAMPLES_PER_FRAME:
            block = next(self._blocks, None)
            if block is None:
                self.ended = True
                return
            skipped = min(self._skip, len(block))
            self._skip -= skipped
            self._held = np.concatenate([self._held, block[skipped:]])

    def frames(self, start: int, end: int) -> np.ndarray:
        """Samples float32 (640 (end - start),) of some frames, zeros after the last sample."""
        first, last = start * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME
        part = self._held[first - self._first : max(0, last - self._first)]
        return np.pad(part, (0, last - first - len(part)))

    def forget(self, before: int) -> None:
        """Let go of the frames before this one."""
        drop = min(max(0, before * SAMPLES_PER_FRAME - self._first), len(self._held))
        self._held = self._held[drop:].copy()
        self._first += drop


class _Faces:
    """Faces of a stream of frames, looked for up to where they are needed."""

    def __init__(self, frames: Iterator[np.ndarray], tracker: FaceTracker) -> None:
        self._frames = frames
        self.tracks = FaceTracks(tracker)
        self.ended = False

    def fill(self, until: int) -> None:
        while not self.ended and self.tracks.num_frames < until:
            frame = next(self._frames, None)
            if frame is None:
                self.ended = True
            else:
                self.tracks.add(frame)


def windows_of(
    path: Path,
    facts: FilmFacts,
    *,
    sound: bool,
    tracker: FaceTracker | None,
    audio_delay_s: float,
    num_mels: int | None,
    config: WindowConfig,
    synchrony: SynchronyConfig = DEFAULT_SYNCHRONY,
) -> Iterator[TalkWindow]:
    """The windows of a film in order.

    Args:
        path: sound or video file.
        facts: gets what is found.
        sound: read its sound.
        tracker: read its pictures, ``None`` leaves them out.
        audio_delay_s: by how much the sound starts after the pictures.
        num_mels: mel bands, ``None`` for a network that takes the waveform.
        config: where it may be cut.
        synchrony: how the talker is chosen.

    Raises:
        MediaError: what is wrong with a stream, when its place is reached.
    """
    delay_s = audio_delay_s if tracker is not None else 0.0
    heard = _Sound(stream_audio(path), delay_s) if sound else None
    faces = _Faces(stream_video(path), tracker) if tracker is not None else None
    longest = round((config.max_s + 2 * config.overlap_s) * VIDEO_FPS)
    start, first, talker = 0, 0, None  # first: of the frames that are heard before the cut
    while True:
        known, last = _fill(heard, faces, start + longest)
        level = None if heard is None else voice_level_db(heard.frames(start, known))
        cut = next_cut(level, start, known, last, config)
        end = known if cut is None else min(known, cut.frame + cut.overlap)
        waveform = None if heard is None else heard.frames(first, end)
        mouths = None
        if faces is not None:
            voice = None if waveform is None else voice_level_db(waveform)
            mouths = faces.tracks.mouths(first, end, voice, synchrony, talker)
            told = mouths.valid[start - first : (end if cut is None else cut.frame) - first]
            facts.num_valid += int(told.sum())
            facts.most_faces = max(facts.most_faces, mouths.faces)
            facts.num_pictures = faces.tracks.num_frames
            if mouths.talker is not None and mouths.talker != talker:
                talker = mouths.talker
                facts.talkers.append((start / VIDEO_FPS, talker))
        if heard is not None:
            facts.num_samples = heard.num_samples
        example = _example(path, first, end, waveform, mouths, num_mels)
        yield TalkWindow(first, start / VIDEO_FPS, (start - first) / VIDEO_FPS, example)
        if cut is None:
            return
        start, first = cut.frame, cut.frame - cut.overlap
        if heard is not None:
            heard.forget(first)
        if faces is not None:
            faces.tracks.forget(first)


def _fill(heard: _Sound | None, faces: _Faces | None, until: int) -> tuple[int, bool]:
    """Read both streams up to a frame; how many frames there are, and whether they are all."""
    known, last = 0, True
    if heard is not None:
        heard.fill(until)
        known, last = num_video_frames(heard.num_samples), heard.ended
    if faces is not None:
        faces.fill(until)
        known, last = max(known, faces.tracks.num_frames), last and faces.ended
    return known, last


def _example(
    path: Path,
    first: int,
    end: int,
    waveform: np.ndarray | None,
    mouths: Mouths | None,
    num_mels: int | None,
) -> Example:
    valid = np.zeros(end - first, dtype=bool) if mouths is None else mouths.valid
    seen = mouths is not None and bool(valid.any())
    return Example(
        utterance_id=f"{path.name} {first / VIDEO_FPS:.2f}-{end / VIDEO_FPS:.2f} s",
        num_frames=end - first,
        features=None if waveform is None else features_of(waveform, num_mels),
        mouth_crops=middle_crop(mouths.crops) if mouths is not None and seen else None,
        lips=None,
        crops_valid=valid,
        lips_valid=np.zeros(end - first, dtype=bool),
        tokens=(),
    )
