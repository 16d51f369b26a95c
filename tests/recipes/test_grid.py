"""The GRID recipe on a few real clips: tracked, trained for two updates, decoded, scored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avsr.data.manifest import load_info
from avsr.files import read_json, read_jsonl

TINY = (
    "--processes 1 --loop.vocabulary-size 40 --loop.snrs-db -5 0 --loop.noise-seeds 0 "
    "--loop.beam-size 2 --loop.model.width 16 --loop.model.num-heads 2 "
    "--loop.model.fused-layers 1 --loop.model.video-channels 8 8 8 --loop.noise-types coffee-shop "
).split() + [
    word
    for part in ("sync.train", "student.train", "audio", "audio-visual")
    for word in (f"--loop.{part}.max-updates", "2", f"--loop.{part}.validate-every", "2")
]


def run(words: list[str], repository: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    return subprocess.run(
        [sys.executable, *words],
        cwd=repository,
        env={**environment, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
@pytest.mark.real_data
def test_a_few_real_clips_to_the_page(repository: Path, avsr_data: Path, tmp_path: Path) -> None:
    """`avsr prepare grid --config.limit` makes the folder that the recipe goes on from."""
    pytest.importorskip("mediapipe", reason="needs the extra 'tracking'")
    out = tmp_path / "run"
    prepare = ["-c", "from avsr.cli import main; main()", "prepare", "grid"]
    prepare += ["--root", str(avsr_data / "grid"), "--out", str(out / "prepared")]
    prepare += ["--landmarker-model", str(avsr_data / "mediapipe_face" / "face_landmarker.task")]
    prepare += ["--splits-tsv", str(avsr_data / "grid" / "splits.tsv")]
    prepared = run([*prepare, "--processes", "1", "--config.limit", "6"], repository)
    assert prepared.returncode == 0, prepared.stderr[-3000:]
    counts = load_info(out / "prepared")["counts"]
    assert [counts["utterances"][name]["utterances"] for name in ("valid", "test")] == [6, 6]
    assert counts["skipped"] >= 850 - 18  # beyond the limit: counted, with the reason

    words = ["recipes/grid/recipe.py", "all", "--data", str(avsr_data), "--out", str(out), *TINY]
    done = run(words, repository)
    assert done.returncode == 0, done.stderr[-3000:]
    results = read_json(out / "results.json")
    assert results["protocol"]["synthetic"] is False
    assert results["protocol"]["speaker_dependent"] is True
    assert len({row["utterance_id"] for row in read_jsonl(out / "hypotheses.jsonl")}) == 6
    assert (out / "report.html").stat().st_size > 100_000


def test_without_data_the_remedy_is_named(repository: Path, tmp_path: Path) -> None:
    words = ["recipes/grid/recipe.py", "prepare", "--data", str(tmp_path), "--out", str(tmp_path)]
    done = run(words, repository)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"no GRID under {tmp_path / 'grid'}" in done.stderr and "make demo" in done.stderr
