from __future__ import annotations

import numpy as np
import pytest

from learn2talk.metrics import (
    Misalignment,
    lip_correlation,
    lip_gap_mm,
    speech_lip_correlation,
    temporal_misalignment,
)
from learn2talk.metrics.timing import extrema, first_differences, smoothed, warping_path


def _lips(gap: np.ndarray) -> np.ndarray:
    lips = np.zeros((len(gap), 40, 3))
    lips[:, 35, 1], lips[:, 25, 1] = gap / 2, -gap / 2
    return lips


def test_lip_gap_and_correlation() -> None:
    gap = np.array([0.0, 1.0, 4.0, 2.0])
    np.testing.assert_allclose(lip_gap_mm(_lips(gap)), gap)
    assert lip_correlation(reference=_lips(gap), prediction=_lips(3 * gap + 1)) == pytest.approx(1)
    assert lip_correlation(reference=_lips(gap), prediction=_lips(9 - gap)) == pytest.approx(-1)
    still = np.full(4, 0.3)
    assert np.isnan(lip_correlation(reference=_lips(gap), prediction=_lips(still)))


def _opening(*places: int, length: int = 120, width: float = 3.0) -> np.ndarray:
    """A gap of 1 mm that opens at some frames, each time a little further."""
    frames = np.arange(length)
    bumps = [
        (8 + 2 * nth) * np.exp(-0.5 * ((frames - place) / width) ** 2)
        for nth, place in enumerate(places)
    ]
    return 1.0 + np.sum(bumps, axis=0)


def test_extrema_by_hand() -> None:
    values = np.array([0.0, 2.0, 1.0, 1.0, 1.0, 3.0, 3.0, 0.0])
    # The plateau of three counts at its middle, that of two at its first; the ends never.
    assert extrema(values).tolist() == [0, 1, 0, -1, 0, 1, 0, 0]
    assert not extrema(np.full(5, 2.0)).any() and not extrema(np.arange(4.0)).any()
    assert not extrema(np.ones(1)).any()


def test_smoothing_keeps_a_constant_and_mirrors_the_ends() -> None:
    np.testing.assert_array_equal(smoothed(np.full(5, 0.3), 2.0), np.full(5, 0.3))
    out = smoothed(np.array([5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), 1.0)
    # The kernel reaches 4 frames, and the mirrored end gives back what fell over the edge.
    assert out.sum() == pytest.approx(5.0, abs=1e-5) and np.all(np.diff(out) <= 0)
    weights = np.exp(-0.5 * np.arange(-4, 5) ** 2.0)
    assert out[0] == pytest.approx(5 * (weights[4] + weights[5]) / weights.sum(), abs=1e-6)
    assert out[5] == out[7] == 0.0 and smoothed(np.array([1.0, 3.0]), 0.0).tolist() == [1.0, 3.0]


def test_warping_by_hand() -> None:
    """The single 1 of both meets; of equal costs the step in both wins."""
    first, second = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 0.0])
    path = warping_path(first, second)
    assert path[0] == (0, 0) and path[-1] == (2, 3) and (1, 2) in path
    assert sum(abs(first[i] - second[j]) for i, j in path) == 0.0
    assert warping_path(first, first) == [(0, 0), (1, 1), (2, 2)]
    assert first_differences(np.array([2.0, 5.0, 4.0])).tolist() == [0.0, 3.0, -1.0]


def test_misalignment_of_a_motion_with_itself() -> None:
    gap = _opening(30, 60, 90)
    apart = temporal_misalignment(reference=gap, prediction=gap, fps=25.0)
    assert apart == Misalignment(0.0, 5, 5, 5, 5, 5)  # 3 openings, 2 closings between
    assert apart.mean_ms == apart.miss_rate == apart.extra_rate == 0.0


def test_misalignment_by_hand() -> None:
    """Two openings: the second is 2 frames late, and the closing before it stays or moves by 2."""
    real, late = _opening(30, 60), _opening(30, 62)
    apart = temporal_misalignment(reference=real, prediction=late, fps=25.0)
    kinds = [np.flatnonzero(extrema(smoothed(gap, 2.0))).tolist() for gap in (real, late)]
    assert kinds == [[30, 45, 60], [30, 46, 62]]
    assert (apart.matches, apart.matched, apart.made_matched) == (3, 3, 3)
    assert apart.apart_ms == 40.0 * (0 + 1 + 2) and apart.mean_ms == 40.0
    assert temporal_misalignment(reference=real, prediction=late, fps=50.0).mean_ms == 20.0


def test_what_misalignment_does_not_punish_is_the_miss_rate() -> None:
    real = _opening(24, 49, 74, 99)[::-1]  # openings at 20, 45, 70 and 95, the first the widest
    one = 1.0 + 14 * np.exp(-0.5 * ((np.arange(120) - 20) / 3.0) ** 2)
    still = temporal_misalignment(reference=real, prediction=np.full(120, 1.0), fps=25.0)
    assert still.matches == 0 and still.miss_rate == 1.0
    assert np.isnan(still.mean_ms) and np.isnan(still.extra_rate)
    fewer = temporal_misalignment(reference=real, prediction=one, fps=25.0)
    assert fewer.mean_ms == 0.0 and fewer.miss_rate == pytest.approx(6 / 7)
    more = temporal_misalignment(reference=one, prediction=real, fps=25.0)
    assert more.extra_rate == pytest.approx(6 / 7) and more.miss_rate == 0.0
    both = still + fewer
    assert (both.extrema, both.matched, both.matches) == (14, 1, 1)


def test_extrema_beyond_their_neighbours_are_not_matched() -> None:
    """A motion 30 frames late aligns perfectly, but its extrema lie behind the truth's next."""
    real = _opening(30, 45, 60)
    late = np.concatenate([np.full(30, real[0]), real[:-30]])
    apart = temporal_misalignment(reference=real, prediction=late, fps=25.0)
    # Of five extrema only the last may be as late as it likes.
    assert (apart.extrema, apart.matched) == (5, 1) and apart.mean_ms == 30 * 40.0


def test_misalignment_refuses_other_lengths_and_nothing() -> None:
    for real, made in ((np.ones(3), np.ones(4)), (np.ones(0), np.ones(0))):
        with pytest.raises(ValueError, match="lip gaps have shapes"):
            temporal_misalignment(reference=real, prediction=made, fps=25.0)


def test_speech_lip_correlation_by_hand() -> None:
    """Two speakers of another loudness: within each, the two go together."""
    lip = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0])
    speech = np.array([0.7, 0.8, 0.9, 0.1, 0.2, 0.3])
    who = ["a"] * 3 + ["b"] * 3
    together = speech_lip_correlation(lip, speech, who)
    assert together.value == pytest.approx(1.0) and together.clips == 6
    # Without the identities the speaker who moves more but is quieter would turn the sign.
    assert speech_lip_correlation(lip, speech, ["one"] * 6).value < 0
    # z = (-1, 0, 1) against (-1, 1, 0): 1 / 2.
    half = speech_lip_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]), ["a"] * 3)
    assert half.value == pytest.approx(0.5)


def test_speech_lip_correlation_leaves_out_who_has_no_spread() -> None:
    lip = np.array([1.0, 2.0, 3.0, 5.0, 4.0, 4.0])
    speech = np.array([1.0, 2.0, 3.0, 9.0, 1.0, 2.0])
    found = speech_lip_correlation(lip, speech, ["a", "a", "a", "alone", "still", "still"])
    assert (found.clips, found.left_out) == (3, 3) and found.value == pytest.approx(1.0)
    # A clip without an intensity is left out alone, not with all of its speaker's.
    gap = np.array([1.0, np.nan, 2.0, 3.0])
    known = speech_lip_correlation(gap, np.array([1.0, 9.0, 2.0, 3.0]), ["a"] * 4)
    assert (known.clips, known.left_out) == (3, 1) and known.value == pytest.approx(1.0)
    nobody = speech_lip_correlation(np.ones(2), np.ones(2), ["a", "a"])
    assert np.isnan(nobody.value) and nobody.clips == 0
    assert np.isnan(speech_lip_correlation(np.zeros(0), np.zeros(0), []).value)
    with pytest.raises(ValueError, match="one of each a clip"):
        speech_lip_correlation(np.ones(2), np.ones(3), ["a", "a"])
