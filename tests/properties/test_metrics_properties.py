from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsr import metrics
from avsr.metrics import Score, character_errors, word_errors
from avsr.schema import ErrorCounts
from avsr.text import normalise

sentences = st.lists(st.sampled_from("bin blue at f two now please a".split()), max_size=8).map(
    " ".join
)


@given(sentences)
def test_a_text_against_itself_has_no_error(text: str) -> None:
    assert word_errors(reference=text, hypothesis=text).errors == 0
    assert character_errors(reference=text, hypothesis=text).errors == 0


@given(sentences, sentences)
def test_counts_explain_the_lengths(reference: str, hypothesis: str) -> None:
    counts = word_errors(reference=reference, hypothesis=hypothesis)
    length = len(reference.split())
    assert counts.reference_length == length
    assert length - counts.deletions + counts.insertions == len(hypothesis.split())
    assert abs(length - len(hypothesis.split())) <= counts.errors
    assert counts.errors <= max(length, len(hypothesis.split()))


@given(sentences, sentences)
def test_swapping_the_texts_swaps_insertions_and_deletions(a: str, b: str) -> None:
    assert word_errors(reference=a, hypothesis=b).errors == (
        word_errors(reference=b, hypothesis=a).errors
    )


@given(st.text())
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())


@given(st.lists(st.floats(-1, 1), min_size=1), st.lists(st.floats(-1, 1), min_size=1))
def test_roc_auc_is_antisymmetric(positive: list[float], negative: list[float]) -> None:
    a, b = np.array(positive), np.array(negative)
    assert metrics.roc_auc(a, b) + metrics.roc_auc(b, a) == pytest.approx(1)


def simulate(generator: np.random.Generator, speakers: int, rate: float) -> list[Score]:
    """Each speaker has a word error rate of its own around ``rate``; ten sentences of six words."""
    scores = []
    for speaker in range(speakers):
        own = generator.beta(8 * rate, 8 * (1 - rate))
        for utterance in range(10):
            errors = ErrorCounts(int(generator.binomial(6, own)), 0, 0, 6)
            scores.append(Score(f"{speaker}/{utterance}", f"s{speaker}", "white", 0.0, 0, errors))
    return scores


def covered(interval: metrics.Interval, truth: float) -> bool:
    assert interval.low is not None and interval.high is not None
    return interval.low <= truth <= interval.high


@pytest.mark.slow
def test_clustered_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(0)
    hits, naive_hits, repetitions = 0, 0, 200
    for repetition in range(repetitions):
        scores = simulate(generator, speakers=40, rate=0.3)
        interval = metrics.clustered_bootstrap(scores, seed=repetition, num_resamples=400)
        hits += covered(interval, 0.3)
        # The same scores as if all came from one speaker: utterances pass for independent.
        pooled = [
            Score(s.utterance_id, "one", s.noise_type, s.snr_db, s.seed, s.errors) for s in scores
        ]
        naive = metrics.clustered_bootstrap(pooled, seed=repetition, num_resamples=400)
        naive_hits += covered(naive, 0.3)
    assert 0.89 <= hits / repetitions <= 0.99  # 0.95 less the known shortfall of 40 clusters
    assert naive_hits / repetitions < 0.85


def test_paired_test_keeps_its_level_under_the_null() -> None:
    generator = np.random.default_rng(1)
    rejected, repetitions = 0, 200
    for repetition in range(repetitions):
        a, b = simulate(generator, 30, 0.3), simulate(generator, 30, 0.3)
        rejected += (
            metrics.paired_bootstrap(a, b, seed=repetition, num_resamples=400).p_value < 0.05
        )
    assert 0.01 <= rejected / repetitions <= 0.11
