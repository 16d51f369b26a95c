from __future__ import annotations

import numpy as np

from learn2talk.metrics import ClosureCounts, count_closures


def test_closures_by_hand() -> None:
    gap = np.full(25, 5.0)
    gap[5] = 0.2  # 0.20-0.24 s: the p
    gap[15] = 0.2  # 0.60-0.64 s: at a vowel
    phones = [("p", 0.20, 0.28), ("a", 0.28, 0.70), ("m", 0.70, 0.80), ("i", 0.80, 0.90)]
    counts = count_closures(gap, phones, threshold_mm=1.0)
    assert counts == ClosureCounts(phones=2, closed=1, closures=2, closures_at_phones=1)
    assert counts.recall == 0.5 and counts.precision == 0.5
    assert (counts + counts).phones == 4
    assert np.isnan(count_closures(gap, [], threshold_mm=1.0).recall)


def test_closure_tolerance_is_forty_milliseconds() -> None:
    phones = [("b", 0.400, 0.480), ("a", 0.480, 0.9)]
    for frame, closed in ((8, 0), (9, 1), (12, 1), (13, 0)):  # 9 ends at 0.40, 12 starts at 0.48
        gap = np.full(25, 5.0)
        gap[frame] = 0.0
        assert count_closures(gap, phones, threshold_mm=1.0).closed == closed, frame


def test_no_phone_and_no_closure_have_no_rate() -> None:
    phones = [("a", 0.0, 0.5), ("i", 0.5, 1.0)]
    counts = count_closures(np.full(25, 5.0), phones, threshold_mm=1.0)
    assert counts == ClosureCounts(0, 0, 0, 0)
    assert np.isnan(counts.recall) and np.isnan(counts.precision)


def test_a_mouth_that_stays_shut_has_full_recall_and_one_closure() -> None:
    """Recall alone is blind to a closed mouth; the count of closures is not."""
    phones = [("p", 0.2, 0.28), ("a", 0.28, 0.6), ("b", 0.6, 0.7)]
    counts = count_closures(np.zeros(25), phones, threshold_mm=1.0)
    assert counts.recall == 1.0 and counts.closures == 1
