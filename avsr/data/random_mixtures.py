"""Mixtures for training: random noise at a random level, from noise rendered ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avsr import noise
from avsr.data.noise_bank import CLEAN, NoiseBank
from avsr.noise import check_snr


@dataclass(frozen=True)
class RandomMixture:
    """A training mixture: float32 (S,), its noise type (``"none"`` if clean) and SNR in dB."""

    waveform: np.ndarray
    noise_type: str
    snr_db: float | None


def random_mixture(
    speech: np.ndarray,
    bank: NoiseBank,
    generator: np.random.Generator,
    snr_range_db: tuple[float, float] = (-10.0, 20.0),
    clean_probability: float = 0.2,
) -> RandomMixture:
    """Speech with random noise of a random type at a uniformly random SNR over the utterance.

    The first call renders the bank's pools (:meth:`NoiseBank.warm`).

    Args:
        speech: float (S,).
        bank: noise of the training split.
        generator: source of all randomness; the same state gives the same mixture.
        snr_range_db: lowest and highest SNR in dB.
        clean_probability: share of mixtures that get no noise, in [0, 1].

    Raises:
        ValueError: an impossible range or probability, or silent speech.
    """
    low, high = check_snr(snr_range_db[0]), check_snr(snr_range_db[1])
    if low is None or high is None or low > high or not 0 <= clean_probability <= 1:
        raise ValueError(
            f"SNR range {snr_range_db} must ascend and clean probability {clean_probability} lie "
            "in [0, 1]"
        )
    if generator.random() < clean_probability:
        return RandomMixture(np.array(speech, dtype=np.float32), CLEAN, None)
    segment, noise_type = bank.random_segment(generator, len(speech))
    snr_db = float(generator.uniform(low, high))
    powers = noise.signal_power(speech), noise.signal_power(segment)
    if powers[0] <= noise.SILENCE_RMS**2:
        raise ValueError(f"speech of {len(speech)} samples is silent; remove the utterance")
    if powers[1] <= noise.SILENCE_RMS**2:  # a pause in a recording: nothing there to scale up
        return RandomMixture(np.array(speech, dtype=np.float32), CLEAN, None)
    gain = np.float32(noise.noise_gain_for(powers[0], powers[1], snr_db))
    return RandomMixture((speech + gain * segment).astype(np.float32), noise_type, snr_db)
