"""Greedy and prefix-beam CTC decoding against definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from avsr.decode.ctc import CtcPrefixBeam, ctc_prefix_beam
from avsr.decode.greedy import ctc_greedy


def one_hot(path: list[int], vocabulary: int = 4) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor([path]), vocabulary).float() * 9


def test_greedy_merges_repeats_and_keeps_doubles_with_a_blank_between() -> None:
    assert ctc_greedy(one_hot([0, 1, 1, 0, 1, 2, 2, 0]), torch.tensor([8])) == [[1, 1, 2]]


def test_greedy_stops_at_the_length() -> None:
    assert ctc_greedy(one_hot([1, 0, 2, 3]), torch.tensor([2])) == [[1]]


def label_probabilities(log_probabilities: np.ndarray) -> dict[tuple[int, ...], float]:
    """Every label sequence with its total probability, by enumeration of all paths."""
    frames, vocabulary = log_probabilities.shape
    totals: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(vocabulary), repeat=frames):
        labels = tuple(k for k, _ in itertools.groupby(path) if k)
        score = math.exp(sum(log_probabilities[t, k] for t, k in enumerate(path)))
        totals[labels] = totals.get(labels, 0.0) + score
    return totals


@pytest.mark.parametrize("seed", range(5))
def test_wide_prefix_beam_equals_enumeration(seed: int) -> None:
    scores = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    expected = label_probabilities(scores.numpy())
    found = ctc_prefix_beam(scores.numpy(), beam_size=1000, pieces_per_frame=3, floor=-math.inf)
    assert len(found) == len(expected)
    for tokens, score in found:
        assert math.exp(score) == pytest.approx(expected[tuple(tokens)], rel=1e-4)
    assert tuple(found[0][0]) == max(expected, key=lambda labels: expected[labels])


def test_beam_finds_what_the_best_path_misses() -> None:
    """Many weak paths of one label outweigh the single best path, which is all blank."""
    scores = np.log(np.array([[0.4, 0.35, 0.25], [0.4, 0.35, 0.25]]))
    assert ctc_greedy(torch.from_numpy(scores)[None], torch.tensor([2])) == [[]]
    assert ctc_prefix_beam(scores, beam_size=8)[0][0] == [1]


@pytest.mark.parametrize("seed", range(3))
def test_floor_and_beam_keep_the_best_of_a_peaky_network(seed: int) -> None:
    noise = torch.randn(30, 20, generator=torch.Generator().manual_seed(seed))
    scores = (6 * noise).log_softmax(-1).double().numpy()
    exact = ctc_prefix_beam(scores, beam_size=200, pieces_per_frame=19, floor=-math.inf)
    quick = ctc_prefix_beam(scores, beam_size=10)
    assert quick[0][0] == exact[0][0]
    assert quick[0][1] == pytest.approx(exact[0][1], abs=0.05)


def test_beam_refuses_nan_and_wrong_shape() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ctc_prefix_beam(np.full((3, 4), np.nan))
    with pytest.raises(ValueError, match=r"\(T, K\)"):
        ctc_prefix_beam(np.zeros((1, 3, 4)))
    with pytest.raises(ValueError, match="beam_size 0"):
        ctc_prefix_beam(np.zeros((3, 4)), beam_size=0)


@pytest.mark.parametrize("seed", range(4))
def test_frames_in_pieces_give_the_same_beam(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    scores = (9 * torch.randn(40, 9, generator=draw)).log_softmax(-1).double().numpy()
    beam, stable = CtcPrefixBeam(beam_size=6), []
    cuts = [0, *sorted(torch.randint(0, 41, (5,), generator=draw).tolist()), 40]
    for start, end in itertools.pairwise(cuts):
        beam.extend(scores[start:end])
        stable.append(beam.stable_tokens())
    assert beam.hypotheses() == ctc_prefix_beam(scores, beam_size=6)
    for tokens, _ in beam.hypotheses():
        for part in stable:
            assert tokens[: len(part)] == part
    assert stable[-1]  # the beginning of a long text no longer changes


def test_stable_tokens_are_what_all_hypotheses_share() -> None:
    beam = CtcPrefixBeam()
    assert beam.stable_tokens() == []
    beam.beam = {(3, 4, 5): (0.0, 0.0), (3, 4): (0.0, 0.0), (3, 4, 6, 1): (0.0, 0.0)}
    assert beam.stable_tokens() == [3, 4]
    beam.beam = {(2,): (0.0, 0.0), (3,): (0.0, 0.0)}
    assert beam.stable_tokens() == []
