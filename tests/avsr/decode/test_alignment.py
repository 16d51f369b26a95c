"""Forced alignment against all paths tried one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from avsr.decode.alignment import ctc_align


def random_scores(frames: int, labels: int, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 2, (frames, labels))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != 0]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("tokens", [[1], [2, 1], [1, 1], [2, 2, 1], [1, 2, 1], [3, 3]])
def test_best_of_all_paths(seed: int, tokens: list[int]) -> None:
    scores = random_scores(5, 4, seed)
    paths = [p for p in itertools.product(range(4), repeat=5) if collapsed(p) == tokens]
    best = max(paths, key=lambda path: sum(scores[t, label] for t, label in enumerate(path)))
    expected = []
    frame = 0
    for label, run in itertools.groupby(best):
        length = len(list(run))
        if label:
            posterior = np.exp(scores[frame : frame + length, label]).mean()
            expected.append((frame, frame + length, posterior))
        frame += length
    found = ctc_align(scores, tokens)
    assert [span[:2] for span in found] == [span[:2] for span in expected]
    np.testing.assert_allclose([span[2] for span in found], [span[2] for span in expected])


def test_spans_are_in_order_and_probabilities_are() -> None:
    found = ctc_align(random_scores(60, 9, 3), [3, 3, 8, 1, 2, 2, 2])
    starts, ends, probabilities = zip(*found, strict=True)
    assert all(a < b for a, b in zip(starts, ends, strict=True))
    assert all(end <= start for end, start in zip(ends[:-1], starts[1:], strict=True))
    assert 0 <= min(probabilities) and max(probabilities) <= 1


def test_certain_frames_have_probability_one() -> None:
    scores = np.full((4, 3), -np.inf)
    scores[range(4), [0, 2, 2, 0]] = 0.0
    assert ctc_align(scores, [2]) == [(1, 3, 1.0)]
    with pytest.raises(ValueError, match="probability 0"):
        ctc_align(scores, [1])


def test_nothing_said() -> None:
    assert ctc_align(random_scores(3, 4, 0), []) == []


@pytest.mark.parametrize(
    ("tokens", "match"),
    [
        ([1, 1, 2], "3 tokens need at least 4 frames, there are 3"),
        ([1, 2, 1, 2], "4 tokens need at least 4 frames, there are 3"),
        ([0], "token 0 is not in 1..3"),
        ([4], "token 4 is not in 1..3"),
    ],
)
def test_impossible_tokens_are_refused(tokens: list[int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ctc_align(random_scores(3, 4, 0), tokens)


def test_scores_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"must be \(T, K\)"):
        ctc_align(np.zeros(4), [1])
    with pytest.raises(ValueError, match="without NaN"):
        ctc_align(np.full((3, 3), np.nan), [1])
