"""Transformer decoder: the next token from the tokens so far and, with memory, from the utterance.

``forward`` takes whole token sequences, for training. ``start``, ``step`` and ``reorder`` give the
same logits one token at a time: keys and values of the memory are computed once an utterance and
shared by its hypotheses, those of earlier tokens are kept.
"""

# B utterances, N hypotheses of each, R = B N rows, T frames of memory, U tokens, D width,
# H heads, C = D / H channels, K vocabulary (0 begins and ends a sentence)

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.layers import FeedForward

BOUNDARY_ID = 0  # begin and end of a sentence; in CTC logits the same id is blank
FIRST_CAPACITY = 16  # tokens that a new cache has room for; it doubles when it is full


def sinusoids(length: int, width: int, start: int = 0) -> Tensor:
    """Position vectors float32 (length, width) of Vaswani et al. 2017 (arXiv 1706.03762, 3.5)."""
    positions = torch.arange(start, start + length, dtype=torch.float64)[:, None]
    rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = positions * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


@dataclass(frozen=True)
class DecoderState:
    """What decoding has computed so far; a state is used up by the next step."""

    cache: Tensor  # (capacity, layers, 2, R, H, C): keys and values of the tokens, position first
    length: int  # tokens in the cache
    cross: tuple[tuple[Tensor, Tensor], ...] = ()  # of each layer (B, H, T, C) keys and values
    cross_mask: Tensor | None = None  # (B, 1, 1, T) bool, True = a real frame


class CausalSelfAttention(nn.Module):
    """Multi-head attention of each token to itself and the tokens before it."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, U, D) to (B, U, D)."""
        batch, tokens, width = x.shape
        qkv = self.to_qkv(self.norm(x)).view(batch, tokens, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(attended.transpose(1, 2).reshape(batch, tokens, width))

    def step(self, x: Tensor, cache: Tensor, length: int) -> Tensor:
        """Map the newest tokens (B, N, D); ``cache`` (capacity, 2, R, H, C) is written into."""
        qkv = self.to_qkv(self.norm(x)).view(-1, 3, self.num_heads, cache.shape[-1])
        cache[length] = qkv[:, 1:].transpose(0, 1)
        keys, values = cache[: length + 1].permute(1, 2, 3, 0, 4)  # (R, H, U, C)
        attended = F.scaled_dot_product_attention(qkv[:, 0, :, None], keys, values)
        return self.out(attended.reshape(x.shape))


class CrossAttention(nn.Module):
    """Multi-head attention of tokens to the valid frames of the memory."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width)
        self.to_kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, T, C) of the memory (B, T, D)."""
        batch, frames, _ = memory.shape
        kv = self.to_kv(memory).view(batch, frames, 2, self.num_heads, -1)
        keys, values = kv.permute(2, 0, 3, 1, 4)
        return keys, values

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Map (B, U, D), or the N newest tokens of each utterance (B, N, D)."""
        query = self.to_query(self.norm(x)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return self.out(attended.transpose(1, 2).flatten(2))


class DecoderBlock(nn.Module):
    """Pre-norm transformer decoder layer (Vaswani et al. 2017, sec. 3.1); memory is optional."""

    def __init__(self, width: int, num_heads: int, dropout: float, *, with_memory: bool) -> None:
        super().__init__()
        self.self_attention = CausalSelfAttention(width, num_heads)
        self.cross_attention = CrossAttention(width, num_heads) if with_memory else None
        self.feed_forward = FeedForward(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, memory_valid: Tensor | None = None
    ) -> Tensor:
        """Map (B, U, D) to (B, U, D)."""
        x = x + self.dropout(self.self_attention(x))
        if self.cross_attention is not None:
            assert memory is not None and memory_valid is not None
            keys, values = self.cross_attention.keys_values(memory)
            mask = memory_valid[:, None, None]
            x = x + self.dropout(self.cross_attention(x, keys, values, mask))
        return x + self.dropout(self.feed_forward(x))


class TokenDecoder(nn.Module):
    """Embedding, decoder layers and logits, shared by the attention decoder and language models.

    Args:
        vocabulary_size: K, id 0 included.
        width: D, a multiple of twice the number of heads.
        num_heads: H.
        num_layers: decoder layers.
        dropout: of embeddings and of each residual branch.
        with_memory: attend to a memory as well.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        num_heads: int,
        num_layers: int,
        dropout: float,
        *,
        with_memory: bool,
    ) -> None:
        super().__init__()
        if width % (2 * num_heads):
            raise ValueError(f"width {width} must be a multiple of 2 x {num_heads} heads")
        if num_layers < 1:
            raise ValueError(f"num_layers {num_layers} of a decoder must be at least 1")
        self.num_heads = num_heads
        self.embed = nn.Embedding(vocabulary_size, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.layers = nn.ModuleList(
            DecoderBlock(width, num_heads, dropout, with_memory=with_memory)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.to_logits = nn.Linear(width, vocabulary_size)
        self.dropout = nn.Dropout(dropout)

    def _embedded(self, tokens: Tensor, position: int | None = None) -> Tensor:
        """Token and position vectors; all at one ``position``, or at 0, 1, ... along U."""
        x = self.embed(tokens)
        start, length = (0, tokens.shape[1]) if position is None else (position, 1)
        positions = sinusoids(length, x.shape[-1], start).to(x.device, x.dtype)
        return self.dropout(x * math.sqrt(x.shape[-1]) + positions)

    def _logits(
        self, tokens_in: Tensor, memory: Tensor | None = None, memory_valid: Tensor | None = None
    ) -> Tensor:
        x = self._embedded(tokens_in)
        for layer in self.layers:
            x = layer(x, memory, memory_valid)
        return self.to_logits(self.norm(x))

    def _new_cache(self, rows: int) -> Tensor:
        weight = self.embed.weight
        channels = weight.shape[1] // self.num_heads
        shape = (FIRST_CAPACITY, len(self.layers), 2, rows, self.num_heads, channels)
        return weight.new_empty(shape)

    def _step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, DecoderState]:
        """Logits (B, N, K) after the next tokens (B, N), all at position ``state.length``."""
        cache, length = state.cache, state.length
        if length == len(cache):
            cache = torch.cat([cache, torch.empty_like(cache)])
        x = self._embedded(tokens, length)
        for number, layer in enumerate(self.layers):
            x = x + layer.self_attention.step(x, cache[:, number], length)  # type: ignore[operator, union-attr]
            if state.cross_mask is not None:
                x = x + layer.cross_attention(x, *state.cross[number], state.cross_mask)  # type: ignore[operator]
            x = x + layer.feed_forward(x)  # type: ignore[operator]
        return self.to_logits(self.norm(x)), replace(state, cache=cache, length=length + 1)

    def _reordered(self, state: DecoderState, rows: Tensor) -> DecoderState:
        """The state in which row ``r`` goes on from row ``rows[r]``; ``rows`` int (R',)."""
        old = state.cache
        cache = old.new_empty((*old.shape[:3], len(rows), *old.shape[4:]))
        torch.index_select(old[: state.length], 3, rows, out=cache[: state.length])
        return replace(state, cache=cache)


class AttentionDecoder(TokenDecoder):
    """Attention decoder of a recogniser: P(token | earlier tokens, utterance)."""

    def __init__(
        self, vocabulary_size: int, width: int, num_heads: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__(vocabulary_size, width, num_heads, num_layers, dropout, with_memory=True)

    def forward(self, tokens_in: Tensor, memory: Tensor, memory_valid: Tensor) -> Tensor:
        """Logits (B, U, K) of the token after each of ``tokens_in``.

        Args:
            tokens_in: int (B, U), 0 first, then the sentence's tokens; anything after its end.
            memory: (B, T, D) of the utterance.
            memory_valid: bool (B, T), at least one True a row.
        """
        return self._logits(tokens_in, memory, memory_valid)

    @torch.no_grad()
    def start(self, memory: Tensor, memory_valid: Tensor, num_hypotheses: int) -> DecoderState:
        """State before the first token, for N hypotheses of each of the B utterances."""
        cross = tuple(layer.cross_attention.keys_values(memory) for layer in self.layers)  # type: ignore[operator, union-attr]
        cache = self._new_cache(len(memory) * num_hypotheses)
        return DecoderState(cache, 0, cross, memory_valid[:, None, None])

    @torch.no_grad()
    def step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, DecoderState]:
        """Logits (B, N, K) after the newest tokens (B, N), the first of which are all 0."""
        return self._step(state, tokens)

    def reorder(self, state: DecoderState, index: Tensor) -> DecoderState:
        """Hypothesis (b, n) goes on from (b, index[b, n]); ``index`` int (B, N)."""
        first = torch.arange(len(index), device=index.device)[:, None] * index.shape[1]
        return self._reordered(state, (first + index).flatten())

    def keep(self, state: DecoderState, utterances: Tensor) -> DecoderState:
        """The state of some of the utterances, int (B',)."""
        assert state.cross_mask is not None
        num_hypotheses = state.cache.shape[3] // len(state.cross_mask)
        slots = torch.arange(num_hypotheses, device=utterances.device)
        rows = (utterances[:, None] * num_hypotheses + slots).flatten()
        cross = tuple((keys[utterances], values[utterances]) for keys, values in state.cross)
        kept = replace(state, cross=cross, cross_mask=state.cross_mask[utterances])
        return self._reordered(kept, rows)
