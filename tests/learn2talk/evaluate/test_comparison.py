"""Students compared on the same clips; their error in noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avsr.data.noise_bank import NoiseConfig, NoiseSplit
from avsr.training.loop import TrainConfig
from learn2talk.evaluate import evaluate_student
from learn2talk.evaluate.comparison import compare_students
from learn2talk.evaluate.noise import error_against_noise
from learn2talk.models.student import StudentConfig
from learn2talk.models.sync_expert import SyncExpertConfig
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
NOISE = NoiseConfig(Path("."), train=NoiseSplit(types=("pink",)), test=NoiseSplit(types=("white",)))


@pytest.fixture(scope="module")
def run(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge and two students of different seeds."""
    folder = tmp_path_factory.mktemp("comparison")
    judge = SyncTrainConfig(model=SyncExpertConfig(role="judge", width=16, embedding=8), train=FEW)
    train_sync_expert(tiny_corpus, folder / "judge", judge)
    for name, seed in (("one", 0), ("two", 1)):
        train_student(
            tiny_corpus, folder / name, None, replace(STUDENT, train=replace(FEW, seed=seed))
        )
    return folder


def test_figures_are_those_of_each_student_alone(tiny_corpus: Path, run: Path) -> None:
    students = {"one": run / "one", "two": run / "two"}
    found = compare_students(students, run / "judge", tiny_corpus)
    for name, folder in students.items():
        alone = evaluate_student(folder, run / "judge", tiny_corpus)["systems"]
        assert found["systems"][name] == alone["student"]
        assert found["systems"]["truth"] == alone["truth"]
    apart = found["minus"]["one"]["two"]["lip_error_mm"]["value"]
    values = [found["systems"][name]["lip_error_mm"]["value"] for name in students]
    assert apart == pytest.approx(values[0] - values[1])
    assert "student_of_other" not in found["systems"]


def test_a_student_named_as_a_control_is_refused(tiny_corpus: Path, run: Path) -> None:
    with pytest.raises(ValueError, match="named as controls"):
        compare_students({"truth": run / "one"}, run / "judge", tiny_corpus)
    with pytest.raises(ValueError, match="no student to measure"):
        compare_students({}, run / "judge", tiny_corpus)


def test_error_against_noise_starts_clean(tiny_corpus: Path, run: Path) -> None:
    students = {"one": run / "one", "two": run / "two"}
    told = {"noise_types": ["white"], "snrs_db": [-5.0, 0.0]}
    found = error_against_noise(students, tiny_corpus, NOISE, **told)
    rows = {row["snr_db"]: row for row in found["rows"]}
    assert set(rows) == {None, -5.0, 0.0}
    alone = evaluate_student(run / "one", run / "judge", tiny_corpus)["systems"]["student"]
    clean = rows[None]["lip_error_mm"]
    assert clean["one"]["value"] == pytest.approx(alone["lip_error_mm"]["value"], rel=1e-3)
    assert rows[-5.0]["lip_error_mm"]["one"]["value"] != clean["one"]["value"]
    apart = rows[0.0]["minus_one_mm"]["two"]["value"]
    both = rows[0.0]["lip_error_mm"]
    assert apart == pytest.approx(both["two"]["value"] - both["one"]["value"])


def test_noise_without_students_and_unknown_noise_are_refused(tiny_corpus: Path, run: Path) -> None:
    with pytest.raises(ValueError, match="no student to measure"):
        error_against_noise({}, tiny_corpus, NOISE, noise_types=["white"], snrs_db=[0.0])
    with pytest.raises(ValueError, match="brown"):
        error_against_noise(
            {"one": run / "one"}, tiny_corpus, NOISE, noise_types=["brown"], snrs_db=[0.0]
        )


def test_the_first_student_is_measured_on_all_tracked_frames(tiny_corpus: Path, run: Path) -> None:
    found = compare_students({"one": run / "one"}, run / "judge", tiny_corpus)
    value = found["systems"]["truth"]["lip_error_mm"]["value"]
    assert value == 0.0 and np.isfinite(found["systems"]["one"]["lip_error_mm"]["value"])
