"""The Whisper encoder benchmark, small, with and without real data."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsr.files import read_json
from benchmarks import whisper_encoder


def test_without_data_it_measures_speed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AVSR_DATA", raising=False)
    whisper_encoder.main(lengths_s=(0.5,), calls=1, out=tmp_path)
    report = read_json(tmp_path / "whisper_encoder.json")
    padded, short = report["rows"]
    assert short["against"] == padded["what"] and short["seconds"] < padded["seconds"]
    assert report["differences"] == []
    text = (tmp_path / "whisper_encoder.md").read_text(encoding="utf-8")
    assert "| 0.5 s |" in text and "WER" not in text
    assert "left out: differences" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.real_data
def test_with_data_the_tails_are_compared(
    tmp_path: Path, avsr_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVSR_DATA", str(avsr_data))
    whisper_encoder.main(lengths_s=(0.5,), sentences=1, calls=1, out=tmp_path)
    rows = read_json(tmp_path / "whisper_encoder.json")["differences"]
    assert [row["tail_s"] for row in rows] == [None, 0.0, 0.5, 1.0, 2.0]
    assert rows[0]["relative_distance"] == 0 < rows[1]["relative_distance"]
    assert "up to 30 s" in (tmp_path / "whisper_encoder.md").read_text(encoding="utf-8")
