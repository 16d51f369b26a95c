"""What was measured of live faces: latency from sound to screen, frames a second, what was lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from avsr.units import VIDEO_FPS

KEPT = 25 * 3600  # values of each kind: an hour
REPORT_VALUES = 1000  # of one kind in one report of a page
DAY_MS = 86_400_000.0


def _kept() -> deque[float]:
    return deque(maxlen=KEPT)


def spread(values: Sequence[float] | deque[float]) -> dict[str, float] | None:
    """Median and 95th percentile as {"p50", "p95"}; None of no values."""
    if not values:
        return None
    middle, high = np.percentile(np.asarray(values), (50, 95))
    return {"p50": round(float(middle), 3), "p95": round(float(high), 3)}


@dataclass
class LiveFigures:
    """Of one connection, or of several added up.

    algorithmic_ms: from the first sample of a frame until the frame can come out, without
    computing. made, dropped, unsent: frames computed; frames of sound dropped because computing was
    too slow; frames made and not sent because the page read too slowly. shown, skipped: as the page
    counts them; a frame is skipped where a newer one was there before the screen's next picture.
    late: frames that came after their time to the page, where it keeps one (sound played along).
    compute_ms: of the calls that gave frames. latency_ms: as the page measures it, from the capture
    of a frame's first sample until the picture with the frame has gone to the screen. interval_ms:
    between such pictures.
    """

    algorithmic_ms: float
    made: int = 0
    dropped: int = 0
    unsent: int = 0
    shown: int = 0
    skipped: int = 0
    late: int = 0
    compute_ms: deque[float] = field(default_factory=_kept)
    latency_ms: deque[float] = field(default_factory=_kept)
    interval_ms: deque[float] = field(default_factory=_kept)

    def take_report(self, report: Mapping[str, Any]) -> None:
        """Add what a page reports of the time since its last report.

        Args:
            report: "shown", "skipped" and "late", counts, and "latency_ms" and "interval_ms", lists
                of at most 1000 numbers.

        Raises:
            ValueError: one is missing, or is not that; nothing of the report is taken.
        """
        counts = {name: _count(report, name) for name in ("shown", "skipped", "late")}
        lists = {name: _numbers(report, name) for name in ("latency_ms", "interval_ms")}
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)
        for name, values in lists.items():
            getattr(self, name).extend(values)

    def add(self, other: LiveFigures) -> None:
        """Add those of another connection."""
        for name in ("made", "dropped", "unsent", "shown", "skipped", "late"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("compute_ms", "latency_ms", "interval_ms"):
            getattr(self, name).extend(getattr(other, name))

    @property
    def fps(self) -> float | None:
        """Frames shown a second while faces moved; None before two were shown."""
        spent_ms = sum(self.interval_ms)
        return 1000 * len(self.interval_ms) / spent_ms if spent_ms > 0 else None

    def as_json(self) -> dict[str, Any]:
        """Counts and percentiles; what was not measured is None."""
        even = 1000 / VIDEO_FPS
        fps = self.fps
        return {
            "algorithmic_ms": self.algorithmic_ms,
            "latency_ms": spread(self.latency_ms),
            "jitter_ms": spread([abs(one - even) for one in self.interval_ms]),
            "compute_ms": spread(self.compute_ms),
            "fps": None if fps is None else round(fps, 2),
            "made": self.made,
            "dropped": self.dropped,
            "unsent": self.unsent,
            "shown": self.shown,
            "skipped": self.skipped,
            "late": self.late,
        }

    @property
    def lines(self) -> list[str]:
        """A few lines for a person."""
        said = self.as_json()

        def pair(name: str) -> str:
            values = said[name]
            if values is None:
                return "not measured"
            return f"median {values['p50']:.1f} ms, 95th percentile {values['p95']:.1f} ms"

        fps = "not measured" if said["fps"] is None else f"{said['fps']:.1f} a second"
        return [
            f"latency, sound to screen: {pair('latency_ms')}; "
            f"the algorithm alone waits {self.algorithmic_ms:.1f} ms",
            f"frames: {fps}; {self.made} made, {self.shown} shown, {self.skipped} skipped by the "
            f"page, {self.late} late, {self.dropped} dropped (computing too slow), {self.unsent} "
            "dropped (page too slow)",
            f"jitter of 40 ms: {pair('jitter_ms')}; computing: {pair('compute_ms')}",
        ]


def _count(report: Mapping[str, Any], name: str) -> int:
    value = report.get(name)
    if type(value) is not int or not 0 <= value <= KEPT:
        raise ValueError(f"report: {name} is {value!r:.40}; give a count, 0 or more")
    return value


def _numbers(report: Mapping[str, Any], name: str) -> list[float]:
    values = report.get(name)
    if not isinstance(values, list) or len(values) > REPORT_VALUES:
        raise ValueError(f"report: {name} is no list of at most {REPORT_VALUES} numbers")
    for value in values:
        if type(value) not in (int, float) or not 0 <= value <= DAY_MS:  # NaN is not, either
            raise ValueError(f"report: {name} holds {value!r:.40}; give milliseconds, 0 or more")
    return [float(value) for value in values]
