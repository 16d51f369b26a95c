"""The face whose mouth goes with the sound is chosen, and the choice does not flicker."""

from __future__ import annotations

import numpy as np
import pytest

from avsr.synchrony import SynchronyConfig, choose_talker, synchrony, velocity, voice_level_db

CONFIG = SynchronyConfig()


def smooth_noise(frames: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.convolve(rng.standard_normal(frames + 4), np.ones(5) / 5, mode="valid")


def test_level_is_of_the_voices_band_and_in_time() -> None:
    time = np.arange(640 * 50) / 16000
    hum, voice = 0.5 * np.sin(2 * np.pi * 60 * time), 0.1 * np.sin(2 * np.pi * 1000 * time)
    voice[: 640 * 25] = 0
    level = voice_level_db(hum + voice)
    assert level.shape == (50,)
    assert level[30:49].min() - level[1:20].max() > 25
    louder = voice_level_db(hum + 10 ** (6 / 20) * voice)
    assert abs((louder - level)[30:49].mean() - 6) < 0.1
    assert np.isfinite(voice_level_db(np.zeros(640 * 3))).all()


def test_synchrony_of_the_same_of_another_and_of_none() -> None:
    level, other = smooth_noise(100, 0), smooth_noise(100, 1)
    assert synchrony(3 * level + 7, level, CONFIG) > 0.999
    assert synchrony(-level, level, CONFIG) < 0.5
    assert abs(synchrony(other, level, CONFIG)) < 0.4
    assert synchrony(np.full(100, 2.0), level, CONFIG) == 0.0
    assert synchrony(np.full(100, np.nan), level, CONFIG) == 0.0


@pytest.mark.parametrize("lag", [-3, -2, -1, 1, 2, 3])
def test_a_small_lag_is_found(lag: int) -> None:
    level = smooth_noise(200, 0)
    found = synchrony(np.roll(level, lag), level, CONFIG)
    if abs(lag) <= CONFIG.max_lag_frames:
        assert found == pytest.approx(1 - CONFIG.lag_penalty * abs(lag), abs=0.01)
    else:
        assert found < 0.8
    none = SynchronyConfig(max_lag_frames=0)
    assert synchrony(np.roll(level, lag), level, none) < found


def test_gaps_are_left_out() -> None:
    level = smooth_noise(100, 0)
    gappy = level.copy()
    gappy[30:60] = np.nan
    assert synchrony(gappy, level, CONFIG) > 0.99
    assert np.isnan(velocity(gappy)[29:61]).all() and np.isfinite(velocity(gappy)[:29]).all()
    gappy[:95] = np.nan
    assert synchrony(gappy, level, CONFIG) == 0.0  # five frames say nothing


def two_talkers(frames: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """The first talks in the first half, the second in the second; both always move."""
    level = smooth_noise(frames, 0)
    openings = np.stack([smooth_noise(frames, 1), smooth_noise(frames, 2)])
    half = frames // 2
    openings[0, :half] = level[:half] + 0.3 * openings[0, :half]
    openings[1, half:] = level[half:] + 0.3 * openings[1, half:]
    return openings, level


def test_choice_follows_the_talk_and_does_not_flicker() -> None:
    openings, level = two_talkers()
    chosen = choose_talker(openings, np.array([80.0, 80.0]), level, CONFIG)
    assert (chosen[:260] == 0).all() and (chosen[340:] == 1).all()
    assert (np.diff(chosen) != 0).sum() == 1


def test_cost_of_change_holds_the_choice() -> None:
    openings, level = two_talkers()
    openings[:] = [smooth_noise(600, 3), smooth_noise(600, 4)]  # nobody's mouth fits
    sizes = np.array([80.0, 80.0])
    changes = [
        (np.diff(choose_talker(openings, sizes, level, SynchronyConfig(switch_cost=cost))) != 0)
        for cost in (0.0, 5.0)
    ]
    assert changes[0].sum() > changes[1].sum() == 0
    held = [
        choose_talker(openings[:, :10], sizes, level[:10], SynchronyConfig(switch_cost=5.0), face)
        for face in (0, 1)
    ]
    assert (held[0] == 0).all() and (held[1] == 1).all()


def test_step_is_the_grid_of_changes() -> None:
    openings, level = two_talkers()
    config = SynchronyConfig(step_s=2.0)
    chosen = choose_talker(openings, np.array([80.0, 80.0]), level, config)
    assert (np.flatnonzero(np.diff(chosen)) + 1).tolist() == [300]


def test_context_is_what_is_compared() -> None:
    """With little context a moment decides, with much the whole talk."""
    openings, level = two_talkers()
    openings[0, 100:110] = smooth_noise(10, 9) * 20
    sizes = np.array([80.0, 80.0])
    long = choose_talker(openings, sizes, level, SynchronyConfig(context_s=24.0))
    assert (np.diff(long) != 0).sum() <= 1


def test_a_face_that_is_seen_beats_one_that_is_not() -> None:
    openings, level = two_talkers()
    openings[0, 150:] = np.nan  # the picture changes to the other face
    openings[1, :150] = np.nan
    chosen = choose_talker(openings, np.array([80.0, 80.0]), level, CONFIG)
    assert (chosen[:150] == 0).all() and (chosen[150:] == 1).all()
    openings[:, 40:44] = np.nan
    chosen = choose_talker(openings, np.array([80.0, 80.0]), level, CONFIG)
    assert (chosen[40:44] == -1).all() and (chosen[:40] == 0).all()


def test_size_decides_between_equals_and_motion_without_sound() -> None:
    still = np.zeros((2, 50))
    for large in (0, 1):
        sizes = np.array([50.0, 50.0])
        sizes[large] = 100.0
        assert (choose_talker(still, sizes, np.zeros(50), CONFIG) == large).all()
    moving = np.stack([0.1 * smooth_noise(50, 0), smooth_noise(50, 1)])
    assert (choose_talker(moving, np.array([90.0, 80.0]), None, CONFIG) == 1).all()


def test_no_faces_and_no_frames() -> None:
    assert choose_talker(np.zeros((0, 4)), np.zeros(0), None, CONFIG).tolist() == [-1] * 4
    assert choose_talker(np.zeros((2, 0)), np.ones(2), None, CONFIG).tolist() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"step_s": 0.0},
        {"context_s": 0.1},
        {"max_lag_frames": -1},
        {"lag_penalty": -0.1},
        {"switch_cost": -1.0},
        {"size_weight": -1.0},
    ],
)
def test_impossible_configurations_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        SynchronyConfig(**wrong)  # type: ignore[arg-type]
