from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learn2talk.metrics import (
    centred_lip_vertex_errors_mm,
    diversity_mm,
    lip_correlation,
    lip_jitter,
    lip_vertex_errors,
    lip_vertex_errors_mm,
    mean_vertex_errors_mm,
    speech_lip_correlation,
    temporal_misalignment,
    upper_face_dynamics_deviation_mm2,
    viseme_errors,
)
from learn2talk.metrics.timing import warping_path

seeds = st.integers(0, 2**31)
untimed = settings(deadline=None)  # a busy machine is no failure


def faces(seed: int, frames: int = 6, vertices: int = 5) -> tuple[np.ndarray, np.ndarray]:
    real, made = np.random.default_rng(seed).normal(size=(2, frames, vertices, 3))
    return real, made


@untimed
@given(seeds, st.floats(0.1, 10))
def test_errors_scale_with_their_unit(seed: int, factor: float) -> None:
    real, made = faces(seed)
    once = lip_vertex_errors(reference=real, prediction=made)
    scaled = lip_vertex_errors(reference=factor * real, prediction=factor * made)
    np.testing.assert_allclose(scaled, factor**2 * once)
    rooted = lip_vertex_errors_mm(reference=factor * real, prediction=factor * made)
    np.testing.assert_allclose(rooted, factor * np.sqrt(once))


@untimed
@given(seeds)
def test_variants_keep_their_order(seed: int) -> None:
    """Mean error <= largest error; mean of the largest <= root of the mean of its square."""
    real, made = faces(seed)
    rooted = lip_vertex_errors_mm(reference=real, prediction=made)
    assert np.all(mean_vertex_errors_mm(reference=real, prediction=made) <= rooted + 1e-12)
    squared = lip_vertex_errors(reference=real, prediction=made)
    assert rooted.mean() <= np.sqrt(squared.mean()) + 1e-12


@untimed
@given(seeds, st.integers(1, 4))
def test_a_larger_region_never_has_a_smaller_lve(seed: int, vertices: int) -> None:
    real, made = faces(seed)
    few = lip_vertex_errors(reference=real[:, :vertices], prediction=made[:, :vertices])
    assert np.all(few <= lip_vertex_errors(reference=real, prediction=made))


@untimed
@given(seeds, st.tuples(*[st.floats(-50, 50)] * 3))
def test_both_moved_together_is_no_error_and_centring_forgets_either(
    seed: int, by: tuple[float, float, float]
) -> None:
    real, made = faces(seed)
    for measure in (lip_vertex_errors_mm, mean_vertex_errors_mm):
        np.testing.assert_allclose(
            measure(reference=real + by, prediction=made + by),
            measure(reference=real, prediction=made),
            atol=1e-9,
        )
    np.testing.assert_allclose(
        centred_lip_vertex_errors_mm(reference=real, prediction=made + by),
        centred_lip_vertex_errors_mm(reference=real, prediction=made),
        atol=1e-9,
    )


@untimed
@given(seeds, st.floats(1.01, 5))
def test_over_animation_lowers_the_signed_deviation(seed: int, factor: float) -> None:
    real, made = faces(seed)
    once = upper_face_dynamics_deviation_mm2(reference=real, prediction=made)
    more = upper_face_dynamics_deviation_mm2(reference=real, prediction=factor * made)
    assert more < once
    assert upper_face_dynamics_deviation_mm2(reference=real, prediction=factor * real) < 0
    swapped = upper_face_dynamics_deviation_mm2(reference=made, prediction=real)
    assert swapped == pytest.approx(-once)


def mouth(seed: int) -> np.ndarray:
    """A gap with 5 openings at least 20 frames apart, closed for 20 frames at both ends."""
    rng = np.random.default_rng(seed)
    places = 35 + 22 * np.arange(5) + rng.integers(-1, 2, 5)
    heights = rng.permutation([6.0, 8.0, 10.0, 12.0, 14.0])
    frames = np.arange(160)
    bumps = heights[:, None] * np.exp(-0.5 * ((frames - places[:, None]) / 3.0) ** 2)
    return 1.0 + bumps.sum(axis=0)


@untimed
@given(seeds, st.integers(-6, 6), st.sampled_from([25.0, 30.0, 60.0]))
def test_misalignment_of_a_delayed_motion_is_the_delay(seed: int, delay: int, fps: float) -> None:
    gap = mouth(seed)
    late = gap[np.clip(np.arange(len(gap)) - delay, 0, len(gap) - 1)]
    apart = temporal_misalignment(reference=gap, prediction=late, fps=fps)
    assert apart.mean_ms == pytest.approx(abs(delay) * 1000 / fps)
    assert apart.miss_rate == apart.extra_rate == 0.0


@untimed
@given(seeds, st.floats(-0.5, 20))
def test_misalignment_forgets_how_far_the_lips_are_apart(seed: int, more_mm: float) -> None:
    gap = mouth(seed)
    apart = temporal_misalignment(reference=gap, prediction=gap + more_mm, fps=25.0)
    assert apart.apart_ms == 0.0 and apart.miss_rate == 0.0


@untimed
@given(seeds, st.integers(1, 8), st.integers(1, 8))
def test_warping_paths_are_monotone_whole_and_cheapest(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=rows), rng.normal(size=columns)
    path = warping_path(first, second)
    assert path[0] == (0, 0) and path[-1] == (rows - 1, columns - 1)
    steps = {(b[0] - a[0], b[1] - a[1]) for a, b in zip(path, path[1:], strict=False)}
    assert steps <= {(1, 1), (1, 0), (0, 1)}
    cost = sum(abs(first[i] - second[j]) for i, j in path)
    assert cost == pytest.approx(_cheapest(first, second))


def _cheapest(first: np.ndarray, second: np.ndarray) -> float:
    """The slow, obvious way: every cell from its three neighbours."""
    best: dict[tuple[int, int], float] = {}
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            before = [best[c] for c in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if c in best]
            best[i, j] = abs(a - b) + min(before, default=0.0)
    return best[len(first) - 1, len(second) - 1]


@untimed
@given(seeds, st.floats(0.01, 100), st.floats(0.01, 100))
def test_speech_lip_correlation_forgets_scale(seed: int, lip: float, speech: float) -> None:
    rng = np.random.default_rng(seed)
    lips, sound = rng.uniform(1, 2, (2, 12))
    who = ["a", "b", "c"] * 4
    once = speech_lip_correlation(lips, sound, who)
    scaled = speech_lip_correlation(lip * lips, speech * sound, who)
    assert scaled.value == pytest.approx(once.value, abs=1e-9) and -1 <= once.value <= 1
    # A louder recording of one speaker alone changes nothing either.
    gain = np.where(np.array(who) == "b", speech, 1.0)
    louder = speech_lip_correlation(lips, gain * sound, who)
    assert louder.value == pytest.approx(once.value, abs=1e-9)


@untimed
@given(seeds, st.floats(0.1, 5), st.floats(-3, 3))
def test_lip_correlation_forgets_scale_and_offset(seed: int, scale: float, offset: float) -> None:
    real, made = np.random.default_rng(seed).uniform(0, 5, (2, 8))

    def lips(gap: np.ndarray) -> np.ndarray:
        points = np.zeros((len(gap), 40, 3))
        points[:, 35, 1] = gap
        return points

    once = lip_correlation(reference=lips(real), prediction=lips(made))
    moved = lip_correlation(reference=lips(real), prediction=lips(scale * made + 20 + offset))
    assert moved == pytest.approx(once, abs=1e-6)


@untimed
@given(seeds, st.floats(0.1, 10), st.tuples(*[st.floats(-50, 50)] * 3))
def test_jitter_forgets_place_and_steady_motion(
    seed: int, scale: float, velocity: tuple[float, float, float]
) -> None:
    lips, _ = faces(seed, frames=9)
    moving = lips + np.arange(9)[:, None, None] * np.array(velocity)
    np.testing.assert_allclose(lip_jitter(moving), lip_jitter(lips), atol=1e-9)
    np.testing.assert_allclose(lip_jitter(scale * lips), scale * lip_jitter(lips))


@untimed
@given(seeds)
def test_diversity_forgets_the_order_of_seeds(seed: int) -> None:
    motions = np.random.default_rng(seed).normal(size=(4, 3, 2, 3))
    assert diversity_mm(motions[::-1]) == pytest.approx(diversity_mm(motions))
    assert diversity_mm(2 * motions) == pytest.approx(2 * diversity_mm(motions))


@untimed
@given(st.lists(st.sampled_from("p b m t k æ iː uː".split()), max_size=8))
def test_phones_of_one_viseme_may_be_swapped(phones: list[str]) -> None:
    other = [{"p": "b", "b": "m", "m": "p"}.get(phone, phone) for phone in phones]
    counts = viseme_errors(reference="-".join(phones), hypothesis="-".join(other))
    assert counts.errors == 0 and counts.reference_length == len(phones)
