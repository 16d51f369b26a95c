"""The lip gap, and whether it closes where p, b and m are said.

Arrays are numpy, millimetres, frames first. Axis letters: T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INNER_LOWER_MIDDLE = 25  # of the canonical 40 lip points
INNER_UPPER_MIDDLE = 35
CLOSURE_PHONES = frozenset({"p", "b", "m"})
CLOSURE_TOLERANCE_S = 0.040

Array = NDArray[np.floating]


def lip_gap_mm(lips: Array) -> Array:
    """Distance of the inner lips' middles, (T,), mm, from canonical lips (T, 40, 3)."""
    return np.linalg.norm(lips[:, INNER_UPPER_MIDDLE] - lips[:, INNER_LOWER_MIDDLE], axis=-1)


@dataclass(frozen=True)
class ClosureCounts:
    """Mouth closures as counts; sums before rates."""

    phones: int
    closed: int
    closures: int
    closures_at_phones: int

    def __add__(self, other: ClosureCounts) -> ClosureCounts:
        return ClosureCounts(
            self.phones + other.phones,
            self.closed + other.closed,
            self.closures + other.closures,
            self.closures_at_phones + other.closures_at_phones,
        )

    @property
    def recall(self) -> float:
        """Share of p, b and m at which the lips close; NaN without such phones."""
        return self.closed / self.phones if self.phones else float("nan")

    @property
    def precision(self) -> float:
        """Share of closures inside speech that lie at a p, b or m; NaN without closures."""
        return self.closures_at_phones / self.closures if self.closures else float("nan")


def count_closures(
    gap_mm: Array,
    phones: Sequence[tuple[str, float, float]],
    *,
    threshold_mm: float,
    fps: float = 25.0,
) -> ClosureCounts:
    """Closures of the lips at p, b and m, within +-40 ms of the phone.

    Args:
        gap_mm: (T,) lip gap, mm.
        phones: (phone, start_s, end_s), whole utterance; closures are counted between the first
            phone's start and the last one's end.
        threshold_mm: the speaker's closed threshold; a gap below it is closed.
        fps: frames a second. A frame counts where its time span touches the phone's.
    """
    if not phones:
        return ClosureCounts(0, 0, 0, 0)
    starts = np.arange(len(gap_mm)) / fps
    ends = starts + 1.0 / fps
    is_closed = np.asarray(gap_mm) < threshold_mm
    near_any = np.zeros(len(gap_mm), dtype=bool)
    total = closed = 0
    for phone, start_s, end_s in phones:
        if phone not in CLOSURE_PHONES:
            continue
        near = (starts < end_s + CLOSURE_TOLERANCE_S) & (ends > start_s - CLOSURE_TOLERANCE_S)
        near_any |= near
        total += 1
        closed += bool(is_closed[near].any())
    speech = (starts < phones[-1][2]) & (ends > phones[0][1])
    inside = is_closed & speech
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.view(np.int8), [0]])))
    runs = edges.reshape(-1, 2)
    hits = sum(bool(near_any[first:last].any()) for first, last in runs)
    return ClosureCounts(total, closed, len(runs), hits)
