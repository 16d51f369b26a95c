"""The live mouth: which face, where it is cut, and that it only looks back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from avsr.live_mouth import FOLLOW, LiveMouth
from avsr.tracking import HEAD, LIPS_INNER, LIPS_OUTER

LIPS = list(LIPS_OUTER + LIPS_INNER)


def face(x: float, y: float, eyes: float) -> np.ndarray:
    """Landmarks of an upright face: outer eye corners ``eyes`` pixels apart, mouth at (x, y)."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, eyes / 3, (478, 2)), np.zeros((478, 1))], axis=1)
    points[:, 1] -= eyes
    points[LIPS] = 0
    for number, side in zip(HEAD.outer_eyes, (-0.5, 0.5), strict=True):
        points[number] = (side * eyes, -eyes, 0)
    return (points + [x, y, 0]).astype(np.float32)


class Faces:
    """A tracker that sees what it is told."""

    def __init__(self, *frames: list[np.ndarray]) -> None:
        self.frames = iter(frames)

    def detect(self, _: np.ndarray) -> list[np.ndarray]:
        return next(self.frames)


def mouth(*frames: list[np.ndarray]) -> LiveMouth:
    tracker: Any = Faces(*frames)
    return LiveMouth(tracker)


PICTURE = np.zeros((240, 320, 3), np.uint8)
PICTURE[150:, :] = 200  # bright below the line y = 150


def test_the_crop_is_around_the_mouth() -> None:
    live = mouth([face(160, 150, 60)])
    crop = live.crop(PICTURE)
    assert crop is not None and crop.shape == (88, 88) and crop.dtype == np.uint8
    assert crop[:42].max() == 0 and crop[46:].min() > 190
    assert live.square is not None
    np.testing.assert_allclose(live.square[:4], [160, 150, 1, 0], atol=1e-3)
    assert np.exp(live.square[4]) == pytest.approx(1.3 * 60, rel=1e-3)


def test_the_square_follows_and_looks_back_only() -> None:
    live = mouth([face(100, 150, 60)], [face(110, 150, 60)], [face(110, 150, 60)])
    places = []
    for _ in range(3):
        live.crop(PICTURE)
        assert live.square is not None
        places.append(float(live.square[0]))
    second = 100 + FOLLOW * 10
    assert places == pytest.approx([100, second, second + FOLLOW * (110 - second)], abs=1e-3)


def test_the_largest_face_first_then_the_nearest() -> None:
    small, large = face(60, 150, 30), face(220, 150, 60)
    live = mouth([small, large], [face(64, 150, 90), large], [face(60, 150, 30)])
    for _ in range(2):
        live.crop(PICTURE)
        assert live.square is not None and abs(live.square[0] - 220) < 1
    live.crop(PICTURE)  # far away: a cut, nothing to follow
    assert live.square is not None and abs(live.square[0] - 60) < 1


def test_no_face_is_no_crop_and_begins_anew() -> None:
    live = mouth([face(100, 150, 60)], [], [face(104, 150, 60)])
    assert live.crop(PICTURE) is not None
    assert live.crop(PICTURE) is None
    assert live.crop(PICTURE) is not None
    assert live.square is not None and live.square[0] == pytest.approx(104, abs=1e-3)
