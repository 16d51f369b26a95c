"""Masked building blocks: an utterance alone and inside a padded batch give the same output.

The one mask of the toolkit is ``valid_mask`` (B, T) bool, True = a real frame. Nothing here uses
statistics over a batch, so a result never depends on an utterance's neighbours.
"""

# B batch, T frames, D width, N heads, C channels of one head

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class ChunkConfig:
    """Attention by chunks: a frame sees its own chunk to the end, and ``left_chunks`` before it.

    Chunk ``c`` holds the frames ``[c * frames, (c + 1) * frames)`` of every utterance.
    """

    frames: int  # of one chunk
    left_chunks: int | None = None  # None: all that came before

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"chunk frames {self.frames} must be at least 1")
        if self.left_chunks is not None and self.left_chunks < 0:
            raise ValueError(
                f"left_chunks {self.left_chunks} must be 0 (none) or more, or None (all)"
            )


def chunk_mask(num_frames: int, chunks: ChunkConfig, device: torch.device | None = None) -> Tensor:
    """bool (T, T), True where the frame of a row may look at the frame of a column."""
    chunk = torch.arange(num_frames, device=device) // chunks.frames
    back = chunk[:, None] - chunk[None]
    seen = back >= 0
    return seen if chunks.left_chunks is None else seen & (back <= chunks.left_chunks)


def attention_mask(valid_mask: Tensor, chunks: ChunkConfig | None) -> Tensor:
    """bool (B, 1, 1 or T, T): which frames each frame attends to.

    In chunks every frame may also look at itself: an invalid one in a chunk without a valid one
    would have nothing to look at, and softmax would make NaN of it.
    """
    if chunks is None:
        return valid_mask[:, None, None, :]
    allowed = chunk_mask(valid_mask.shape[1], chunks, valid_mask.device)
    itself = torch.eye(valid_mask.shape[1], dtype=torch.bool, device=valid_mask.device)
    return ((valid_mask[:, None] & allowed) | itself)[:, None]


def masked(x: Tensor, valid_mask: Tensor) -> Tensor:
    """Zeros where ``valid_mask`` (B, T) is False in ``x`` (B, T, ...)."""
    return x * valid_mask.view(*valid_mask.shape, *([1] * (x.ndim - 2))).to(x.dtype)


def mask_of_lengths(lengths: Tensor, num_frames: int) -> Tensor:
    """bool (B, num_frames), True before each of ``lengths`` (B,)."""
    return torch.arange(num_frames, device=lengths.device)[None] < lengths[:, None]


def rotate(x: Tensor, start: int = 0) -> Tensor:
    """Rotary position embedding (Su et al. 2021, arXiv 2104.09864, eq. 34) of (B, N, T, C).

    ``start`` is the position of the first of the T; only distances between positions matter.
    """
    half = x.shape[-1] // 2
    frequencies = 10_000.0 ** (-torch.arange(half, device=x.device) / half)
    angles = torch.arange(start, start + x.shape[-2], device=x.device)[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class SelfAttention(nn.Module):
    """Multi-head self-attention over the valid frames, with rotary positions."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % (2 * num_heads):
            raise ValueError(
                f"width {width} must be a multiple of 2 x {num_heads} heads for rotary positions"
            )
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def heads_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, N, T, C) of (B, T, D), not yet rotated."""
        qkv = self.to_qkv(self.norm(x)).view(*x.shape[:2], 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return query, key, value

    def forward(
        self, x: Tensor, valid_mask: Tensor, *, chunks: ChunkConfig | None = None
    ) -> Tensor:
        """Map (B, T, D) to (B, T, D); what stands in invalid frames is not attended to."""
        query, key, value = self.heads_of(x)
        attended = F.scaled_dot_product_attention(
            rotate(query),
            rotate(key),
            value,
            # No dropout on the attention weights: it would forbid the fused kernels, and drawing
            # its mask costs more than the attention itself.
            attn_mask=attention_mask(valid_mask, chunks),
        )
        return self.out(attended.transpose(1, 2).reshape(x.shape))


class ConvolutionModule(nn.Module):
    """The Conformer's convolution module with layer norm for batch norm, which leaks padding.

    The kernel is centred on its frame, or ends there where ``causal`` is True.
    """

    def __init__(self, width: int, kernel: int, causal: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.left = kernel - 1 if causal else 0  # frames of zeros before the first one
        padding = 0 if causal else kernel // 2
        self.depthwise = nn.Conv1d(width, width, kernel, padding=padding, groups=width)
        self.depthwise_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, valid_mask: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D); invalid frames count as zeros for their neighbours."""
        gated = self.gated(x, valid_mask)
        return self.mixed(F.pad(gated, (0, 0, self.left, 0)) if self.left else gated)

    def gated(self, x: Tensor, valid_mask: Tensor) -> Tensor:
        """What the convolution over time looks at, (B, T, D)."""
        return masked(F.glu(self.expand(self.norm(x)), dim=-1), valid_mask)

    def mixed(self, gated: Tensor) -> Tensor:
        """The convolution over time and what follows it; ``left`` frames fewer than it takes."""
        mixed = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        return self.out(F.silu(self.depthwise_norm(mixed)))


class FeedForward(nn.Sequential):
    """Position-wise feed-forward module, pre-norm, four times as wide inside."""

    def __init__(self, width: int, factor: int = 4) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, factor * width),
            nn.SiLU(),
            nn.Linear(factor * width, width),
        )


class ConformerBlock(nn.Module):
    """Conformer block (Gulati et al. 2020, arXiv 2005.08100, eq. 1), padding-exact."""

    def __init__(
        self, width: int, num_heads: int, kernel: int, dropout: float, causal: bool = False
    ) -> None:
        super().__init__()
        self.first_half = FeedForward(width)
        self.attention = SelfAttention(width, num_heads)
        self.convolution = ConvolutionModule(width, kernel, causal)
        self.second_half = FeedForward(width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, valid_mask: Tensor, *, chunks: ChunkConfig | None = None
    ) -> Tensor:
        """Map (B, T, D) to (B, T, D); invalid frames come out as zeros.

        ``chunks`` limits what the attention sees; ``None`` is the whole utterance.
        """
        x = x + 0.5 * self.dropout(self.first_half(x))
        x = x + self.dropout(self.attention(x, valid_mask, chunks=chunks))
        x = x + self.dropout(self.convolution(x, valid_mask))
        x = x + 0.5 * self.dropout(self.second_half(x))
        return masked(self.norm(x), valid_mask)
