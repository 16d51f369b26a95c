"""Recognition error as counts, with intervals and paired tests that respect the sampling.

Rates come last: everything is summed as counts and divided once. Intervals are percentile bootstrap
intervals (Efron and Tibshirani 1993, chapters 13 and 16; Bisani and Ney 2004 for word error rate)
over clusters, because utterances of one speaker, and mixtures of one utterance at several seeds and
levels, are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from avsr.schema import ErrorCounts

_CHUNK_ROWS = 1000  # resamples drawn at once: bounds memory for tens of thousands of clusters

Condition = tuple[str, "float | None"]
MixtureKey = tuple[str, str, "float | None", "int | None"]


@dataclass(frozen=True)
class Score:
    """Errors of one system on one mixture.

    ``snr_db`` is in dB, ``None`` for clean and 0.0 for 0 dB; ``seed`` is the noise seed, ``None``
    where there is no noise.
    """

    utterance_id: str
    speaker_id: str
    noise_type: str
    snr_db: float | None
    seed: int | None
    errors: ErrorCounts

    @property
    def key(self) -> MixtureKey:
        """What identifies the mixture, whatever the system."""
        return self.utterance_id, self.noise_type, self.snr_db, self.seed

    @property
    def condition(self) -> Condition:
        """Noise type and level."""
        return self.noise_type, self.snr_db


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval.

    ``low`` or ``high`` is ``None`` where resampling leaves it unbounded (only the SNR gain can be).
    ``clustered_by`` is ``"speaker"``, or ``"utterance"`` where there is one speaker only; then the
    interval says nothing about other speakers. ``num_clusters`` is how many of them were resampled.
    """

    value: float
    low: float | None
    high: float | None
    confidence: float
    clustered_by: str
    num_clusters: int
    num_resamples: int
    seed: int


@dataclass(frozen=True)
class PairedTest:
    """System a against system b on the same mixtures.

    ``difference`` is ``rate_a - rate_b`` as a fraction (negative: a is better), with its interval;
    ``p_value`` is two-sided, at least ``1 / (num_resamples + 1)``.
    """

    rate_a: float
    rate_b: float
    difference: Interval
    p_value: float
    num_mixtures: int


def word_errors(*, reference: str, hypothesis: str) -> ErrorCounts:
    """Word-level edit counts of one utterance (jiwer); both texts already normalised.

    An empty reference makes every word of the hypothesis an insertion; two empty texts make no
    error.
    """
    words = hypothesis.split()
    if not reference.split():
        return ErrorCounts(0, len(words), 0, 0)
    if not words:
        return ErrorCounts(0, 0, len(reference.split()), len(reference.split()))
    out = jiwer.process_words(" ".join(reference.split()), " ".join(words))
    return ErrorCounts(
        out.substitutions,
        out.insertions,
        out.deletions,
        out.hits + out.substitutions + out.deletions,
    )


def character_errors(*, reference: str, hypothesis: str) -> ErrorCounts:
    """Character-level edit counts of one utterance (jiwer); single spaces between words count.

    Empty texts as in :func:`word_errors`.
    """
    reference, hypothesis = " ".join(reference.split()), " ".join(hypothesis.split())
    if not reference:
        return ErrorCounts(0, len(hypothesis), 0, 0)
    if not hypothesis:
        return ErrorCounts(0, 0, len(reference), len(reference))
    out = jiwer.process_characters(reference, hypothesis)
    return ErrorCounts(
        out.substitutions,
        out.insertions,
        out.deletions,
        out.hits + out.substitutions + out.deletions,
    )


def sentence_errors(*, reference: str, hypothesis: str) -> ErrorCounts:
    """One utterance as one token: a substitution unless the word sequences are equal."""
    return ErrorCounts(int(reference.split() != hypothesis.split()), 0, 0, 1)


def corpus_errors(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """Sum of counts; its ``.rate`` is the corpus error rate and refuses an empty corpus."""
    total = ErrorCounts(0, 0, 0, 0)
    for one in counts:
        total = total + one
    return total


def clustered_bootstrap(
    scores: Sequence[Score],
    *,
    seed: int,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Corpus error rate of one or several conditions together, with its interval.

    Speakers are resampled with replacement, each with all its mixtures; with a single speaker,
    utterances are, each with all its seeds and levels.

    Args:
        scores: one per mixture; no mixture twice.
        seed: of the resampling; the same seed and scores give the same interval.
        num_resamples: how many resamples.
        confidence: in (0, 1).

    Raises:
        ValueError: no score, a repeated mixture, a single utterance, or no reference word.
    """
    table = _Table([scores], [None], confidence, num_resamples)
    value, drawn = table.bootstrap(lambda rates: rates[:, 0, 0], seed)
    return table.interval(value, drawn, seed)


def paired_bootstrap(
    a: Sequence[Score],
    b: Sequence[Score],
    *,
    seed: int,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> PairedTest:
    """Corpus error rate of system a minus that of system b on the same mixtures.

    Both are resampled together by the clusters of :func:`clustered_bootstrap`. The p-value is twice
    the smaller share of resamples on either side of zero, so that p < 0.05 says what the 95 %
    interval says.

    Raises:
        ValueError: the two were not scored on the same mixtures or references; the message lists
            some of them. Otherwise as :func:`clustered_bootstrap`.
    """
    table = _Table([a, b], [None], confidence, num_resamples)
    value, drawn = table.bootstrap(lambda rates: rates[:, 0, 0] - rates[:, 1, 0], seed)
    smaller = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    rates = table.point()
    return PairedTest(
        rate_a=float(rates[0, 0]),
        rate_b=float(rates[1, 0]),
        difference=table.interval(value, drawn, seed),
        p_value=min(1.0, 2 * (smaller + 1) / (num_resamples + 1)),
        num_mixtures=len(a),
    )


def n_wer(
    scores: Sequence[Score],
    *,
    seed: int,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """N-WER: plain mean of the error rate over all noisy (noise type, SNR) cells, with interval.

    Clean scores (``snr_db is None``) are left out; 0 dB is in.

    Raises:
        ValueError: no noisy score. Otherwise as :func:`clustered_bootstrap`.
    """
    noisy = [score for score in scores if score.snr_db is not None]
    if not noisy:
        raise ValueError(
            f"no noisy score among {len(scores)}; N-WER needs mixtures with an SNR in dB"
        )
    cells = sorted({(score.noise_type, score.snr_db) for score in noisy})
    table = _Table([noisy], list(cells), confidence, num_resamples)
    value, drawn = table.bootstrap(lambda rates: rates[:, 0].mean(axis=1), seed)
    return table.interval(value, drawn, seed)


def errors_recovered(
    baseline: Sequence[Score],
    system: Sequence[Score],
    *,
    seed: int,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Share of the baseline's errors that the system avoids: 1 - rate(system) / rate(baseline).

    1 is all of them, 0 none, negative where the system is worse. Pass the scores of one level, say
    those at -10 dB.

    Raises:
        ValueError: the baseline makes no error. Otherwise as :func:`paired_bootstrap`.
    """
    table = _Table([baseline, system], [None], confidence, num_resamples)
    if table.point()[0, 0] == 0:
        raise ValueError("the baseline makes no error here, so no share of them can be recovered")

    def share(rates: np.ndarray) -> np.ndarray:
        # A resample without baseline errors has nothing to recover: 0, never a division by zero.
        base = rates[:, 0, 0]
        return np.where(base > 0, 1 - rates[:, 1, 0] / np.where(base > 0, base, 1), 0.0)

    value, drawn = table.bootstrap(share, seed)
    return table.interval(value, drawn, seed)


def effective_snr_gain_db(
    baseline: Sequence[Score],
    system: Sequence[Score],
    *,
    at_rate: float,
    seed: int,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """How many dB more noise the system bears than the baseline at the same error rate.

    Both curves of corpus error rate over SNR (noise types pooled, clean left out) are made
    non-increasing by isotonic regression (pool adjacent violators) and read by linear
    interpolation at ``at_rate``; the gain is SNR(baseline) - SNR(system), positive where the
    system is better. A resampled curve that never reaches ``at_rate`` counts as an infinite gain
    or loss, so an interval end may be ``None`` (unbounded).

    Args:
        at_rate: the error rate as a fraction, which both measured curves must cross.

    Raises:
        ValueError: fewer than two levels, or a measured curve does not cross ``at_rate``; the
            message gives both ranges. Otherwise as :func:`paired_bootstrap`.
    """
    levels = sorted({score.snr_db for score in baseline if score.snr_db is not None})
    if len(levels) < 2:
        raise ValueError(f"SNR gain needs two or more levels in dB, got {levels}")
    pair = [[score for score in side if score.snr_db is not None] for side in (baseline, system)]
    table = _Table(pair, list(levels), confidence, num_resamples)
    snrs = np.asarray(levels, dtype=np.float64)

    def gain(rates: np.ndarray) -> np.ndarray:
        crossing = _crossing_db(_non_increasing(rates), snrs, at_rate)
        both = np.isfinite(crossing).all(axis=1)
        # Opposite or equal infinities have a meaning only by their order; equal ones say nothing
        # about the gain and count as none.
        difference = np.zeros(len(rates))
        difference[both] = crossing[both, 0] - crossing[both, 1]
        apart = ~both & (crossing[:, 0] != crossing[:, 1])
        difference[apart] = np.where(crossing[apart, 0] > crossing[apart, 1], np.inf, -np.inf)
        return difference

    curves = _non_increasing(table.point()[None])
    if not np.isfinite(_crossing_db(curves, snrs, at_rate)).all():
        (a_low, b_low), (a_high, b_high) = curves[0].min(axis=1), curves[0].max(axis=1)
        raise ValueError(
            f"an error rate of {at_rate:.3f} is not crossed by both curves between {levels[0]:g} "
            f"and {levels[-1]:g} dB: baseline {a_low:.3f}..{a_high:.3f}, system "
            f"{b_low:.3f}..{b_high:.3f}; choose a rate inside both or add levels"
        )
    value, drawn = table.bootstrap(gain, seed)
    return table.interval(value, drawn, seed)


def roc_auc(positive_scores: np.ndarray, negative_scores: np.ndarray) -> float:
    """Area under the ROC curve: P(positive > negative) + P(equal) / 2 (Mann-Whitney U).

    Args:
        positive_scores: float (P,), higher meaning positive; P at least 1.
        negative_scores: float (N,); N at least 1.

    Raises:
        ValueError: one side is empty or holds NaN.
    """
    positive = np.asarray(positive_scores, dtype=np.float64).ravel()
    negative = np.sort(np.asarray(negative_scores, dtype=np.float64).ravel())
    for name, values in (("positive", positive), ("negative", negative)):
        if values.size == 0:
            raise ValueError(f"no {name} score; ROC AUC needs at least one of each side")
        if np.isnan(values).any():
            raise ValueError(f"{np.isnan(values).sum()} of {values.size} {name} scores are NaN")
    below = np.searchsorted(negative, positive, side="left")
    up_to = np.searchsorted(negative, positive, side="right")
    return float((below + up_to).mean() / (2 * negative.size))


class _Table:
    """Error and reference counts by (cluster, system, cell), which resampling only re-weights."""

    def __init__(
        self,
        systems: Sequence[Sequence[Score]],
        cells: Sequence[Condition | float | None],
        confidence: float,
        num_resamples: int,
    ) -> None:
        if not 0 < confidence < 1 or num_resamples < 1:
            raise ValueError(
                f"confidence {confidence} must be between 0 and 1 and num_resamples "
                f"{num_resamples} at least 1"
            )
        self.confidence, self.num_resamples = confidence, num_resamples
        _check_same_mixtures(systems)
        first = systems[0]
        speakers = {score.speaker_id for score in first}
        self.clustered_by = "speaker" if len(speakers) > 1 else "utterance"
        names = sorted({self._cluster(score) for score in first})
        if len(names) < 2:
            raise ValueError(
                f"a single utterance ({names[0]}) has no bootstrap interval; score two or more"
            )
        row = {name: index for index, name in enumerate(names)}
        column = {cell: index for index, cell in enumerate(cells)}
        shape = (len(names), len(systems), len(cells))
        self.errors, self.lengths = np.zeros(shape), np.zeros(shape)
        for system, scores in enumerate(systems):
            for score in scores:
                place = (row[self._cluster(score)], system, column[_cell(score, cells[0])])
                self.errors[place] += score.errors.errors
                self.lengths[place] += score.errors.reference_length
        empty = np.argwhere(self.lengths.sum(axis=0) == 0)
        if empty.size:
            raise ValueError(
                f"no reference word in {cells[empty[0][1]] or 'the scores'}, so there is no error "
                "rate; score utterances that have words"
            )

    def _cluster(self, score: Score) -> str:
        return score.speaker_id if self.clustered_by == "speaker" else score.utterance_id

    def point(self) -> np.ndarray:
        """Measured rates (system, cell)."""
        rates: np.ndarray = self.errors.sum(axis=0) / self.lengths.sum(axis=0)
        return rates

    def bootstrap(
        self, statistic: Callable[[np.ndarray], np.ndarray], seed: int
    ) -> tuple[float, np.ndarray]:
        """The statistic of the measured rates, and of each resample's (resample, system, cell)."""
        generator = np.random.default_rng(seed)
        count = len(self.errors)
        flat_errors, flat_lengths = self.errors.reshape(count, -1), self.lengths.reshape(count, -1)
        drawn = []
        for start in range(0, self.num_resamples, _CHUNK_ROWS):
            rows = min(_CHUNK_ROWS, self.num_resamples - start)
            weights = generator.multinomial(count, np.full(count, 1 / count), size=rows)
            lengths = weights @ flat_lengths
            # A cell none of whose utterances was drawn takes its measured rate: no information.
            rates = np.where(
                lengths > 0,
                (weights @ flat_errors) / np.where(lengths > 0, lengths, 1),
                self.point().ravel(),
            )
            drawn.append(statistic(rates.reshape(rows, *self.errors.shape[1:])))
        return float(statistic(self.point()[None])[0]), np.concatenate(drawn)

    def interval(self, value: float, drawn: np.ndarray, seed: int) -> Interval:
        """Percentile interval of the resampled values."""
        tail = (1 - self.confidence) / 2
        # Order statistics instead of interpolation: infinite values stay comparable.
        low, high = (
            float(np.quantile(drawn, tail, method="lower")),
            float(np.quantile(drawn, 1 - tail, method="higher")),
        )
        return Interval(
            value=value,
            low=low if np.isfinite(low) else None,
            high=high if np.isfinite(high) else None,
            confidence=self.confidence,
            clustered_by=self.clustered_by,
            num_clusters=len(self.errors),
            num_resamples=self.num_resamples,
            seed=seed,
        )


def _cell(score: Score, like: Condition | float | None) -> Condition | float | None:
    """The score's cell, of the table's kind: all in one, by level, or by type and level."""
    if like is None:
        return None
    return score.condition if isinstance(like, tuple) else score.snr_db


def _check_same_mixtures(systems: Sequence[Sequence[Score]]) -> None:
    maps = []
    for scores in systems:
        if not scores:
            raise ValueError("no scores to resample; score at least two utterances")
        by_key: dict[MixtureKey, Score] = {}
        for score in scores:
            if score.key in by_key:
                raise ValueError(
                    f"mixture {score.key} is scored twice; keep one hypothesis for each "
                    "(utterance, noise type, SNR, seed)"
                )
            by_key[score.key] = score
        maps.append(by_key)
    for other in maps[1:]:
        different = sorted(maps[0].keys() ^ other.keys(), key=repr)
        if different:
            raise ValueError(
                f"{len(different)} mixtures are scored for one system only, e.g. "
                f"{', '.join(map(str, different[:3]))}; decode both on the same manifest"
            )
        for key, score in other.items():
            first = maps[0][key]
            if first.speaker_id != score.speaker_id or (
                first.errors.reference_length != score.errors.reference_length
            ):
                raise ValueError(
                    f"mixture {key} has speaker {first.speaker_id} and "
                    f"{first.errors.reference_length} reference tokens for one system, "
                    f"{score.speaker_id} and {score.errors.reference_length} for the other; "
                    "score both against the same references"
                )


def _non_increasing(rates: np.ndarray) -> np.ndarray:
    """Isotonic (non-increasing) regression along the last axis, equal weights, by its min-max form.

    g[i] = min over s <= i of max over t >= i of mean(rates[s..t]) (Robertson et al. 1988, 1.4).
    """
    count = rates.shape[-1]
    sums = np.concatenate([np.zeros((*rates.shape[:-1], 1)), rates.cumsum(axis=-1)], axis=-1)
    fitted = np.empty_like(rates)
    for i in range(count):
        best = None
        for start in range(i + 1):
            ends = np.arange(i + 1, count + 1)
            means = (sums[..., i + 1 :] - sums[..., start, None]) / (ends - start)
            highest = means.max(axis=-1)
            best = highest if best is None else np.minimum(best, highest)
        fitted[..., i] = best
    return fitted


def _crossing_db(curves: np.ndarray, snrs: np.ndarray, at_rate: float) -> np.ndarray:
    """SNR at which each non-increasing curve (..., levels) falls through ``at_rate``.

    ``-inf``: below the rate at every level; ``+inf``: above it at every level.
    """
    count = len(snrs)
    # First level at or below the rate; the crossing lies between it and the level before.
    after = (curves > at_rate).sum(axis=-1)
    right = np.clip(after, 1, count - 1)
    high = np.take_along_axis(curves, right[..., None] - 1, axis=-1)[..., 0]
    low = np.take_along_axis(curves, right[..., None], axis=-1)[..., 0]
    span = np.where(high > low, high - low, 1.0)
    crossing = snrs[right - 1] + (high - at_rate) / span * (snrs[right] - snrs[right - 1])
    crossing = np.where((after == 0) & (curves[..., 0] < at_rate), -np.inf, crossing)
    crossing = np.where((after == 0) & (curves[..., 0] == at_rate), snrs[0], crossing)
    return np.where(after == count, np.inf, crossing)
