"""Faces followed by place and size; mouths cut as in prepared corpora; the right talker of two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.face_tracks import (
    LIPS,
    FaceLinker,
    FaceTracks,
    eye_distance,
    mouth_opening,
    mouth_patch,
)
from avsr.files import read_audio, read_video
from avsr.synchrony import SynchronyConfig, voice_level_db
from avsr.tracking import HEAD, NUM_LANDMARKS, FaceTracker
from avsr.video import crop_mouths

CONFIG = SynchronyConfig()


def face(x: float, y: float, eyes: float = 40.0, opening: float = 0.5) -> np.ndarray:
    """A rigid random face at x, y with outer eye corners ``eyes`` pixels apart."""
    points = np.random.default_rng(7).uniform(-0.8, 0.8, (NUM_LANDMARKS, 3))
    points[list(LIPS)] = points[list(LIPS)] * 0.2 + [0, 0.9, 0]
    left, right = HEAD.outer_eyes
    points[left], points[right] = [-0.5, 0, 0], [0.5, 0, 0]
    points[2], points[0], points[17] = [0, 0.6, 0], [0, 0.7, 0], [0, 1.0, 0]
    points[152] = [0, 1.2 + opening, 0]
    return (points * eyes + [x, y, 0]).astype(np.float32)


def test_faces_keep_their_numbers_through_gaps_and_crossings() -> None:
    linker = FaceLinker()
    assert linker.link([face(100, 100), face(300, 100)]) == [0, 1]
    assert linker.link([face(304, 102), face(103, 99)]) == [1, 0]
    assert linker.link([face(305, 100)]) == [1]
    for _ in range(20):
        assert linker.link([]) == []
    assert linker.link([face(105, 100), face(300, 100)]) == [0, 1]
    for _ in range(30):
        linker.link([face(300, 100)])
    assert linker.link([face(105, 100), face(300, 100)]) == [2, 1]  # away for over a second


def test_far_small_and_after_a_cut_are_others() -> None:
    linker = FaceLinker()
    linker.link([face(100, 100)])
    assert linker.link([face(190, 100)]) == [1]  # over two eye distances away
    assert linker.link([face(100, 100, eyes=20)]) == [2]
    assert linker.link([face(100, 100)]) == [0]
    assert linker.link([face(100, 100)], new_shot=True) == [3]


def test_opening_is_in_eye_distances() -> None:
    assert eye_distance(face(50, 60, 40)) == pytest.approx(40, rel=1e-5)
    assert mouth_opening(face(50, 60, 40, 0.5)) == pytest.approx(0.6 + 0.5 + 0.3, rel=1e-4)
    wide, near = mouth_opening(face(50, 60, 40, 0.7)), mouth_opening(face(90, 10, 80, 0.5))
    assert wide - near == pytest.approx(0.2, rel=1e-3)


class FakeTracker:
    """Stands for MediaPipe: tells the faces of its list, frame after frame."""

    def __init__(self, faces: list[list[np.ndarray]]) -> None:
        self.faces = iter(faces)

    def detect(self, _: np.ndarray) -> list[np.ndarray]:
        return next(self.faces)


def tracked(frames: np.ndarray, faces: list[list[np.ndarray]]) -> FaceTracks:
    tracker: Any = FakeTracker(faces)
    tracks = FaceTracks(tracker)
    for frame in frames:
        tracks.add(frame)
    return tracks


@pytest.mark.parametrize("eyes", [30.0, 45.0])
def test_crops_are_those_of_the_whole_film(eyes: float) -> None:
    """The patches hold all that a crop needs; only rounding of grey differs."""
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 256, (1, 240, 320, 3), dtype=np.uint8), 30, axis=0)
    path = [face(150 + 5 * np.sin(t / 3), 90 + t / 4, eyes) for t in range(30)]
    crops = tracked(frames, [[f] for f in path]).mouths(0, 30, None, CONFIG)
    whole = crop_mouths(frames, np.stack(path).astype(np.float64), HEAD, LIPS)
    assert crops.valid.all() and crops.talker == 0 and crops.faces == 1
    assert np.abs(crops.crops.astype(int) - whole).max() <= 1


def test_large_faces_leave_small_patches() -> None:
    ramp = np.linspace(0, 255, 1920)[None, :, None].repeat(1080, 0).repeat(3, 2).astype(np.uint8)
    large = face(900, 300, 400)
    patch = mouth_patch(ramp, large)
    assert patch.factor == 5 and max(patch.pixels.shape) <= 4 * 96
    frames = [ramp] * 12
    mouths = tracked(np.stack(frames[:1]).repeat(12, 0), [[large]] * 12).mouths(0, 12, None, CONFIG)
    whole = crop_mouths(np.stack(frames[:2]), np.stack([large] * 2).astype(float), HEAD, LIPS)
    assert np.abs(mouths.crops[0].astype(int) - whole[0]).max() <= 2


def test_faces_at_the_edge_and_outside() -> None:
    frame = np.zeros((60, 80, 3), np.uint8)
    for x, y in ((0, 0), (79, 59), (-200, 20), (40, 300)):
        assert mouth_patch(frame, face(x, y)).pixels.size > 0


def test_frames_without_the_face_are_not_valid() -> None:
    frames = np.zeros((40, 100, 200, 3), np.uint8)
    faces = [[face(80, 30)] if t not in (5, 6, 20) else [] for t in range(40)]
    mouths = tracked(frames, faces).mouths(0, 40, None, CONFIG)
    assert np.flatnonzero(~mouths.valid).tolist() == [5, 6, 20]
    assert (mouths.crops[5] == 0).all()


def test_fleeting_faces_are_mistakes() -> None:
    frames = np.zeros((40, 100, 200, 3), np.uint8)
    faces = [[face(80, 30)] if 10 <= t < 15 else [] for t in range(40)]
    mouths = tracked(frames, faces).mouths(0, 40, None, CONFIG)
    assert not mouths.valid.any() and mouths.talker is None


def test_change_of_shot_ends_a_track() -> None:
    frames = np.zeros((40, 100, 200, 3), np.uint8)
    frames[20:] = 120
    tracks = tracked(frames, [[face(80, 30)]] * 40)
    mouths = tracks.mouths(0, 40, None, CONFIG)
    assert mouths.valid.all() and mouths.talker == 1  # the second track


def test_forgotten_frames_are_gone_and_the_talker_is_remembered() -> None:
    frames = np.zeros((60, 100, 300, 3), np.uint8)
    level = np.random.default_rng(0).standard_normal(60)
    opening = 0.5 + 0.1 * level
    faces = [[face(80, 30), face(220, 30, opening=float(opening[t]))] for t in range(60)]
    tracks = tracked(frames, faces)
    first = tracks.mouths(0, 30, level[:30], CONFIG)
    assert first.talker == 1 and first.faces == 2
    tracks.forget(30)
    assert not tracks.mouths(0, 30, level[:30], CONFIG).valid.any()
    still = tracks.mouths(30, 60, np.zeros(30), CONFIG, previous=first.talker)
    assert still.talker == 1  # nothing speaks for a change


def side_by_side(left: Path, right: Path) -> np.ndarray:
    """Frames of two clips beside each other, as long as the shorter."""
    clips = [read_video(left), read_video(right)]
    frames = min(map(len, clips))
    return np.concatenate([clip[:frames] for clip in clips], axis=2)


@pytest.mark.real_data
@pytest.mark.slow
def test_of_two_real_faces_the_one_that_talks_is_chosen(avsr_data: Path) -> None:
    pytest.importorskip("mediapipe")
    folder = avsr_data / "grid/s1/video"
    pairs = [("bbbs7a", "bwwu1s"), ("pbbc6p", "sbbh2n"), ("prbj6p", "swwjzp")]
    right = 0
    with FaceTracker(avsr_data / "mediapipe_face/face_landmarker.task") as tracker:
        for left, other in pairs:
            tracks = FaceTracks(tracker)
            frames = side_by_side(folder / f"{left}.mp4", folder / f"{other}.mp4")
            for frame in frames:
                tracks.add(frame)
            for side, name in enumerate((left, other)):
                sound = read_audio(folder / f"{name}.mp4")[: 640 * len(frames)]
                level = voice_level_db(np.pad(sound, (0, 640 * len(frames) - len(sound))))
                mouths = tracks.mouths(0, len(frames), level, CONFIG)
                assert mouths.faces == 2
                chosen = tracks._seen[0]
                x = next(f.landmarks[:, 0].mean() for f in chosen if f.track == mouths.talker)
                right += int((x > frames.shape[2] / 2) == bool(side))
    assert right >= 2 * len(pairs) - 1
