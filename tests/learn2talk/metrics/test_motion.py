from __future__ import annotations

import numpy as np
import pytest

from learn2talk.metrics import (
    diversity_mm,
    lip_intensity_mm_s,
    lip_jitter,
    lip_speed_mm_s,
    silence_motion_mm_s,
    silent_frames,
    speech_intensity,
)


def _one_point(*places: float) -> np.ndarray:
    lips = np.zeros((len(places), 1, 3))
    lips[:, 0, 1] = places
    return lips


def test_speed_by_hand_is_per_second() -> None:
    lips = np.zeros((3, 2, 3))
    lips[1, 0] = [3.0, 4.0, 0.0]  # one of two points moves 5 mm there and back
    lips[1, 1] = [0.0, 0.0, 1.0]
    assert lip_speed_mm_s(lips, fps=25.0).tolist() == [75.0, 75.0]
    # The same movement sampled twice as often: the same speed.
    slow, fast = _one_point(0, 2, 4), _one_point(0, 1, 2, 3, 4)
    assert lip_intensity_mm_s(slow, fps=25.0) == lip_intensity_mm_s(fast, fps=50.0) == 50.0


def test_intensity_is_the_root_of_the_mean_square() -> None:
    assert lip_intensity_mm_s(_one_point(0, 1, 8), fps=1.0) == 5.0  # speeds 1 and 7
    assert lip_intensity_mm_s(_one_point(2, 2, 2), fps=25.0) == 0.0
    assert np.isnan(lip_intensity_mm_s(_one_point(1), fps=25.0))
    with pytest.raises(ValueError, match="lips have shape"):
        lip_speed_mm_s(np.zeros((3, 3)), fps=25.0)


def test_jitter_by_hand() -> None:
    """Third differences of 0 1 0 1 0: 1 - 3 * 0 + 3 * 1 - 0 = 4, then -4."""
    assert lip_jitter(_one_point(0, 1, 0, 1, 0)).tolist() == [4.0, 4.0]
    steady = np.arange(6.0) ** 2  # constant acceleration
    assert lip_jitter(_one_point(*steady)).tolist() == [0.0, 0.0, 0.0]
    assert lip_jitter(_one_point(1, 2, 3)).size == 0


def test_speech_intensity_is_the_rms_of_float_samples() -> None:
    assert speech_intensity(np.array([0.6, -0.8, 0.0, 0.0])) == 0.5
    assert np.isnan(speech_intensity(np.zeros(0)))
    # 300^2 does not fit into int16: the trap of the released code.
    assert np.square(np.array([300], dtype=np.int16))[0] != 90_000
    for waveform in (np.array([300], dtype=np.int16), np.zeros((2, 4))):
        with pytest.raises(ValueError, match="give float samples"):
            speech_intensity(waveform)


def test_silent_frames_by_hand() -> None:
    rate, fps = 100, 25.0  # 4 samples a frame
    sound = np.repeat([1.0, 0.05, 0.02, 0.0], 4)  # 0, -26, -34, no dB
    silent = silent_frames(sound, 4, fps=fps, sample_rate_hz=rate)
    assert silent.tolist() == [False, False, True, True]
    stricter = silent_frames(sound, 4, fps=fps, sample_rate_hz=rate, below_db=20.0)
    assert stricter.tolist() == [False, True, True, True]
    # Scaling the sound changes nothing; frames beyond it are silent; so is no sound at all.
    quiet = silent_frames(0.01 * sound, 6, fps=fps, sample_rate_hz=rate)
    assert quiet.tolist() == [False, False, True, True, True, True]
    assert silent_frames(np.zeros(8), 2, fps=fps, sample_rate_hz=rate).all()
    with pytest.raises(ValueError, match="int16"):
        silent_frames(np.zeros(8, dtype=np.int16), 2, fps=fps)


def test_a_frame_that_is_no_whole_number_of_samples() -> None:
    """30 fps at 100 Hz: frames of 3, 3 and 4 samples, [0, 3), [3, 6), [6, 10)."""
    sound = np.zeros(10)
    sound[6] = 1.0
    assert silent_frames(sound, 3, fps=30.0, sample_rate_hz=100).tolist() == [True, True, False]
    sound[5] = 1.0
    assert silent_frames(sound, 3, fps=30.0, sample_rate_hz=100).tolist() == [True, False, False]


def test_motion_in_silence_by_hand() -> None:
    lips = _one_point(0, 0, 1, 3, 3)
    silent = np.array([True, True, True, False, True])
    # Steps 0-1 and 1-2 are silent at both ends: speeds 0 and 25 mm/s.
    assert silence_motion_mm_s(lips, silent, fps=25.0).tolist() == [0.0, 25.0]
    assert silence_motion_mm_s(lips, np.zeros(5, dtype=bool), fps=25.0).size == 0
    with pytest.raises(ValueError, match="4 silent flags for 5 frames"):
        silence_motion_mm_s(lips, silent[:4], fps=25.0)


def test_diversity_by_hand() -> None:
    """Three motions at 0, 1 and 3 mm along a line: pairs 1, 3 and 2 apart, mean 2."""
    motions = np.zeros((3, 4, 2, 3))
    motions[1, ..., 0], motions[2, ..., 0] = 1.0, 3.0
    assert diversity_mm(motions) == 2.0
    assert diversity_mm(motions[[0, 0]]) == 0.0
    assert np.isnan(diversity_mm(motions[:1]))
    with pytest.raises(ValueError, match="motions have shape"):
        diversity_mm(motions[0])
