"""The synthetic recipe, small, from nothing to its page, and again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avsr.files import read_json, read_jsonl

TINY = (
    "--processes 1 --corpus.num-train 12 --corpus.num-valid 4 --corpus.num-test 4 "
    "--corpus.num-speakers 6 --loop.vocabulary-size 40 --loop.snrs-db -5 0 --loop.noise-seeds 0 "
    "--loop.decoding.beam-size 2 --loop.noise-types babble_4 --loop.model.width 16 "
    "--loop.model.num-heads 2 --loop.model.fused-layers 1 --loop.model.video-channels 8 8 8 "
).split() + [
    word
    for part in ("sync.train", "student.train", "pretrain", "audio", "audio-visual")
    for word in (f"--loop.{part}.max-updates", "2", f"--loop.{part}.validate-every", "2")
]


def run_recipe(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    return subprocess.run(
        [sys.executable, "recipes/synthetic/recipe.py", *words],
        cwd=repository,
        env={**environment, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_from_nothing_to_the_page_and_again(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    started = time.monotonic()
    first = run_recipe(repository, "all", "--out", str(out), *TINY)
    first_s = time.monotonic() - started
    assert first.returncode == 0, first.stderr[-3000:]
    results = read_json(out / "results.json")
    assert results["protocol"]["synthetic"] is True
    rows = list(read_jsonl(out / "hypotheses.jsonl"))
    assert {row["utterance_id"].replace("/", "__") for row in rows} == {
        path.stem for path in (out / "hypotheses").glob("*.jsonl")
    }
    # audio of 2 systems in 3 conditions; 6 visual sources in 3; 5 without sound
    assert len(rows) == 4 * (2 * 3 + 6 * 3 + 5)
    assert {(row["snr_db"], row["seed"]) for row in rows} == {(-5.0, 0), (0.0, 0), (None, None)}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "ynthetic" in page and page.count("<video") >= 3
    assert set(read_json(out / "motion.json")) == {"sync_loss", "sync_judge", "student"}

    decoded = {path: path.stat().st_mtime_ns for path in (out / "hypotheses").iterdir()}
    weights = (out / "audio_visual" / "best.safetensors").stat().st_mtime_ns
    started = time.monotonic()
    again = run_recipe(repository, "all", "--out", str(out), *TINY)
    assert again.returncode == 0, again.stderr[-3000:]
    assert time.monotonic() - started < first_s
    assert decoded == {path: path.stat().st_mtime_ns for path in (out / "hypotheses").iterdir()}
    assert weights == (out / "audio_visual" / "best.safetensors").stat().st_mtime_ns
    assert list(read_jsonl(out / "hypotheses.jsonl")) == rows


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("sing",), 2, "sing"),
        (("prepare", "--corpus.num-speakers", "2"), 2, "num_speakers"),
        (("prepare", "--loop.snrs-db", "nan"), 2, "finite"),
        (("decode",), 1, "no corpus.json"),
        (("pretrain", "--processes", "1"), 1, "no corpus.json"),
    ],
)
def test_mistakes_are_said_in_one_line(
    repository: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    done = run_recipe(repository, *words, "--out", str(tmp_path / "run"))
    assert done.returncode == code and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
