"""CTC prefix probabilities against enumeration and against PyTorch's CTC loss."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from avsr.decode import prefix_scores
from avsr.decode.reference import ctc_prefix_and_whole

T, K = 4, 3


@pytest.fixture(scope="module")
def logits() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(1, T, K, generator=generator, dtype=torch.float64)


def begins_with(logits: torch.Tensor) -> dict[tuple[int, ...], tuple[float, float]]:
    """For every sequence the probability that the labels begin with it, and that they are it."""
    scores, table = logits[0].log_softmax(-1), {}
    for path in itertools.product(range(K), repeat=T):
        labels = tuple(k for k, _ in itertools.groupby(path) if k)
        chance = math.exp(sum(float(scores[t, k]) for t, k in enumerate(path)))
        for length in range(len(labels) + 1):
            prefix, whole = table.get(labels[:length], (0.0, 0.0))
            whole += chance if length == len(labels) else 0.0
            table[labels[:length]] = (prefix + chance, whole)
    return table


@pytest.mark.parametrize("tokens", [(), (1,), (2,), (1, 1), (1, 2), (2, 1, 2), (1, 2, 1, 2)])
def test_prefix_and_whole_equal_enumeration(logits: torch.Tensor, tokens: tuple[int, ...]) -> None:
    table = begins_with(logits)
    scores = prefix_scores.start(logits, torch.tensor([T]), 2)
    for token in tokens:
        # The second hypothesis takes the other way each time; the first must not notice.
        scores = prefix_scores.choose(
            scores, torch.tensor([[0, 1]]), torch.tensor([[token, 3 - token]])
        )
    assert prefix_scores.whole(scores)[0, 0].exp() == pytest.approx(table[tokens][1], rel=1e-9)
    extended = prefix_scores.extended(scores)[0, 0].exp()
    slow, whole = ctc_prefix_and_whole(logits[0].log_softmax(-1).numpy(), list(tokens))
    assert math.exp(whole) == pytest.approx(table[tokens][1], rel=1e-9)
    for token in (1, 2):
        expected = table.get((*tokens, token), (0.0, 0.0))[0]
        assert extended[token] == pytest.approx(expected, rel=1e-9)
        assert math.exp(slow[token]) == pytest.approx(expected, rel=1e-9)
    assert extended[0] == 0 and slow[0] == -math.inf


def test_long_utterances_keep_their_precision() -> None:
    """3000 frames of a sure network: thousands of nats, and still PyTorch's loss to 1e-9."""
    generator = torch.Generator().manual_seed(1)
    logits = 8 * torch.randn(2, 3000, 20, generator=generator, dtype=torch.float64)
    tokens = torch.randint(1, 20, (2, 60), generator=generator)
    lengths = torch.tensor([3000, 2500])
    scores = prefix_scores.start(logits, lengths, 1)
    zeros = torch.zeros(2, 1, dtype=torch.long)
    before = torch.zeros(2)
    for place in range(60):
        extended = prefix_scores.extended(scores)[torch.arange(2), 0, tokens[:, place]]
        assert bool((extended <= before + 1e-9).all())
        before = extended
        scores = prefix_scores.choose(scores, zeros, tokens[:, place : place + 1])
    expected = F.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1),
        tokens,
        lengths,
        torch.tensor([60, 60]),
        reduction="none",
    )
    assert expected.min() > 1000
    torch.testing.assert_close(prefix_scores.whole(scores)[:, 0], -expected, rtol=1e-9, atol=0)


def test_impossible_sequences_have_no_probability() -> None:
    scores = prefix_scores.start(torch.zeros(1, 2, 3), torch.tensor([2]), 1)
    zero = torch.zeros(1, 1, dtype=torch.long)
    for token in (1, 1):
        scores = prefix_scores.choose(scores, zero, torch.tensor([[token]]))
    assert prefix_scores.whole(scores).item() == -math.inf
    assert prefix_scores.extended(scores).tolist() == [[[-math.inf] * 3]]
