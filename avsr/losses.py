"""Losses of the recogniser, as sums with their number of targets.

A loss is a sum and a count, never a mean: the loop divides the sum over the whole update (all
micro-batches, all processes) by the count over the whole update, so that the gradient does not
depend on how the update was split.
"""

# B batch, T frames, K vocabulary with blank 0, U tokens

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED_TOKEN = -1
UNKNOWN_FRAME = -1  # a frame of which nobody said which token it belongs to


@dataclass(frozen=True)
class LossSum:
    """A loss summed over its targets."""

    total: Tensor  # scalar, differentiable
    count: int  # number of targets in the sum
    # Further sums over the same targets, under the same names in every batch.
    logs: dict[str, float] = field(default_factory=dict)


def ctc_loss_sum(logits: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> LossSum:
    """Connectionist temporal classification (Graves et al. 2006, eq. 8), in nats, summed.

    Args:
        logits: float (B, T, K), blank 0.
        lengths: int (B,) frames of each utterance.
        tokens: int (B, U) in [1, K), zeros after each utterance's end.
        token_lengths: int (B,).

    Returns:
        the sum over the batch; the count is the number of tokens.

    Raises:
        ValueError: an utterance has more tokens, with the blanks that repeats need, than frames:
            its loss would be infinite.
    """
    repeats = ((tokens[:, 1:] == tokens[:, :-1]) & (tokens[:, 1:] > 0)).sum(1)
    impossible = (token_lengths + repeats > lengths).nonzero().flatten().tolist()
    if impossible:
        row = impossible[0]
        raise ValueError(
            f"utterance {row} of the batch has {int(token_lengths[row])} tokens and "
            f"{int(repeats[row])} repeats for {int(lengths[row])} frames: no CTC path exists; "
            "check its text, or use a larger vocabulary (fewer, longer pieces)"
        )
    # (T, B, K) in float32 also under bf16 autocast: the loss sums many small probabilities.
    log_probabilities = logits.float().log_softmax(-1).transpose(0, 1)
    total = F.ctc_loss(log_probabilities, tokens, lengths, token_lengths, blank=0, reduction="sum")
    return LossSum(total, int(token_lengths.sum()))


def transducer_loss_sum(
    logits: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor
) -> LossSum:
    """Transducer loss (Graves 2012, arXiv 1211.3711, eq. 16; torchaudio's), in nats, summed.

    Args:
        logits: float (B, T, U + 1, K) at every frame after every number of tokens, blank 0.
        lengths: int (B,) frames of each utterance, at least 1.
        tokens: int (B, U) in [1, K), zeros after each utterance's end.
        token_lengths: int (B,).

    Returns:
        the sum over the batch; the count is the number of tokens.
    """
    from torchaudio.functional import rnnt_loss

    # It wants no padding beyond the longest utterance.
    frames, longest = int(lengths.max()), int(token_lengths.max())
    total = rnnt_loss(
        logits[:, :frames, : longest + 1].float().contiguous(),
        tokens[:, :longest].int().contiguous(),
        lengths.int(),
        token_lengths.int(),
        blank=0,
        reduction="sum",
    )
    return LossSum(total, int(token_lengths.sum()))


def next_token_loss_sum(
    logits: Tensor, tokens: Tensor, token_lengths: Tensor, label_smoothing: float = 0.0
) -> LossSum:
    """Cross-entropy of each next token, in nats, summed.

    Args:
        logits: float (B, U, K), those that should say ``tokens``.
        tokens: int (B, U), anything after each utterance's end.
        token_lengths: int (B,).
        label_smoothing: share of each target that is spread over all K (Szegedy et al. 2016,
            arXiv 1512.00567, sec. 7).
    """
    places = torch.arange(tokens.shape[1], device=tokens.device)
    targets = tokens.masked_fill(places >= token_lengths[:, None], IGNORED_TOKEN)
    total = F.cross_entropy(
        logits.float().transpose(1, 2),
        targets,
        ignore_index=IGNORED_TOKEN,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return LossSum(total, int(token_lengths.sum()))


def after_begin(tokens: Tensor) -> Tensor:
    """Decoder input (B, U + 1): 0, which begins a sentence, and the tokens (B, U)."""
    return F.pad(tokens, (1, 0))


def attention_loss_sum(
    logits: Tensor, tokens: Tensor, token_lengths: Tensor, label_smoothing: float = 0.0
) -> LossSum:
    """Cross-entropy of the attention decoder, or a language model, with the end of the sentence.

    Args:
        logits: float (B, U + 1, K) after each of :func:`after_begin`'s tokens; 0 is the end.
        tokens: int (B, U) in [1, K), zeros after each utterance's end.
        token_lengths: int (B,).
        label_smoothing: see :func:`next_token_loss_sum`.

    Returns:
        nats, summed; the count is the number of tokens and ends. Its log ``attention_correct`` is
        the number of tokens, ends left out, that are the most probable after the right ones.
    """
    ended = F.pad(tokens, (0, 1))  # a zero after the longest one too
    loss = next_token_loss_sum(logits, ended, token_lengths + 1, label_smoothing)
    correct = (logits.detach().argmax(-1) == ended) & (ended > 0)
    return LossSum(loss.total, loss.count, {"attention_correct": float(correct.sum())})


def frame_loss_sum(logits: Tensor, frame_tokens: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy of each frame against the token that is being said, in nats, summed.

    CTC alone first learns the prior over sentences and only then looks at its input; where a corpus
    has word times, this tells each stream from the first update on what its frames mean.

    Args:
        logits: float (B, T, K) of one stream.
        frame_tokens: int (B, T) in [0, K), 0 between words, -1 unknown (not counted).
        present: bool (B, T), frames at which the stream is there.
    """
    targets = frame_tokens.masked_fill(~present, UNKNOWN_FRAME)
    return F.cross_entropy(
        logits.float().transpose(1, 2), targets, ignore_index=UNKNOWN_FRAME, reduction="sum"
    )
