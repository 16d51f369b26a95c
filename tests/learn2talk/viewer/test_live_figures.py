"""Figures of live faces, and reports of a page that are none."""

from __future__ import annotations

import pytest

from learn2talk.viewer.live_figures import LiveFigures, spread

REPORT = {"shown": 3, "skipped": 1, "late": 0, "latency_ms": [200, 210.0], "interval_ms": [40, 60]}


def test_figures_of_two_connections_add_up() -> None:
    one, other = LiveFigures(167.5), LiveFigures(167.5, made=5, dropped=2, unsent=1)
    one.take_report(REPORT)
    other.take_report(REPORT | {"latency_ms": [400.0], "interval_ms": [20, 40]})
    other.compute_ms.extend([1.0, 3.0])
    one.add(other)
    assert one.as_json() == {
        "algorithmic_ms": 167.5,
        "latency_ms": {"p50": 210.0, "p95": 381.0},
        "jitter_ms": {"p50": 10.0, "p95": 20.0},
        "compute_ms": {"p50": 2.0, "p95": 2.9},
        "fps": 25.0,
        "made": 5,
        "dropped": 2,
        "unsent": 1,
        "shown": 6,
        "skipped": 2,
        "late": 0,
    }
    assert "median 210.0 ms" in one.lines[0] and "waits 167.5 ms" in one.lines[0]
    assert "25.0 a second; 5 made, 6 shown, 2 skipped" in one.lines[1]


def test_nothing_measured_is_said_and_is_no_zero() -> None:
    figures = LiveFigures(47.5)
    assert spread([]) is None and figures.fps is None
    assert figures.as_json()["latency_ms"] is None
    assert "not measured" in figures.lines[0] and "not measured" in figures.lines[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"shown": -1},
        {"shown": 1.5},
        {"shown": True},
        {"shown": None},
        {"latency_ms": 5},
        {"latency_ms": ["1"]},
        {"latency_ms": [float("nan")]},
        {"latency_ms": [-0.1]},
        {"interval_ms": [10**400]},
        {"interval_ms": [1.0] * 1001},
    ],
)
def test_a_report_that_is_none_changes_nothing(wrong) -> None:
    figures = LiveFigures(167.5)
    with pytest.raises(ValueError, match="report: "):
        figures.take_report(REPORT | wrong)
    assert figures == LiveFigures(167.5)
