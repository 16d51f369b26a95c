"""The LRS recipes on stand-in copies: checked, tracked by a stand-in, trained for two updates."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from avsr.data.manifest import load_info
from avsr.files import read_json, read_jsonl
from tests.avsr.corpora.stand_in import film, lrs2_copy, lrs3_copy

START = """
import runpy, sys
from tests.avsr.corpora.stand_in import install
install(setattr)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TINY = (
    "--is-subset --processes 1 --landmarker-model none --lrs.max-seconds 4 "
    "--lrs.vocabulary-size 60 --loop.snrs-db -5 --loop.noise-seeds 0 --loop.decoding.beam-size 2 "
    "--loop.model.width 16 --loop.model.num-heads 2 --loop.model.fused-layers 1 "
    "--loop.model.kernel 7 --loop.model.decoder-layers 1 --loop.model.video-channels 8 8 8 "
    "--loop.noise-types pink babble_2"
).split() + [
    word
    for part in ("sync.train", "student.train", "pretrain", "audio", "audio-visual", "video")
    for word in (
        *(f"--loop.{part}.max-updates", "2", f"--loop.{part}.validate-every", "2"),
        *(f"--loop.{part}.warmup-updates", "1", f"--loop.{part}.batches-per-update", "2"),
        *(f"--loop.{part}.num-workers", "0", f"--loop.{part}.max-frames", "400"),
    )
]


def run(words: list[str], repository: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    return subprocess.run(
        [sys.executable, "-c", START, *words],
        cwd=repository,
        env={**environment, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=900,
    )


def recipe(name: str, stage: str, *words: str) -> list[str]:
    return [f"recipes/{name}/recipe.py", stage, *words, *TINY]


@pytest.fixture(scope="module")
def prepared(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which the stand-in copy is prepared."""
    folder = tmp_path_factory.mktemp("lrs3")
    lrs3_copy(folder / "copy", talks=5)
    for number in range(3):
        film(folder / f"sounds/room{number}.mp4", [100 + number] * 5)  # not sound: not taken
        shutil.copy(_sound(folder, number), folder / f"sounds/room{number}.wav")
    words = ["--root", str(folder / "copy"), "--out", str(folder / "run")]
    words += ["--noise-folder", str(folder / "sounds")]
    done = run(recipe("lrs3", "prepare", *words), repository)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run"


def _sound(folder: Path, number: int) -> Path:
    import numpy as np

    from avsr.files import write_wav

    rng = np.random.default_rng(number)
    write_wav(folder / f"noise{number}.wav", rng.uniform(-0.3, 0.3, 48_000))
    return folder / f"noise{number}.wav"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "arms"),
    [
        ("audio", {("audio", "none")}),
        ("video", {("video", "mouth_crops")}),
        (
            "audio_visual",
            {("audio", "none")}
            | {(m, s) for m in ("video", "audio_visual") for s in ("mouth_crops", "tracked_lips")}
            | {("video", "still"), ("audio_visual", "still")},
        ),
    ],
)
def test_each_preset_gives_its_arms(
    prepared: Path, repository: Path, tmp_path: Path, preset: str, arms: set[tuple[str, str]]
) -> None:
    shutil.copytree(prepared, tmp_path / "run", symlinks=True)
    words = ["--out", str(tmp_path / "run"), "--preset", preset]
    done = run(recipe("lrs3", "all", *words), repository)
    assert done.returncode == 0, done.stderr[-3000:]
    results = read_json(tmp_path / "run/results.json")
    rows = list(read_jsonl(tmp_path / "run/hypotheses.jsonl"))
    assert {(row["modality"], row["visual_source"]) for row in rows} == arms
    assert results["protocol"]["synthetic"] is False and len({r["utterance_id"] for r in rows}) == 3
    assert (tmp_path / "run/report.html").is_file()
    assert not (tmp_path / "run/student").exists()


@pytest.mark.slow
def test_generated_lips_in_training_and_test(
    prepared: Path, repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(prepared, tmp_path / "run", symlinks=True)
    words = ["--out", str(tmp_path / "run"), "--preset", "audio_visual_generated"]
    done = run(recipe("lrs3", "all", *words), repository)
    assert done.returncode == 0, done.stderr[-3000:]
    sources = {row["visual_source"] for row in read_jsonl(tmp_path / "run/hypotheses.jsonl")}
    assert {"generated_from_clean", "generated_from_noisy", "mouth_crops", "none"} <= sources
    assert (tmp_path / "run/student/student.safetensors").is_file()


@pytest.mark.slow
def test_lrs2_from_copy_to_page(repository: Path, tmp_path: Path) -> None:
    copy = lrs2_copy(tmp_path / "copy", train=("1", "2", "5", "6"))  # babble needs three voices
    words = ["--root", str(copy), "--out", str(tmp_path / "run"), "--preset", "audio"]
    done = run(recipe("lrs2", "all", *words), repository)
    assert done.returncode == 0, done.stderr[-3000:]
    assert load_info(tmp_path / "run/prepared")["name"] == "lrs2"
    assert (tmp_path / "run/report.html").is_file()


def test_without_a_copy_the_remedy_is_named(repository: Path, tmp_path: Path) -> None:
    words = ["--out", str(tmp_path)]
    done = run(recipe("lrs3", "prepare", *words), repository)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "give its folder with --root" in done.stderr
    done = run(recipe("lrs3", "prepare", "--root", str(tmp_path), *words), repository)
    assert "no folder pretrain, trainval or test" in done.stderr


@pytest.mark.slow
@pytest.mark.real_data
def test_grid_clips_in_the_layout_of_lrs3(
    repository: Path, avsr_data: Path, tmp_path: Path
) -> None:
    """MediaPipe on real faces, from the copy to the page."""
    pytest.importorskip("mediapipe", reason="needs the extra 'tracking'")
    header, *lines = (avsr_data / "grid/splits.tsv").read_text(encoding="utf-8").splitlines()
    columns = header.split("\t")
    rows = [dict(zip(columns, line.split("\t"), strict=False)) for line in lines[:14]]
    for number, row in enumerate(rows):
        talk = f"trainval/talk{number % 4}" if number < 12 else "test/other"
        clip = tmp_path / "copy" / talk / f"{number:05d}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        speaker, name = row["utterance_id"].split("/")
        clip.symlink_to(avsr_data / "grid" / speaker / "video" / f"{name}.mp4")
        clip.with_suffix(".txt").write_text(f"Text:  {row['text'].upper()}\nConf:  9\n")
    words = ["--root", str(tmp_path / "copy"), "--out", str(tmp_path / "run")]
    words += ["--preset", "audio_visual", *TINY, "--landmarker-model"]
    words.append(str(avsr_data / "mediapipe_face/face_landmarker.task"))
    done = subprocess.run(
        [sys.executable, "recipes/lrs3/recipe.py", "all", *words],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run/report.html").is_file()
