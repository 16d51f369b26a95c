"""The slow, obvious joint CTC/attention search: one utterance, one hypothesis at a time, no cache.

It shares with :mod:`avsr.decode.joint` what is searched for (the score, the beam, the end) and none
of the ways to compute it; tests hold the fast search against it.
"""

# T frames, U tokens, K vocabulary with blank 0

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from avsr.decode.config import DecodingConfig

# Tokens so far to the log probabilities float64 (K,) of the next one, index 0 being the end.
NextToken = Callable[[list[int]], np.ndarray]


def reference_search(
    ctc_log_probabilities: np.ndarray,
    config: DecodingConfig,
    *,
    attention: NextToken | None = None,
    language: NextToken | None = None,
) -> list[tuple[list[int], float]]:
    """The best token sequences of one utterance, as :func:`avsr.decode.joint.joint_beam_search`.

    Args:
        ctc_log_probabilities: float64 (T, K), with the fast search's floor.
        config: beam and weights.
        attention: not asked where ``ctc_weight`` is 1.
        language: not asked where ``lm_weight`` is 0.
    """
    num_frames = len(ctc_log_probabilities)
    going_on: list[tuple[list[int], float]] = [([], 0.0)]  # tokens, score but for CTC
    ended: list[tuple[list[int], float]] = []
    while True:
        extensions: list[tuple[list[int], float, float]] = []  # tokens, score but for CTC, score
        for tokens, summed in going_on:
            added = np.zeros(ctc_log_probabilities.shape[1])
            extended, whole = np.zeros_like(added), 0.0
            if config.ctc_weight < 1:
                assert attention is not None
                added += (1 - config.ctc_weight) * attention(tokens)
            if config.lm_weight > 0:
                assert language is not None
                added += config.lm_weight * language(tokens)
            if config.ctc_weight > 0:
                extended, whole = ctc_prefix_and_whole(ctc_log_probabilities, tokens)
            ended.append((tokens, float(summed + added[0] + config.ctc_weight * whole)))
            added += config.length_bonus
            scores = summed + added + config.ctc_weight * extended
            scores[0] = -np.inf
            # No more than beam_size extensions of one hypothesis can be among the best.
            for token in np.argsort(-scores)[: config.beam_size]:
                if scores[token] > -np.inf and len(tokens) < num_frames:
                    new = [*tokens, int(token)]
                    extensions.append((new, summed + added[token], scores[token]))
        ended = sorted(ended, key=lambda one: -one[1])[: config.beam_size]
        extensions = sorted(extensions, key=lambda one: -one[2])[: config.beam_size]
        if not extensions:
            return ended
        frames_left = num_frames - len(extensions[0][0])
        if ended[0][1] >= extensions[0][2] + max(0.0, config.length_bonus) * frames_left:
            return ended
        going_on = [(tokens, summed) for tokens, summed, _ in extensions]


def ctc_prefix_and_whole(
    log_probabilities: np.ndarray, tokens: list[int]
) -> tuple[np.ndarray, float]:
    """log P(labels begin with h c) for each c (K,), log 0 for blank, and log P(labels are h).

    By the forward algorithm (Graves et al. 2006, eq. 6 to 7) over h with blanks around its tokens.
    """
    states = [0]
    for token in tokens:
        states += [token, 0]
    num_states = len(states)
    # A state may be reached from two before it, over a blank, where the tokens differ.
    skips = [s > 1 and states[s] not in (0, states[s - 2]) for s in range(num_states)]
    after = np.full(num_states, -np.inf)  # log probability of each state after t frames
    after[0] = 0.0  # before the first frame: as after a blank
    can_skip = np.array(skips)
    in_token, in_blank = [-np.inf], [0.0 if not tokens else -np.inf]
    for frame in log_probabilities:
        one = np.concatenate([[-np.inf], after[:-1]])
        two = np.where(can_skip, np.concatenate([[-np.inf] * 2, after])[:num_states], -np.inf)
        after = np.logaddexp(np.logaddexp(after, one), two) + frame[states]
        in_blank.append(after[-1])
        in_token.append(after[-2] if tokens else -np.inf)
    blank, either = np.array(in_blank), np.logaddexp(in_token, in_blank)
    # The next token comes in at some frame, with h complete before it.
    extended = np.logaddexp.reduce(either[:-1, None] + log_probabilities, axis=0)
    if tokens:
        again = blank[:-1] + log_probabilities[:, tokens[-1]]
        extended[tokens[-1]] = np.logaddexp.reduce(again)
    extended[0] = -np.inf
    return extended, float(either[-1])
