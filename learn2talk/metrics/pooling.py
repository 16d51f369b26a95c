"""Figures of a corpus from sums of its clips, with percentile bootstrap intervals over clusters.

Sums before rates: every figure is a function of columns that add up over clips, so that one set of
resamples serves all figures and their paired differences.
Axis letters: C clips, M columns, K clusters, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsr.metrics import Interval

Array = NDArray[np.floating]
Statistic = Callable[[Array], Array]
"""Summed columns (R, M) to the figure (R,); NaN where they say nothing."""


@dataclass(frozen=True, eq=False)
class ClusterDraws:
    """Which cluster each clip is of, and how often each resample draws each cluster."""

    cluster_of: NDArray[np.int64]  # (C,)
    times_drawn: NDArray[np.int64]  # (R, K)
    clustered_by: str
    seed: int


def draw_clusters(
    clusters: Sequence[str], *, clustered_by: str, seed: int, num_resamples: int = 10_000
) -> ClusterDraws:
    """Resamples of whole clusters with replacement: frames of a clip are not independent.

    Args:
        clusters: C names; clips of one name are drawn together.
        clustered_by: what the names are, "speaker" or "utterance".
        seed: of the resampling.
        num_resamples: R.

    Raises:
        ValueError: fewer than two clusters.
    """
    names = sorted(set(clusters))
    if len(names) < 2:
        raise ValueError(
            f"{len(names)} clusters have no bootstrap interval; measure two clips or more"
        )
    share = np.full(len(names), 1 / len(names))
    times = np.random.default_rng(seed).multinomial(len(names), share, size=num_resamples)
    return ClusterDraws(np.searchsorted(names, list(clusters)), times, clustered_by, seed)


def mean(sums: Array) -> Array:
    """Columns (sum of a measure, how many) to its mean."""
    counts = sums[:, 1]
    return np.where(counts > 0, sums[:, 0] / np.where(counts > 0, counts, 1.0), np.nan)


def root_mean(sums: Array) -> Array:
    """Columns (sum of squares, how many) to the root of their mean."""
    return np.sqrt(mean(sums))


def correlation(sums: Array) -> Array:
    """Columns (count, x, y, x^2, y^2, x y) to Pearson's correlation of x and y."""
    count, x, y, xx, yy, xy = sums.T
    over = np.maximum(count, 1.0)
    spread = np.sqrt(np.maximum(xx - x * x / over, 0.0) * np.maximum(yy - y * y / over, 0.0))
    # Rounding leaves a constant with a tiny spread that correlates with anything.
    known = (count > 1) & (spread > 1e-9 * over)
    together = (xy - x * y / over) / np.where(known, spread, 1.0)
    return np.where(known, together.clip(-1.0, 1.0), np.nan)


def difference(statistic: Statistic) -> Statistic:
    """The statistic of the first half of the columns minus that of the second half."""

    def apart(sums: Array) -> Array:
        first, second = np.split(sums, 2, axis=1)
        return statistic(first) - statistic(second)

    return apart


def pooled_value(columns: Array, statistic: Statistic) -> float:
    """The figure of columns (C, M); NaN where they say nothing."""
    return float(statistic(columns.astype(np.float64).sum(axis=0, keepdims=True))[0])


def pooled_interval(
    columns: Array, draws: ClusterDraws, statistic: Statistic, *, confidence: float = 0.95
) -> Interval:
    """The figure of columns (C, M) with its percentile bootstrap interval.

    Args:
        columns: (C, M) summed measures of each clip, in the order of the draws' clips.
        draws: of :func:`draw_clusters`.
        statistic: summed columns to the figure.
        confidence: in (0, 1).

    Raises:
        ValueError: the measured figure is NaN: nothing was counted.
    """
    columns = np.asarray(columns, dtype=np.float64)
    totals = np.zeros((draws.times_drawn.shape[1], columns.shape[1]))
    np.add.at(totals, draws.cluster_of, columns)
    value = float(statistic(totals.sum(axis=0)[None])[0])
    if np.isnan(value):
        raise ValueError(
            f"nothing was counted in {len(columns)} clips, so there is no figure and no bootstrap "
            "interval; measure clips that have what the figure counts"
        )
    drawn = statistic(draws.times_drawn @ totals)
    # A draw of clips without a single count says nothing: it takes the measured value.
    drawn = np.where(np.isnan(drawn), value, drawn)
    tail = (1 - confidence) / 2
    return Interval(
        value=value,
        low=float(np.quantile(drawn, tail)),
        high=float(np.quantile(drawn, 1 - tail)),
        confidence=confidence,
        clustered_by=draws.clustered_by,
        num_clusters=len(totals),
        num_resamples=len(drawn),
        seed=draws.seed,
    )


def pooled_mean(
    sums: Array,
    counts: Array,
    clusters: Sequence[str],
    *,
    clustered_by: str,
    seed: int,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Mean over all frames of all clips, with its percentile bootstrap interval over clusters.

    Args:
        sums, counts: (C,) sum of a measure over a clip's frames, and how many frames.
        clusters: C names; clips of one name are drawn together.
        clustered_by: what the names are, "speaker" or "utterance".
        seed: of the resampling.
        num_resamples: how many resamples.
        confidence: in (0, 1).

    Raises:
        ValueError: nothing was counted, or there are fewer than two clusters.
    """
    draws = draw_clusters(
        clusters, clustered_by=clustered_by, seed=seed, num_resamples=num_resamples
    )
    columns = np.stack([sums, counts], axis=1)
    return pooled_interval(columns, draws, mean, confidence=confidence)
