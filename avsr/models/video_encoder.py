"""Mouth crops to one vector for each frame: a 3D stem and a light residual network.

Group norm in place of batch norm: no statistic crosses a frame, so an utterance's result does not
depend on its neighbours, its padding, or on how a batch is split.
"""

# B batch, T frames, H W image, C channels, D width, M = number of valid frames of the batch

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.layers import masked

# Mean and deviation of gray mouth pixels in [0, 1], the convention of the field's lip readers.
PIXEL_MEAN, PIXEL_STD = 0.421, 0.165
STEM_FRAMES = 5


def halved(x: Tensor) -> Tensor:
    """Means of 2x2 pixels of (..., H, W); a last odd row or column is left out.

    Two additions of strided views take a sixth of ``avg_pool2d``'s time on a CPU.
    """
    height, width = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
    rows = x[..., 0:height:2, :width] + x[..., 1:height:2, :width]
    return 0.25 * (rows[..., 0::2] + rows[..., 1::2])


def pooled(x: Tensor) -> Tensor:
    """Maxima of 3x3 windows two apart, (M, C, H, W) to (M, C, H / 2, W / 2).

    On a CPU torch pools with vector instructions only where the channels lie side by side: that is
    six times as fast, the two copies included.
    """
    if x.device.type == "cpu":
        x = x.contiguous(memory_format=torch.channels_last)
    return F.max_pool2d(x, 3, stride=2, padding=1).contiguous()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm and a shortcut; halves H and W by stride 2.

    The shortcut is a projection (1x1 convolution), or the input itself where ``projected`` is
    False, which needs ``stride`` 1 and equal channels.
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int, groups: int, projected: bool = True
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(groups, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(groups, channels)
        self.shortcut = (
            nn.Conv2d(channels_in, channels, 1, stride, bias=False) if projected else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images (M, C, H, W) to (M, C', H / stride, W / stride)."""
        y = F.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return F.relu(y + self.shortcut(x))


class VideoEncoder(nn.Module):
    """3D stem (5 frames) and residual blocks, run only on the valid frames.

    The image is averaged 2x2 first: mouth crops of the usual corpora are enlarged from about half
    their size, and the front-end is most of the recogniser's cost.

    Args:
        width: D.
        channels: of the stem and of each residual stage; each stage but the first halves the image.
        dropout: on the pooled features.
        blocks_per_stage: residual blocks of a stage. Four stages of 2 blocks with 64, 128, 256 and
            512 channels are the trunk of ResNet-18 (He et al. 2016, table 1).
    """

    def __init__(
        self, width: int, channels: tuple[int, ...], dropout: float, blocks_per_stage: int = 1
    ) -> None:
        super().__init__()
        groups = 8
        # A 3D convolution whose time kernel spans 5 frames equals a 2D convolution of 5 stacked
        # frames; the latter is faster on a CPU.
        self.stem = nn.Conv2d(STEM_FRAMES, channels[0], 5, stride=2, padding=2, bias=False)
        self.stem_norm = nn.GroupNorm(groups, channels[0])
        blocks = []
        for stage, (before, after) in enumerate(zip(channels[:-1], channels[1:], strict=True)):
            blocks.append(ResidualBlock(before, after, 1 if stage == 0 else 2, groups))
            blocks += [
                ResidualBlock(after, after, 1, groups, projected=False)
                for _ in range(blocks_per_stage - 1)
            ]
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(channels[-1] * 4, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, mouth_crops: Tensor, valid_mask: Tensor) -> Tensor:
        """Map gray crops (B, T, H, W) uint8, or float in [0, 1], to (B, T, D).

        ``valid_mask`` (B, T) is False at padding and where no face was tracked; these frames count
        as a gray image for their neighbours and come out as zeros.
        """
        reach = STEM_FRAMES // 2
        x = F.pad(self.scaled(mouth_crops, valid_mask), (0, 0, 0, 0, reach, reach))
        return self.encode_windows(x, valid_mask)

    def scaled(self, mouth_crops: Tensor, valid_mask: Tensor) -> Tensor:
        """What the stem looks at: (B, T, H / 2, W / 2)."""
        # Averaged before it is scaled, which touches a quarter of the pixels.
        x = halved(mouth_crops.float())
        white = 255.0 if mouth_crops.dtype == torch.uint8 else 1.0
        return masked((x - white * PIXEL_MEAN) / (white * PIXEL_STD), valid_mask)

    def encode_windows(self, x: Tensor, valid_mask: Tensor) -> Tensor:
        """Map :meth:`scaled` frames (B, T + 4, H / 2, W / 2) to (B, T, D).

        The first and the last two are context alone.
        """
        windows = x.unfold(1, STEM_FRAMES, 1)
        y = self.encode_images(windows[valid_mask].permute(0, 3, 1, 2).contiguous())
        encoded = y.new_zeros(*valid_mask.shape, y.shape[-1])
        encoded[valid_mask] = y
        return encoded

    def encode_images(self, stacked: Tensor) -> Tensor:
        """Map :meth:`scaled` frames with their neighbours (M, 5, H / 2, W / 2) to (M, D)."""
        y = F.relu(self.stem_norm(self.stem(stacked)))
        y = self.blocks(pooled(y))
        # Four quadrants, not one mean: where in the crop lips and teeth are is the message.
        return self.norm(self.out(self.dropout(F.adaptive_avg_pool2d(y, 2).flatten(1))))
