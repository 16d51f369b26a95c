"""Tables, verdicts and pictures of an ablation."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avsr.data.noise_bank import NoiseConfig, NoiseSplit
from avsr.files import read_json, write_json
from avsr.models.recognizer import RecognizerConfig
from avsr.training.loop import TrainConfig
from learn2talk.ablation import chosen_balanced, verdicts, write_ablation
from learn2talk.corpora.drawn import draw_mouths
from learn2talk.evaluate import evaluate_sync_expert
from learn2talk.evaluate.comparison import compare_students
from learn2talk.evaluate.noise import error_against_noise
from learn2talk.lip_reader_training import LipReaderConfig, train_lip_reader
from learn2talk.models.student import StudentConfig
from learn2talk.models.sync_expert import SyncExpertConfig
from learn2talk.readability import evaluate_readability
from learn2talk.sync_checks import calibration_curve
from learn2talk.training import (
    StudentTrainConfig,
    SyncTrainConfig,
    train_student,
    train_sync_expert,
)

FEW = TrainConfig(max_updates=2, warmup_updates=1, validate_every=2, max_frames=200)
STUDENT = StudentTrainConfig(
    model=StudentConfig(width=16, layers=1, heads=2, feedforward=16), train=FEW, sync_weight=0.0
)
NAMES = ("vertices", "no_lip_reading", "no_sync", "fixed", "balanced_1", "autoregressive", "robust")


def interval(value: float, half: float = 0.1) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def system(lve: float, lse: float, ver: float, recall: float) -> dict[str, Any]:
    return {
        "lve_mm2": interval(lve),
        "lse_d": interval(lse),
        "ver": interval(ver, 0.05),
        "closure_recall": interval(recall),
    }


def made_corpus(balanced: dict[str, Any], apart: float) -> dict[str, Any]:
    return {
        "systems": {
            "truth": system(0.0, 0.5, 0.2, 0.9),
            "mean_face": system(6.0, 1.2, 0.9, 0.1),
            "still_face": system(7.0, 1.2, 0.9, 0.1),
            "other_utterance": system(8.0, 1.2, 0.8, 0.5),
            "no_sync": system(3.0, 0.9, 0.5, 0.6),
            "no_lip_reading": system(3.1, 0.8, 0.6, 0.6),
            "fixed": system(3.4, 0.7, 0.5, 0.7),
            "balanced_1": balanced,
        },
        "minus": {"balanced_1": {"no_lip_reading": {"ver": interval(apart, 0.05)}}},
    }


def test_aims_that_are_met_and_missed_are_told_apart() -> None:
    met = verdicts(made_corpus(system(3.05, 0.72, 0.45, 0.75), -0.15), "balanced_1")
    assert [row["met"] for row in met] == [True] * 7
    missed = verdicts(made_corpus(system(3.5, 0.95, 0.74, 0.5), 0.02), "balanced_1")
    # Of the controls only another utterance's motion is so near that the intervals touch.
    assert [row["met"] for row in missed] == [False, False, False, True, True, False, False]


def test_the_balanced_student_is_chosen_by_its_mean_rank() -> None:
    figures = {
        "a": system(1.0, 0.9, 0.9, 0.5),
        "b": system(1.1, 0.8, 0.5, 0.5),
        "c": system(1.2, 0.7, 0.6, 0.5),
    }
    assert chosen_balanced({"valid": {"systems": figures}}, list(figures)) == "b"
    with pytest.raises(ValueError, match="no balanced student"):
        chosen_balanced({}, [])


@pytest.mark.slow
def test_a_measured_run_becomes_tables_and_pictures(tiny_corpus: Path, tmp_path: Path) -> None:
    """The whole of the recipe's last stages, on networks that have hardly learned."""
    run, white = tmp_path / "run", NoiseSplit(types=("white",))
    shutil.copytree(tiny_corpus, run / "tiny")
    for role in ("loss", "judge"):
        shape = SyncExpertConfig(role=role, width=16, embedding=8)  # type: ignore[arg-type]
        train_sync_expert(run / "tiny", run / role, SyncTrainConfig(model=shape, train=FEW))
    reader = LipReaderConfig(
        model=RecognizerConfig(
            vocabulary_size=2, width=16, num_heads=2, fused_layers=1, video_channels=(8, 8)
        ),
        train=FEW,
        vocabulary_size=4,
    )
    read_by = train_lip_reader(draw_mouths(run / "tiny", tmp_path / "r"), run / "reader", reader)
    students = {}
    for seed, name in enumerate(NAMES):
        students[name] = run / "students" / name
        told = replace(STUDENT, train=replace(FEW, seed=seed))
        train_student(run / "tiny", students[name], None, told)
    for split in ("valid", "test"):
        to = run / "measured" / "tiny" / split
        on: dict[str, Any] = {"split": split}
        write_json(to / "faces.json", compare_students(students, run / "judge", run / "tiny", **on))
        write_json(
            to / "readability.json", evaluate_readability(students, read_by, run / "tiny", **on)
        )
    heard = {name: students[name] for name in ("balanced_1", "robust")}
    noise = NoiseConfig(tmp_path, test=white)
    write_json(
        to / "noise.json",
        error_against_noise(heard, run / "tiny", noise, noise_types=["white"], snrs_db=[0.0]),
    )
    for role in ("loss", "judge"):
        curve = calibration_curve(run / role, run / "tiny", role=role)  # type: ignore[arg-type]
        write_json(to / f"calibration_{role}.json", curve)
        expert = evaluate_sync_expert(run / role, run / "tiny", role=role)  # type: ignore[arg-type]
        write_json(to / f"expert_{role}.json", expert)
    written = write_ablation(run, ["tiny"])
    assert all(path.stat().st_size > 500 for path in written)
    text = (run / "results.md").read_text(encoding="utf-8")
    for name in (*NAMES, "mean face", "truth"):
        assert name.replace("_", " ") in text
    results = read_json(run / "results.json")
    assert results["balanced"] == "balanced_1" and len(results["verdicts"]["tiny"]) == 7
    (run / "measured" / "tiny" / "test" / "faces.json").unlink()
    with pytest.raises(ValueError, match="faces.json: missing; run the recipe's stage measure"):
        write_ablation(run, ["tiny"])
