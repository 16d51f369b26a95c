"""Beam search with a prompt: the obvious search's sentences and scores, greedy, early ends."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsr.decode.token_beam import TokenBeamConfig, token_beam

VOCABULARY, END = 6, 0


@dataclass
class Chain:
    """A made-up decoder: logits depend on the utterance and on all tokens so far."""

    tokens: torch.Tensor  # (rows, U)
    utterance: torch.Tensor  # (rows,)

    def expanded(self, times: int) -> Chain:
        return Chain(*(x.repeat_interleave(times, 0) for x in (self.tokens, self.utterance)))

    def reordered(self, rows: torch.Tensor) -> Chain:
        assert (self.utterance[rows] == self.utterance).all()  # beams keep to their utterance
        return Chain(self.tokens[rows], self.utterance)


def logits_of(tokens: list[int], utterance: int, end_bias: float) -> torch.Tensor:
    key = 1 + utterance
    for token in tokens:
        key = (key * 31 + token + 7) % 100_003
    row = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(key)) * 2
    row[END] += end_bias
    return row


def decoder(end_bias: float):
    def step(tokens: torch.Tensor, state: Chain) -> tuple[torch.Tensor, Chain]:
        whole = torch.cat([state.tokens, tokens], 1)
        before = state.tokens.shape[1]
        logits = torch.stack(
            [
                torch.stack(
                    [
                        logits_of(row[: before + n + 1].tolist(), int(utterance), end_bias)
                        for n in range(tokens.shape[1])
                    ]
                )
                for row, utterance in zip(whole, state.utterance, strict=True)
            ]
        )
        return logits, Chain(whole, state.utterance)

    return step


def obvious(
    utterance: int, config: TokenBeamConfig, end_bias: float
) -> list[tuple[list[int], float]]:
    """The same search for one utterance: no batch, no cache, every prefix scored again."""
    beams: list[tuple[list[int], float]] = [([], 0.0)]
    ended: list[tuple[list[int], float]] = []
    for length in range(1, config.max_tokens + 1):
        candidates = []
        for tokens, score in beams:
            row = logits_of([*config.prompt, *tokens], utterance, end_bias).log_softmax(-1)
            if not tokens:
                row[list(config.not_first)] = -torch.inf
            candidates += [([*tokens, k], score + float(row[k])) for k in range(VOCABULARY)]
        candidates = [c for c in candidates if c[1] > -float("inf")]
        candidates.sort(key=lambda pair: -pair[1])
        beams = []
        for rank, (tokens, score) in enumerate(candidates):
            if len(beams) == config.beam_size:
                break
            if tokens[-1] == config.end:
                if rank < config.beam_size:
                    ended.append((tokens[:-1], score / len(tokens)))
            else:
                beams.append((tokens, score))
        if len(ended) >= config.beam_size:
            break
        if length == config.max_tokens:
            ended += [(tokens, score / len(tokens)) for tokens, score in beams]
    return sorted(ended, key=lambda pair: -pair[1])[: config.beam_size]


@settings(max_examples=40, deadline=None)
@given(
    beam_size=st.integers(1, 4),
    max_tokens=st.integers(1, 6),
    end_bias=st.floats(-3, 4),
    first=st.integers(0, 1000),
)
def test_equals_the_obvious_search(
    beam_size: int, max_tokens: int, end_bias: float, first: int
) -> None:
    config = TokenBeamConfig(
        prompt=(4, 5), end=END, beam_size=beam_size, max_tokens=max_tokens, not_first=(END,)
    )
    utterances = torch.arange(first, first + 3)
    state = Chain(torch.zeros(3, 0, dtype=torch.long), utterances)
    found = token_beam(decoder(end_bias), state, 3, config)
    for utterance, sentences in zip(utterances.tolist(), found, strict=True):
        expected = obvious(utterance, config, end_bias)
        assert [tokens for tokens, _ in sentences] == [tokens for tokens, _ in expected]
        for (_, score), (_, wanted) in zip(sentences, expected, strict=True):
            assert score == pytest.approx(wanted, abs=1e-4)


def test_beam_of_one_is_greedy() -> None:
    config = TokenBeamConfig(prompt=(1,), end=END, beam_size=1, max_tokens=5)
    state = Chain(torch.zeros(1, 0, dtype=torch.long), torch.tensor([7]))
    ((tokens, _),) = token_beam(decoder(0.0), state, 1, config)[0]
    greedy: list[int] = []
    while len(greedy) < 5:
        best = int(logits_of([1, *greedy], 7, 0.0).argmax())
        if best == END:
            break
        greedy.append(best)
    assert tokens == greedy


@pytest.mark.parametrize("change", [{"prompt": ()}, {"beam_size": 0}, {"max_tokens": 0}])
def test_impossible_searches_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match="prompt is empty|must be at least 1"):
        TokenBeamConfig(**{"prompt": (1,), "end": 0, **change})
