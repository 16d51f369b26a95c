from __future__ import annotations

import numpy as np
import pytest

from learn2talk.metrics import (
    ClosureCounts,
    count_closures,
    lip_correlation,
    lip_gap_mm,
    lip_vertex_errors,
    lip_vertex_errors_mm,
    mean_vertex_errors_mm,
    pooled_mean,
    shifted_windows,
    sync_score,
)


def test_vertex_errors_by_hand() -> None:
    real = np.zeros((2, 3, 3))
    made = real.copy()
    made[0, 1] = [3, 4, 0]  # 5 mm
    made[1, 0] = [0, 0, 1]
    made[1, 2] = [0, 2, 0]
    assert lip_vertex_errors(reference=real, prediction=made).tolist() == [25.0, 4.0]
    assert lip_vertex_errors_mm(reference=real, prediction=made).tolist() == [5.0, 2.0]
    np.testing.assert_allclose(mean_vertex_errors_mm(reference=real, prediction=made), [5 / 3, 1.0])


@pytest.mark.parametrize("shape", [(2, 4, 3), (0, 3, 3), (2, 3, 2)])
def test_vertex_errors_refuse_what_does_not_fit(shape: tuple[int, ...]) -> None:
    other = np.zeros((2, 3, 3)) if shape == (2, 4, 3) else np.zeros(shape)
    with pytest.raises(ValueError, match=r"shape"):
        lip_vertex_errors(reference=np.zeros(shape), prediction=other)


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


def test_closures_by_hand() -> None:
    gap = np.full(25, 5.0)
    gap[5] = 0.2  # 0.20-0.24 s: the p
    gap[15] = 0.2  # 0.60-0.64 s: at a vowel
    phones = [("p", 0.20, 0.28), ("a", 0.28, 0.70), ("m", 0.70, 0.80), ("i", 0.80, 0.90)]
    counts = count_closures(gap, phones, threshold_mm=1.0)
    assert counts == ClosureCounts(phones=2, closed=1, closures=2, closures_at_phones=1)
    assert counts.recall == 0.5 and counts.precision == 0.5
    assert (counts + counts).phones == 4
    assert np.isnan(count_closures(gap, [], threshold_mm=1.0).recall)


def test_closure_tolerance_is_forty_milliseconds() -> None:
    phones = [("b", 0.400, 0.480), ("a", 0.480, 0.9)]
    for frame, closed in ((8, 0), (9, 1), (12, 1), (13, 0)):  # 9 ends at 0.40, 12 starts at 0.48
        gap = np.full(25, 5.0)
        gap[frame] = 0.0
        assert count_closures(gap, phones, threshold_mm=1.0).closed == closed, frame


def _walk(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((count, 16))
    return steps / np.linalg.norm(steps, axis=1, keepdims=True)


@pytest.mark.parametrize("late", [-4, 0, 3])
def test_offset_is_positive_when_the_audio_is_late(late: int) -> None:
    motion = _walk(71)
    audio = np.roll(motion, late, axis=0)  # what is seen at i is heard at i + late
    score = sync_score(audio, motion)
    assert score.offset_frames == late and score.offset_ms == 40.0 * late
    assert score.lse_d == pytest.approx(0.0, abs=1e-6)
    # Random unit vectors are about sqrt(2) apart.
    assert score.lse_c == pytest.approx(np.sqrt(2), abs=0.05)
    assert len(score.mean_distances) == 31


def test_every_shift_is_averaged_over_the_same_windows() -> None:
    motion = _walk(40)
    audio = motion.copy()
    audio[:15] = -motion[:15]  # windows without a partner at every shift must not count
    audio[25:] = -motion[25:]
    assert sync_score(audio, motion).lse_d == pytest.approx(0.0, abs=1e-6)


def test_untracked_windows_and_short_clips() -> None:
    motion = _walk(40)
    audio = motion.copy()
    audio[20] = -motion[20]
    mask = np.ones(40, dtype=bool)
    mask[20] = False
    assert sync_score(audio, motion, mask).lse_d == pytest.approx(0.0, abs=1e-6)
    assert sync_score(audio, motion).lse_d > 0.1
    with pytest.raises(ValueError, match="30 windows"):
        sync_score(motion[:30], motion[:30])
    with pytest.raises(ValueError, match="one shape"):
        sync_score(audio[:-1], motion)


def test_shifted_windows_pair_motion_with_audio_shifted_by_three_or_more() -> None:
    audio = motion = np.eye(10)
    windows = shifted_windows(audio, motion, max_shift=4)
    assert windows.true.tolist() == [1.0] * 10
    assert sorted(set(windows.shift.tolist())) == [-4, -3, 3, 4]
    assert len(windows.shifted) == 2 * (7 + 6) and windows.shifted.max() == 0.0
    # The sign: at shift +3 motion window 0 meets audio window 3.
    late = shifted_windows(np.roll(audio, 3, axis=0), motion, max_shift=3)
    assert late.shifted[late.shift == 3].tolist() == [1.0] * 7
    assert late.shifted[late.shift == -3].max() == 0.0


def test_shifted_windows_pool_and_mask() -> None:
    rng = np.random.default_rng(0)
    audio, motion = rng.standard_normal((2, 12, 4))
    mask = np.ones(12, dtype=bool)
    mask[5] = False
    pooled = shifted_windows(audio, motion, mask, pool_windows=3)
    cosine = (audio * motion).sum(axis=1)
    assert pooled.true_index.tolist() == [0, 1, 2, 6, 7, 8, 9]
    assert pooled.true[0] == pytest.approx(cosine[:3].mean())


def test_pooled_mean_weighs_clips_by_their_frames() -> None:
    interval = pooled_mean(
        np.array([10.0, 30.0]), np.array([10, 10]), ["a", "b"], clustered_by="utterance", seed=0
    )
    assert interval.value == 2.0 and interval.low == 1.0 and interval.high == 3.0
    weighed = pooled_mean(
        np.array([10.0, 90.0]), np.array([10, 30]), ["a", "b"], clustered_by="utterance", seed=0
    )
    assert weighed.value == 2.5
    with pytest.raises(ValueError, match="1 clusters"):
        pooled_mean(np.ones(2), np.ones(2), ["a", "a"], clustered_by="speaker", seed=0)
