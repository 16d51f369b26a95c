"""The decoder's benchmark at a small size: its ratios, its equality, its page."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avsr.files import read_json
from benchmarks import decoder_speed
from benchmarks.timing import decoding
from benchmarks.timing.clock import Row


def row(group: str, what: str, seconds: float, amount: float, against: str | None = None) -> Row:
    return Row(group, what, seconds, seconds, seconds, 1, amount, "s of sound", against)


def test_a_speed_up_is_for_a_second_of_sound() -> None:
    rows = [
        row("g", "reference, one clip", 10.0, 2.0),
        row("g", "cached, 4 clips", 2.0, 8.0, "reference, one clip"),
        row("h", "greedy", 1.0, 2.0),
        row("h", "joint beam 10", 2.0, 2.0, "greedy"),
    ]
    assert decoder_speed.speed_ups(rows) == {"g": {"cached, 4 clips": 20.0}}


def test_the_made_up_sound_has_its_pieces() -> None:
    logits = decoding.spoken_logits([50, 75], 100)
    spoken = [(logits[row, :length].argmax(-1) > 0).sum() for row, length in ((0, 50), (1, 75))]
    assert spoken == [6, 9]


@pytest.mark.slow
def test_the_whole_benchmark_at_a_small_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    decoder_speed.main((0.8,), (2,), 1, threads, out=tmp_path)
    report = read_json(tmp_path / "decoder_speed.json")
    (same,) = report["equalities"]
    assert same["same_text"] and same["pieces"] == 2 and same["score_difference"] < 1e-3
    text = (tmp_path / "decoder_speed.md").read_text(encoding="utf-8")
    assert text.startswith("# Speed of joint decoding") and "| yes |" in text and "| 4x |" in text
    assert "joint beam 10: real-time factor" in capsys.readouterr().out
