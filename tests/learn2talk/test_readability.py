"""What a lip reader reads in drawn faces, and how it is scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.files import read_jsonl
from avsr.models.recognizer import RecognizerConfig
from avsr.training.loop import TrainConfig
from avsr.training.recognizer import load_recognizer
from learn2talk.corpora.drawn import draw_mouths
from learn2talk.lip_reader_training import LipReaderConfig, train_lip_reader
from learn2talk.models.student import StudentConfig
from learn2talk.readability import (
    CONTROLS,
    FILM,
    evaluate_readability,
    read_mouths,
    score_readings,
)
from learn2talk.training import StudentTrainConfig, train_student

FEW = TrainConfig(max_updates=2, warmup_updates=1, validate_every=2, max_frames=200)
READER = LipReaderConfig(
    model=RecognizerConfig(
        vocabulary_size=2, width=16, num_heads=2, fused_layers=1, video_channels=(8, 8)
    ),
    train=FEW,
    vocabulary_size=4,
)
STUDENT = StudentTrainConfig(
    model=StudentConfig(width=16, layers=1, heads=2, feedforward=16), train=FEW, sync_weight=0.0
)


@pytest.fixture(scope="module")
def trained(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A lip reader of both kinds of mouths, and a student."""
    folder = tmp_path_factory.mktemp("readability")
    reading = draw_mouths(tiny_corpus, folder / "reading")
    reader = train_lip_reader(reading, folder / "reader", READER)
    train_student(tiny_corpus, folder / "student", None, STUDENT)
    return reader, folder / "student"


def test_every_face_is_read_on_every_clip(
    tiny_corpus: Path, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    reader, student = trained
    texts = tmp_path / "read.jsonl"
    found = evaluate_readability({"mine": student}, reader, tiny_corpus, hypotheses=texts)
    names = [*CONTROLS, "mine", FILM]
    assert list(found["systems"]) == names and found["clips"] == 3
    rows = list(read_jsonl(texts))
    assert len(rows) == 3 * len(names)
    assert {row["reference"] for row in rows} == {"a b"}
    assert score_readings(rows)["systems"] == found["systems"]  # without a network
    assert set(found["student_minus_control"]["mine"]) == set(names) - {"mine"}
    assert found["systems"]["truth"]["wer"]["low"] <= found["systems"]["truth"]["wer"]["value"]


def test_a_reader_that_was_a_loss_is_refused(
    tiny_corpus: Path, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    reader, _ = trained
    told = replace(STUDENT, lip_reading_weight=0.1, lip_reader=str(reader), lip_reading_frames=3)
    one = replace(told, train=replace(FEW, max_updates=1, validate_every=1))
    train_student(tiny_corpus, tmp_path / "student", None, one)
    with pytest.raises(ValueError, match="was the lip-reading loss of student 'mine'"):
        evaluate_readability({"mine": tmp_path / "student"}, reader, tiny_corpus)


def test_a_student_named_as_a_control_is_refused(
    tiny_corpus: Path, trained: tuple[Path, Path]
) -> None:
    reader, student = trained
    with pytest.raises(ValueError, match="'truth' is a control's"):
        evaluate_readability({"truth": student}, reader, tiny_corpus)


def test_together_is_read_what_alone_is(trained: tuple[Path, Path]) -> None:
    """Padding and clips without a picture change nothing."""
    model, tokenizer = load_recognizer(trained[0])
    rng = np.random.default_rng(0)
    mouths = [rng.integers(0, 255, (n, 88, 88)).astype(np.uint8) for n in (30, 12, 20)]
    valid = [np.ones(30, bool), np.zeros(12, bool), np.ones(20, bool)]
    together = read_mouths(model, tokenizer, mouths, valid)
    alone = [
        read_mouths(model, tokenizer, [mouth], [frames])[0]
        for mouth, frames in zip(mouths, valid, strict=True)
    ]
    assert together == alone and together[1] == ""


def _row(system: str, name: str, hypothesis: str) -> dict[str, Any]:
    return {
        "system": system,
        "utterance_id": name,
        "speaker_id": "s",
        "reference": "bin blue at a",
        "hypothesis": hypothesis,
    }


def test_rates_are_of_the_corpus() -> None:
    """pin looks like bin on the lips: a word error and no viseme error."""
    rows = [
        _row("truth", "u1", "bin blue at a"),
        _row("truth", "u2", "pin blue at a"),
        _row("mine", "u1", "bin"),
        _row("mine", "u2", ""),
    ]
    found = score_readings(rows)
    truth, mine = found["systems"]["truth"], found["systems"]["mine"]
    assert truth["wer"]["value"] == pytest.approx(1 / 8)
    assert truth["ver"]["value"] == 0.0 and truth["vwer"]["value"] == 0.0
    assert mine["wer"]["value"] == pytest.approx(7 / 8)
    apart = found["student_minus_control"]["mine"]["truth"]["wer"]
    assert apart["value"] == pytest.approx(6 / 8)


def test_systems_with_other_utterances_are_refused() -> None:
    rows = [_row("truth", "u1", ""), _row("truth", "u2", ""), _row("mine", "u1", "")]
    with pytest.raises(ValueError, match=r"\['mine'\] were not read on the same utterances"):
        score_readings(rows)
