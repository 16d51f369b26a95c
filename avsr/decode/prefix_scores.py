"""CTC prefix probabilities of many hypotheses and of all their extensions at once.

The recursions are those of Watanabe et al. 2017 (IEEE JSTSP 11(8), algorithm 2), solved in closed
form. The probability that an utterance's labels begin with h c is a sum over the frame t at which c
comes in, P(hc...) = sum_t phi(t-1) p(c at t), where phi(t) is the probability of h at t: for all
hypotheses and the whole vocabulary one matrix product. Only the hypotheses that the beam keeps
need their own phi, and a linear recursion over frames is a cumulative sum, here in the log domain.
All of it is float64, so that no pruning and no rounding shows in the result.
"""

# B utterances, N hypotheses of each, T frames, K vocabulary with blank 0

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

LOG_ZERO = -math.inf
LOG_FLOOR = -200.0  # a label's log probability at a frame; keeps sums far from underflow


def ctc_log_probabilities(logits: Tensor) -> Tensor:
    """float64 log probabilities (..., K), none below ``LOG_FLOOR``, of CTC logits.

    Raises:
        ValueError: a NaN among the logits.
    """
    if bool(logits.isnan().any()):
        raise ValueError("CTC logits hold NaN; check the network's weights and its input")
    return logits.double().log_softmax(-1).clamp_min(LOG_FLOOR)


@dataclass(frozen=True)
class PrefixScores:
    """Forward variables of the hypotheses; index t of the last axis is "after t frames"."""

    probabilities: Tensor  # (B, K, T) of each label at each frame, any finite in the padding
    valid: Tensor  # bool (B, T)
    blanks: Tensor  # (B, T + 1) log probability of nothing but blanks so far
    lengths: Tensor  # int (B,)
    last: Tensor  # int (B, N), the hypothesis's last token, 0 for the empty one
    ends_in_token: Tensor  # (B, N, T + 1) log probability of h, its last frame not blank
    ends_in_blank: Tensor  # (B, N, T + 1) ... and blank


def start(logits: Tensor, lengths: Tensor, num_hypotheses: int) -> PrefixScores:
    """The empty hypothesis, N times, of the utterances with CTC logits (B, T, K)."""
    valid = torch.arange(logits.shape[1], device=logits.device)[None] < lengths[:, None]
    logs = ctc_log_probabilities(logits.masked_fill(~valid[..., None], 0.0))
    blanks = _cumulative(logs[..., 0])
    every = blanks[:, None].expand(-1, num_hypotheses, -1)
    return PrefixScores(
        probabilities=logs.exp().transpose(1, 2).contiguous(),
        valid=valid,
        blanks=blanks,
        lengths=lengths,
        last=torch.zeros(every.shape[:2], dtype=torch.long, device=logits.device),
        ends_in_token=torch.full_like(every, LOG_ZERO),
        ends_in_blank=every,
    )


def whole(scores: PrefixScores) -> Tensor:
    """log P(h) (B, N): the utterance's labels are exactly h."""
    either = torch.logaddexp(scores.ends_in_token, scores.ends_in_blank)
    at = scores.lengths[:, None, None].expand(-1, either.shape[1], 1)
    return either.gather(2, at)[..., 0]


def extended(scores: PrefixScores) -> Tensor:
    """log P(h c ...) (B, N, K) of every extension; that of blank is log 0."""
    either = torch.logaddexp(scores.ends_in_token, scores.ends_in_blank)[..., :-1]
    weights, scale = _scaled(either, scores.valid)
    result = (weights @ scores.probabilities.transpose(1, 2)).log_() + scale
    # The same token again needs a blank between.
    weights, scale = _scaled(scores.ends_in_blank[..., :-1], scores.valid)
    again = (weights * _label(scores, scores.last)).sum(-1).log()[..., None] + scale
    result.scatter_(2, scores.last[..., None], again)
    result[..., 0] = LOG_ZERO
    return result


def choose(scores: PrefixScores, slots: Tensor, tokens: Tensor) -> PrefixScores:
    """New hypothesis (b, n) is the old (b, slots[b, n]) followed by tokens[b, n] > 0."""
    index = slots[..., None].expand(-1, -1, scores.blanks.shape[-1])
    in_token, in_blank = (
        scores.ends_in_token.gather(1, index),
        scores.ends_in_blank.gather(1, index),
    )
    repeated = (tokens == scores.last.gather(1, slots))[..., None]
    before = torch.where(repeated, in_blank, torch.logaddexp(in_token, in_blank))
    path = _cumulative(_label(scores, tokens).log())
    new_token = _solved(before, path)
    new_blank = _solved(new_token, scores.blanks[:, None])
    return replace(scores, last=tokens, ends_in_token=new_token, ends_in_blank=new_blank)


def keep(scores: PrefixScores, utterances: Tensor) -> PrefixScores:
    """The scores of some of the utterances, int (B',)."""
    return PrefixScores(**{name: value[utterances] for name, value in vars(scores).items()})


def _label(scores: PrefixScores, tokens: Tensor) -> Tensor:
    """Probability (B, N, T) of one label for each hypothesis."""
    index = tokens[..., None].expand(-1, -1, scores.probabilities.shape[-1])
    return scores.probabilities.gather(1, index)


def _cumulative(logs: Tensor) -> Tensor:
    """Sums of the first 0, 1, ... T values: (..., T + 1)."""
    return torch.nn.functional.pad(logs.cumsum(-1), (1, 0))


def _scaled(logs: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, T) logs as numbers up to 1, zero in the padding, and the log (B, N, 1) taken out."""
    logs = logs.masked_fill(~valid[:, None], LOG_ZERO)
    scale = logs.amax(-1, keepdim=True)
    scale = scale.masked_fill(scale == LOG_ZERO, 0.0)
    return (logs - scale).exp(), scale


def _solved(inflow: Tensor, path: Tensor) -> Tensor:
    """x(t) with x(0) = 0 and x(t) = (x(t-1) + inflow(t-1)) p(t), in logs; path(t) sums log p."""
    summed = torch.logcumsumexp((inflow - path)[..., :-1], dim=-1) + path[..., 1:]
    return torch.nn.functional.pad(summed, (1, 0), value=LOG_ZERO)
