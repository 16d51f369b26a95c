"""The comparison of imported networks with the published ones, on one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsr.files import read_json
from benchmarks import importer_equality


def test_table_of_one_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = importer_equality.GOLDEN
    for name in ("av_hubert_base_ctc.json", "av_hubert_features.json", "seeded_weights.py"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    monkeypatch.setattr(importer_equality, "GOLDEN", tmp_path)
    importer_equality.main(tmp_path / "out")
    report = read_json(tmp_path / "out" / "importer_equality.json")
    outputs = [row["output"] for row in report["rows"]]
    assert outputs == ["CTC logits, audio_visual", "CTC logits, video", "CTC logits, audio"]
    assert all(row["largest_difference"] < report["aim"] for row in report["rows"])
    assert all(row["spread"] > 0.5 for row in report["rows"])
    table = (tmp_path / "out" / "importer_equality.md").read_text()
    assert "AV-HuBERT with its CTC layer" in table
    assert capsys.readouterr().out.strip() == table.strip()
