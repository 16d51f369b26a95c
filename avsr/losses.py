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


def ctc_loss_sum(
    logits: Tensor,
    lengths: Tensor,
    tokens: Tensor,
    token_lengths: Tensor,
    early: Tensor | None = None,
) -> LossSum:
    """Connectionist temporal classification (Graves et al. 2006, eq. 8), in nats, summed.

    Args:
        logits: float (B, T, K), blank 0.
        lengths: int (B,) frames of each utterance.
        tokens: int (B, U) in [1, K), zeros after each utterance's end.
        token_lengths: int (B,).
        early: float (B, T, K), nats by which a path is less likely that tells a class at a frame,
            see :func:`early_tokens`; ``None`` leaves all paths alike.

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
    if early is not None:
        log_probabilities = log_probabilities - early.transpose(0, 1)
    total = F.ctc_loss(log_probabilities, tokens, lengths, token_lengths, blank=0, reduction="sum")
    if early is not None:
        # torch's gradient is that of scores that sum to 1 at each frame: it holds a term that a
        # log-softmax behind it takes out. These scores do not, so it is taken out here.
        frames = torch.arange(len(log_probabilities), device=lengths.device)[:, None] < lengths
        extra = (log_probabilities.exp() * frames[..., None]).sum()
        total = total - (extra - extra.detach())
    return LossSum(total, int(token_lengths.sum()))


def early_tokens(frame_tokens: Tensor, tokens: Tensor, num_classes: int, nats: float) -> Tensor:
    """What a CTC path loses where it tells a token before it is first said, (B, T, K) nats.

    CTC does not care when a token is told, and a network that sees the whole utterance likes to
    tell it early. In a stream that is a guess.

    Args:
        frame_tokens: int (B, T), the token said at each frame, see :func:`frame_loss_sum`.
        tokens: int (B, U), the utterances' tokens, zeros after the end.
        num_classes: K.
        nats: loss at each frame before the token's first; tokens without a time lose nothing.
    """
    batch, length = frame_tokens.shape
    at = torch.arange(length, device=frame_tokens.device)
    said = frame_tokens[:, None, :] == tokens[:, :, None]  # (B, U, T)
    first = torch.where(said, at, length).amin(2)
    known = (first < length) & (tokens > 0)
    before = (at < first[..., None]) & known[..., None]
    loss = torch.zeros(batch, num_classes, length, device=frame_tokens.device)
    loss.scatter_reduce_(1, tokens[..., None].expand(-1, -1, length), nats * before.float(), "amax")
    loss[:, 0] = 0.0  # blank, and padding
    return loss.transpose(1, 2)


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
