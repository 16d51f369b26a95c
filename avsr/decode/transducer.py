"""Transducer decoding: greedy, and time-synchronous beam search batched over utterances.

``beam_reference`` is the slow and obvious search; a property test holds the fast one to it.
"""

# B batch, T frames, N hypotheses, J joint width, K vocabulary with blank 0

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

BLANK = 0
CONTEXT = 2  # tokens that the prediction network sees

Ranked = list[tuple[list[int], float]]


class TransducerHead(Protocol):
    """What decoding needs of a transducer, see :class:`avsr.models.transducer.Transducer`."""

    def project(self, memory: Tensor) -> Tensor:
        """Frames (..., D) to their share of the joiner (..., J)."""
        ...

    def predict(self, contexts: Tensor) -> Tensor:
        """Last tokens int (..., 2) to their share of the joiner (..., J)."""
        ...

    def join(self, frames: Tensor, predicted: Tensor) -> Tensor:
        """Logits (..., K)."""
        ...


@torch.no_grad()
def transducer_greedy(
    head: TransducerHead, memory: Tensor, lengths: Tensor, tokens_per_frame: int = 3
) -> list[list[int]]:
    """The best label at every step, all utterances together.

    Args:
        head: prediction network and joiner.
        memory: (B, T, D).
        lengths: int (B,) frames of each utterance; later frames are not looked at.
        tokens_per_frame: a frame gives at most so many tokens, then the next one is taken.

    Returns:
        for each utterance its token ids, each in [1, K).
    """
    _check(tokens_per_frame=tokens_per_frame)
    frames = head.project(memory)
    decoded: list[list[int]] = [[] for _ in range(len(memory))]
    contexts = torch.full((len(memory), CONTEXT), BLANK, device=memory.device)
    predicted = head.predict(contexts)
    for t in range(int(lengths.max()) if len(lengths) else 0):
        rows = (lengths > t).nonzero().flatten()
        for _ in range(tokens_per_frame):
            best = head.join(frames[rows, t], predicted[rows]).argmax(-1)
            rows, best = rows[best != BLANK], best[best != BLANK]
            if not len(rows):
                break
            contexts[rows] = torch.cat([contexts[rows, 1:], best[:, None]], dim=1)
            predicted[rows] = head.predict(contexts[rows])
            for row, token in zip(rows.tolist(), best.tolist(), strict=True):
                decoded[row].append(token)
    return decoded


def _check(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} {value} must be at least 1")


@torch.no_grad()
def beam_reference(
    head: TransducerHead, memory: Tensor, beam_size: int = 10, tokens_per_frame: int = 2
) -> Ranked:
    """Time-synchronous beam search of one utterance (Saon, Tüske, Audhkhasi 2020, algorithm 1).

    At each frame the hypotheses are extended by up to ``tokens_per_frame`` tokens; whatever ends
    the frame by a blank under the same tokens is one hypothesis, its probabilities added.

    Args:
        head: prediction network and joiner.
        memory: (T, D).
        beam_size: hypotheses kept at every step.
        tokens_per_frame: most tokens of one frame.

    Returns:
        up to ``beam_size`` pairs of token ids and log probability, the best first.
    """
    _check(beam_size=beam_size, tokens_per_frame=tokens_per_frame)

    def best_of(scores: dict[tuple[int, ...], float]) -> dict[tuple[int, ...], float]:
        ranked = sorted(scores.items(), key=lambda item: -item[1])
        return dict(ranked[:beam_size])

    beam: dict[tuple[int, ...], float] = {(): 0.0}
    for frame in head.project(memory):
        ended: dict[tuple[int, ...], float] = {}
        for step in range(tokens_per_frame + 1):
            longer: dict[tuple[int, ...], float] = {}
            for tokens, score in beam.items():
                context = torch.tensor([(BLANK, BLANK, *tokens)[-CONTEXT:]], device=frame.device)
                logits = head.join(frame[None], head.predict(context))[0]
                values = logits.log_softmax(-1).tolist()
                old = ended.get(tokens, -math.inf)
                ended[tokens] = _log_add(old, score + values[BLANK])
                for token in range(1, len(values)):
                    longer[(*tokens, token)] = score + values[token]
            if step < tokens_per_frame:
                beam = best_of(longer)
        beam = best_of(ended)
    return [(list(tokens), score) for tokens, score in beam.items()]


def _log_add(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


class _Prefixes:
    """Token sequences of one utterance as numbers: equal sequences have equal numbers."""

    def __init__(self) -> None:
        self._parents: list[tuple[int, int]] = [(-1, BLANK)]  # 0 is the empty sequence
        self._numbers: dict[tuple[int, int], int] = {}

    def extended(self, prefix: int, token: int) -> int:
        """Number of ``prefix`` followed by ``token``."""
        number = self._numbers.setdefault((prefix, token), len(self._parents))
        if number == len(self._parents):
            self._parents.append((prefix, token))
        return number

    def tokens(self, prefix: int) -> list[int]:
        """The sequence itself."""
        found = []
        while prefix > 0:
            prefix, token = self._parents[prefix]
            found.append(token)
        return found[::-1]

    def context(self, prefix: int) -> list[int]:
        """Its last tokens, blanks where there are none."""
        found = []
        for _ in range(CONTEXT):
            parent, token = self._parents[prefix]
            found.append(token)
            prefix = max(parent, 0)
        return found[::-1]


# Hypotheses of one utterance: number of the prefix to log probability.
_Beam = dict[int, float]


@torch.no_grad()
def transducer_beam(
    head: TransducerHead,
    memory: Tensor,
    lengths: Tensor,
    beam_size: int = 10,
    tokens_per_frame: int = 2,
) -> list[Ranked]:
    """What :func:`beam_reference` finds, for a batch of utterances.

    All hypotheses of all utterances go through the joiner together; their tokens are kept as
    numbers of prefixes, so that equal ones are found without comparing them.

    Args:
        head: prediction network and joiner.
        memory: (B, T, D).
        lengths: int (B,) frames of each utterance.
        beam_size: hypotheses of an utterance kept at every step.
        tokens_per_frame: most tokens of one frame.

    Returns:
        for each utterance up to ``beam_size`` pairs of token ids and log probability, best first.
    """
    _check(beam_size=beam_size, tokens_per_frame=tokens_per_frame)
    frames = head.project(memory)
    ends = lengths.tolist()
    prefixes = [_Prefixes() for _ in ends]
    beams: list[_Beam] = [{0: 0.0} for _ in ends]
    for t in range(max(ends, default=0)):
        running = [b for b, end in enumerate(ends) if end > t]
        ended: dict[int, _Beam] = {b: {} for b in running}
        active = {b: beams[b] for b in running}
        for step in range(tokens_per_frame + 1):
            grow = step < tokens_per_frame
            active = _advance(head, frames[:, t], prefixes, active, ended, beam_size, grow)
        for b in running:
            beams[b] = dict(sorted(ended[b].items(), key=lambda item: -item[1])[:beam_size])
    return [
        [(prefixes[b].tokens(prefix), score) for prefix, score in beam.items()]
        for b, beam in enumerate(beams)
    ]


def _advance(
    head: TransducerHead,
    frame: Tensor,
    prefixes: list[_Prefixes],
    active: dict[int, _Beam],
    ended: dict[int, _Beam],
    beam_size: int,
    grow: bool,
) -> dict[int, _Beam]:
    """Blanks of the active hypotheses into ``ended``; their best extensions by one token.

    Args:
        frame: (B, J) projected.
        prefixes, active, ended: by utterance.
        grow: whether extensions are wanted.
    """
    rows = [(b, prefix) for b, beam in active.items() for prefix in beam]
    contexts = torch.tensor([prefixes[b].context(prefix) for b, prefix in rows])
    owner = torch.tensor([b for b, _ in rows], device=frame.device)
    predicted = head.predict(contexts.to(frame.device))
    scores = head.join(frame[owner], predicted).log_softmax(-1)
    blanks = scores[:, BLANK].tolist()
    for (b, prefix), blank in zip(rows, blanks, strict=True):
        value = active[b][prefix] + blank
        ended[b][prefix] = _log_add(ended[b].get(prefix, -math.inf), value)
    if not grow:
        return {}
    # Of one hypothesis no more than beam_size extensions can survive.
    wanted = min(beam_size, scores.shape[1] - 1)
    values, tokens = (part.tolist() for part in scores[:, 1:].topk(wanted))
    longer: dict[int, list[tuple[float, int, int]]] = {b: [] for b in active}
    for (b, prefix), some, ids in zip(rows, values, tokens, strict=True):
        base = active[b][prefix]
        longer[b] += [(base + v, prefix, i + 1) for v, i in zip(some, ids, strict=True)]
    grown: dict[int, _Beam] = {}
    for b, candidates in longer.items():
        candidates.sort(key=lambda one: -one[0])
        grown[b] = {
            prefixes[b].extended(prefix, token): value
            for value, prefix, token in candidates[:beam_size]
        }
    return grown
