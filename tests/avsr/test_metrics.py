from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from avsr import metrics
from avsr.metrics import Score, character_errors, sentence_errors, word_errors
from avsr.schema import ErrorCounts


def score(
    utterance: str,
    errors: int,
    *,
    speaker: str = "s1",
    noise: str = "babble_8",
    snr: float | None = 0.0,
    seed: int | None = 0,
    words: int = 6,
) -> Score:
    return Score(utterance, speaker, noise, snr, seed, ErrorCounts(errors, 0, 0, words))


def test_counts_by_hand() -> None:
    assert word_errors(reference="a b c", hypothesis="a x c d") == ErrorCounts(1, 1, 0, 3)
    assert word_errors(reference="a b c", hypothesis="c") == ErrorCounts(0, 0, 2, 3)
    assert character_errors(reference="abc", hypothesis="axcd") == ErrorCounts(1, 1, 0, 3)
    assert character_errors(reference="a b", hypothesis="ab") == ErrorCounts(0, 0, 1, 3)
    assert sentence_errors(reference="a b", hypothesis="a  b") == ErrorCounts(0, 0, 0, 1)
    assert sentence_errors(reference="a b", hypothesis="b a").rate == 1


def test_empty_texts_are_defined() -> None:
    assert word_errors(reference="", hypothesis="a b") == ErrorCounts(0, 2, 0, 0)
    assert word_errors(reference="a b", hypothesis=" ") == ErrorCounts(0, 0, 2, 2)
    assert word_errors(reference="", hypothesis="") == ErrorCounts(0, 0, 0, 0)
    assert character_errors(reference="", hypothesis="ab") == ErrorCounts(0, 2, 0, 0)
    assert character_errors(reference="ab", hypothesis="") == ErrorCounts(0, 0, 2, 2)


def test_corpus_sums_before_it_divides() -> None:
    total = metrics.corpus_errors([ErrorCounts(1, 0, 0, 1), ErrorCounts(0, 0, 0, 9)])
    assert total.rate == pytest.approx(0.1)


def test_empty_corpus_has_no_rate() -> None:
    with pytest.raises(ValueError, match="no error rate"):
        _ = metrics.corpus_errors([]).rate


def test_interval_clusters_by_speaker_where_there_are_several() -> None:
    # Speakers differ, utterances of one speaker do not: all the spread is between speakers.
    scores = [score(f"u{i}", errors=i % 4, speaker=f"s{i % 4}") for i in range(400)]
    by_speaker = metrics.clustered_bootstrap(scores, seed=0, num_resamples=2000)
    one = [dataclasses.replace(item, speaker_id="s") for item in scores]
    by_utterance = metrics.clustered_bootstrap(one, seed=0, num_resamples=2000)
    assert (by_speaker.clustered_by, by_speaker.num_clusters) == ("speaker", 4)
    assert (by_utterance.clustered_by, by_utterance.num_clusters) == ("utterance", 400)
    assert by_speaker.value == by_utterance.value == pytest.approx(0.25)

    def width(interval: metrics.Interval) -> float:
        assert interval.low is not None and interval.high is not None
        return interval.high - interval.low

    assert width(by_speaker) > 5 * width(by_utterance)


def test_seeds_of_one_utterance_are_not_independent_evidence() -> None:
    once = [score(f"u{i}", errors=i % 3) for i in range(60)]
    thrice = [dataclasses.replace(item, seed=seed) for item in once for seed in range(3)]
    first = metrics.clustered_bootstrap(once, seed=1)
    second = metrics.clustered_bootstrap(thrice, seed=1)
    assert (first.low, first.high) == (second.low, second.high)
    assert second.num_clusters == 60


def test_the_seed_decides_the_interval() -> None:
    scores = [score(f"u{i}", errors=(i * 7) % 5, words=5 + i % 3) for i in range(50)]
    first = metrics.clustered_bootstrap(scores, seed=3)
    assert first == metrics.clustered_bootstrap(scores[::-1], seed=3)
    assert first != metrics.clustered_bootstrap(scores, seed=4)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "no scores"),
        ([score("u1", 1)], "single utterance"),
        ([score("u1", 1), score("u1", 2)], "scored twice"),
        ([score("u1", 1, words=0), score("u2", 1, words=0)], "no reference word"),
    ],
)
def test_what_has_no_interval_is_refused(scores: list[Score], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.clustered_bootstrap(scores, seed=0)


def test_zero_db_and_clean_are_different_conditions() -> None:
    scores = [score("u1", 1), score("u1", 0, snr=None, seed=None), score("u2", 1)]
    assert metrics.clustered_bootstrap(scores, seed=0).value == pytest.approx(2 / 18)


def test_paired_difference_has_the_sign_its_name_says() -> None:
    a = [score(f"u{i}", errors=i % 2) for i in range(100)]
    b = [score(f"u{i}", errors=3) for i in range(100)]
    test = metrics.paired_bootstrap(a, b, seed=0)
    assert test.rate_a == pytest.approx(0.5 / 6) and test.rate_b == pytest.approx(0.5)
    assert test.difference.value == pytest.approx(test.rate_a - test.rate_b)
    assert test.difference.high is not None and test.difference.high < 0
    assert test.p_value < 0.001
    assert test.num_mixtures == 100


def test_equal_systems_are_not_told_apart() -> None:
    a = [score(f"u{i}", errors=i % 3) for i in range(50)]
    assert metrics.paired_bootstrap(a, a, seed=0).p_value == 1
    assert metrics.paired_bootstrap(a, a, seed=0).difference.value == 0


def test_pairing_removes_what_both_share() -> None:
    generator = np.random.default_rng(0)
    hard = generator.integers(0, 6, 200)
    a = [score(f"u{i}", errors=int(h)) for i, h in enumerate(hard)]
    b = [score(f"u{i}", errors=int(h) + (i % 5 == 0)) for i, h in enumerate(hard)]
    assert metrics.paired_bootstrap(a, b, seed=0).p_value < 0.001


def test_unpaired_scores_are_refused_with_examples() -> None:
    a = [score("u1", 1), score("u2", 1)]
    with pytest.raises(ValueError, match=r"1 mixtures.*u3"):
        metrics.paired_bootstrap(a, [*a, score("u3", 1)], seed=0)
    with pytest.raises(ValueError, match=r"2 mixtures.*-5"):
        metrics.paired_bootstrap(a, [score("u1", 1), score("u2", 1, snr=-5.0)], seed=0)
    with pytest.raises(ValueError, match="reference"):
        metrics.paired_bootstrap(a, [score("u1", 1), score("u2", 1, words=7)], seed=0)


def test_n_wer_is_the_plain_mean_of_cells_with_zero_db_and_without_clean() -> None:
    cells = {("white", 0.0): 6, ("white", 5.0): 0, ("babble_8", 0.0): 3}
    scores = [
        score(f"u{i}", errors, noise=noise, snr=snr)
        for (noise, snr), errors in cells.items()
        for i in range(2 if noise == "white" else 8)  # a bigger cell weighs no more
    ]
    scores += [score(f"u{i}", 6, noise="none", snr=None, seed=None) for i in range(8)]
    assert metrics.n_wer(scores, seed=0).value == pytest.approx((1 + 0 + 0.5) / 3)
    with pytest.raises(ValueError, match="no noisy score"):
        metrics.n_wer(scores[-8:], seed=0)


def test_share_of_errors_recovered() -> None:
    a = [score(f"u{i}", 4) for i in range(10)]
    b = [score(f"u{i}", 1) for i in range(10)]
    assert metrics.errors_recovered(a, b, seed=0).value == pytest.approx(0.75)
    with pytest.raises(ValueError, match="no error"):
        metrics.errors_recovered([score(f"u{i}", 0) for i in range(10)], b, seed=0)


def curve(shift_db: float, count: int = 40) -> list[Score]:
    """Errors of 100 words falling in a straight line from 100 at -10 dB to 0 at 10 dB."""
    return [
        score(f"u{i}", round(min(100, max(0, 50 - 5 * (snr + shift_db)))), snr=snr, words=100)
        for i in range(count)
        for snr in (-10.0, -5.0, 0.0, 5.0, 10.0)
    ]


def test_effective_gain_is_the_shift_of_the_curve() -> None:
    gain = metrics.effective_snr_gain_db(curve(0), curve(4), at_rate=0.5, seed=0)
    assert gain.value == pytest.approx(4)
    assert gain.low == pytest.approx(4) and gain.high == pytest.approx(4)
    back = metrics.effective_snr_gain_db(curve(4), curve(0), at_rate=0.5, seed=0)
    assert back.value == pytest.approx(-4)


def test_effective_gain_uses_zero_db() -> None:
    first, second = ([s for s in curve(shift) if s.snr_db in (0.0, 5.0)] for shift in (0, 2))
    gain = metrics.effective_snr_gain_db(first, second, at_rate=0.3, seed=0)
    assert gain.value == pytest.approx(2)


def test_effective_gain_needs_a_rate_that_both_curves_cross() -> None:
    with pytest.raises(ValueError, match="not crossed by both"):
        metrics.effective_snr_gain_db(curve(0), curve(12), at_rate=0.95, seed=0)
    with pytest.raises(ValueError, match="two or more levels"):
        metrics.effective_snr_gain_db([score("u1", 1)], [score("u1", 1)], at_rate=0.5, seed=0)


def test_effective_gain_may_be_unbounded() -> None:
    # Few utterances, some of which the system never fails on: its curve may not reach the rate.
    better = [
        dataclasses.replace(item, errors=ErrorCounts(0, 0, 0, 100))
        if item.utterance_id in {"u0", "u1", "u2"}
        else item
        for item in curve(0, 5)
    ]
    gain = metrics.effective_snr_gain_db(curve(0, 5), better, at_rate=0.38, seed=0)
    assert gain.value > 0 and gain.low is not None and gain.high is None


def test_isotonic_fit_pools_violators() -> None:
    fitted = metrics._non_increasing(np.array([[5.0, 1.0, 3.0, 0.0], [4.0, 3.0, 2.0, 1.0]]))
    np.testing.assert_allclose(fitted, [[5, 2, 2, 0], [4, 3, 2, 1]])


def test_roc_auc_counts_pairs() -> None:
    generator = np.random.default_rng(0)
    positive, negative = generator.integers(0, 5, 40), generator.integers(0, 4, 30)
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert metrics.roc_auc(positive, negative) == pytest.approx(np.mean(pairs))
    assert metrics.roc_auc(np.ones(3), np.ones(4)) == 0.5
    assert metrics.roc_auc(np.array([2.0]), np.array([1.0])) == 1
    with pytest.raises(ValueError, match="no negative"):
        metrics.roc_auc(np.ones(3), np.ones(0))
    with pytest.raises(ValueError, match="NaN"):
        metrics.roc_auc(np.array([np.nan]), np.ones(1))
