"""When each token was said: CTC forced alignment."""

# T frames, K vocabulary with blank 0, U tokens, E = 2 U + 1 states: blank, token, blank, ...

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLANK = 0


def ctc_align(log_probs: np.ndarray, tokens: Sequence[int]) -> list[tuple[int, int, float]]:
    """The most probable CTC path that spells ``tokens`` (Viterbi over Graves et al. 2006, sec. 4).

    Args:
        log_probs: float (T, K), natural logarithms, blank 0.
        tokens: U ids in [1, K); equal neighbours need a blank frame between them.

    Returns:
        for each token (start_frame, end_frame, probability): it is said in the frames
        ``[start_frame, end_frame)``, one or more; the probability is the mean over these of the
        token's posterior, in [0, 1].

    Raises:
        ValueError: not (T, K), NaN in it, an id outside the vocabulary, no path (more tokens and
            needed blanks than frames, or every path has probability 0).
    """
    scores = np.asarray(log_probs, dtype=np.float64)
    ids = np.asarray(tokens, dtype=np.int64)
    _check(scores, ids)
    if len(ids) == 0:
        return []
    path = _best_path(scores, ids)
    said = []
    for number, token in enumerate(ids):
        frames = np.flatnonzero(path == 2 * number + 1)
        posterior = float(np.exp(scores[frames, token]).mean())
        said.append((int(frames[0]), int(frames[-1]) + 1, min(1.0, posterior)))
    return said


def _check(scores: np.ndarray, ids: np.ndarray) -> None:
    if scores.ndim != 2 or np.isnan(scores).any():
        raise ValueError(
            f"log_probs must be (T, K) without NaN, got shape {scores.shape}; "
            "pass logits.log_softmax(-1) of one utterance"
        )
    outside = ids[(ids < 1) | (ids >= scores.shape[1])]
    if len(outside):
        raise ValueError(
            f"token {outside[0]} is not in 1..{scores.shape[1] - 1}; "
            "remove blanks before aligning, and take the tokenizer of the network"
        )
    needed = len(ids) + int((ids[1:] == ids[:-1]).sum())
    if needed > len(scores):
        raise ValueError(
            f"{len(ids)} tokens need at least {needed} frames, there are {len(scores)}; "
            "no CTC path spells them"
        )


def _best_path(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """State in [0, E) at each of T frames."""
    states = np.zeros(2 * len(ids) + 1, dtype=np.int64)
    states[1::2] = ids
    # A token may follow the token before it without a blank, unless they are equal.
    skips = np.zeros(len(states), dtype=bool)
    skips[3::2] = ids[1:] != ids[:-1]
    best = np.full(len(states), -np.inf)
    best[:2] = scores[0, states[:2]]
    came_from = np.zeros((len(scores), len(states)), dtype=np.int8)  # states back: 0, 1 or 2
    options = np.full((3, len(states)), -np.inf)
    for t in range(1, len(scores)):
        options[0] = best
        options[1, 1:] = best[:-1]
        options[2, 2:] = np.where(skips[2:], best[:-2], -np.inf)
        came_from[t] = options.argmax(0)
        best = options.max(0) + scores[t, states]
    state = len(states) - 1 if best[-1] >= best[-2] else len(states) - 2
    if best[state] == -np.inf:
        raise ValueError(
            f"every path through {len(scores)} frames that spells the {len(ids)} tokens has "
            "probability 0; were they decoded from these scores?"
        )
    path = np.empty(len(scores), dtype=np.int64)
    for t in range(len(scores) - 1, -1, -1):
        path[t] = state
        state -= int(came_from[t, state])
    return path
