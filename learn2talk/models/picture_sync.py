"""SyncNet on mouth pictures: the 2D expert, to train a talking mouth and to judge films.

As :class:`learn2talk.models.sync_expert.SyncNet3D`, but it sees grey mouth crops instead of lip
points, as SyncNet (Chung and Zisserman 2016) does.

Axis letters: B batch, T frames, N windows, E embedding width, H W picture, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsr.models.video_encoder import PIXEL_MEAN, PIXEL_STD, halved
from avsr.units import FEATURES_PER_FRAME, MODEL_CROP_SIZE
from learn2talk.models.layers import WindowConvolution
from learn2talk.models.sync_expert import (
    SyncExpertConfig,
    SyncOutput,
    audio_window_encoder,
)

CHANNELS = (16, 32, 64)
GROUPS = 8


class PictureSync(nn.Module):
    """Two encoders, one for log-mel windows and one for windows of mouth crops, into one space.

    Window i covers the video frames [i, i + window_frames): no frame outside has an influence.
    """

    def __init__(self, config: SyncExpertConfig) -> None:
        super().__init__()
        self.config = config
        width, window = config.width, config.window_frames
        self.audio_encoder = audio_window_encoder(config)
        layers: list[nn.Module] = []
        before = 1
        for channels in CHANNELS:  # 44 x 44 to 6 x 6
            layers += [
                nn.Conv2d(before, channels, 3, 2, padding=1, bias=False),
                nn.GroupNorm(GROUPS, channels),
                nn.SiLU(),
            ]
            before = channels
        side = -(-MODEL_CROP_SIZE // 2 // 2 ** len(CHANNELS))
        self.picture_encoder = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(CHANNELS[-1] * side * side, width)
        )
        self.motion_encoder = nn.Sequential(
            nn.Dropout(config.dropout),
            WindowConvolution(width, width, 3),
            nn.Dropout(config.dropout),
            WindowConvolution(width, width, window - 2),
            nn.Linear(width, config.embedding),
        )
        self.log_scale = nn.Parameter(torch.tensor(2.3))
        self.bias = nn.Parameter(torch.tensor(-5.0))
        self.mel_mean: Tensor
        self.mel_std: Tensor
        self.register_buffer("mel_mean", torch.zeros(config.num_mels))
        self.register_buffer("mel_std", torch.ones(config.num_mels))

    def window_mask(self, valid_mask: Tensor) -> Tensor:
        """(B, T) True = real frame, to (B, N) True = every frame of the window is real."""
        return valid_mask.unfold(1, self.config.window_frames, 1).all(dim=2)

    def embed_audio(self, features: Tensor) -> Tensor:
        """Log-mel (B, 4 T, F) to unit vectors (B, N, E)."""
        self._check_length(features.shape[1] // FEATURES_PER_FRAME)
        normal = (features - self.mel_mean) / self.mel_std
        return functional.normalize(self.audio_encoder(normal), dim=-1)

    def embed_mouth(self, crops: Tensor) -> Tensor:
        """Grey crops (B, T, 88, 88), uint8 or float in [0, 1], to unit vectors (B, N, E)."""
        self._check_length(crops.shape[1])
        pixels = crops.float() / 255 if crops.dtype == torch.uint8 else crops
        small = halved((pixels - PIXEL_MEAN) / PIXEL_STD)
        vectors = self.picture_encoder(small.flatten(0, 1)[:, None])
        return functional.normalize(
            self.motion_encoder(vectors.unflatten(0, crops.shape[:2])), dim=-1
        )

    def forward(self, features: Tensor, crops: Tensor) -> SyncOutput:
        """Audio and picture embeddings, each (B, N, E), of the windows of a batch of clips.

        Raises ValueError when the clips are shorter than one window or lengths disagree.
        """
        if features.shape[1] != FEATURES_PER_FRAME * crops.shape[1]:
            raise ValueError(
                f"{features.shape[1]} log-mel frames for {crops.shape[1]} pictures; "
                f"{FEATURES_PER_FRAME} a picture are needed"
            )
        audio, mouth = self.embed_audio(features), self.embed_mouth(crops)
        return SyncOutput(audio, mouth, self.log_scale.exp(), self.bias * 1.0)

    def _check_length(self, num_frames: int) -> None:
        if num_frames < self.config.window_frames:
            raise ValueError(
                f"clip has {num_frames} video frames; one window of the sync expert needs "
                f"{self.config.window_frames}"
            )
