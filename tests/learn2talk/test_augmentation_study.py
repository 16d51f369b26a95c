"""Generated faces as training data: which clips, from what, and what the figures say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.data.manifest import decode_array, load_prepared
from avsr.files import read_json, read_jsonl
from avsr.models.recognizer import RecognizerConfig
from avsr.training.loop import TrainConfig
from learn2talk import augmentation_study
from learn2talk.augmentation_study import (
    AugmentationStudyConfig,
    is_generated,
    mixed_rows,
    report_study,
    score_study,
    train_arm,
)
from learn2talk.files import TrainedStudent

SMALL = AugmentationStudyConfig(
    generated_shares=(0.0, 0.5),
    model=RecognizerConfig(vocabulary_size=2, width=16, num_heads=2, fused_layers=1),
    train=TrainConfig(max_updates=2, warmup_updates=1, max_frames=120, validate_every=1),
    vocabulary_size=4,
)


class Student:
    """Makes lips whose first point is at 7 mm, one frame short."""

    provenance = {"student_sha256": "0" * 64}


@pytest.fixture
def student(monkeypatch: pytest.MonkeyPatch) -> TrainedStudent:
    def made(_: object, sounds: list[np.ndarray]) -> list[np.ndarray]:
        return [np.full((len(one) // 640 - 1, 40, 3), 7.0, np.float32) for one in sounds]

    monkeypatch.setattr(augmentation_study, "generate_lips", made)
    return Student()  # type: ignore[return-value]


def test_a_smaller_share_is_part_of_a_larger_one():
    names = [f"u{number}" for number in range(2000)]
    quarter = {name for name in names if is_generated(name, 0.25)}
    half = {name for name in names if is_generated(name, 0.5)}
    assert quarter < half and abs(len(half) - 1000) < 100
    assert not any(is_generated(name, 0.0) for name in names)
    assert all(is_generated(name, 1.0) for name in names)


def test_each_mixture_stands_beside_its_real_part():
    arms = AugmentationStudyConfig(generated_shares=(0.0, 0.75, 1.0)).arms
    assert arms == {
        "generated_0": (0.0, False),
        "generated_75": (0.75, False),
        "real_25_alone": (0.75, True),
        "generated_100": (1.0, False),
    }


def test_generated_rows_have_made_lips_in_every_frame(tiny_corpus, tmp_path, student):
    rows = load_prepared(tiny_corpus, "train")
    mixed = mixed_rows(rows, student, 0.5, alone=False, cache=tmp_path / "rows" / "a.arrow")
    alone = mixed_rows(rows, student, 0.5, alone=True, cache=tmp_path / "rows" / "b.arrow")
    assert len(mixed) == len(rows)
    for row in mixed:
        lips = decode_array(row["lips"])
        assert len(lips) == row["num_frames"] and lips.dtype == np.float32
        assert (lips == 7.0).all() == is_generated(row["utterance_id"], 0.5)
    kept = [name for name in rows["utterance_id"] if not is_generated(name, 0.5)]
    assert list(alone["utterance_id"]) == kept and 0 < len(kept) < len(rows)
    same = mixed_rows(rows, student, 0.0, alone=False, cache=tmp_path / "c.arrow")
    assert [row["lips"] for row in same] == [row["lips"] for row in rows]
    with pytest.raises(ValueError, match="leaves no real utterance of 6"):
        mixed_rows(rows, student, 1.0, alone=True, cache=tmp_path / "d.arrow")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generated_shares": (0.5,)}, "must hold 0"),
        ({"generated_shares": (0.0, 0.5, 0.5)}, "each share once"),
        ({"generated_shares": (0.0, 1.5)}, r"must be in \[0, 1\]"),
        ({"heard_share": 1.0}, "heard_share 1.0"),
    ],
)
def test_impossible_studies_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AugmentationStudyConfig(**change)


def test_what_generated_faces_add_is_paired_with_their_real_part(tiny_corpus):
    rows = load_prepared(tiny_corpus, "test")
    texts = list(rows["text"])
    said = {
        "generated_0": texts,
        "generated_50": [texts[0], texts[1], ""],
        "real_50_alone": ["", "", ""],
    }
    found = score_study(said, rows, SMALL)
    words = [len(text.split()) for text in texts]
    assert found["arms"]["generated_0"]["wer"]["value"] == 0.0
    assert found["arms"]["real_50_alone"] == {
        "generated_share": 0.5,
        "real_alone": True,
        "wer": {"value": 1.0, "low": 1.0, "high": 1.0},
    }
    differences = {one["kind"]: one for one in found["differences"]}
    lost = words[2] / sum(words)
    assert differences["against_all_real"]["value"] == pytest.approx(lost)
    assert differences["against_its_real_part"]["value"] == pytest.approx(lost - 1.0)
    assert differences["against_its_real_part"]["minus"] == "real_50_alone"


@pytest.mark.slow
def test_a_study_is_trained_read_and_reported(tiny_corpus: Path, tmp_path: Path, student):
    for name in SMALL.arms:
        best = train_arm(name, tiny_corpus, student, tmp_path, SMALL)
        assert best == train_arm(name, tiny_corpus, student, tmp_path, SMALL)  # kept
    figures = report_study(tiny_corpus, student, tmp_path, SMALL)
    assert read_json(tmp_path / "study.json")["arms"] == figures["arms"]
    counts = figures["train_utterances"]
    assert counts["generated_0"] == {"real": 6, "generated": 0}
    assert counts["real_50_alone"]["generated"] == 0
    assert sum(counts["generated_50"].values()) == 6
    rows = list(read_jsonl(tmp_path / "hypotheses.jsonl"))
    assert len(rows) == 3 * 3 and {row["arm"] for row in rows} == set(SMALL.arms)
    with pytest.raises(ValueError, match="are not trained to their end"):
        report_study(tiny_corpus, student, tmp_path / "empty", SMALL)
    with pytest.raises(ValueError, match="arm 'x' is not one of"):
        train_arm("x", tiny_corpus, student, tmp_path, SMALL)
