from __future__ import annotations

import numpy as np
import pytest

from learn2talk.metrics import draw_clusters, pooled_interval, pooled_mean, pooled_value
from learn2talk.metrics.pooling import correlation, difference, mean, root_mean


def test_pooled_mean_weighs_clips_by_their_frames() -> None:
    interval = pooled_mean(
        np.array([10.0, 30.0]), np.array([10, 10]), ["a", "b"], clustered_by="utterance", seed=0
    )
    assert interval.value == 2.0 and interval.low == 1.0 and interval.high == 3.0
    weighed = pooled_mean(
        np.array([10.0, 90.0]), np.array([10, 30]), ["a", "b"], clustered_by="utterance", seed=0
    )
    assert weighed.value == 2.5
    with pytest.raises(ValueError, match="1 clusters"):
        pooled_mean(np.ones(2), np.ones(2), ["a", "a"], clustered_by="speaker", seed=0)


def test_one_set_of_draws_serves_all_figures() -> None:
    names = ["a", "b", "a"]
    draws = draw_clusters(names, clustered_by="speaker", seed=3, num_resamples=500)
    columns = np.array([[1.0, 1.0], [6.0, 2.0], [1.0, 1.0]])
    first = pooled_interval(columns, draws, mean)
    assert first.value == 2.0 and (first.low, first.high) == (1.0, 3.0)
    alone = pooled_mean(
        columns[:, 0], columns[:, 1], names, clustered_by="speaker", seed=3, num_resamples=500
    )
    assert first == alone
    rooted = pooled_interval(columns, draws, root_mean)
    assert rooted.value == pytest.approx(np.sqrt(2.0)) and rooted.high == pytest.approx(np.sqrt(3))


def test_a_paired_difference_of_equals_is_surely_zero() -> None:
    draws = draw_clusters(list("abcd"), clustered_by="utterance", seed=0)
    columns = np.random.default_rng(0).uniform(1, 2, (4, 2))
    apart = pooled_interval(np.concatenate([columns, columns], axis=1), draws, difference(mean))
    assert (apart.value, apart.low, apart.high) == (0.0, 0.0, 0.0)


def test_nothing_counted_has_no_figure() -> None:
    draws = draw_clusters(["a", "b"], clustered_by="utterance", seed=0)
    assert np.isnan(pooled_value(np.zeros((2, 2)), mean))
    assert np.isnan(pooled_value(np.zeros((0, 2)), mean))
    with pytest.raises(ValueError, match="nothing was counted in 2 clips"):
        pooled_interval(np.zeros((2, 2)), draws, mean)


def test_a_draw_without_a_count_takes_the_measured_value() -> None:
    draws = draw_clusters(["a", "b"], clustered_by="utterance", seed=0, num_resamples=200)
    interval = pooled_interval(np.array([[4.0, 2.0], [0.0, 0.0]]), draws, mean)
    assert (interval.value, interval.low, interval.high) == (2.0, 2.0, 2.0)


def test_correlation_of_columns_is_pearsons() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 9))
    columns = np.stack([np.ones(9), x, y, x * x, y * y, x * y], axis=1)
    assert pooled_value(columns, correlation) == pytest.approx(np.corrcoef(x, y)[0, 1])
    columns[:, [1, 3, 5]] = 0.0
    assert np.isnan(pooled_value(columns, correlation))
