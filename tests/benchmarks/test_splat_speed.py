"""The splats' benchmark at a small size: what it measures and says. No time is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avsr.files import read_json
from benchmarks import splat_speed
from learn2talk.avatar.avatar_files import save_avatar
from tests.learn2talk.avatar.made_up_splats import made_up_avatar


def test_the_whole_benchmark_at_a_small_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splat_speed, "available_cores", lambda: 2)
    save_avatar(tmp_path / "head.ply", made_up_avatar(30))
    threads = torch.get_num_threads()
    splat_speed.main(
        avatar=tmp_path / "head.ply",
        calls=1,
        scenes=((40, 30, 200),),
        reference_scene=(20, 16, 50),
        out=tmp_path,
    )
    assert torch.get_num_threads() == threads
    report = read_json(tmp_path / "splat_speed.json")
    names = [(row["group"].split(" splats")[0], row["what"]) for row in report["rows"]]
    whats = [
        f"{what}, {where}"
        for where in ("1 thread", "2 threads")
        for what in ("forward", "forward and backward")
    ]
    assert names == [
        *[("40x30, 200", what) for what in whats],
        *[("256x256, 30", what) for what in whats],
        *[
            ("20x16, 50", f"{what}, {which}")
            for what in ("forward", "forward and backward")
            for which in ("ours", "reference")
        ],
    ]
    assert report["rows"][-1]["against"] == "forward and backward, ours"
    assert all(row["amount"] == 1 and row["unit"] == "frames" for row in report["rows"])
    assert report["left_out"] == {}
    said = report["weights"]["40x30, 200 splats on the procedural head"]
    assert "splats in the picture, of degree 3" in said
    assert int(said.rpartition("; ")[2].split(" %")[0]) > 20  # the head was drawn
    text = (tmp_path / "splat_speed.md").read_text(encoding="utf-8")
    assert text.startswith("# Speed of drawing splats")


def test_cuda_without_a_device_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees no CUDA device"):
        splat_speed.main(device="cuda", out=tmp_path)
    assert list(tmp_path.iterdir()) == []
