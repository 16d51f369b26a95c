"""Transformer decoders in the two layouts of the published recognisers: ESPnet's and fairseq's.

Vaswani et al. 2017 (arXiv 1706.03762). ESPnet: layer norm first, sinusoids interleaved and from
position 0, embeddings times sqrt(D), an output layer of its own. fairseq: layer norm first or
last, sinusoids in two halves and from the position after the padding symbol's id, an output that
may share the embedding's weights.
"""

# B utterances, N hypotheses of each, R = B N rows, U tokens, T memory frames, D width, H heads,
# C channels of one head, K vocabulary

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.relative_conformer import LAYER_NORM_EPS, sinusoids

Layout = Literal["espnet", "fairseq"]
FAIRSEQ_FIRST_POSITION = 2  # the padding symbol has id 1, and positions start after it
MODULE_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


@dataclass(frozen=True)
class TransformerDecoderConfig:
    """Shape of a decoder."""

    vocabulary_size: int  # K
    width: int  # D
    memory_width: int  # of the encoder's output
    num_heads: int
    feed_forward: int  # inner width
    num_layers: int
    layout: Layout
    norm_first: bool = True
    scale_embedding: bool = True  # by sqrt(D)
    share_embedding: bool = False  # the output layer is the embedding, without bias
    activation: Literal["relu", "gelu"] = "relu"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(
                f"decoder width {self.width} is not a multiple of {self.num_heads} heads"
            )
        if self.activation not in MODULE_ACTIVATIONS:
            raise ValueError(
                f"decoder activation {self.activation!r} is not one of "
                f"{', '.join(MODULE_ACTIVATIONS)}"
            )


@dataclass(frozen=True)
class DecoderState:
    """What the steps so far have computed, by layer."""

    past: tuple[tuple[Tensor, Tensor], ...]  # keys, values (R, H, U, C) of the tokens so far
    memory: tuple[tuple[Tensor, Tensor], ...]  # keys, values (B, H, T, C) of the encoder's output
    memory_mask: Tensor  # (B, 1, 1, T) bool, True = a real frame
    num_tokens: int = 0


class CrossAttention(nn.Module):
    """Multi-head attention of a query over keys from another sequence (or its own)."""

    def __init__(self, width: int, source_width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.value = nn.Linear(source_width, width), nn.Linear(source_width, width)

    def heads(self, x: Tensor) -> Tensor:
        """(B, L, D) to (B, H, L, C)."""
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def keys_and_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Of a source (B, L, source width): two (B, H, L, C)."""
        return self.heads(self.key(source)), self.heads(self.value(source))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Map queries (B, U, D) to (B, U, D); ``mask`` True = may be looked at."""
        query = self.heads(self.query(x))
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return self.out(attended.transpose(1, 2).flatten(2))


class TransformerDecoderLayer(nn.Module):
    """Self-attention over the tokens, attention over the memory, feed-forward."""

    def __init__(self, config: TransformerDecoderConfig) -> None:
        super().__init__()
        width, eps = config.width, LAYER_NORM_EPS if config.layout == "espnet" else 1e-5
        self.self_attention = CrossAttention(width, width, config.num_heads)
        self.self_norm = nn.LayerNorm(width, eps=eps)
        self.memory_attention = CrossAttention(width, config.memory_width, config.num_heads)
        self.memory_norm = nn.LayerNorm(width, eps=eps)
        self.expand = nn.Linear(width, config.feed_forward)
        self.contract = nn.Linear(config.feed_forward, width)
        self.feed_forward_norm = nn.LayerNorm(width, eps=eps)
        self.norm_first = config.norm_first
        self.activation = MODULE_ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], memory_mask: Tensor) -> Tensor:
        """Map whole sequences (B, U, D) to (B, U, D)."""
        inner = self.self_norm(x) if self.norm_first else x
        num_tokens = x.shape[1]
        causal = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=x.device).tril()
        keys, values = self.self_attention.keys_and_values(inner)
        x = self._added(self.self_norm, x, self.self_attention(inner, keys, values, causal))
        return self._after_self_attention(x, memory, memory_mask)

    def step(
        self,
        x: Tensor,
        past: tuple[Tensor, Tensor],
        memory: tuple[Tensor, Tensor],
        memory_mask: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map the newest tokens (B, N, D); also returns the past with them."""
        rows = x.flatten(0, 1)[:, None]
        inner = self.self_norm(rows) if self.norm_first else rows
        keys, values = self.self_attention.keys_and_values(inner)
        keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        rows = self._added(self.self_norm, rows, self.self_attention(inner, keys, values, None))
        return self._after_self_attention(rows.view_as(x), memory, memory_mask), (keys, values)

    def _after_self_attention(
        self, x: Tensor, memory: tuple[Tensor, Tensor], memory_mask: Tensor
    ) -> Tensor:
        inner = self.memory_norm(x) if self.norm_first else x
        x = self._added(self.memory_norm, x, self.memory_attention(inner, *memory, memory_mask))
        inner = self.feed_forward_norm(x) if self.norm_first else x
        fed = self.contract(self.activation(self.expand(inner)))
        return self._added(self.feed_forward_norm, x, fed)

    def _added(self, norm: nn.Module, x: Tensor, change: Tensor) -> Tensor:
        added = x + self.dropout(change)
        return added if self.norm_first else norm(added)


class TransformerDecoder(nn.Module):
    """Token embeddings, layers, output logits; whole sequences, or one step after another."""

    def __init__(self, config: TransformerDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.layers = nn.ModuleList(
            TransformerDecoderLayer(config) for _ in range(config.num_layers)
        )
        eps = LAYER_NORM_EPS if config.layout == "espnet" else 1e-5
        self.norm = nn.LayerNorm(config.width, eps=eps) if config.norm_first else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        if not config.share_embedding:
            with_bias = config.layout == "espnet"
            self.output = nn.Linear(config.width, config.vocabulary_size, bias=with_bias)

    def forward(self, tokens_in: Tensor, memory: Tensor, memory_valid: Tensor) -> Tensor:
        """Logits (B, U, K) of each next token.

        Args:
            tokens_in: int64 (B, U), the symbol of beginning first.
            memory: float (B, T, memory width).
            memory_valid: bool (B, T), True = a real frame.
        """
        x = self._embed(tokens_in, torch.arange(tokens_in.shape[1], device=tokens_in.device))
        for layer, source in zip(self.layers, self._sources(memory), strict=True):
            x = layer(x, source, memory_valid[:, None, None])
        return self._logits(x)

    def _sources(self, memory: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        return tuple(
            layer.memory_attention.keys_and_values(memory)  # type: ignore[operator, union-attr]
            for layer in self.layers
        )

    # The step interface is that of avsr.models.decoder.AttentionDecoder.

    @torch.no_grad()
    def start(self, memory: Tensor, memory_valid: Tensor, num_hypotheses: int) -> DecoderState:
        """State before the first token, for N hypotheses of each of the B utterances."""
        sources = self._sources(memory)
        rows = len(memory) * num_hypotheses
        nothing = tuple(
            (keys.new_zeros(rows, keys.shape[1], 0, keys.shape[3]),) * 2 for keys, _ in sources
        )
        return DecoderState(nothing, sources, memory_valid[:, None, None])

    @torch.no_grad()
    def step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, DecoderState]:
        """Logits (B, N, K) after the newest tokens (B, N), the first of which begin sentences."""
        x = self._embed(tokens, torch.tensor([state.num_tokens], device=tokens.device))
        past = []
        for layer, before, memory in zip(self.layers, state.past, state.memory, strict=True):
            x, now = layer.step(x, before, memory, state.memory_mask)  # type: ignore[operator]
            past.append(now)
        return self._logits(x), replace(state, past=tuple(past), num_tokens=state.num_tokens + 1)

    def reorder(self, state: DecoderState, index: Tensor) -> DecoderState:
        """Hypothesis (b, n) goes on from (b, index[b, n]); ``index`` int (B, N)."""
        old_count = state.past[0][0].shape[0] // len(state.memory_mask)
        first = torch.arange(len(index), device=index.device)[:, None] * old_count
        rows = (first + index).flatten()
        return replace(state, past=tuple((k[rows], v[rows]) for k, v in state.past))

    def keep(self, state: DecoderState, utterances: Tensor) -> DecoderState:
        """The state of some of the utterances, int (B',)."""
        count = state.past[0][0].shape[0] // len(state.memory_mask)
        slots = torch.arange(count, device=utterances.device)
        rows = (utterances[:, None] * count + slots).flatten()
        return replace(
            state,
            past=tuple((k[rows], v[rows]) for k, v in state.past),
            memory=tuple((k[utterances], v[utterances]) for k, v in state.memory),
            memory_mask=state.memory_mask[utterances],
        )

    def _embed(self, tokens: Tensor, steps: Tensor) -> Tensor:
        x, width = self.embedding(tokens), self.config.width
        if self.config.scale_embedding:
            x = x * math.sqrt(width)
        if self.config.layout == "espnet":
            positions = sinusoids(steps.float(), width)
        else:
            positions = _halved_sinusoids(steps.float() + FAIRSEQ_FIRST_POSITION, width)
        return self.dropout(x + positions.to(x.dtype))

    def _logits(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        if self.config.share_embedding:
            return F.linear(x, self.embedding.weight)
        return self.output(x)


def _halved_sinusoids(positions: Tensor, width: int) -> Tensor:
    """Sines in the first half, cosines in the second, wavelengths ending at 10 000 x 2 pi."""
    half = width // 2
    rates = torch.exp(
        torch.arange(half, dtype=torch.float32, device=positions.device)
        * -(math.log(10000.0) / (half - 1))
    )
    angles = positions[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
