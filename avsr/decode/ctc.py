"""CTC prefix beam search."""

# T frames, K vocabulary with blank 0

from __future__ import annotations

import math

import numpy as np

LOG_ZERO = -math.inf

# prefix -> log probability of ending in blank, and of ending in its last token
Beam = dict[tuple[int, ...], tuple[float, float]]


def ctc_prefix_beam(
    log_probabilities: np.ndarray, beam_size: int = 10, pieces_per_frame: int = 12
) -> list[tuple[list[int], float]]:
    """The most probable label sequences of one utterance, summed over their alignments.

    Prefix beam search (Hannun et al. 2014, arXiv 1408.2873, algorithm 1) without a language model.

    Args:
        log_probabilities: float (T, K), natural logarithms, blank 0.
        beam_size: prefixes kept after each frame.
        pieces_per_frame: only the best of the K pieces are tried at a frame.

    Returns:
        up to ``beam_size`` pairs of token ids and log probability, the best first.

    Raises:
        ValueError: not two-dimensional, or NaN in it, or a beam below 1.
    """
    if log_probabilities.ndim != 2 or np.isnan(log_probabilities).any():
        raise ValueError(
            f"log_probabilities must be (T, K) without NaN, got shape {log_probabilities.shape}; "
            "pass logits.log_softmax(-1) of one utterance"
        )
    if beam_size < 1:
        raise ValueError(f"beam_size {beam_size} must be at least 1")
    num_pieces = min(pieces_per_frame, log_probabilities.shape[1] - 1)
    # For each prefix: log probability of ending in blank, and of ending in its last token.
    beam: Beam = {(): (0.0, LOG_ZERO)}
    for frame in log_probabilities:
        best = np.argpartition(-frame[1:], num_pieces - 1)[:num_pieces] + 1
        grown: Beam = {}

        def add(prefix: tuple[int, ...], blank: float, token: float, into: Beam = grown) -> None:
            old_blank, old_token = into.get(prefix, (LOG_ZERO, LOG_ZERO))
            into[prefix] = (np.logaddexp(old_blank, blank), np.logaddexp(old_token, token))

        for prefix, (blank, token) in beam.items():
            total = np.logaddexp(blank, token)
            stays = token + frame[prefix[-1]] if prefix else LOG_ZERO
            add(prefix, total + frame[0], stays)
            for piece in best.tolist():
                # The same token again counts as new only after a blank.
                before = blank if prefix and piece == prefix[-1] else total
                if before > LOG_ZERO:
                    add((*prefix, piece), LOG_ZERO, before + frame[piece])
        ranked = sorted(grown.items(), key=lambda item: -np.logaddexp(*item[1]))
        beam = dict(ranked[:beam_size])
    return [(list(prefix), float(np.logaddexp(*ends))) for prefix, ends in beam.items()]
