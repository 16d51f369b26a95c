"""All faces of a film over time, and the mouth of the one that talks.

Frames are looked at as they come and not kept: a face leaves its landmarks and a grey patch around
its mouth, so that a film of any length fits in memory as long as old frames are forgotten.
"""

# T frames at 25 fps, N faces, H W picture

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from avsr.synchrony import SynchronyConfig, choose_talker
from avsr.tracking import HEAD, LIPS_INNER, LIPS_OUTER, NUM_LANDMARKS, FaceTracker
from avsr.units import MOUTH_CROP_SIZE
from avsr.video import (
    CROP_SIDE_PER_EYE_DISTANCE,
    fill_missing,
    grey,
    mouth_squares,
    sample_square,
)

LIPS = LIPS_OUTER + LIPS_INNER
# Jaw and lips: base of the nose to the chin, upper to lower edge of the lips. Both together told
# talkers apart better than either alone (0.98 of pairs of GRID training clips).
OPENING = ((2, 152), (0, 17))
MAX_GAP_FRAMES = 25  # a face that is back after a longer time is another one
MAX_SIZE_RATIO = 1.5  # between two sights of one face
SHOT_CHANGE = 15.0  # mean absolute change of grey levels; talking moves it by 0.3-3
MIN_TRACK_FRAMES = 10  # a shorter one is a mistake of the detector (or of a damaged picture)
MAX_BRIDGED_FRAMES = 12  # gaps over which landmarks are interpolated, as in prepared corpora


@dataclass(frozen=True)
class MouthPatch:
    """Grey surroundings of a mouth, twice as wide as its crop.

    pixels: uint8 (h, w). left, top: pixels of the frame beside it. factor: frame pixels that one of
    its pixels averages, along each side.
    """

    pixels: np.ndarray
    left: int
    top: int
    factor: int


@dataclass(frozen=True)
class SeenFace:
    """One face in one frame; landmarks float32 (478, 3) in pixels of the frame."""

    track: int
    landmarks: np.ndarray
    patch: MouthPatch


@dataclass(frozen=True)
class Mouths:
    """The talker's mouth over a span of T frames.

    crops: uint8 (T, 96, 96), zeros where not valid. valid: bool (T,). talker: track at the end,
    ``None`` where there is none. faces: how many faces there were to choose from.
    """

    crops: np.ndarray
    valid: np.ndarray
    talker: int | None
    faces: int


class FaceLinker:
    """Which face of a frame is which of the frames before: by place and size."""

    def __init__(self) -> None:
        self._live: dict[int, tuple[int, np.ndarray, float]] = {}  # last frame, centre, size
        self._frame = -1
        self._number = 0

    def link(self, faces: list[np.ndarray], new_shot: bool = False) -> list[int]:
        """Track numbers of the next frame's faces (478, 3); after a change of shot all are new.

        A face goes on with the track that was nearest, at most a face's width away (twice the
        distance of the eyes), of about its size, and seen within the last second; large first.
        """
        self._frame += 1
        if new_shot:
            self._live.clear()
        self._live = {
            track: seen
            for track, seen in self._live.items()
            if self._frame - seen[0] <= MAX_GAP_FRAMES
        }
        numbers = [-1] * len(faces)
        free = dict(self._live)
        for index in sorted(range(len(faces)), key=lambda i: -eye_distance(faces[i])):
            centre, size = faces[index][:, :2].mean(0), eye_distance(faces[index])
            near = [
                (float(np.linalg.norm(seen[1] - centre)), track)
                for track, seen in free.items()
                if 1 / MAX_SIZE_RATIO <= size / max(seen[2], 1e-6) <= MAX_SIZE_RATIO
            ]
            away, track = min(near, default=(math.inf, -1))
            if away > 2 * size:
                track, self._number = self._number, self._number + 1
            free.pop(track, None)
            numbers[index] = track
            self._live[track] = (self._frame, centre, size)
        return numbers


class FaceTracks:
    """The faces of a film, frame after frame."""

    def __init__(self, tracker: FaceTracker) -> None:
        self._tracker = tracker
        self._linker = FaceLinker()
        self._seen: dict[int, list[SeenFace]] = {}
        self._previous: np.ndarray | None = None
        self._picture: np.ndarray | None = None
        self._faces: list[np.ndarray] = []
        self.num_frames = 0

    def add(self, frame: np.ndarray) -> None:
        """Look for faces in the next frame, uint8 RGB (H, W, 3)."""
        if frame is not self._picture:  # a frame shown twice is looked at once
            self._picture, self._faces = frame, self._tracker.detect(frame)
        before, self._previous = self._previous, frame[::4, ::4].astype(np.float32)
        new_shot = False
        if before is not None and before.shape == self._previous.shape:
            new_shot = float(np.abs(self._previous - before).mean()) > SHOT_CHANGE
        numbers = self._linker.link(self._faces, new_shot)
        self._seen[self.num_frames] = [
            SeenFace(number, face, mouth_patch(frame, face))
            for number, face in zip(numbers, self._faces, strict=True)
        ]
        self.num_frames += 1

    def forget(self, before: int) -> None:
        """Let go of all frames before this one."""
        for frame in [t for t in self._seen if t < before]:
            del self._seen[frame]

    def mouths(
        self,
        start: int,
        end: int,
        level_db: np.ndarray | None,
        config: SynchronyConfig,
        previous: int | None = None,
    ) -> Mouths:
        """Crops of the talker's mouth in frames [start, end), see :func:`choose_talker`.

        Args:
            level_db: float (T,) voice level of these frames, ``None`` without sound.
            config: how the talker is chosen.
            previous: track of the talker before ``start``.
        """
        of_track: dict[int, dict[int, SeenFace]] = {}
        for t in range(start, end):
            for face in self._seen.get(t, []):
                of_track.setdefault(face.track, {})[t - start] = face
        shortest = min(MIN_TRACK_FRAMES, max(1, (end - start) // 2))
        kept = {track: seen for track, seen in of_track.items() if len(seen) >= shortest}
        names = list(kept)
        openings = np.full((len(names), end - start), np.nan)
        for row, track in enumerate(names):
            for t, face in kept[track].items():
                openings[row, t] = mouth_opening(face.landmarks)
        sizes = np.array(
            [np.median([eye_distance(f.landmarks) for f in kept[n].values()]) for n in names]
        )
        before = names.index(previous) if previous in names else None
        chosen = choose_talker(openings, sizes, level_db, config, before)
        crops = np.zeros((end - start, MOUTH_CROP_SIZE, MOUTH_CROP_SIZE), np.uint8)
        for row, track in enumerate(names):
            frames = np.flatnonzero(chosen == row)
            if len(frames):
                crops[frames] = _crops_of(kept[track], frames)
        valid = chosen >= 0
        last = int(chosen[np.flatnonzero(valid)[-1]]) if valid.any() else None
        talker = previous if last is None else names[last]
        together = np.isfinite(openings).sum(0).max(initial=0)
        return Mouths(crops, valid, talker, int(together))


def eye_distance(landmarks: np.ndarray) -> float:
    """Distance of the outer corners of the eyes in pixels, depth included."""
    left, right = HEAD.outer_eyes
    return float(np.linalg.norm(landmarks[right] - landmarks[left]))


def mouth_opening(landmarks: np.ndarray) -> float:
    """How far jaw and lips are apart, in distances of the eyes."""
    apart = sum(float(np.linalg.norm(landmarks[a] - landmarks[b])) for a, b in OPENING)
    return apart / max(eye_distance(landmarks), 1e-6)


def mouth_patch(frame: np.ndarray, landmarks: np.ndarray) -> MouthPatch:
    """The part of a frame from which the mouth's crop will be cut once the head's path is known."""
    side = CROP_SIDE_PER_EYE_DISTANCE * eye_distance(landmarks)
    centre = landmarks[list(LIPS), :2].mean(0)
    height, width = frame.shape[:2]
    left, top = (
        int(np.clip(math.floor(middle - side), 0, size - 1))
        for middle, size in zip(centre, (width, height), strict=True)
    )
    right, bottom = (
        int(np.clip(math.ceil(middle + side), low + 1, size))
        for middle, low, size in zip(centre, (left, top), (width, height), strict=True)
    )
    # A crop pixel averages this many frame pixels anyway; close-ups are kept small.
    factor = max(1, min(int(side // MOUTH_CROP_SIZE), right - left, bottom - top))
    tall, wide = (bottom - top) // factor, (right - left) // factor
    region = grey(frame[top : top + tall * factor, left : left + wide * factor])
    pixels = region.reshape(tall, factor, wide, factor).mean((1, 3))
    return MouthPatch(np.rint(pixels).astype(np.uint8), left, top, factor)


def _crops_of(seen: dict[int, SeenFace], frames: np.ndarray) -> np.ndarray:
    """Crops (M, 96, 96) of one face at some frames at which it was seen."""
    first, last = min(seen), max(seen)
    landmarks = np.full((last - first + 1, NUM_LANDMARKS, 3), np.nan)
    for t, face in seen.items():
        landmarks[t - first] = face.landmarks
    tracked = np.isfinite(landmarks[:, 0, 0])
    filled, _ = fill_missing(landmarks, tracked, MAX_BRIDGED_FRAMES)
    centre, direction, side = mouth_squares(filled, HEAD, LIPS)
    crops = np.empty((len(frames), MOUTH_CROP_SIZE, MOUTH_CROP_SIZE), np.uint8)
    for row, t in enumerate(frames):
        patch, at = seen[int(t)].patch, int(t) - first
        corner = np.array([patch.left, patch.top])
        crops[row] = sample_square(
            patch.pixels.astype(np.float32),
            (centre[at] - corner + 0.5) / patch.factor - 0.5,
            direction[at],
            float(side[at]) / patch.factor,
            MOUTH_CROP_SIZE,
        )
    return crops
