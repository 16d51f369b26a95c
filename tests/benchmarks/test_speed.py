"""The stopwatch, its page, and every measured function once, at a small size."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsr.files import read_json
from benchmarks import speed
from benchmarks.timing import faces, recognition, training
from benchmarks.timing.clock import Row, Work, measure, ratio_text


def test_the_first_call_is_not_timed_and_functions_take_turns() -> None:
    order: list[str] = []
    work = {name: Work(lambda name=name: order.append(name), 1.0, "frames") for name in "ab"}  # type: ignore[misc]
    rows = measure("group", work, 2)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert [(row.what, row.calls) for row in rows] == [("a", 2), ("b", 2)]
    assert all(0 <= row.fastest_s <= row.seconds <= row.slowest_s for row in rows)


def row(what: str, seconds: float, amount: float, against: str | None = None) -> Row:
    return Row("group", what, seconds, seconds, seconds, 1, amount, "frames", against)


def test_a_ratio_is_for_the_same_amount_of_work() -> None:
    rows = [row("short", 1.0, 10.0), row("long", 4.0, 20.0, "short")]
    assert ratio_text(rows[1], rows) == "2.00 x short"
    assert ratio_text(rows[0], rows) == "\u2013"
    assert rows[1].rate_text == "5.0 frames/s"


def test_sound_is_held_against_real_time() -> None:
    assert Row("g", "w", 0.3, 0.3, 0.3, 1, 3.0, "s of sound").rate_text == "0.1000 x real time"


def test_features_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AVSR_DATA", raising=False)
    speed.main(("features", "tracking"), calls=1, out=tmp_path)
    report = read_json(tmp_path / "speed.json")
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert len(report["rows"]) == 4
    assert "random weights" in text
    assert report["left_out"].keys() == {"tracking"}
    assert "AVSR_DATA names no folder" in text
    assert "mix_at_snr + log_mel" in capsys.readouterr().out


def test_drawing_measures_the_whole_and_its_shares() -> None:
    rows = faces.drawing(1, frames=2, size=64)
    shares = [one for one in rows if one.against == "drawn and encoded"]
    assert [one.what for one in shares] == [
        "drawn, 1 thread",
        "drawn, 2 threads",
        "encoded (H.264)",
    ]
    assert rows[-1].group.startswith("Mouth crops")


@pytest.mark.slow
def test_networks_are_measured() -> None:
    rows = recognition.recogniser(1, seconds=0.4) + faces.student(1, lengths_s=(0.4,))
    names = [one.what for one in rows]
    assert {"encoder: audio", "encoder: crops", "encoder: lips", "network: AV"} <= set(names)
    assert "student, 0.4 s" in names


@pytest.mark.slow
def test_training_is_measured_by_processes_and_threads() -> None:
    (both,) = training.training(1, layouts=((2, 1),))
    assert both.what == "2 processes x 1 thread"
    assert both.seconds > 0


@pytest.mark.real_data
@pytest.mark.slow
def test_tracking_is_measured(avsr_data: Path) -> None:
    one, two = faces.tracking(1, avsr_data)
    assert one.amount == two.amount > 0
    assert two.against == one.what
