"""The GPU benchmark: quiet without a GPU, and its parts run on the CPU at a small size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.timing import accelerator


def test_without_a_gpu_it_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(out=tmp_path)
    assert "no CUDA device" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_test_set_is_as_long_as_that_of_lrs3() -> None:
    lengths = torch.cat([batch.lengths for batch in accelerator.test_set(200)]) / 25
    assert float(lengths.mean()) == pytest.approx(2.3, abs=0.1)
    assert float(lengths.min()) >= 0.5 and float(lengths.max()) <= 6.2 and len(lengths) == 200


def test_the_bonus_gives_the_wanted_length() -> None:
    assert accelerator.bonus_for(lambda bonus: 2 * bonus, 10) == pytest.approx(5, abs=0.1)


def test_decoding_and_training_are_measured() -> None:
    decoded = accelerator.decoding("tiny", 2, "cpu")
    assert decoded["clips"] == 2 and decoded["beam_s"] > 0
    trained = accelerator.training("tiny", 1, "cpu", clips=1, clip_s=1.0)
    assert trained["video_hours_per_hour"] == pytest.approx(1 / trained["seconds_an_update"])
