"""The Conformer of ESPnet and Auto-AVSR: relative positions, batch norm in the convolution module.

Gulati et al. 2020 (arXiv 2005.08100) with the attention of Dai et al. 2019 (arXiv 1901.02860,
section 3.3). It differs from ``avsr.models.layers.ConformerBlock`` (rotary positions, layer norm)
and is here for weights that were trained in this shape.
"""

# B batch, T frames, D width, N heads, C channels of one head

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.layers import masked

LAYER_NORM_EPS = 1e-12


def layer_norm(width: int) -> nn.LayerNorm:
    """Layer norm with ESPnet's epsilon."""
    return nn.LayerNorm(width, eps=LAYER_NORM_EPS)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Vaswani et al. 2017 (arXiv 1706.03762, section 3.5), sine and cosine interleaved.

    Args:
        positions: float (T,), any sign.
        width: D, even.

    Returns:
        float (T, D).
    """
    even = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device)
    angles = positions[:, None] * torch.exp(even * -(math.log(10000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class RelativeSelfAttention(nn.Module):
    """Self-attention whose scores see content and the distance between query and key."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = layer_norm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.position = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(num_heads, width // num_heads))
        self.position_bias = nn.Parameter(torch.zeros(num_heads, width // num_heads))

    def forward(self, x: Tensor, distances: Tensor, valid_mask: Tensor) -> Tensor:
        """Map (B, T, D); ``distances`` (2 T - 1, D) are the sinusoids of T - 1 ... -(T - 1)."""
        batch, frames, width = x.shape
        x = self.norm(x)

        def heads(values: Tensor) -> Tensor:  # (B, L, D) -> (B, N, L, C)
            return values.view(values.shape[0], -1, self.num_heads, width // self.num_heads)

        query = heads(self.query(x))
        key, value = heads(self.key(x)).transpose(1, 2), heads(self.value(x)).transpose(1, 2)
        position = heads(self.position(distances)[None]).transpose(1, 2)
        by_content = (query + self.content_bias).transpose(1, 2) @ key.transpose(-2, -1)
        by_distance = (query + self.position_bias).transpose(1, 2) @ position.transpose(-2, -1)
        # Query i and key j lie i - j apart, which stands at T - 1 - (i - j) of the distances.
        time = torch.arange(frames, device=x.device)
        index = (frames - 1) - time[:, None] + time[None]
        by_distance = by_distance.gather(-1, index.expand(*by_content.shape))
        scores = (by_content + by_distance) / math.sqrt(width // self.num_heads)
        scores = scores.masked_fill(~valid_mask[:, None, None], torch.finfo(scores.dtype).min)
        attended = scores.softmax(-1) @ value
        return self.out(attended.transpose(1, 2).reshape(batch, frames, width))


class BatchNormConvolution(nn.Module):
    """The Conformer's convolution module with its batch norm."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm = layer_norm(width)
        self.expand = nn.Conv1d(width, 2 * width, 1)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.batch_norm = nn.BatchNorm1d(width)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, valid_mask: Tensor) -> Tensor:
        """Map (B, T, D); invalid frames count as zeros for their neighbours."""
        gated = F.glu(self.expand(self.norm(x).transpose(1, 2)), dim=1)
        mixed = self.depthwise(gated * valid_mask[:, None].to(x.dtype))
        return self.out(F.silu(self.batch_norm(mixed))).transpose(1, 2)


class ReluFeedForward(nn.Sequential):
    """Pre-norm feed-forward module with ReLU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__(
            layer_norm(width), nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width)
        )


class RelativeConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, layer norm."""

    def __init__(self, width: int, num_heads: int, inner: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.first_half = ReluFeedForward(width, inner)
        self.attention = RelativeSelfAttention(width, num_heads)
        self.convolution = BatchNormConvolution(width, kernel)
        self.second_half = ReluFeedForward(width, inner)
        self.norm = layer_norm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, distances: Tensor, valid_mask: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        x = x + 0.5 * self.dropout(self.first_half(x))
        x = x + self.dropout(self.attention(x, distances, valid_mask))
        x = x + self.dropout(self.convolution(x, valid_mask))
        x = x + 0.5 * self.dropout(self.second_half(x))
        return self.norm(x)


class RelativeConformer(nn.Module):
    """Linear map of a front-end's features, Conformer blocks, layer norm.

    Args:
        features: width of the front-end's output.
        width, num_heads, inner, num_layers, kernel: shape of the blocks.
        dropout: after each module of a block and after the embedding.
    """

    def __init__(
        self,
        features: int,
        width: int,
        num_heads: int,
        inner: int,
        num_layers: int,
        kernel: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            RelativeConformerBlock(width, num_heads, inner, kernel, dropout)
            for _ in range(num_layers)
        )
        self.norm = layer_norm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, valid_mask: Tensor) -> Tensor:
        """Map (B, T, features) to (B, T, D); invalid frames come out as zeros."""
        x = self.embed(features)
        frames, width = x.shape[1:]
        steps = torch.arange(frames - 1, -frames, -1, dtype=torch.float32, device=x.device)
        distances = self.dropout(sinusoids(steps, width).to(x.dtype))
        x = self.dropout(x * math.sqrt(width))
        for block in self.blocks:
            x = block(x, distances, valid_mask)
        return masked(self.norm(x), valid_mask)
