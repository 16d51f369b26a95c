"""Join the streams frame by frame; any of them may be missing, per frame and per utterance."""

# B batch, T frames, D width

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from avsr.models.layers import masked

Stream = Literal["audio", "crops", "lips"]
STREAMS: tuple[Stream, ...] = get_args(Stream)


class Fusion(nn.Module):
    """Concatenation of the streams and a two-layer map.

    A stream that is missing at a frame is replaced there by a learned vector, so that the network
    knows that it is missing and does not mistake it for silence or a closed mouth.
    """

    def __init__(self, streams: tuple[Stream, ...], width: int, dropout: float) -> None:
        super().__init__()
        self.streams = streams
        self.absent = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(width) * 0.02) for name in streams}
        )
        self.join = nn.Sequential(
            nn.Linear(len(streams) * width, 2 * width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, encoded: dict[Stream, tuple[Tensor, Tensor]], valid_mask: Tensor) -> Tensor:
        """Fuse to (B, T, D).

        Args:
            encoded: for each stream that is there, (B, T, D) and its presence (B, T) bool.
            valid_mask: (B, T) bool, True = a real frame of the utterance.

        Raises:
            ValueError: a stream that this network was not built with.
        """
        if unknown := sorted(set(encoded) - set(self.streams)):
            raise ValueError(
                f"streams {unknown} are not among this network's {list(self.streams)}; "
                "train one with them, or leave them out"
            )
        parts = []
        for name in self.streams:
            absent = self.absent[name].expand(*valid_mask.shape, -1)
            if name in encoded:
                values, present = encoded[name]
                parts.append(torch.where(present[..., None], values, absent))
            else:
                parts.append(absent)
        return masked(self.join(torch.cat(parts, dim=-1)), valid_mask)
