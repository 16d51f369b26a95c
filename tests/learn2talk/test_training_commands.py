"""Each `learn2talk train` command trains its network, and the next one reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avsr.files import read_json
from learn2talk.cli import main

FEW = (
    "--cpu --config.train.max-updates 1 --config.train.validate-every 1"
    " --config.train.max-frames 200"
).split()
EXPERT = "--config.model.width 16 --config.model.embedding 8".split()
TRUNK = "width 16 layers 1 heads 2 feedforward 16".split()


def trunk(prefix: str) -> list[str]:
    return [f"--config.{prefix}.{word}" if word.isalpha() else word for word in TRUNK]


def best_of(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    said = capsys.readouterr().out
    best: dict[str, float] = json.loads(said[said.index("{") :])["best"]
    return best


def test_student_and_baseline(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, sync = str(tiny_corpus), str(tmp_path / "sync")
    main(["train", "sync", corpus, "--out", sync, *FEW, *EXPERT])
    assert 0 <= best_of(capsys)["auc"] <= 1
    student = ["train", "student", corpus, "--out", str(tmp_path / "student"), *FEW]
    student += [*trunk("model"), "--config.silence-share", "0.5"]
    with pytest.raises(SystemExit):
        main(student)
    assert "there is no sync expert; give its folder with --sync-expert" in capsys.readouterr().err
    main([*student, "--sync-expert", sync])
    assert best_of(capsys)["lip_error_mm"] > 0
    run = read_json(tmp_path / "student/student.json")
    assert run["provenance"]["training"]["silence_share"] == 0.5
    baseline = ["train", "autoregressive", corpus, "--out", str(tmp_path / "baseline"), *FEW]
    small = "--config.model.width 16 --config.model.heads 2 --config.model.feedforward 16".split()
    small += "--config.model.encoder-layers 1 --config.model.encoder-feedforward 16".split()
    main([*baseline, *small])
    assert best_of(capsys)["lip_error_mm"] > 0
    assert read_json(tmp_path / "baseline/student.json")["kind"] == "autoregressive"


def test_teacher_and_its_expert(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, sync = str(tiny_corpus), str(tmp_path / "sync")
    main(["train", "picture-sync", corpus, "--out", sync, *FEW, *EXPERT])
    assert 0 <= best_of(capsys)["auc"] <= 1
    mouth = ["train", "talking-mouth", corpus, "--out", str(tmp_path / "mouth"), *FEW]
    mouth += [*trunk("model.ear"), "--config.model.channels", "8", "8", "8", "8"]
    main([*mouth, "--sync-expert", sync])
    assert best_of(capsys)["pixel_error"] > 0
    with pytest.raises(SystemExit):
        main([*mouth[:3], "--out", str(tmp_path / "other"), *FEW])
    assert "there is no sync expert" in capsys.readouterr().err
