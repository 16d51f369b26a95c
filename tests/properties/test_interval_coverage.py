"""What 95 % means: on simulated tests the interval holds the true rate 95 times in a hundred."""

from __future__ import annotations

import numpy as np
import pytest

from avsr.metrics import Score, clustered_bootstrap, paired_bootstrap
from avsr.schema import ErrorCounts

TESTS = 2000  # standard error of a coverage of 95 %: 0.5 points
CLUSTERS = 100
WORDS = 6
RESAMPLES = 400


def drawn(rates: np.ndarray, generator: np.random.Generator, system: str) -> list[Score]:
    """One simulated test: utterances of differing difficulty, three seeds of the noise each."""
    errors = generator.binomial(WORDS, np.repeat(rates[:, None], 3, axis=1))
    return [
        Score(f"u{utterance}", "s", "babble", 0.0, seed, ErrorCounts(int(count), 0, 0, WORDS))
        for utterance, counts in enumerate(errors)
        for seed, count in enumerate(counts)
    ]


def difficulties(generator: np.random.Generator, mean: float) -> np.ndarray:
    return generator.beta(4 * mean, 4 * (1 - mean), CLUSTERS)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 0.35])
def test_the_interval_of_a_rate_covers_it_in_95_of_100_tests(rate):
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(TESTS):
        scores = drawn(difficulties(generator, rate), generator, "a")
        interval = clustered_bootstrap(scores, seed=1, num_resamples=RESAMPLES)
        assert interval.low is not None and interval.high is not None
        held += interval.low <= rate <= interval.high
    assert held / TESTS == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
def test_the_interval_of_a_difference_covers_it_in_95_of_100_tests():
    """Two systems on the same mixtures: what is hard for one is hard for the other."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(TESTS):
        hard = difficulties(generator, 0.3)
        sides = [drawn(factor * hard, generator, "a") for factor in (1.0, 0.7)]
        test = paired_bootstrap(*sides, seed=1, num_resamples=RESAMPLES)
        assert test.difference.low is not None and test.difference.high is not None
        held += test.difference.low <= 0.3 - 0.7 * 0.3 <= test.difference.high
    assert held / TESTS == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
def test_utterances_alone_would_be_too_narrow():
    """Seeds of one utterance are no independent tests: an interval that took them so would lie."""
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(TESTS // 4):
        scores = drawn(difficulties(generator, 0.35), generator, "a")
        apart = [
            Score(f"{one.utterance_id}/{one.seed}", "s", "babble", 0.0, 0, one.errors)
            for one in scores
        ]
        interval = clustered_bootstrap(apart, seed=1, num_resamples=RESAMPLES)
        assert interval.low is not None and interval.high is not None
        held += interval.low <= 0.35 <= interval.high
    assert held / (TESTS // 4) < 0.9
