"""Transducer head: a token, or a blank that moves to the next frame, from frame and past tokens.

The prediction network is stateless (Ghodsi et al. 2020, ICASSP, "RNN-transducer with stateless
prediction network"): it looks at the last two tokens. That costs next to no accuracy against an
LSTM, has no state to carry through a beam, and gives equal vectors to hypotheses that end alike.
"""

# B batch, T frames, U tokens, N rows, D width, J joint width, K vocabulary with blank 0

from __future__ import annotations

import torch
from torch import Tensor, nn

CONTEXT = 2  # tokens that the prediction network sees
BLANK = 0  # in a context it stands for "no token yet"


class Transducer(nn.Module):
    """Prediction network and joiner (Graves 2012, arXiv 1211.3711, eqs. 8-13).

    Args:
        vocabulary_size: K, the blank 0 included.
        width: D of the frames, and J.
        dropout: on the predicted vectors.
    """

    def __init__(self, vocabulary_size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, width)
        # One weight a channel for each place of the context: a depthwise convolution's.
        self.places = nn.Parameter(torch.full((CONTEXT, width), 1.0 / CONTEXT))
        self.dropout = nn.Dropout(dropout)
        self.from_tokens = nn.Linear(width, width)
        self.from_frames = nn.Linear(width, width)
        self.to_logits = nn.Linear(width, vocabulary_size)

    def project(self, memory: Tensor) -> Tensor:
        """The frames' share of the joiner: (..., D) to (..., J), once for all hypotheses."""
        return self.from_frames(memory)

    def predict(self, contexts: Tensor) -> Tensor:
        """The tokens' share of the joiner: last tokens int (..., 2), the newest last, to (..., J).

        A blank stands where there is no token yet.
        """
        mixed = (self.embedding(contexts) * self.places).sum(-2)
        return self.from_tokens(self.dropout(torch.relu(mixed)))

    def join(self, frames: Tensor, predicted: Tensor) -> Tensor:
        """Logits (..., K) of projected frames and predicted vectors, both (..., J)."""
        return self.to_logits(torch.tanh(frames + predicted))

    def forward(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, T, U + 1, K) at every frame after every number of tokens.

        They take 4 B T (U + 1) K bytes: with 5000 pieces, 1000 frames and 40 tokens 0.8 GB, and as
        much again for the gradient; choose ``max_frames`` of the training by that.

        Args:
            memory: (B, T, D).
            tokens: int (B, U), zeros after each utterance's end.
        """
        padded = nn.functional.pad(tokens, (CONTEXT, 0), value=BLANK)
        contexts = padded.unfold(1, CONTEXT, 1)  # (B, U + 1, 2)
        return self.join(self.project(memory)[:, :, None], self.predict(contexts)[:, None])
