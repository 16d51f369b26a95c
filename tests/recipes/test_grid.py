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
    "--loop.decoding.beam-size 2 --loop.model.width 16 --loop.model.num-heads 2 "
    "--loop.model.fused-layers 1 --loop.model.video-channels 8 8 8 --loop.noise-types coffee-shop "
).split() + [
    word
    for part in (
        "sync.train",
        "student.train",
        "robust-training",
        "pretrain",
        "audio",
        "audio-visual",
    )
    for word in (f"--loop.{part}.max-updates", "2", f"--loop.{part}.validate-every", "2")
]


# Both halves of the training split, which the two sync experts share out, must have clips.
CHOSEN = {
    "train": ("bbaf3s", "bbaf4p", "bbal6n", "bbas2p", "bbaz5s", "bbaz7a", "bbbf9a"),
    "valid": ("bbbs7a", "bbif1a", "bbil5a"),
}


def few_clips(grid: Path, out: Path) -> tuple[Path, Path]:
    """A GRID folder of links to the chosen clips and three of the test, and its list of splits."""
    header, *lines = (grid / "splits.tsv").read_text(encoding="utf-8").splitlines()
    test = [line for line in lines if line.split("\t")[2] == "test"][:3]
    names = {f"s1/{name}" for part in CHOSEN.values() for name in part}
    kept = test + [line for line in lines if line.split("\t")[0] in names]
    for line in kept:
        speaker, name = line.split("\t")[0].split("/")
        for folder, suffix in (("video", "mp4"), ("align", "align")):
            link = out / speaker / folder / f"{name}.{suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(grid / speaker / folder / link.name)
    (out / "splits.tsv").write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")
    return out, out / "splits.tsv"


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
    root, splits = few_clips(avsr_data / "grid", tmp_path / "few")
    prepare = ["-c", "from avsr.cli import main; main()", "prepare", "grid"]
    prepare += ["--root", str(root), "--out", str(out / "prepared")]
    prepare += ["--landmarker-model", str(avsr_data / "mediapipe_face" / "face_landmarker.task")]
    prepare += ["--splits-tsv", str(splits)]
    prepared = run([*prepare, "--processes", "1", "--config.limit", "6"], repository)
    assert prepared.returncode == 0, prepared.stderr[-3000:]
    counts = load_info(out / "prepared")["counts"]
    assert [counts["utterances"][name]["utterances"] for name in ("valid", "test")] == [3, 3]
    assert counts["utterances"]["train"]["utterances"] == 6
    (beyond,) = read_jsonl(out / "prepared" / "skipped.jsonl")  # the limit drops nothing silently
    assert beyond["utterance_id"] == "s1/bbbf9a" and "limit of 6" in beyond["reason"]

    words = ["recipes/grid/recipe.py", "all", "--data", str(avsr_data), "--out", str(out), *TINY]
    done = run(words, repository)
    assert done.returncode == 0, done.stderr[-3000:]
    results = read_json(out / "results.json")
    assert results["protocol"]["synthetic"] is False
    assert results["protocol"]["speaker_dependent"] is True
    assert len({row["utterance_id"] for row in read_jsonl(out / "hypotheses.jsonl")}) == 3
    assert (out / "report.html").stat().st_size > 100_000


def test_without_data_the_remedy_is_named(repository: Path, tmp_path: Path) -> None:
    words = ["recipes/grid/recipe.py", "prepare", "--data", str(tmp_path), "--out", str(tmp_path)]
    done = run(words, repository)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"no GRID under {tmp_path / 'grid'}" in done.stderr and "make demo" in done.stderr
