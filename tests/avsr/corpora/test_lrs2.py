"""LRS2: lists, the check of a copy, preparation of a stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avsr.corpora.clips import CorpusError
from avsr.corpora.lrs import LrsConfig
from avsr.corpora.lrs2 import find_copy, prepare, read_list
from avsr.data.manifest import load_info, load_prepared

from .stand_in import install, labelled_film, lrs2_copy

LRS = LrsConfig(max_seconds=4.0, vocabulary_size=60)


def run(root: Path, out: Path, **options: Any) -> list[str]:
    said: list[str] = []
    given = {"num_processes": 1, "progress": False, "lrs": LRS, "is_subset": True, **options}
    prepare(root, out, landmarker_model="stand-in", say=said.append, **given)
    return said


def test_the_lists_make_the_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    run(lrs2_copy(tmp_path / "lrs2"), tmp_path / "out")
    ids = {s: list(load_prepared(tmp_path / "out", s)["utterance_id"]) for s in ("valid", "test")}
    assert ids == {
        "valid": ["val/3/00001", "val/3/00002"],
        "test": ["test/4/00001", "test/4/00002"],
    }
    train = list(load_prepared(tmp_path / "out", "train")["utterance_id"])
    assert sum(name.startswith("train/") for name in train) == 4
    assert sum(name.startswith("pretrain/1/00007-") for name in train) >= 2
    assert load_info(tmp_path / "out")["programmes_in_train_and_valid"] == 0


def test_missing_extra_and_shared_clips_are_counted(tmp_path: Path) -> None:
    root = lrs2_copy(tmp_path)
    (root / "main/3/00001.mp4").unlink()  # incomplete
    (root / "main/2/00002.mp4").unlink()
    (root / "main/2/00002.txt").unlink()  # listed, wholly missing
    labelled_film(root / "main/9/00001.mp4", "ON NO LIST", 100, False)
    (root / "pretrain.txt").write_text("1/00007\n")
    copy = find_copy(root)
    assert {row["utterance_id"] for row in copy.incomplete} == {"main/3/00001", "train/2/00002"}
    assert ["on no list" in row["reason"] for row in copy.odd] == [True]
    assert copy.discrepancies(is_subset=True) == 3
    with pytest.raises(CorpusError, match="LRS2: 3 utterances or files"):
        run(root, tmp_path / "out", check_only=True, allow_missing=2)
    assert "is accepted" in run(root, tmp_path / "out", check_only=True, allow_missing=3)[-1]


def test_test_lines_have_a_further_word(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("63/00011 NF\n63/00012 MV\n\n")
    assert read_list(tmp_path / "test.txt") == ["63/00011", "63/00012"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("63\n", r"test.txt:1: '63' is not '<programme>/<clip>'"),
        ("6/1 NF x\n", r"test.txt:1"),
        ("6/1\n6/1 MV\n", r"test.txt:2: 6/1 is listed twice"),
    ],
)
def test_bad_lists_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "test.txt").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_list(tmp_path / "test.txt")


def test_a_clip_on_two_lists_and_a_missing_list_are_refused(tmp_path: Path) -> None:
    root = lrs2_copy(tmp_path)
    (root / "val.txt").write_text("1/00001\n")
    with pytest.raises(CorpusError, match=r"val.txt: 1/00001 is also in train.txt"):
        find_copy(root)
    (root / "val.txt").unlink()
    with pytest.raises(CorpusError, match=r"val.txt: no such list"):
        find_copy(root)
    with pytest.raises(CorpusError, match="no folder main"):
        find_copy(tmp_path / "main")
