"""What stands behind a head: known pixels stay, unknown ones follow what is around them."""

from __future__ import annotations

import numpy as np
import pytest

from learn2talk.avatar.backdrop import backdrop_of, median_picture, outline_of


def disc(size: int, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(rows - size / 2, columns - size / 2) < radius


def test_behind_the_head_is_what_is_around_it() -> None:
    head = disc(64, 10)
    film = np.empty((3, 64, 64, 3), np.uint8)
    film[:, :, :32], film[:, :, 32:] = (200, 40, 10), (20, 140, 210)
    film[:, head] = 255
    found = backdrop_of(film, head, np.zeros_like(head))
    assert (found.picture[~found.hull] == film[0][~found.hull]).all()
    inside = found.picture[head].astype(int)
    assert inside.max() < 215  # nothing of the head's white is left
    assert np.abs(found.picture[32, 20].astype(int) - (200, 40, 10)).max() < 40
    assert np.abs(found.picture[32, 44].astype(int) - (20, 140, 210)).max() < 40


def test_a_wall_that_goes_on_up_to_the_head_is_the_wall_itself() -> None:
    """A slanting light on the wall: what is carried inwards is a guess, the film shows it."""
    rows, columns = np.mgrid[:80, :80]
    wall = np.stack([120 + rows, 60 + columns, np.full((80, 80), 90)], axis=2)
    head = disc(80, 10)
    hair = disc(80, 13) & ~head  # beyond the mesh, and unlike the wall
    film = np.repeat(wall[None].astype(np.uint8), 3, axis=0)
    film[:, head], film[:, hair] = 255, 20
    found = backdrop_of(film, head, np.zeros_like(head), reach_share=0.8)
    beside = found.hull & ~disc(80, 14)
    assert beside.sum() > 500
    assert (found.picture[beside] == film[0][beside]).all()
    behind = found.picture[head | hair].astype(int)
    assert np.abs(behind - wall[head | hair]).max() < 25  # nothing of head or hair in the guess


def test_the_hull_reaches_far_about_the_hair_and_closely_about_the_neck() -> None:
    head, neck = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    head[30:50, 30:70] = True  # 40 wide: hair may reach 0.22 of it, 9 pixels
    neck[50:90, 45:55] = True
    found = backdrop_of(np.zeros((1, 100, 100, 3), np.uint8), head, neck)
    assert found.hull[21:59, 21:79].all()
    assert not found.hull[:21].any()
    assert not found.hull[:, :21].any()
    assert found.hull[90, 44] and not found.hull[91:].any() and not found.hull[80, 43]
    assert found.box == (slice(21, 91), slice(21, 79))


def test_a_head_that_fills_the_picture() -> None:
    film = np.full((2, 16, 16, 3), 9, np.uint8)
    found = backdrop_of(film, np.ones((16, 16), bool), np.zeros((16, 16), bool))
    assert found.hull.all()
    assert (found.picture == 9).all()


def test_the_median_is_that_of_frames_evenly_taken() -> None:
    levels = np.arange(300, dtype=np.float64)
    film = np.broadcast_to((levels[:, None, None, None] * 0.5).astype(np.uint8), (300, 2, 3, 3))
    assert median_picture(film)[0, 0, 0] == pytest.approx(75, abs=1)


def test_an_outline_is_seen_from_both_sides() -> None:
    screen = np.array([[2.0, 2, 0], [12, 2, 0], [2, 12, 0]])
    for corners in ([[0, 1, 2]], [[2, 1, 0]]):
        seen = outline_of(screen, np.array(corners, np.int32), (16, 16))
        assert seen[3, 3] and not seen[13, 13] and not seen[0].any()
        assert seen.sum() == pytest.approx(50, abs=8)
