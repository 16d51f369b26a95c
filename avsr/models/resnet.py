"""ResNet-18 front-ends of the published lip readers: mouth crops or waveform to 25 frames a second.

The layout is that of Stafylakis and Tzimiropoulos (Interspeech 2017, arXiv 1703.04105) and, for
sound, of Petridis et al. (ICASSP 2018, arXiv 1802.06424), with the widths that every published
checkpoint has. Batch norm runs with its stored statistics at inference, so what stands in invalid
frames is set to zero before each convolution over time, and padding changes nothing.
"""

# B batch, T frames at 25 fps, S samples = 640 T, H W image, C channels

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from avsr.models.layers import masked

Activation = Literal["swish", "prelu", "relu"]
STAGES = (64, 128, 256, 512)  # channels; two residual blocks each, the last three at half the rate
FRONTEND_WIDTH = STAGES[-1]


def _activation(kind: Activation, channels: int) -> nn.Module:
    if kind == "prelu":
        return nn.PReLU(channels)
    return nn.SiLU() if kind == "swish" else nn.ReLU()


class ResidualBlock(nn.Module):
    """Two convolutions of kernel 3 with batch norm, and a shortcut, over one or two dimensions."""

    def __init__(
        self, dimensions: int, channels_in: int, channels: int, stride: int, kind: Activation
    ) -> None:
        super().__init__()
        convolution: Any = {1: nn.Conv1d, 2: nn.Conv2d}[dimensions]
        norm: Any = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}[dimensions]
        self.first = convolution(channels_in, channels, 3, stride, padding=1, bias=False)
        self.first_norm = norm(channels)
        self.first_activation = _activation(kind, channels)
        self.second = convolution(channels, channels, 3, padding=1, bias=False)
        self.second_norm = norm(channels)
        self.second_activation = _activation(kind, channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                convolution(channels_in, channels, 1, stride, bias=False), norm(channels)
            )

    def forward(self, x: Tensor, valid_mask: Tensor | None = None) -> Tensor:
        """Map (B, C, ...) to (B, C', ...); ``valid_mask`` (B, T) is for one dimension only."""
        inner = self.first_activation(self.first_norm(self.first(x)))
        inner = _silence(inner, valid_mask)
        out = self.second_norm(self.second(inner)) + self.shortcut(x)
        return _silence(self.second_activation(out), valid_mask)


def _silence(x: Tensor, valid_mask: Tensor | None) -> Tensor:
    """Zeros in (B, C, L), L a multiple of T, where ``valid_mask`` (B, T) is False."""
    if valid_mask is None:
        return x
    fine = valid_mask.repeat_interleave(x.shape[-1] // valid_mask.shape[1], dim=1)
    return x * fine[:, None].to(x.dtype)


def _residual_blocks(dimensions: int, kind: Activation) -> nn.ModuleList:
    blocks = nn.ModuleList()
    channels_in = STAGES[0]
    for stage, channels in enumerate(STAGES):
        for index in range(2):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(ResidualBlock(dimensions, channels_in, channels, stride, kind))
            channels_in = channels
    return blocks


class VideoResNet(nn.Module):
    """3D convolution over five frames, then ResNet-18 on each frame, averaged over the image."""

    def __init__(self, kind: Activation) -> None:
        super().__init__()
        channels = STAGES[0]
        self.stem = nn.Conv3d(1, channels, (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False)
        self.stem_norm = nn.BatchNorm3d(channels)
        self.stem_activation = _activation(kind, channels)
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.blocks = _residual_blocks(2, kind)

    def forward(self, crops: Tensor, valid_mask: Tensor) -> Tensor:
        """Map normalised gray crops, float (B, T, H, W), to (B, T, 512)."""
        x = masked(crops, valid_mask)[:, None]
        x = self.pool(self.stem_activation(self.stem_norm(self.stem(x))))
        batch, channels, frames, height, width = x.shape
        x = x.transpose(1, 2).reshape(batch * frames, channels, height, width)
        for block in self.blocks:
            x = block(x)
        return masked(x.mean((2, 3)).view(batch, frames, -1), valid_mask)


class AudioResNet(nn.Module):
    """ResNet-18 along the waveform: a 5 ms window every 0.25 ms first, 25 frames a second last."""

    def __init__(self, kind: Activation) -> None:
        super().__init__()
        channels = STAGES[0]
        self.stem = nn.Conv1d(1, channels, 80, 4, 38, bias=False)
        self.stem_norm = nn.BatchNorm1d(channels)
        self.stem_activation = _activation(kind, channels)
        self.blocks = _residual_blocks(1, kind)
        self.pool = nn.AvgPool1d(20, 20)

    def forward(self, waveform: Tensor, valid_mask: Tensor) -> Tensor:
        """Map float (B, S), S = 640 T, to (B, T, 512)."""
        x = _silence(waveform[:, None], valid_mask)
        x = _silence(self.stem_activation(self.stem_norm(self.stem(x))), valid_mask)
        for block in self.blocks:
            x = block(x, valid_mask)
        return masked(self.pool(x).transpose(1, 2), valid_mask)
