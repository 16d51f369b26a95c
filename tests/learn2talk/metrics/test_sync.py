from __future__ import annotations

import numpy as np
import pytest

from learn2talk.metrics import (
    shifted_windows,
    speech_mesh_score,
    speech_mesh_window_score,
    sync_score,
)


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


def test_the_distances_are_blind_to_a_constant_offset_and_the_offset_is_not() -> None:
    motion = _walk(71)
    here, late = sync_score(motion, motion), sync_score(np.roll(motion, 5, axis=0), motion)
    assert late.lse_d == pytest.approx(here.lse_d, abs=1e-6)
    assert (here.offset_ms, late.offset_ms) == (0.0, 200.0)


def test_speech_mesh_score_by_hand() -> None:
    audio = np.array([[1.0, 0.0], [0.0, 1.0]])
    motion = np.array([[0.0, 1.0], [1.0, 0.0]])
    # The means agree although no window does: pooling forgets the order.
    assert speech_mesh_score(audio, motion) == pytest.approx(1.0)
    assert speech_mesh_window_score(audio, motion, stride=1) == 0.0
    assert speech_mesh_score(audio, -motion) == pytest.approx(-1.0)
    assert speech_mesh_score(audio, motion, np.array([True, False])) == 0.0
    for score in (speech_mesh_score, speech_mesh_window_score):
        assert np.isnan(score(audio, motion, np.zeros(2, dtype=bool)))
        with pytest.raises(ValueError, match="one shape"):
            score(audio, motion[:1])
    assert np.isnan(speech_mesh_score(np.array([[1.0, 0], [-1.0, 0]]), motion))


def test_windows_of_the_released_score_do_not_overlap() -> None:
    audio, motion = _walk(11), _walk(11)
    motion[1:5] = -motion[1:5]  # between window 0 and window 5: not looked at
    assert speech_mesh_window_score(audio, motion) == pytest.approx(1.0)
    assert speech_mesh_score(audio, motion) < 1.0
