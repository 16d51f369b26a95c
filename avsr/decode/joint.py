"""Joint CTC/attention beam search, one pass, over a batch of utterances.

Hypotheses grow by one token a step (Watanabe et al. 2017, IEEE JSTSP 11(8); Hori et al. 2017,
arXiv 1706.02737, sec. 2.2, "one-pass decoding"), with the score that :class:`DecodingConfig`
states. At each step all hypotheses of the beam are ended and scored, and all their extensions by
one token are scored, the whole vocabulary without a pre-selection, and the best ``beam_size`` go
on.

The search of an utterance ends when no hypothesis that goes on can become better than the best one
that has ended: log probabilities only fall as a sequence grows, so a bound is the score of the best
one plus the length bonuses of the frames that are left. This is exact, there is no patience to set.

:mod:`avsr.decode.reference` is the same search without caches and batches.
"""

# B utterances, N hypotheses of each, T frames, U tokens, D width, K vocabulary

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from avsr.decode import prefix_scores
from avsr.decode.config import DecodingConfig
from avsr.decode.lm import LanguageModel

LOG_ZERO = prefix_scores.LOG_ZERO
BOUNDARY_ID = 0  # begin and end of a sentence for decoder and language model, blank for CTC


class CachedDecoder(Protocol):
    """An attention decoder one token at a time; see :class:`avsr.models.decoder.AttentionDecoder`.

    Any state will do; it is handed back once and not looked into.
    """

    def start(self, memory: Tensor, memory_valid: Tensor, num_hypotheses: int, /) -> Any:
        """State before the first token, of N hypotheses for each row of memory (B, T, D)."""
        ...

    def step(self, state: Any, tokens: Tensor, /) -> tuple[Tensor, Any]:
        """Logits (B, N, K) after the newest tokens (B, N); the first are all 0, and 0 ends."""
        ...

    def reorder(self, state: Any, index: Tensor, /) -> Any:
        """Hypothesis (b, n) goes on from (b, index[b, n])."""
        ...

    def keep(self, state: Any, utterances: Tensor, /) -> Any:
        """The state of some utterances, int (B',)."""
        ...


@dataclass(frozen=True)
class _Beams:
    """The search; every tensor's first axis is the utterances that are still searched."""

    utterances: Tensor  # int (B,) number in the batch that was given
    lengths: Tensor  # int (B,) frames, and the most tokens
    tokens: Tensor  # int (B, N, U) of the hypotheses that go on
    summed: Tensor  # float64 (B, N) their score but for CTC; log 0 where there is none
    ended_tokens: Tensor  # int (B, N, U) the best that ended, 0 after the end
    ended_scores: Tensor  # float64 (B, N), the best first; log 0 where there is none

    def keep(self, rows: Tensor) -> _Beams:
        return _Beams(*(value[rows] for value in vars(self).values()))


class _Scorers:
    """Decoder, CTC and language model with their states; a weight of 0 leaves one out."""

    def __init__(
        self,
        ctc_logits: Tensor,
        lengths: Tensor,
        config: DecodingConfig,
        decoder: CachedDecoder | None,
        memory: Tensor | None,
        language_model: LanguageModel | None,
    ) -> None:
        self.config = config
        size, frames, self.vocabulary_size = ctc_logits.shape
        self.decoder = decoder if config.ctc_weight < 1 else None
        self.ctc: prefix_scores.PrefixScores | None = None
        self.language_model = language_model if config.lm_weight > 0 else None
        self.attention: Any = None
        self.language: Any = None
        if self.decoder is not None:
            assert memory is not None
            valid = torch.arange(frames, device=lengths.device)[None] < lengths[:, None]
            self.attention = self.decoder.start(memory, valid, config.beam_size)
        if config.ctc_weight > 0:
            self.ctc = prefix_scores.start(ctc_logits, lengths, config.beam_size)
        if self.language_model is not None:
            self.language = self.language_model.start(size * config.beam_size)

    def next_scores(self, newest: Tensor) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """What each next token adds to a hypothesis's sum (B, N, K), 0 being the end; and CTC.

        Returns:
            additions; weighted CTC scores of the extensions (B, N, K) and of ending (B, N).
        """
        config = self.config
        shape = (*newest.shape, self.vocabulary_size)
        added = torch.zeros(shape, dtype=torch.float64, device=newest.device)
        if self.decoder is not None:
            logits, self.attention = self.decoder.step(self.attention, newest)
            added += (1 - config.ctc_weight) * logits.log_softmax(-1)
        if self.language_model is not None:
            scores, self.language = self.language_model.step(self.language, newest.flatten())
            added += config.lm_weight * scores.view(shape)
        added[..., 1:] += config.length_bonus
        if self.ctc is None:
            return added, 0.0, 0.0
        weight = config.ctc_weight
        extended = prefix_scores.extended(self.ctc).mul_(weight)
        return added, extended, prefix_scores.whole(self.ctc).mul_(weight)

    def choose(self, slots: Tensor, tokens: Tensor) -> None:
        """Hypothesis (b, n) goes on from (b, slots[b, n]) with tokens[b, n]."""
        if self.decoder is not None:
            self.attention = self.decoder.reorder(self.attention, slots)
        if self.language_model is not None:
            first = torch.arange(len(slots), device=slots.device)[:, None] * slots.shape[1]
            rows = (first + slots).flatten()
            self.language = self.language_model.reorder(self.language, rows)
        if self.ctc is not None:
            self.ctc = prefix_scores.choose(self.ctc, slots, tokens)

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the utterances."""
        if self.decoder is not None:
            self.attention = self.decoder.keep(self.attention, rows)
        if self.language_model is not None:
            slots = torch.arange(self.config.beam_size, device=rows.device)
            index = (rows[:, None] * self.config.beam_size + slots).flatten()
            self.language = self.language_model.reorder(self.language, index)
        if self.ctc is not None:
            self.ctc = prefix_scores.keep(self.ctc, rows)


@torch.no_grad()
def joint_beam_search(
    ctc_logits: Tensor,
    lengths: Tensor,
    config: DecodingConfig,
    *,
    decoder: CachedDecoder | None = None,
    memory: Tensor | None = None,
    language_model: LanguageModel | None = None,
) -> list[list[tuple[list[int], float]]]:
    """The best token sequences of each utterance under the joint score.

    Args:
        ctc_logits: float (B, T, K), blank 0.
        lengths: int (B,) frames of each utterance, 1 or more, on the same device.
        config: beam and weights; its method is not looked at.
        decoder: attention decoder, in eval mode; needed for a ``ctc_weight`` below 1.
        memory: (B, T, D) that the decoder attends to.
        language_model: over the same tokens; needed for an ``lm_weight`` above 0.

    Returns:
        for each utterance up to ``beam_size`` pairs of token ids in [1, K) and score, the best
        first. The first is the best that the beam can find; the search stops once it is certain.

    Raises:
        ValueError: NaN logits, or a weight for something that is not there.
    """
    if config.ctc_weight < 1 and (decoder is None or memory is None):
        raise ValueError(
            f"ctc_weight {config.ctc_weight} needs an attention decoder and this recogniser has "
            "none; decode with method 'ctc', or train one with decoder_layers above 0"
        )
    if config.lm_weight > 0 and language_model is None:
        raise ValueError(f"lm_weight {config.lm_weight} needs a language model; give one, or 0")
    if bool((lengths < 1).any()) or ctc_logits.shape[-1] < 2:
        raise ValueError(
            f"lengths {lengths.tolist()} with logits {tuple(ctc_logits.shape)}: each utterance "
            "needs a frame, and the vocabulary a token beside blank"
        )
    size, beam = len(ctc_logits), config.beam_size
    scorers = _Scorers(ctc_logits, lengths, config, decoder, memory, language_model)
    nothing = torch.zeros(size, beam, 0, dtype=torch.long, device=lengths.device)
    no_score = torch.full((size, beam), LOG_ZERO, dtype=torch.float64, device=lengths.device)
    first = no_score.clone()
    first[:, 0] = 0.0  # one empty hypothesis an utterance
    everyone = torch.arange(size, device=lengths.device)
    beams = _Beams(everyone, lengths, nothing, first, nothing, no_score)
    newest = torch.full((size, beam), BOUNDARY_ID, device=lengths.device)
    found: list[list[tuple[list[int], float]]] = [[] for _ in range(size)]
    while True:
        beams, slots, newest, done = _grown(beams, config, *scorers.next_scores(newest))
        num_done = int(done.sum())
        if num_done == len(done):
            _collect(beams, found)
            return found
        # Copying the others' caches pays when half of the work is gone.
        if 2 * num_done >= len(done):
            _collect(beams.keep(done.nonzero()[:, 0]), found)
            rows = (~done).nonzero()[:, 0]
            scorers.keep(rows)
            beams, slots, newest = beams.keep(rows), slots[rows], newest[rows]
        scorers.choose(slots, newest)


def _grown(
    beams: _Beams,
    config: DecodingConfig,
    added: Tensor,
    ctc_extended: Tensor | float,
    ctc_whole: Tensor | float,
) -> tuple[_Beams, Tensor, Tensor, Tensor]:
    """End and extend every hypothesis by one token.

    Returns:
        the new beams, the slots (B, N) that they come from, their newest tokens (B, N), and which
        utterances are done (B,).
    """
    length = beams.tokens.shape[2]
    beam, vocabulary_size = config.beam_size, added.shape[-1]
    ended = beams.summed + added[..., BOUNDARY_ID] + ctc_whole
    candidates = torch.cat([beams.ended_scores, ended], dim=1)
    ended_scores, order = candidates.topk(beam, dim=1)
    sequences = torch.cat([beams.ended_tokens, beams.tokens], dim=1)
    ended_tokens = sequences.gather(1, order[..., None].expand(-1, -1, length))

    summed = beams.summed[..., None] + added
    scores = summed + ctc_extended
    scores[..., BOUNDARY_ID] = LOG_ZERO
    # A hypothesis that was done with, or never was, has no extension.
    scores.masked_fill_((length >= beams.lengths)[:, None, None], LOG_ZERO)
    best, order = scores.flatten(1).topk(beam, dim=1)
    slots, newest = order // vocabulary_size, order % vocabulary_size
    left = (beams.lengths - length - 1).clamp_min(0)
    bound = best[:, 0] + max(0.0, config.length_bonus) * left
    done = ended_scores[:, 0] >= bound
    going_on = summed.flatten(1).gather(1, order)
    going_on = going_on.masked_fill((best == LOG_ZERO) | done[:, None], LOG_ZERO)
    tokens = beams.tokens.gather(1, slots[..., None].expand(-1, -1, length))
    grown = _Beams(
        beams.utterances,
        beams.lengths,
        torch.cat([tokens, newest[..., None]], dim=2),
        going_on,
        torch.nn.functional.pad(ended_tokens, (0, 1)),
        ended_scores,
    )
    return grown, slots, newest, done


def _collect(beams: _Beams, found: list[list[tuple[list[int], float]]]) -> None:
    """Put the ended hypotheses of all utterances of ``beams`` where they belong."""
    ended = beams.ended_tokens.tolist()
    scores = beams.ended_scores.tolist()
    for number, rows, values in zip(beams.utterances.tolist(), ended, scores, strict=True):
        found[number] = [
            ([token for token in row if token != BOUNDARY_ID], value)
            for row, value in zip(rows, values, strict=True)
            if value > LOG_ZERO
        ]
