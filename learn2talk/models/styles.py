"""Who moves the face: a known speaker, the average of all, or the talker of a reference clip.

Every way to say it ends in one vector of the network's width, added to every frame of the sound:

    style = speakers @ table + from_clip * linear(normalised statistics)

A known speaker is a row of the table, the average is the mean of its rows, and a clip gives 36
statistics of its lips, which a linear map takes to the same space. Training draws among the three
(learn2talk.data.styles), so that none is strange to the network.

Axis letters: B batch, T frames, N known speakers, C statistics (36), D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from avsr.units import VIDEO_FPS
from learn2talk.models.layers import rigid_free_motion

# Of the canonical 40 points: two contours of left corner, lower lip, right corner, upper lip.
LIP_PARTS: tuple[tuple[int, ...], ...] = (
    (0, 20),
    (*range(1, 10), *range(21, 30)),
    (10, 30),
    (*range(11, 20), *range(31, 40)),
)
NUM_STATISTICS = 3 * 3 * len(LIP_PARTS)  # mean, spread and speed of x, y, z of each part
FARTHEST = 3.0  # standard deviations: a clip that is stranger than this counts as this strange


class Style(NamedTuple):
    """A style for each utterance of a batch."""

    speakers: Tensor  # (B, N) float, weight of each known speaker; zeros where a clip gives it
    statistics: Tensor  # (B, C) float, mm and mm/s, of the clip; zeros where there is none
    from_clip: Tensor  # (B, 1) float, 1 where the clip gives the style, else 0

    def to(self, device: torch.device) -> Style:
        """The same style on another device."""
        return Style(*(part.to(device) for part in self))


def speaker_style(index: int, num_styles: int) -> Style:
    """The style (B = 1) of the known speaker `index`, 0 <= index < num_styles."""
    speakers = torch.zeros(1, num_styles)
    speakers[0, index] = 1.0
    return Style(speakers, torch.zeros(1, NUM_STATISTICS), torch.zeros(1, 1))


def average_style(num_styles: int, batch: int = 1) -> Style:
    """The mean of the known speakers' styles, for each of `batch` utterances."""
    speakers = torch.full((batch, num_styles), 1.0 / num_styles)
    return Style(speakers, torch.zeros(batch, NUM_STATISTICS), torch.zeros(batch, 1))


def clip_style(statistics: Tensor, num_styles: int) -> Style:
    """The style (B = 1) of a clip with these `statistics` (C,), see `style_statistics`."""
    return Style(torch.zeros(1, num_styles), statistics[None].float(), torch.ones(1, 1))


def style_statistics(lips: Tensor, neutral: Tensor, fps: float = VIDEO_FPS) -> Tensor:
    """How far, how variedly and how fast the parts of somebody's lips move; no words in it.

    The rigid-free displacement of the lips is averaged over each corner, the lower and the upper
    lip: 12 curves. Their means (mm), standard deviations (mm) and mean speeds (mm/s) follow.

    Args:
        lips: float (T, 40, 3), mm, T >= 2, canonical points of any topology.
        neutral: float (40, 3), mm.
        fps: of the lips.

    Returns:
        float (C,).
    """
    motion = rigid_free_motion(lips[None], neutral[None])[0].view(len(lips), -1, 3)
    curves = torch.cat([motion[:, list(part)].mean(dim=1) for part in LIP_PARTS], dim=1)
    speed = curves.diff(dim=0).abs().mean(dim=0) * fps
    return torch.cat([curves.mean(dim=0), curves.std(dim=0, correction=0), speed])


class StyleEncoder(nn.Module):
    """Table of known speakers, and the map of a clip's statistics into the same space."""

    def __init__(self, num_styles: int, width: int) -> None:
        super().__init__()
        self.statistics_mean: Tensor
        self.statistics_std: Tensor
        self.register_buffer("statistics_mean", torch.zeros(NUM_STATISTICS))
        self.register_buffer("statistics_std", torch.ones(NUM_STATISTICS))
        self.table = nn.Parameter(0.02 * torch.randn(num_styles, width))
        self.from_statistics = nn.Linear(NUM_STATISTICS, width)

    def forward(self, style: Style) -> Tensor:
        """One vector for each utterance, (B, 1, D).

        Raises:
            ValueError: weights for another number of speakers.
        """
        if style.speakers.shape[1] != len(self.table):
            raise ValueError(
                f"style has weights for {style.speakers.shape[1]} speakers, the network knows "
                f"{len(self.table)}; make it for this network"
            )
        normal = (style.statistics - self.statistics_mean) / self.statistics_std
        of_clip = self.from_statistics(normal.clamp(-FARTHEST, FARTHEST))
        vector: Tensor = style.speakers @ self.table + style.from_clip * of_clip
        return vector[:, None]


def style_vector(encoder: StyleEncoder | None, style: Style | None, batch: int) -> Tensor | None:
    """The vectors (B, 1, D) of a style; without one the average, and None without any styles.

    Raises:
        ValueError: a style for a network that has none.
    """
    if encoder is None:
        if style is not None:
            raise ValueError(
                "this student has no styles; leave the style out, or train one with "
                "--config.styles.per-speaker"
            )
        return None
    chosen = average_style(len(encoder.table), batch) if style is None else style
    vector: Tensor = encoder(chosen.to(encoder.table.device))
    return vector
