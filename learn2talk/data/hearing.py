"""What a student hears in training: log-mel features or samples, as they are or with noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from avsr.audio import log_mel
from avsr.data.dataset import Mixer
from avsr.data.noise_bank import NoiseBank, NoiseConfig, check_disjoint
from avsr.data.random_mixtures import random_mixture
from avsr.pretrained.speech_encoders import load_speech_encoder
from avsr.units import FEATURES_PER_FRAME, SAMPLES_PER_FRAME


@dataclass(frozen=True)
class HearingConfig:
    """A pretrained encoder in place of log-mel features, and how loud noise is where it is used."""

    speech_encoder: str | None = None
    """Folder or hub id of a wav2vec 2.0, HuBERT, WavLM or Whisper; None: log-mel features."""
    speech_encoder_trained: bool = False
    """Fine-tune it too; False keeps it as it is."""
    noise_snr_db: tuple[float, float] = (-10.0, 20.0)
    """Range of the SNR in dB, where training gets a noise."""
    noise_clean_share: float = 0.2
    """Share of the clips that stay without noise."""

    def __post_init__(self) -> None:
        low, high = self.noise_snr_db
        # Finite too: a comparison with NaN is never true.
        if not -np.inf < low <= high < np.inf or not 0.0 <= self.noise_clean_share <= 1.0:
            raise ValueError(
                f"noise_snr_db {self.noise_snr_db} must ascend and be finite, and "
                f"noise_clean_share {self.noise_clean_share} lie in [0, 1]"
            )


def load_encoder(
    config: HearingConfig, *, weighted_layers: bool
) -> tuple[str | None, dict[str, Tensor] | None]:
    """The pretrained encoder as a student's configuration names it, and its weights.

    Args:
        config: of the hearing.
        weighted_layers: use a learned weighted sum of its layers, not the last one alone.

    Returns:
        (None, None) for log-mel features.

    Raises:
        ValueError: no such checkpoint, or another kind.
    """
    if config.speech_encoder is None:
        return None, None
    encoder, weights = load_speech_encoder(
        config.speech_encoder,
        trained=config.speech_encoder_trained,
        weighted_layers=weighted_layers,
    )
    return encoder.to_json(), weights


def noise_mixer(noise: NoiseConfig | None, config: HearingConfig) -> Mixer | None:
    """Adds random noise of the training split to a waveform; None where there is no noise.

    Raises:
        ValueError: noise that serves two splits, a missing file, a split without noise types.
    """
    if noise is None:
        return None
    check_disjoint(noise)
    if not noise.train.types:
        raise ValueError("the noise has no type for training; list some in its train split")
    bank = NoiseBank(noise, "train")
    bank.warm()
    return partial(_mixed, bank=bank, config=config)


def _mixed(
    waveform: np.ndarray, rng: np.random.Generator, *, bank: NoiseBank, config: HearingConfig
) -> np.ndarray:
    return random_mixture(
        waveform,
        bank,
        rng,
        snr_range_db=config.noise_snr_db,
        clean_probability=config.noise_clean_share,
    ).waveform


def log_mel_in_pieces(sound: Tensor, num_mels: int, piece_frames: int) -> Tensor:
    """Natural-log mel features (4 ceil(S / 640), F) of a sound of any length.

    The spectrogram is made piece by piece: its windows are 6 times the sound itself.

    Args:
        sound: float (S,) at 16 kHz.
        num_mels: F.
        piece_frames: video frames of a piece.
    """
    parts = []
    step = piece_frames * SAMPLES_PER_FRAME
    margin = SAMPLES_PER_FRAME
    for start in range(0, len(sound), step):
        first, last = max(0, start - margin), min(len(sound), start + step + margin)
        frames = log_mel(sound[None, first:last], num_mels)[0]
        skip = FEATURES_PER_FRAME * (start - first) // SAMPLES_PER_FRAME
        parts.append(frames[skip : skip + FEATURES_PER_FRAME * piece_frames])
    return torch.cat(parts)
