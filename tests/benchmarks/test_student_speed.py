"""The benchmark of the student: every figure once at a small size, and the page by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsr.files import read_json
from benchmarks import student_speed
from benchmarks.timing.clock import Row
from benchmarks.timing.faces import student_of


def row(what: str, seconds: float, amount: float) -> Row:
    return Row(student_speed.GROUP, what, seconds, seconds, seconds, 1, amount, "s of sound")


ROWS = [
    row("student, 10 s", 0.05, 10),
    row("student, 60 s", 0.3, 60),
    row(f"{student_speed.BASELINE}, 10 s", 0.5, 10),
    row(f"{student_speed.PAPERS}, 10 s", 2.0, 10),
]


def test_ratios_are_of_the_same_run() -> None:
    assert student_speed.figures(ROWS, (10.0, 60.0)) == pytest.approx(
        {
            "times_real_time": 200.0,
            "long_over_short": 6.0,
            "baseline_over_student": 10.0,
            "papers_baseline_over_student": 40.0,
        }
    )


def test_the_page_says_which_aims_are_reached() -> None:
    report = {
        "title": "Speed of the student",
        "machine": {
            "cpu_count": 2,
            "processor": "made up",
            "python": "3",
            "versions": {"torch": "2"},
            "commit": "0",
            "command": "python x",
        },
        "load": 0.0,
        "weights": {"student": "random weights"},
        "rows": student_speed.as_json(ROWS),
        "figures": student_speed.figures(ROWS, (10.0, 60.0)) | {"latency_ms": 167.5},
        "streaming": [
            {
                "look_ahead_frames": 4,
                "latency_ms": 167.5,
                "compute_median_ms": 2.0,
                "compute_95_ms": 3.0,
            }
        ],
        "left_out": {},
    }
    text = student_speed.page(report)
    assert "| student, times real time | 200.0 x | at least 100 x | yes |" in text
    assert "over student | 10.0 x | at least 20 x | no |" in text
    assert "| long sound over short one | 6.0 x | at most 6.5 x | yes |" in text
    assert "| 4 frames | 167.5 ms | 2.00 ms | 3.00 ms |" in text


def test_streaming_counts_pieces_that_give_frames() -> None:
    trained, _ = student_of(None)
    live = student_speed.streamed(student_speed.quick(trained), 0.4)
    # Of 10 pieces of 40 ms the first 4 only fill the look-ahead.
    assert live["pieces"] == 6 and live["latency_ms"] == 167.5
    assert 0 < live["compute_median_ms"] <= live["compute_95_ms"]


@pytest.mark.slow
def test_everything_is_measured(tmp_path: Path) -> None:
    student_speed.main(lengths_s=(0.4, 0.8), calls=1, streamed_s=0.6, out=tmp_path)
    report = read_json(tmp_path / "student_speed.json")
    assert set(report["figures"]) == set(student_speed.AIMS)
    assert len(report["rows"]) == 4 and "random weights" in report["weights"]["student"]
    assert "## Aims" in (tmp_path / "student_speed.md").read_text(encoding="utf-8")
