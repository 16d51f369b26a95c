"""The 2D talking mouth: speech and one picture of a mouth to pictures of it saying that.

Our own teacher, for corpora without another method's films. Small on purpose: it has to be good
enough that a lip reader can read it, and fast enough to be trained on a CPU.

Axis letters: B batch, T frames at 25 fps, F mel bands, D width, H W picture (88 x 88), C channels,
M = B x T pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsr.units import MODEL_CROP_SIZE
from learn2talk.models.student import Student, StudentConfig

STAGES = 3  # halvings of the picture: 88, 44, 22, 11
CHANGE_STAGE = 1  # the change is drawn at 44 pixels, which is what a lip reader looks at
GROUPS = 8


@dataclass(frozen=True)
class TalkingMouthConfig:
    """Shape of a talking mouth."""

    ear: StudentConfig = field(default_factory=StudentConfig)
    """Of the part that listens; the same as a student's trunk."""
    channels: tuple[int, int, int, int] = (8, 16, 32, 64)
    """Of the picture at 88, 44, 22 and 11 pixels; multiples of 8."""

    def __post_init__(self) -> None:
        if len(self.channels) != STAGES + 1 or any(c < 8 or c % GROUPS for c in self.channels):
            raise ValueError(f"channels {self.channels} must be four multiples of {GROUPS}")
        if self.ear.num_mels is None or self.ear.num_styles:
            raise ValueError(
                "the ear of a talking mouth hears log-mel features and knows no styles: leave its "
                f"num_mels a number and num_styles 0, not {self.ear.num_mels} and "
                f"{self.ear.num_styles}"
            )


def _convolution(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
        nn.GroupNorm(GROUPS, channels),
        nn.SiLU(),
    )


class TalkingMouth(nn.Module):
    """What is said at each frame moves the picture: the network gives the change from it.

    The change is drawn at half the size and enlarged: at full size it costs four times as much, and
    the lip readers of this toolkit look at half the size. Skin, beard and light come sharp from the
    reference.

    Frame t depends on the sound that a student's trunk hears for it, and on the reference picture,
    but on no other frame of pictures: there is nothing to drift.
    """

    def __init__(self, config: TalkingMouthConfig) -> None:
        super().__init__()
        self.config = config
        fine, half, quarter, coarse = config.channels
        self.ear = Student(config.ear, 1)
        self.ear.vertices.requires_grad_(False)  # a student's last layer, not used here
        self.look = nn.ModuleList(
            [
                _convolution(1, fine),
                _convolution(fine, half, 2),
                _convolution(half, quarter, 2),
                _convolution(quarter, coarse, 2),
            ]
        )
        side = MODEL_CROP_SIZE // 2**STAGES
        self.place = nn.Parameter(0.1 * torch.randn(coarse, side, side))
        self.say = nn.Linear(config.ear.width, 2 * coarse)
        self.start = _convolution(coarse, coarse)
        self.up = nn.ModuleList(
            [_convolution(coarse + quarter, quarter), _convolution(quarter + half, half)]
        )
        self.change = nn.Conv2d(half, 1, 3, padding=1)
        nn.init.zeros_(self.change.weight)  # an untrained mouth keeps still
        assert self.change.bias is not None
        nn.init.zeros_(self.change.bias)

    def forward(self, features: Tensor, reference: Tensor, valid_mask: Tensor) -> Tensor:
        """Pictures of the mouth while it speaks.

        Args:
            features: float (B, 4 T, F), natural-log mel.
            reference: float (B, H, W) in [0, 1], one grey picture of each mouth.
            valid_mask: bool (B, T), True = real frame.

        Returns:
            float (B, T, H, W) in [0, 1]; padding is the reference.

        Raises:
            ValueError: a reference of another size.
        """
        size = (MODEL_CROP_SIZE, MODEL_CROP_SIZE)
        if tuple(reference.shape[1:]) != size:
            raise ValueError(
                f"reference pictures are {tuple(reference.shape[1:])}; this network draws "
                f"{size[0]} x {size[1]}"
            )
        said, _ = self.ear.encode(features, valid_mask)
        pyramid = []
        x = 2.0 * reference[:, None] - 1.0
        for layer in self.look:
            x = layer(x)
            pyramid.append(x)
        batch, length = valid_mask.shape
        picture = torch.arange(batch, device=x.device).repeat_interleave(length)
        picture = picture[valid_mask.flatten()]  # of each real frame
        scale, shift = self.say(said[valid_mask])[..., None, None].chunk(2, dim=1)
        x = (pyramid[-1] + self.place)[picture] * (1.0 + scale) + shift
        x = self.start(x)
        for layer, skip in zip(self.up, reversed(pyramid[CHANGE_STAGE:-1]), strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = layer(torch.cat([x, skip[picture]], dim=1))
        change = functional.interpolate(
            self.change(x), scale_factor=2.0**CHANGE_STAGE, mode="bilinear", align_corners=False
        )
        moved = (reference[picture] + change[:, 0]).clamp(0.0, 1.0)
        out = reference[:, None].expand(batch, length, *size).clone()
        out[valid_mask] = moved.to(out.dtype)
        return out
