"""SyncNet3D: does this piece of speech belong to this piece of lip motion?

After the sync-lip expert of Learn2Talk (Zhuang et al., TVCG 2025, section 3.3); layers, loss and
normalisation are our own, since the paper does not give them.

Axis letters: B batch, T frames, F mel bands, P lip points (40), N windows, E embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsr.units import FEATURES_PER_FRAME, LIP_POINTS
from learn2talk.models.layers import WindowConvolution, rigid_free_motion

Role = Literal["loss", "judge"]


@dataclass(frozen=True)
class SyncExpertConfig:
    """Shape of a SyncNet3D."""

    role: Role = "loss"
    """What this instance may do: train students ("loss") or score them ("judge"), never both."""
    num_mels: int = 80
    """Mel bands of the audio features."""
    window_frames: int = 5
    """Length of a window in video frames: 5 are 0.2 s at 25 fps."""
    width: int = 128
    """Channels inside the two encoders."""
    embedding: int = 128
    """Numbers in an embedding."""
    dropout: float = 0.1
    """Share of hidden channels dropped in training."""

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise ValueError(f"sync expert has role {self.role!r}; give 'loss' or 'judge'")
        if self.window_frames < 3:
            raise ValueError(f"window_frames is {self.window_frames}; give at least 3")
        if min(self.num_mels, self.width, self.embedding) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"sizes must be positive and dropout in [0, 1): {self}")


class SyncOutput(NamedTuple):
    """What the training loss needs; scale and bias travel along so that one call gives all."""

    audio: Tensor  # (B, N, E) unit vectors
    motion: Tensor  # (B, N, E) unit vectors
    scale: Tensor  # scalar, 1 / temperature
    bias: Tensor  # scalar, added to the scaled cosine


def audio_window_encoder(config: SyncExpertConfig) -> nn.Sequential:
    """Log-mel (B, 4 T, F) to (B, N, E): what every sync expert hears of a window of speech."""
    width = config.width
    return nn.Sequential(
        WindowConvolution(config.num_mels, width, 3),
        WindowConvolution(width, width, 3),
        nn.Dropout(config.dropout),
        WindowConvolution(width, width, FEATURES_PER_FRAME, FEATURES_PER_FRAME),
        nn.Dropout(config.dropout),
        WindowConvolution(width, width, config.window_frames - 1),
        nn.Linear(width, config.embedding),
    )


class SyncNet3D(nn.Module):
    """Two encoders, one for log-mel windows and one for lip windows, into one space.

    Window i covers the video frames [i, i + window_frames) and the log-mel frames
    [4 i, 4 (i + window_frames)): no frame outside it has an influence, there is no padding.
    Lips are the canonical 40 points of any topology, minus the neutral ones, rigid part removed.
    """

    def __init__(self, config: SyncExpertConfig) -> None:
        super().__init__()
        self.config = config
        width, window = config.width, config.window_frames
        self.audio_encoder = audio_window_encoder(config)
        self.motion_encoder = nn.Sequential(
            WindowConvolution(3 * LIP_POINTS, width, 3),
            nn.Dropout(config.dropout),
            WindowConvolution(width, width, window - 2),
            nn.Dropout(config.dropout),
            WindowConvolution(width, width, 1),
            nn.Linear(width, config.embedding),
        )
        self.log_scale = nn.Parameter(torch.tensor(2.3))  # 1 / temperature = exp(2.3), about 10
        self.bias = nn.Parameter(torch.tensor(-5.0))
        self.mel_mean: Tensor
        self.mel_std: Tensor
        self.motion_std: Tensor
        self.register_buffer("mel_mean", torch.zeros(config.num_mels))
        self.register_buffer("mel_std", torch.ones(config.num_mels))
        self.register_buffer("motion_std", torch.ones(3 * LIP_POINTS))

    def num_windows(self, num_frames: int) -> int:
        """Number of windows in a clip of `num_frames` video frames (0 when it is too short)."""
        return max(0, num_frames - self.config.window_frames + 1)

    def window_mask(self, valid_mask: Tensor) -> Tensor:
        """(B, T) True = real frame, to (B, N) True = every frame of the window is real."""
        return valid_mask.unfold(1, self.config.window_frames, 1).all(dim=2)

    def embed_audio(self, features: Tensor) -> Tensor:
        """Log-mel (B, 4 T, F) to unit vectors (B, N, E)."""
        self._check_length(features.shape[1] // FEATURES_PER_FRAME)
        normal = (features - self.mel_mean) / self.mel_std
        return functional.normalize(self.audio_encoder(normal), dim=-1)

    def embed_motion(self, lips: Tensor, neutral: Tensor) -> Tensor:
        """Lips (B, T, 40, 3) and neutral lips (B, 40, 3), mm, to unit vectors (B, N, E)."""
        self._check_length(lips.shape[1])
        motion = rigid_free_motion(lips, neutral) / self.motion_std
        return functional.normalize(self.motion_encoder(motion), dim=-1)

    def forward(self, features: Tensor, lips: Tensor, neutral: Tensor) -> SyncOutput:
        """Audio and motion embeddings, each (B, N, E), of the windows of a batch of clips.

        Raises ValueError when the clips are shorter than one window or lengths disagree.
        """
        if features.shape[1] != FEATURES_PER_FRAME * lips.shape[1]:
            raise ValueError(
                f"{features.shape[1]} log-mel frames for {lips.shape[1]} video frames; "
                f"{FEATURES_PER_FRAME} a video frame are needed"
            )
        audio, motion = self.embed_audio(features), self.embed_motion(lips, neutral)
        return SyncOutput(audio, motion, self.log_scale.exp(), self.bias * 1.0)

    def _check_length(self, num_frames: int) -> None:
        if num_frames < self.config.window_frames:
            raise ValueError(
                f"clip has {num_frames} video frames; one window of the sync expert needs "
                f"{self.config.window_frames}"
            )
