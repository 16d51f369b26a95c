"""The joint search against enumeration, at its edges, and its end."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch

from avsr.decode.config import DecodingConfig
from avsr.decode.joint import joint_beam_search
from avsr.models.decoder import AttentionDecoder

K, D = 4, 8


@pytest.fixture(scope="module")
def decoder() -> AttentionDecoder:
    torch.manual_seed(0)
    decoder = AttentionDecoder(K, D, 2, 1, 0.0).double().eval()
    with torch.no_grad():
        decoder.to_logits.weight.mul_(3)
    return decoder


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ctc_totals(log_probabilities: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Log probability of every label sequence, by enumeration of all paths."""
    totals: dict[tuple[int, ...], float] = {}
    frames, vocabulary = log_probabilities.shape
    for path in itertools.product(range(vocabulary), repeat=frames):
        labels = tuple(k for k, _ in itertools.groupby(path) if k)
        score = math.exp(sum(float(log_probabilities[t, k]) for t, k in enumerate(path)))
        totals[labels] = totals.get(labels, 0.0) + score
    return {labels: math.log(total) for labels, total in totals.items()}


@torch.no_grad()
def attention_score(decoder: AttentionDecoder, memory: torch.Tensor, tokens: Any) -> float:
    scores = decoder(torch.tensor([[0, *tokens]]), memory, torch.ones(1, memory.shape[1]).bool())
    targets = torch.tensor([*tokens, 0])
    return float(scores[0].log_softmax(-1).gather(1, targets[:, None]).sum())


@pytest.mark.parametrize("ctc_weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("length_bonus", [0.0, 1.0, -1.0])
def test_a_wide_beam_finds_the_best_of_all_sequences(
    decoder: AttentionDecoder, ctc_weight: float, length_bonus: float
) -> None:
    frames = 3
    logits, memory = 2 * random(1, frames, K), random(1, frames, D, seed=1)
    ctc = ctc_totals(logits[0].log_softmax(-1))
    expected = {}
    for length in range(frames + 1):
        for tokens in itertools.product(range(1, K), repeat=length):
            score = length_bonus * length
            if ctc_weight < 1:
                score += (1 - ctc_weight) * attention_score(decoder, memory, tokens)
            if ctc_weight > 0:
                score += ctc_weight * ctc.get(tokens, -math.inf)
            expected[tokens] = score
    best = max(expected, key=lambda tokens: expected[tokens])
    config = DecodingConfig("joint", 200, ctc_weight, 0.0, length_bonus)
    (found,) = joint_beam_search(
        logits, torch.tensor([frames]), config, decoder=decoder, memory=memory
    )
    assert tuple(found[0][0]) == best
    for tokens, score in found:
        assert score == pytest.approx(expected[tuple(tokens)], abs=1e-9)
    assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)


def ctc_only(logits: torch.Tensor, beam_size: int = 4) -> list[list[tuple[list[int], float]]]:
    lengths = torch.full((len(logits),), logits.shape[1])
    return joint_beam_search(logits, lengths, DecodingConfig("joint", beam_size, ctc_weight=1.0))


def test_a_repeated_token_needs_a_blank_between() -> None:
    logits = torch.full((1, 3, 3), -30.0, dtype=torch.float64)
    logits[0, :, 1] = 0.0
    assert ctc_only(logits)[0][0][0] == [1]
    logits[0, 1] = torch.tensor([0.0, -30.0, -30.0])
    assert ctc_only(logits)[0][0][0] == [1, 1]


def test_nothing_said_is_nothing_written() -> None:
    logits = torch.zeros(2, 4, 5)
    logits[0, :, 0] = 20.0
    logits[1, :, 3] = 20.0
    silent, spoken = ctc_only(logits)
    assert silent[0][0] == [] and silent[0][1] == pytest.approx(0.0, abs=1e-6)
    assert spoken[0][0] == [3]


def test_one_frame_holds_one_token(decoder: AttentionDecoder) -> None:
    logits = random(1, 1, K)
    for weight in (0.0, 0.5, 1.0):
        config = DecodingConfig("joint", 50, weight, length_bonus=100.0)
        (found,) = joint_beam_search(
            logits, torch.tensor([1]), config, decoder=decoder, memory=random(1, 1, D)
        )
        assert sorted(tokens for tokens, _ in found) == [[], [1], [2], [3]]
        assert len(found[0][0]) == 1


def test_more_tokens_than_ctc_allows_are_never_proposed(decoder: AttentionDecoder) -> None:
    """A bonus asks for as many tokens as frames; CTC knows that equal ones need blanks."""
    logits = torch.zeros(1, 4, 2, dtype=torch.float64)  # one piece only: x, or x blank x
    config = DecodingConfig("joint", 3, ctc_weight=1.0, length_bonus=50.0)
    (found,) = joint_beam_search(logits, torch.tensor([4]), config)
    assert found[0][0] == [1, 1]
    assert all(math.isfinite(score) for _, score in found)


def test_hopeless_labels_cost_their_floor_and_give_no_nan() -> None:
    logits = torch.full((1, 5, 3), -math.inf, dtype=torch.float64)
    logits[..., 0] = 0.0
    (found,) = ctc_only(logits, beam_size=6)
    assert found[0] == ([], 0.0)
    assert not any(math.isnan(score) for _, score in found)


class Counting:
    """A decoder that counts its steps and the rows that they compute."""

    def __init__(self, decoder: AttentionDecoder) -> None:
        self.decoder, self.rows = decoder, []  # type: ignore[var-annotated]
        self.start, self.reorder, self.keep = decoder.start, decoder.reorder, decoder.keep

    def step(self, state: Any, tokens: torch.Tensor) -> Any:
        self.rows.append(len(tokens))
        return self.decoder.step(state, tokens)


def test_the_search_ends_when_it_is_certain_and_drops_what_is_done(
    decoder: AttentionDecoder,
) -> None:
    """CTC is sure of one token in the short ones, of four in the long one: five steps, not 40."""
    logits = torch.zeros(3, 40, K, dtype=torch.float64)
    logits[..., 0] = 25.0
    for row, tokens in enumerate([[1], [2], [1, 2, 3, 1]]):
        for place, token in enumerate(tokens):
            logits[row, 5 + 3 * place, token] = 50.0
    counting = Counting(decoder)
    found = joint_beam_search(
        logits,
        torch.tensor([40, 30, 40]),
        DecodingConfig("joint", 4, ctc_weight=0.9),
        decoder=counting,
        memory=random(3, 40, D),
    )
    assert [best[0][0] for best in found] == [[1], [2], [1, 2, 3, 1]]
    assert counting.rows == [3, 3, 1, 1, 1]


def test_weights_for_what_is_not_there_are_refused() -> None:
    logits, lengths = torch.zeros(1, 3, 4), torch.tensor([3])
    with pytest.raises(ValueError, match=r"ctc_weight 0.3 needs an attention decoder"):
        joint_beam_search(logits, lengths, DecodingConfig("joint"))
    with pytest.raises(ValueError, match=r"lm_weight 0.5 needs a language model"):
        joint_beam_search(logits, lengths, DecodingConfig("joint", ctc_weight=1.0, lm_weight=0.5))
    config = DecodingConfig("joint", ctc_weight=1.0)
    with pytest.raises(ValueError, match="NaN"):
        joint_beam_search(logits / 0, lengths, config)
    with pytest.raises(ValueError, match=r"lengths \[0\]"):
        joint_beam_search(logits, torch.tensor([0]), config)


@pytest.mark.gpu
def test_the_same_on_a_gpu(decoder: AttentionDecoder) -> None:
    logits, memory, lengths = random(3, 12, K), random(3, 12, D), torch.tensor([12, 5, 9])
    config = DecodingConfig("joint", 5, 0.3)
    here = joint_beam_search(logits, lengths, config, decoder=decoder, memory=memory)
    device = torch.device("cuda")
    there = joint_beam_search(
        logits.to(device),
        lengths.to(device),
        config,
        decoder=copy.deepcopy(decoder).to(device),
        memory=memory.to(device),
    )
    assert [one[0][0] for one in here] == [one[0][0] for one in there]
