"""A small causal transformer language model over the recogniser's own tokens."""

# B sentences, U tokens, R rows, K vocabulary (0 begins and ends a sentence)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avsr.models.decoder import DecoderState, TokenDecoder


@dataclass(frozen=True)
class LanguageModelConfig:
    """Shape of a language model."""

    vocabulary_size: int  # K, of the recogniser's tokenizer, id 0 included
    width: int = 256
    num_heads: int = 4
    num_layers: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.vocabulary_size < 2:
            raise ValueError(
                f"vocabulary_size {self.vocabulary_size} must be at least 2: end and one piece"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout {self.dropout} must be in [0, 1)")


class TransformerLanguageModel(TokenDecoder):
    """P(token | earlier tokens of the sentence), with the attention decoder's cached layers."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__(
            config.vocabulary_size,
            config.width,
            config.num_heads,
            config.num_layers,
            config.dropout,
            with_memory=False,
        )
        self.config = config

    def forward(self, tokens_in: Tensor) -> Tensor:
        """Logits (B, U, K) of the token after each of ``tokens_in`` int (B, U), 0 first."""
        return self._logits(tokens_in)

    def start(self, batch: int) -> DecoderState:
        """State of ``batch`` rows before their first token."""
        return DecoderState(self._new_cache(batch), 0)

    @torch.no_grad()
    def step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, DecoderState]:
        """Log probabilities float32 (R, K) after the newest tokens (R,), the first of them 0."""
        logits, state = self._step(state, tokens[:, None])
        return logits[:, 0].log_softmax(-1), state

    def reorder(self, state: DecoderState, index: Tensor) -> DecoderState:
        """Row r goes on from row ``index[r]``; ``index`` int (R',)."""
        return self._reordered(state, index)
