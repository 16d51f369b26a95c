"""The renderer's benchmark at a small size: what it measures and says. No time is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avsr.files import read_json
from benchmarks import renderer_speed


def test_the_whole_benchmark_at_a_small_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renderer_speed, "available_cores", lambda: 1)
    monkeypatch.setattr(renderer_speed, "COMPARED_FRAMES", 2)
    threads = torch.get_num_threads()
    renderer_speed.main(frames=2, calls=1, supersampling=(1,), out=tmp_path)
    assert torch.get_num_threads() == threads
    report = read_json(tmp_path / "renderer_speed.json")
    names = [row["what"] for row in report["rows"]]
    assert names == [
        renderer_speed.DRAWER,
        "forward, 1x1 samples, 1 thread",
        "forward and backward, 1x1 samples, 1 thread",
        "with the lip reader, forward and backward, 1x1 samples, 1 thread",
    ]
    assert [row["against"] for row in report["rows"]] == [None, *[renderer_speed.DRAWER] * 3]
    assert all(row["amount"] == 2 and row["unit"] == "frames" for row in report["rows"])
    assert report["left_out"] == {"faces of a corpus": "no --prepared was given"}
    away = report["weights"]["procedural head, renderer, 1x1 samples"]
    assert 0.0 < float(away.split()[0]) < 3.0
    text = (tmp_path / "renderer_speed.md").read_text(encoding="utf-8")
    assert text.startswith("# Speed of the differentiable mouth renderer")
    assert f"x {renderer_speed.DRAWER}" in text
