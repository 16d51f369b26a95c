"""Noise protocols that papers are compared by, under their names, with their faults.

A preset takes a protocol's levels, noise and definition of the level. What is a fault of its
published code is described here and switched off, unless it is asked for by name: then the
mixtures have it, and every row of the manifest says so. Facts are from the code of the projects, at
the commits that are named; what nobody can make again (noise drawn without a seed) is described
only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avsr import noise
from avsr.data.noise_bank import NoiseBank, NoiseConfig
from avsr.noise import Level, Mixture, SpeechLevels, stable_hash

FAULTS: dict[str, str] = {
    "zero_db_is_clean": "at 0 dB no noise is added at all: the level is tested by its truth value",
    "zero_db_is_random": "at 0 dB the level is drawn from those of training, clean among them",
    "dc_counted": "powers are taken with the recordings' mean in them",
    "unpaired_draws": "each level draws noise of its own: a curve's points are not paired",
    "noise_from_its_start": "every utterance gets the same first seconds of a noise file",
    "hard_loop": "noise that is too short is repeated with a click at the seam",
    "peak_rescale": "what would clip is made quieter as a whole, and cut to whole 16-bit steps",
    "shared_recording": "a noise recording of the test is in training too",
}
RANDOM_LEVELS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0, None)  # what "zero_db_is_random" draws from


@dataclass(frozen=True)
class PublishedProtocol:
    """A protocol as its code has it.

    ``noises`` are the types that it tests, in our words; ``faults`` those of :data:`FAULTS` that
    its code has; ``not_offered`` what its code does that no manifest can hold.
    """

    name: str
    source: str
    snrs_db: tuple[float | None, ...]
    noises: tuple[str, ...]
    faults: tuple[str, ...]
    not_offered: str
    level: Level = "utterance"


PUBLISHED: dict[str, PublishedProtocol] = {
    "av_hubert": PublishedProtocol(
        name="av_hubert",
        source="facebookresearch/av_hubert, avhubert/hubert_dataset.py (add_noise, select_noise) "
        "at 27c06f9, avhubert/preparation/lrs3_noise.py at b4fa4af",
        snrs_db=(-10.0, -5.0, 0.0, 5.0, 10.0),
        noises=("babble_30", "one_talker", "musan_music", "musan_noise"),
        faults=(
            "dc_counted",
            "unpaired_draws",
            "noise_from_its_start",
            "hard_loop",
            "peak_rescale",
        ),
        not_offered="files are drawn by numpy's global generator without a seed: two runs differ",
    ),
    "auto_avsr": PublishedProtocol(
        name="auto_avsr",
        source="mpc001/auto_avsr, datamodule/transforms.py (AddNoise, AudioTransform) at 1fbd632",
        snrs_db=(-5.0, 0.0, 5.0, 10.0, 15.0, 20.0),
        noises=("noisex_babble",),
        faults=(
            "zero_db_is_clean",
            "dc_counted",
            "unpaired_draws",
            "shared_recording",
        ),
        not_offered="the start is drawn by Python's global generator without a seed; an utterance "
        "longer than the recording ends in an exception; forks that ask 'is not None' before "
        "AddNoise get zero_db_is_random in place of zero_db_is_clean",
    ),
    "muavic": PublishedProtocol(
        name="muavic",
        source="facebookresearch/muavic decodes with av_hubert's code (same add_noise); 0 dB and "
        "babble of 30 talkers are as its paper (arXiv:2303.00628) is remembered, not re-read here",
        snrs_db=(0.0, None),
        noises=("babble_30",),
        faults=(
            "dc_counted",
            "unpaired_draws",
            "noise_from_its_start",
            "hard_loop",
            "peak_rescale",
        ),
        not_offered="files are drawn without a seed; its babble is of nine languages, ours of the "
        "talkers that are given",
    ),
}


def published(name: str) -> PublishedProtocol:
    """A preset by its name.

    Raises:
        ValueError: another name.
    """
    if name not in PUBLISHED:
        raise ValueError(f"preset {name!r} is not one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def bank_of(config: NoiseConfig, split: str, faults: Sequence[str] = ()) -> NoiseBank:
    """The noise of a split, with the faults that are the bank's."""
    crossfade = 0 if "hard_loop" in faults else noise.CROSSFADE_SAMPLES
    return NoiseBank(
        config, split, crossfade=crossfade, from_start="noise_from_its_start" in faults
    )


def check_faults(faults: Sequence[str], bank: NoiseBank) -> tuple[str, ...]:
    """The faults in the order of :data:`FAULTS`.

    Raises:
        ValueError: an unknown or repeated name, two answers to 0 dB, or a bank made for others.
    """
    unknown = [name for name in faults if name not in FAULTS]
    if unknown or len(set(faults)) != len(faults):
        raise ValueError(
            f"faults {list(faults)} repeat or hold unknown {unknown}; known: {', '.join(FAULTS)}"
        )
    if {"zero_db_is_clean", "zero_db_is_random"} <= set(faults):
        raise ValueError("0 dB cannot be both clean and random; ask for one of the two faults")
    wanted = ("hard_loop" in faults, "noise_from_its_start" in faults)
    if wanted != (bank.crossfade == 0, bank.from_start):
        raise ValueError(
            f"the noise bank was made for other faults than {list(faults)}; make it with bank_of"
        )
    return tuple(name for name in FAULTS if name in faults)


def drawn_for(utterance_id: str, snr_db: float, faults: Sequence[str]) -> str:
    """The name that the draw of noise hangs on: the utterance's, so that a curve is paired."""
    return f"{utterance_id}@{snr_db:g}dB" if "unpaired_draws" in faults else utterance_id


def mix_with_faults(
    speech: np.ndarray,
    segment: np.ndarray,
    snr_db: float,
    level: Level,
    levels: SpeechLevels,
    faults: Sequence[str],
    key: str,
) -> tuple[Mixture, float]:
    """A mixture and what it was multiplied by as a whole (1 without the fault that does so).

    Args:
        speech: float (S,).
        segment: float (S,), the noise.
        snr_db: what was asked for.
        level: which power the SNR refers to.
        levels: of the speech.
        faults: see :data:`FAULTS`.
        key: what random levels hang on.
    """
    heard: float | None = snr_db
    if snr_db == 0 and "zero_db_is_clean" in faults:
        heard = None
    elif snr_db == 0 and "zero_db_is_random" in faults:
        heard = RANDOM_LEVELS_DB[stable_hash(key, "level") % len(RANDOM_LEVELS_DB)]
    if heard is None or "dc_counted" not in faults:
        mixture = noise.mix_at_snr(speech, segment, heard, level=level, speech_levels=levels)
    else:
        powers = [float(np.square(np.asarray(x, np.float64)).mean()) for x in (speech, segment)]
        gain = noise.noise_gain_for(powers[0], powers[1], heard)
        mixture = noise.mix_with_gain(
            speech, segment, gain, heard, level=level, speech_levels=levels
        )
    if "peak_rescale" not in faults:
        return mixture, 1.0
    waveform, scale = _rescaled(mixture.waveform)
    changed = {**mixture.__dict__, "waveform": waveform}
    return Mixture(**changed), scale


def _rescaled(waveform: np.ndarray) -> tuple[np.ndarray, float]:
    """Down to 16 bits where it would clip, and cut towards zero to whole steps; and the factor."""
    steps = waveform * 32768.0
    high, low = float(steps.max()), float(steps.min())
    scale = 1.0
    if high > 32767 or low < -32768:
        scale = 32767 / high if high >= abs(low) else -32768 / low
    return np.trunc(steps * scale) / 32768.0, scale if math.isfinite(scale) else 1.0
