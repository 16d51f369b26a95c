"""CTC prefix beam search."""

# T frames, K vocabulary with blank 0

from __future__ import annotations

import math

import numpy as np

LOG_ZERO = -math.inf

# prefix -> log probability of ending in blank, and of ending in its last token
Beam = dict[tuple[int, ...], tuple[float, float]]


def _log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b)); numpy's costs ten times as much on two numbers."""
    if a < b:
        a, b = b, a
    return a if b == LOG_ZERO else a + math.log1p(math.exp(b - a))


def ctc_prefix_beam(
    log_probabilities: np.ndarray,
    beam_size: int = 10,
    pieces_per_frame: int = 12,
    floor: float = -8.0,
) -> list[tuple[list[int], float]]:
    """The most probable label sequences of one utterance, summed over their alignments.

    Prefix beam search (Hannun et al. 2014, arXiv 1408.2873, algorithm 1) without a language model.

    Args:
        log_probabilities: float (T, K), natural logarithms, blank 0.
        beam_size: prefixes kept after each frame.
        pieces_per_frame: only the best of the K pieces are tried at a frame, ...
        floor: ... and of these only the ones within this much (natural log) of the frame's best
            label; ``-math.inf`` tries them all.

    Returns:
        up to ``beam_size`` pairs of token ids and log probability, the best first.

    Raises:
        ValueError: not two-dimensional, or NaN in it, or a beam below 1.
    """
    beam = CtcPrefixBeam(beam_size, pieces_per_frame, floor)
    beam.extend(log_probabilities)
    return beam.hypotheses()


class CtcPrefixBeam:
    """The search of :func:`ctc_prefix_beam`, continued whenever there are more frames.

    Its arguments are those of that function. Frames in one piece or in many give the same.
    """

    def __init__(
        self, beam_size: int = 10, pieces_per_frame: int = 12, floor: float = -8.0
    ) -> None:
        if beam_size < 1:
            raise ValueError(f"beam_size {beam_size} must be at least 1")
        self.beam_size, self.pieces_per_frame, self.floor = beam_size, pieces_per_frame, floor
        self.beam: Beam = {(): (0.0, LOG_ZERO)}

    def extend(self, log_probabilities: np.ndarray) -> None:
        """Take the next frames (T, K), T may be 0.

        Raises:
            ValueError: not two-dimensional, or NaN in it; the beam is as before.
        """
        if log_probabilities.ndim != 2 or np.isnan(log_probabilities).any():
            raise ValueError(
                "log_probabilities must be (T, K) without NaN, got shape "
                f"{log_probabilities.shape}; pass logits.log_softmax(-1) of one utterance"
            )
        num_pieces = min(self.pieces_per_frame, log_probabilities.shape[1] - 1)
        for scores in log_probabilities:
            best = np.argpartition(-scores[1:], num_pieces - 1)[:num_pieces] + 1
            best = best[scores[best] >= scores.max() + self.floor]
            self.beam = _extend(self.beam, scores.tolist(), best.tolist())
            if len(self.beam) > self.beam_size:
                ranked = sorted(self.beam.items(), key=lambda item: -_log_add(*item[1]))
                self.beam = dict(ranked[: self.beam_size])

    def hypotheses(self) -> list[tuple[list[int], float]]:
        """Pairs of token ids and log probability so far, the best first."""
        ends = [(list(prefix), _log_add(*both)) for prefix, both in self.beam.items()]
        return sorted(ends, key=lambda pair: -pair[1])

    def stable_tokens(self) -> list[int]:
        """What all hypotheses begin with: later frames only add to it, and never change it."""
        prefixes = list(self.beam)
        first, last = min(prefixes), max(prefixes)
        same = 0
        while same < len(first) and first[same] == last[same]:
            same += 1
        return list(first[:same])


def _extend(beam: Beam, frame: list[float], pieces: list[int]) -> Beam:
    """All prefixes after one more frame."""
    grown: Beam = {}

    def add(prefix: tuple[int, ...], blank: float, token: float) -> None:
        old_blank, old_token = grown.get(prefix, (LOG_ZERO, LOG_ZERO))
        grown[prefix] = (_log_add(old_blank, blank), _log_add(old_token, token))

    for prefix, (blank, token) in beam.items():
        total = _log_add(blank, token)
        add(prefix, total + frame[0], token + frame[prefix[-1]] if prefix else LOG_ZERO)
        for piece in pieces:
            # The same token again counts as new only after a blank.
            before = blank if prefix and piece == prefix[-1] else total
            if before > LOG_ZERO:
                add((*prefix, piece), LOG_ZERO, before + frame[piece])
    return grown
