"""Blinks: how often, how long, how they go; and lids that come down over the eye."""

from __future__ import annotations

import numpy as np
import pytest

from learn2talk.blinks import BlinkConfig, eyelid_closure
from learn2talk.drawing import face_camera, render_frames
from learn2talk.head import HeadIdentity, build_head, random_identity
from learn2talk.head.eyelids import close_eyelids, has_eyelids

from .conftest import tiny_template

FINE_FPS = 1000.0
HEAD = build_head().template


def closure(minutes: float, seed: int = 0, fps: float = 25.0) -> np.ndarray:
    return eyelid_closure(round(60 * minutes * fps), np.random.default_rng(seed), fps=fps)


def stretches(closed: np.ndarray) -> np.ndarray:
    """Start and end of each blink, frames (N, 2)."""
    edges = np.diff(np.concatenate([[0], (closed > 0).astype(int), [0]]))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def test_rate_and_irregularity() -> None:
    blinks = stretches(closure(120))
    assert len(blinks) / 120 == pytest.approx(17.0, rel=0.05)
    pauses = np.diff(blinks[:, 0]) / 25
    assert 0.4 < pauses.std() / pauses.mean() < 0.8  # gamma of shape 2 and a fixed part
    short = [len(stretches(closure(4 / 60, seed))) for seed in range(400)]
    assert np.mean(short) * 15 == pytest.approx(17.0, rel=0.15)  # films of 4 s as well


def test_lengths_and_speeds() -> None:
    closed = closure(10, fps=FINE_FPS)
    lengths = (stretches(closed)[1:-1] @ [-1, 1]) / FINE_FPS
    assert 0.14 < lengths.min() < 0.17 and 0.28 < lengths.max() < 0.31
    for first, last in stretches(closed)[1:-1]:
        one = closed[first:last]
        half = np.flatnonzero(one > 0.5)
        falls, rises = half[0], len(one) - half[-1]
        assert falls < rises  # fast down, slower up
        assert one.max() == pytest.approx(1.0)
    assert np.abs(np.diff(closed)).max() < 0.05  # no jump


def test_every_blink_is_seen_at_25_frames_a_second() -> None:
    closed = closure(20)
    assert closed.dtype == np.float32 and closed.min() == 0 and closed.max() <= 1
    for first, last in stretches(closed)[1:-1]:
        assert closed[first:last].max() == pytest.approx(1.0, abs=1e-6)


def test_seeds_and_prefixes() -> None:
    np.testing.assert_array_equal(closure(1, 4), closure(1, 4))
    assert (closure(1, 4) != closure(1, 5)).any()
    np.testing.assert_array_equal(closure(2, 4)[:1500], closure(1, 4))
    assert closure(0).shape == (0,)


def test_settings_that_cannot_be() -> None:
    generator = np.random.default_rng(0)
    never = eyelid_closure(500, generator, BlinkConfig(per_minute=0.0))
    assert (never == 0).all()
    with pytest.raises(ValueError, match="blinks need 0 < held_s < shortest_s"):
        BlinkConfig(shortest_s=0.4)
    with pytest.raises(ValueError, match="300 blinks a minute do not fit"):
        BlinkConfig(per_minute=300)
    with pytest.raises(ValueError, match="-1 frames at 25"):
        eyelid_closure(-1, generator)


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_closed_lid_hides_the_eye(seed: int | None) -> None:
    identity = HeadIdentity() if seed is None else random_identity(np.random.default_rng(seed))
    face = build_head(identity).template
    rest = np.repeat(face.vertices[None], 3, axis=0)
    closed = close_eyelids(rest, face, np.array([[0, 0], [0.5, 0.5], [1, 1]]))
    np.testing.assert_array_equal(closed[0], face.vertices)
    upper = np.flatnonzero(np.abs(closed[2] - rest[2]).max(axis=1) > 0)
    assert set(upper) <= set(face.region("lid")) | set(face.region("lash"))
    frames = np.stack(list(render_frames(closed, face, size=160, camera=face_camera(face))))
    # White and iris are the only blue-grey and near-white pixels of a face.
    bluish = frames[..., 2].astype(int) - frames[..., 0]
    background = frames[0, 0, 0].astype(int)
    eye = (bluish > -12) & (np.abs(frames.astype(int) - background).max(axis=3) > 12)
    middle = eye[:, 55:100, 40:120].sum(axis=(1, 2))
    assert middle[0] > 20 and middle[0] > middle[1] > middle[2]
    assert middle[2] <= 0.1 * middle[0]


def test_one_eye_at_a_time_and_the_lid_only_falls() -> None:
    rest = np.repeat(HEAD.vertices[None], 2, axis=0)
    closed = close_eyelids(rest, HEAD, np.array([[1.0, 0.0], [0.0, 1.0]])) - rest
    moved = np.abs(closed).max(axis=2) > 0
    assert (HEAD.vertices[moved[0], 0] < 0).all() and (HEAD.vertices[moved[1], 0] > 0).all()
    assert moved[0].sum() == moved[1].sum() > 20
    assert closed[..., 1].max() <= 0 and closed[..., 1].min() > -15


def test_a_face_without_eyelids_is_refused() -> None:
    face = tiny_template()
    assert has_eyelids(HEAD) and not has_eyelids(face)
    with pytest.raises(ValueError, match="topology 'tiny' has no eyelids that can close; only"):
        close_eyelids(face.vertices[None], face, np.zeros((1, 2)))
    for wrong in (np.zeros((1, 3)), np.full((1, 2), 1.5), np.full((1, 2), np.nan)):
        with pytest.raises(ValueError, match=r"eyelid closure has shape .* in \[0, 1\]"):
            close_eyelids(HEAD.vertices[None], HEAD, wrong)
