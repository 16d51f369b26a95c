"""The benchmark of live faces: its figures by hand, its page, the look-ahead on a small sound."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import live_latency
from benchmarks.timing.faces import student_of
from benchmarks.timing.live_pages import Setting, _figures

PAGES = [
    {"arrivals": [200.0, 210.0], "delay": None, "began_s": 100.0, "ended_s": 110.0},
    {"arrivals": [220.0], "delay": None, "began_s": 100.0, "ended_s": 110.0},
]


def report(connection: int, at_s: float, latency: list[float], interval: list[float]) -> dict:
    counts = {"shown": len(latency), "skipped": 1, "late": 0}
    place = {"kind": "report", "connection": connection, "utterance": 1, "at_s": at_s}
    return place | counts | {"latency_ms": latency, "interval_ms": interval}


def finished(connection: int, compute: float) -> dict:
    return {
        "kind": "finished",
        "connection": connection,
        "algorithmic_ms": 167.5,
        "compute_ms": {"p50": compute, "p95": compute},
        "dropped": 2,
        "unsent": 0,
    }


def rows() -> list[dict]:
    return [
        report(1, 100.5, [999.0], [999.0]),  # the warm-up
        report(1, 105.0, [200.0, 220.0], [40.0, 40.0]),
        report(2, 106.0, [240.0], [50.0]),
        report(2, 111.0, [999.0], [999.0]),  # after the stop
        finished(1, 3.0),
        finished(2, 4.0),
    ]


def test_figures_leave_out_the_warm_up_and_the_stop() -> None:
    found = _figures(rows(), PAGES, Setting("microphone", 2, 4))
    assert found["latency_ms"] == {"p50": 220.0, "p95": 238.0}
    assert found["arrival_ms"]["p50"] == 210.0
    assert found["fps"] == 20.0  # of the slower page
    assert found["jitter_ms"]["p50"] == 0.0 and found["frames"] == found["shown"] == 3
    assert found["compute_ms"]["p50"] == 4.0
    assert (found["skipped"], found["late"], found["dropped"], found["unsent"]) == (2, 0, 4, 0)
    assert found["what"] == "microphone, 2 pages, look-ahead 4"


def test_the_page_says_what_was_measured_and_what_was_not() -> None:
    machine = {
        "cpu_count": 2,
        "processor": "made up",
        "python": "3",
        "versions": {"torch": "2"},
        "commit": "0",
        "command": "python x",
    }
    said = {
        "title": "Live",
        "machine": machine,
        "load": 0.5,
        "student": "the bundled one",
        "pages": [_figures(rows(), PAGES, Setting("microphone", 2, 4)) | {"load": 0.25}],
        "look_ahead": [],
        "left_out": {"the look-ahead": "no data"},
    }
    text = live_latency.page(said)
    assert "| microphone | 2 | 4 | 167.5 ms | 210 ms | 220 ms | 238 ms |" in text
    assert "| 2, 0, 4 of 3 | 0.25 |" in text
    assert (
        "Aim: 25 frames a second; not reached everywhere on this machine (slowest page 20.0)"
        in (text)
    )
    assert "Left out: the look-ahead: no data." in text


def test_the_full_look_ahead_deviates_by_nothing_and_the_shortest_by_something() -> None:
    trained, _ = student_of(None)
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, 640 * 16).astype(np.float32)
    found = live_latency.look_ahead_rows(trained, [sound])
    assert [row["look_ahead_frames"] for row in found] == list(range(1, 11))
    assert found[-1]["lip_deviation_mm"] == 0 and found[-1]["latency_ms"] == 407.5
    assert found[0]["lip_deviation_mm"] > 0 and found[0]["latency_ms"] == 47.5
    assert all(row["frames"] == 16 and row["compute_median_ms"] > 0 for row in found)


@pytest.mark.real_data
def test_the_sentences_are_those_of_the_test_split(avsr_data) -> None:
    sounds = live_latency.sounds_of_test_split(avsr_data, 2)
    assert len(sounds) == 2 and all(2.9 < len(sound) / 16000 < 3.1 for sound in sounds)
