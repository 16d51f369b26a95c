"""Median times of functions measured side by side, and the table that they make."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Unit = Literal["s of sound", "frames", "examples"]


@dataclass(frozen=True)
class Row:
    """One measured function: seconds a call, and how much work a call does."""

    group: str
    what: str
    seconds: float  # median
    fastest_s: float
    slowest_s: float
    calls: int
    amount: float  # of unit, done by one call
    unit: Unit
    against: str | None = None  # `what` of the row of the group that it is compared with

    @property
    def rate_text(self) -> str:
        """Real-time factor for sound (below 1 is faster than real time), else units a second."""
        if self.unit == "s of sound":
            return f"{self.seconds / self.amount:.4f} x real time"
        return f"{self.amount / self.seconds:.1f} {self.unit}/s"


@dataclass(frozen=True)
class Work:
    """A function to be timed, and how much work one call does."""

    call: Callable[[], Any]
    amount: float
    unit: Unit
    against: str | None = None


def measure(group: str, work: Mapping[str, Work], calls: int) -> list[Row]:
    """Time functions in turns, so that what slows the machine for a while slows all of them.

    Args:
        group: heading of the rows.
        work: what to time, by name.
        calls: timed calls of each, after one that is not timed.
    """
    for one in work.values():
        one.call()
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(calls):
        for name, one in work.items():
            started = time.perf_counter()
            one.call()
            times[name].append(time.perf_counter() - started)
    return [
        Row(
            group,
            name,
            statistics.median(times[name]),
            min(times[name]),
            max(times[name]),
            calls,
            one.amount,
            one.unit,
            one.against,
        )
        for name, one in work.items()
    ]


def ratio_text(row: Row, rows: Sequence[Row]) -> str:
    """How many times as long as the row that it is held against, or an en dash."""
    for other in rows:
        if (other.group, other.what) == (row.group, row.against):
            per_unit = (row.seconds / row.amount) / (other.seconds / other.amount)
            return f"{per_unit:.2f} x {other.what}"
    return "\u2013"


def duration_text(seconds: float) -> str:
    """Such as ``1.25 ms`` or ``3.40 s``."""
    return f"{1000 * seconds:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report: machine, rows by group, what was left out."""
    rows = [Row(**one) for one in report["rows"]]
    machine = report["machine"]
    parts = [
        f"# {report.get('title', 'Speed')}",
        f"{machine['cpu_count']} cores {machine['processor']}, Python {machine['python']}, "
        f"torch {machine['versions']['torch']}, commit `{machine['commit']}`; load when started "
        f"{report['load']:.2f}. Medians with the fastest and slowest call; the functions of a "
        "group take turns, so that ratios within it hold even where the machine is busy.",
        "\n".join(f"- {name}: {what}" for name, what in report["weights"].items()),
    ]
    for group in dict.fromkeys(row.group for row in rows):
        lines = ["| what | time | fastest, slowest | rate | against |", "|---|---:|---:|---:|---|"]
        lines += [
            f"| {row.what} | {duration_text(row.seconds)} | {duration_text(row.fastest_s)}, "
            f"{duration_text(row.slowest_s)} | {row.rate_text} | {ratio_text(row, rows)} |"
            for row in rows
            if row.group == group
        ]
        parts += [f"## {group}", "\n".join(lines)]
    left_out = report["left_out"]
    if left_out:
        parts += ["## Left out", "\n".join(f"- {name}: {why}" for name, why in left_out.items())]
    parts.append(f"```text\n{machine['command']}\n```")
    return "\n\n".join(parts) + "\n"


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows for a JSON file."""
    return [asdict(row) for row in rows]
