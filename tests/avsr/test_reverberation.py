from __future__ import annotations

import numpy as np
import pytest

from avsr.noise import signal_power
from avsr.reverberation import from_direct_sound, reverberate, simulated_response


def speech() -> np.ndarray:
    return np.random.default_rng(1).standard_normal(8000) * np.hanning(8000)


def test_a_room_that_is_one_echo_is_worked_out_by_hand():
    response = np.zeros(200)
    response[40], response[140] = 2.0, 1.0  # direct sound, and half of it 100 samples later
    dry = speech()
    wet = dry.copy()
    wet[100:] += 0.5 * dry[:-100]
    wet *= np.sqrt(signal_power(dry) / signal_power(wet))
    assert np.allclose(reverberate(dry, response), wet, atol=1e-12)


def test_an_open_field_changes_nothing_and_power_and_length_stay():
    dry = speech()
    assert np.allclose(reverberate(dry, np.array([0.0, 0.7])), dry, atol=1e-12)
    wet = reverberate(dry, simulated_response(0.6, np.random.default_rng(0)))
    assert wet.shape == dry.shape and signal_power(wet) == pytest.approx(signal_power(dry))
    assert np.abs(np.corrcoef(wet, dry)[0, 1]) < 0.95


def test_silence_in_a_room_is_silence():
    assert not reverberate(np.zeros(50), np.ones(5)).any()


@pytest.mark.parametrize("time_s", [0.3, 1.2])
def test_a_simulated_room_decays_by_60_db_in_its_time(time_s):
    response = simulated_response(time_s, np.random.default_rng(3))
    # Schroeder's backward integration of the tail, and the slope from -5 to -25 dB.
    tail = response[40:]
    left = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.square(tail).sum())
    at = [int(np.argmax(left < level)) for level in (-5.0, -25.0)]
    assert (at[1] - at[0]) / 16000 * 3 == pytest.approx(time_s, rel=0.1)
    direct, reverberant = response[0] ** 2, np.square(response[1:]).sum()
    assert 10 * np.log10(direct / reverberant) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("bad", [np.zeros(9), np.array([]), np.array([np.nan]), np.ones((2, 2))])
def test_responses_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="room response"):
        from_direct_sound(bad)


@pytest.mark.parametrize("time_s", [0.0, -1.0, 11.0, float("nan")])
def test_impossible_reverberation_times_are_refused(time_s):
    with pytest.raises(ValueError, match="must be above 0"):
        simulated_response(time_s, np.random.default_rng(0))
