"""Attention inside a band, and lip motion without its rigid part.

Axis letters: B batch, T frames, D width, H heads, P lip points.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

RIGID_MODES = 6  # three translations and three infinitesimal rotations


def rigid_free_motion(lips: Tensor, neutral: Tensor) -> Tensor:
    """Displacement of the lips from rest without the part that a rigid movement explains.

    The displacement field, a vector of 3 P numbers, is projected on the orthogonal complement of
    the three translations and three infinitesimal rotations of the neutral lips. It is linear in
    `lips`, so its gradient is exact; for rotations of a few degrees it equals a Procrustes
    alignment up to second order.

    Args:
        lips: float (B, T, P, 3), mm.
        neutral: float (B, P, 3), mm, P >= 3 points that do not lie on one line.

    Returns:
        float (B, T, 3 P), mm.
    """
    centred = neutral - neutral.mean(dim=1, keepdim=True)
    axes = torch.eye(3, dtype=neutral.dtype, device=neutral.device)
    batch, points = neutral.shape[:2]
    moves = axes.expand(batch, points, 3, 3).permute(3, 0, 1, 2)  # 3 x (B, P, 3)
    turns = torch.stack([torch.linalg.cross(axis.expand_as(centred), centred) for axis in axes])
    modes = torch.cat([moves, turns]).flatten(2).permute(1, 2, 0)  # (B, 3 P, 6)
    basis = torch.linalg.qr(modes).Q
    shift = (lips - neutral[:, None]).flatten(2)
    return shift - (shift @ basis) @ basis.transpose(1, 2)


def split_budget(total: int, parts: int) -> list[int]:
    """`total` frames shared by `parts` layers as evenly as whole numbers allow, larger first."""
    return [total // parts + (index < total % parts) for index in range(parts)]


def band_bias(offset_bias: Tensor, look_back: int, queries: int, keys: int, first: int) -> Tensor:
    """What attention in a band adds to its scores: a bias for each offset, -inf outside.

    All rows are one vector, each time shifted by one, so nothing is looked up entry by entry.

    Args:
        offset_bias: (H, look_back + 1 + look_ahead), of the offsets key minus query, ascending.
        look_back: frames.
        queries, keys: how many.
        first: place of the first query among the keys, at least 0.

    Returns:
        (H, queries, keys).
    """
    below = max(0, queries - 1 + first - look_back)
    above = max(0, keys - first + look_back - offset_bias.shape[1])
    line = functional.pad(offset_bias, (below, above), value=float("-inf"))
    start = below + look_back - first  # of the first query's row; the next one's is 1 before it
    return line.unfold(1, keys, 1)[:, start - queries + 1 : start + 1].flip(1)


class BandedAttention(nn.Module):
    """Self-attention in which frame t sees frames [t - look_back, t + look_ahead].

    Position is a learned bias for each head and each offset in the band, so that nothing depends
    on where in the file a frame is.
    """

    def __init__(self, width: int, heads: int, look_back: int, look_ahead: int) -> None:
        super().__init__()
        self.heads, self.look_back, self.look_ahead = heads, look_back, look_ahead
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.offset_bias = nn.Parameter(torch.zeros(heads, look_back + look_ahead + 1))

    def _mask(self, valid_mask: Tensor) -> Tensor:
        """Additive (B, H, T, T): the offset bias inside the band, minus infinity elsewhere."""
        length = valid_mask.shape[1]
        if not torch.is_grad_enabled() and bool(valid_mask.all()):
            return band_bias(self.offset_bias, self.look_back, length, length, 0)[None]
        frames = torch.arange(length, device=valid_mask.device)
        offset = frames[None, :] - frames[:, None]  # key minus query
        in_band = (offset >= -self.look_back) & (offset <= self.look_ahead)
        bias = self.offset_bias[
            :, (offset + self.look_back).clamp(0, self.look_back + self.look_ahead)
        ]
        # A padded query sees itself, so that no row of the softmax is empty.
        seen = in_band & (valid_mask[:, None, :] | (offset == 0))
        return bias[None].masked_fill(~seen[:, None], float("-inf"))

    def forward(self, frames: Tensor, valid_mask: Tensor) -> Tensor:
        """(B, T, D) and valid_mask (B, T), True = real, to (B, T, D)."""
        batch, length, width = frames.shape
        query, key, value = (
            self.project(frames)
            .view(batch, length, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self._mask(valid_mask).to(query.dtype)
        )
        merged: Tensor = self.merge(mixed.transpose(1, 2).reshape(batch, length, width))
        return merged


class BandedTransformerLayer(nn.Module):
    """Pre-norm transformer layer with banded attention."""

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        dropout: float,
        look_back: int,
        look_ahead: int,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = BandedAttention(width, heads, look_back, look_ahead)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, valid_mask: Tensor) -> Tensor:
        """(B, T, D) and valid_mask (B, T) to (B, T, D)."""
        frames = frames + self.dropout(self.attention(self.attention_norm(frames), valid_mask))
        out: Tensor = frames + self.dropout(self.feedforward(self.feedforward_norm(frames)))
        return out


def banded_layers(
    count: int,
    width: int,
    heads: int,
    feedforward: int,
    dropout: float,
    *,
    look_back: int,
    look_ahead: int,
) -> nn.ModuleList:
    """Layers that together look back and ahead by these frames, shared out by `split_budget`."""
    return nn.ModuleList(
        BandedTransformerLayer(width, heads, feedforward, dropout, back, ahead)
        for back, ahead in zip(
            split_budget(look_back, count), split_budget(look_ahead, count), strict=True
        )
    )


class StreamingLayer:
    """A banded layer fed in pieces: what it gives is what the layer gives for everything at once.

    Kept are the frames that wait for their look-ahead, and the keys and values that later frames
    will see, so that nothing grows with the length. Without dropout, for one sequence (B = 1).
    """

    def __init__(self, layer: BandedTransformerLayer) -> None:
        self.layer = layer
        attention = layer.attention
        width = attention.merge.in_features
        weight = attention.merge.weight
        self.waiting = weight.new_zeros(1, 0, width)
        nothing = weight.new_zeros(1, attention.heads, 0, width // attention.heads)
        self.queries = self.keys = self.values = nothing
        self.seen_before = 0  # kept keys of frames that are done

    def step(self, frames: Tensor, *, last: bool) -> Tensor:
        """Take frames (1, N, D); returns those (1, M, D) whose look-ahead is there now.

        Args:
            frames: the next ones, any number.
            last: nothing will follow.
        """
        layer, attention = self.layer, self.layer.attention
        self._take(frames)
        waiting = self.waiting.shape[1]
        ready = waiting if last else max(0, waiting - attention.look_ahead)
        if ready == 0:
            return frames[:, :0]
        bias = band_bias(
            attention.offset_bias,
            attention.look_back,
            ready,
            self.keys.shape[2],
            self.seen_before,
        )
        mixed = functional.scaled_dot_product_attention(
            self.queries[:, :, :ready], self.keys, self.values, attn_mask=bias[None]
        )
        out = self.waiting[:, :ready]
        out = out + attention.merge(mixed.transpose(1, 2).reshape(out.shape))
        out = out + layer.feedforward(layer.feedforward_norm(out))
        self._drop(ready)
        return out

    def _take(self, frames: Tensor) -> None:
        attention = self.layer.attention
        shape = (1, frames.shape[1], 3, attention.heads, self.keys.shape[3])
        projected = attention.project(self.layer.attention_norm(frames))
        query, key, value = projected.view(shape).permute(2, 0, 3, 1, 4)
        self.waiting = torch.cat([self.waiting, frames], dim=1)
        self.queries = torch.cat([self.queries, query], dim=2)
        self.keys = torch.cat([self.keys, key], dim=2)
        self.values = torch.cat([self.values, value], dim=2)

    def _drop(self, ready: int) -> None:
        """Forget frames that are done, and keys that no later frame sees."""
        self.waiting, self.queries = self.waiting[:, ready:], self.queries[:, :, ready:]
        done = self.seen_before + ready
        unseen = max(0, done - self.layer.attention.look_back)
        self.keys, self.values = self.keys[:, :, unseen:], self.values[:, :, unseen:]
        self.seen_before = done - unseen


class WindowConvolution(nn.Module):
    """Valid convolution over time, channel norm and GELU: it sees its window and nothing else."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, kernel, stride)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, inputs) to (B, (T - kernel) // stride + 1, outputs)."""
        convolved = self.convolution(frames.transpose(1, 2)).transpose(1, 2)
        return functional.gelu(self.norm(convolved))
