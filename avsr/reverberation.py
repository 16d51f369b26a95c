"""Rooms: speech as it sounds in one, by a measured or a simulated impulse response.

Pure functions on numpy float64; no file, no hidden random number. Axis letters: S samples of
speech, R samples of a response, both at 16 kHz.
"""

from __future__ import annotations

import numpy as np

from avsr.noise import signal_power
from avsr.units import SAMPLE_RATE_HZ

DIRECT_WINDOW_S = 0.0025  # after the first arrival: what counts as the direct sound
DECAY_NEPERS = 6.907755  # ln(1000): 60 dB


def reverberate(speech: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Speech in a room: as long, as loud and as early as the dry speech.

    The response's direct sound is moved to its start, so that word times hold and lips stay in
    time; what rings on beyond the utterance is cut off. The result is scaled to the power of the
    dry speech (mean removed): a level in dB means the same in every room.

    Args:
        speech: float (S,).
        response: float (R,), any level.

    Returns:
        float64 (S,).

    Raises:
        ValueError: a response that is empty, silent, not finite or not one-dimensional.
    """
    samples = np.asarray(speech, dtype=np.float64)
    direct = from_direct_sound(response)
    size = 1 << (samples.size + direct.size - 2).bit_length() if samples.size > 1 else 1
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(direct, size), size)
    wet = wet[: samples.size]
    power = signal_power(wet)
    if power == 0.0:  # silence stays silence; whoever mixes it says so
        return samples.copy()
    scaled: np.ndarray = wet * np.sqrt(signal_power(samples) / power)
    return scaled


def from_direct_sound(response: np.ndarray) -> np.ndarray:
    """A response (R,) from its largest sample on, where the direct sound arrives; float64.

    Raises:
        ValueError: empty, silent, not finite or not one-dimensional.
    """
    samples = np.asarray(response, dtype=np.float64)
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
        raise ValueError(
            f"room response of shape {samples.shape} is empty, not mono or not finite; give a "
            "mono recording of an impulse response"
        )
    peak = int(np.abs(samples).argmax())
    if samples[peak] == 0.0:
        raise ValueError(f"room response of {samples.size} samples is silent; give another")
    return samples[peak:]


def simulated_response(
    reverberation_time_s: float,
    generator: np.random.Generator,
    *,
    direct_to_reverberant_db: float = 0.0,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> np.ndarray:
    """A room without walls to choose: direct sound, then noise that decays by 60 dB in RT60.

    Polack's statistical model (J.-D. Polack, 1988): white Gaussian noise times
    exp(-ln(1000) t / RT60), here from 2.5 ms after the direct sound on.

    Args:
        reverberation_time_s: RT60, above 0 and at most 10 s.
        generator: source of the noise.
        direct_to_reverberant_db: power of the direct sound against all that follows.

    Returns:
        float64 (R,), R = RT60 in samples, at least the direct window; the first sample is 1.

    Raises:
        ValueError: a time that is not in (0, 10] s.
    """
    if not 0.0 < reverberation_time_s <= 10.0:
        raise ValueError(
            f"reverberation time {reverberation_time_s} s must be above 0 and at most 10 s"
        )
    first = round(DIRECT_WINDOW_S * sample_rate_hz)
    count = max(first + 1, round(reverberation_time_s * sample_rate_hz))
    response = np.zeros(count)
    times = np.arange(first, count) / sample_rate_hz
    tail = generator.standard_normal(count - first)
    tail *= np.exp(-DECAY_NEPERS * times / reverberation_time_s)
    tail *= np.sqrt(10 ** (-direct_to_reverberant_db / 10) / np.square(tail).sum())
    response[first:] = tail
    response[0] = 1.0
    return response
