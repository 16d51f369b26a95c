"""Beam search of a decoder that begins with a prompt, batched over utterances, with its caches.

For networks with a vocabulary and a prompt of their own, such as Whisper's; the recogniser's own
decoder is searched by :mod:`avsr.decode.joint`.
"""

# B utterances, N beams of each, U tokens, V vocabulary

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class State(Protocol):
    """What the decoder keeps: a row for each beam of each utterance."""

    def expanded(self, times: int) -> Any:
        """Each row ``times`` times, one after the other."""
        ...

    def reordered(self, rows: Tensor) -> Any:
        """Row i goes on from row ``rows[i]``, one of the same utterance."""
        ...


@dataclass(frozen=True)
class TokenBeamConfig:
    """How the search goes on and ends."""

    prompt: tuple[int, ...]  # given tokens, not part of the result
    end: int  # token that ends a sentence
    beam_size: int = 5  # 1 is greedy
    max_tokens: int = 60  # of a result; what is longer is cut there
    not_first: tuple[int, ...] = ()  # tokens that no sentence begins with

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("the prompt is empty; a decoder needs a first token")
        if self.beam_size < 1 or self.max_tokens < 1:
            raise ValueError(
                f"beam_size {self.beam_size} and max_tokens {self.max_tokens} must be at least 1"
            )


@torch.no_grad()
def token_beam(
    step: Callable[[Tensor, Any], tuple[Tensor, Any]],
    state: State,
    num_utterances: int,
    config: TokenBeamConfig,
) -> list[list[tuple[list[int], float]]]:
    """Best sentences of each utterance, with their mean log probability a token, best first.

    Each step keeps the ``beam_size`` best prefixes; a prefix that ends among the best is set aside.
    An utterance is done when ``beam_size`` sentences have ended. Sentences are ranked by their mean
    log probability, the end token included, as Whisper ranks them.

    Args:
        step: next tokens (rows, U) and state to logits (rows, U, V) and the state after them.
        state: before the prompt, one row an utterance.
        num_utterances: B.
        config: prompt, end, sizes.

    Returns:
        for each utterance up to ``beam_size`` (tokens without prompt and end, score).
    """
    size = config.beam_size
    prompt = torch.tensor([config.prompt]).expand(num_utterances, -1)
    logits, state = step(prompt, state)
    log_probs = logits[:, -1].float().log_softmax(-1)
    if config.not_first:
        log_probs[:, list(config.not_first)] = -torch.inf
    state = state.expanded(size)
    log_probs = log_probs.repeat_interleave(size, dim=0)
    # At first all beams of an utterance are the same: only one of them may go on.
    scores = torch.full((num_utterances, size), -torch.inf)
    scores[:, 0] = 0.0
    histories: list[list[list[int]]] = [[[] for _ in range(size)] for _ in range(num_utterances)]
    ended: list[list[tuple[list[int], float]]] = [[] for _ in range(num_utterances)]
    for length in range(1, config.max_tokens + 1):
        vocabulary = log_probs.shape[-1]
        totals = (scores.view(-1, 1) + log_probs.cpu()).view(num_utterances, -1)
        best, places = totals.topk(2 * size)
        rows, tokens = [], []
        for utterance in range(num_utterances):
            chosen = _choose(
                best[utterance].tolist(),
                places[utterance].tolist(),
                vocabulary,
                histories[utterance],
                ended[utterance],
                config,
                last=length == config.max_tokens,
            )
            histories[utterance] = [chosen_history for _, _, chosen_history in chosen]
            rows += [utterance * size + beam for _, beam, _ in chosen]
            tokens += [history[-1] for _, _, history in chosen]
            scores[utterance] = torch.tensor([score for score, _, _ in chosen])
        if length == config.max_tokens or all(len(one) >= size for one in ended):
            break
        logits, state = step(torch.tensor(tokens)[:, None], state.reordered(torch.tensor(rows)))
        log_probs = logits[:, -1].float().log_softmax(-1)
    return [sorted(one, key=lambda pair: -pair[1])[:size] for one in ended]


def _choose(
    scores: Sequence[float],
    places: Sequence[int],
    vocabulary: int,
    histories: list[list[int]],
    ended: list[tuple[list[int], float]],
    config: TokenBeamConfig,
    *,
    last: bool,
) -> list[tuple[float, int, list[int]]]:
    """The beams that go on, as (score, beam, tokens); those that end are added to ``ended``."""
    size = config.beam_size
    going: list[tuple[float, int, list[int]]] = []
    done = len(ended) >= size
    for rank, (score, place) in enumerate(zip(scores, places, strict=True)):
        beam, token = divmod(place, vocabulary)
        if score == float("-inf") or len(going) == size:
            break
        if token == config.end:
            if rank < size and not done:
                ended.append((histories[beam], score / (len(histories[beam]) + 1)))
            continue
        going.append((score, beam, [*histories[beam], token]))
    if last and len(ended) < size:
        ended += [(history, score / len(history)) for score, _, history in going]
    # Rows are needed for every beam; one that cannot win fills up what is missing.
    filler = (float("-inf"), 0, [*histories[0], config.end])
    return going + [filler] * (size - len(going))
