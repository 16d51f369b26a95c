"""LRS3: a stand-in copy checked and prepared, also in two processes and after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from avsr.corpora import talking_faces
from avsr.corpora.clips import CorpusError
from avsr.corpora.lrs import LrsConfig
from avsr.corpora.lrs3 import films_of, find_copy, prepare
from avsr.data.manifest import decode_row, load_face_templates, load_info, load_prepared
from avsr.files import read_jsonl
from avsr.text import Tokenizer

from . import stand_in
from .stand_in import install, labelled_film, lrs3_copy

LRS = LrsConfig(max_seconds=4.0, vocabulary_size=60, valid_share=0.2)
SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lrs3_copy(tmp_path_factory.mktemp("copy"))


def run(root: Path, out: Path, **options: Any) -> list[str]:
    said: list[str] = []
    given = {"num_processes": 1, "progress": False, "lrs": LRS, "is_subset": True, **options}
    prepare(root, out, landmarker_model="stand-in", say=said.append, **given)
    return said


@pytest.fixture(scope="module")
def prepared(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        install(patch.setattr)
        out = tmp_path_factory.mktemp("prepared")
        run(root, out)
    return out


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {split: list(load_prepared(folder, split)) for split in SPLITS}


def test_splits_by_talk_pieces_and_word_times(prepared: Path) -> None:
    of = {split: [decode_row(row) for row in load_prepared(prepared, split)] for split in SPLITS}
    talks = {split: {u.speaker_id for u in found} for split, found in of.items()}
    assert not talks["train"] & talks["valid"] and talks["test"] == {"other"}
    assert not talks["test"] & (talks["train"] | talks["valid"])
    assert len(of["valid"]) == 2 and len(of["test"]) == 3
    pieces = [u for u in of["train"] if u.utterance_id.startswith("pretrain/")]
    assert len(pieces) >= 9 and all(u.num_frames <= 101 for u in pieces)
    for piece in pieces:
        assert piece.text == " ".join(word.word for word in piece.words)
        assert piece.words[-1].end_s <= piece.num_frames / 25
    assert set(load_face_templates(prepared).templates) == set().union(*talks.values())


def test_tokenizer_facts_and_skipped_clips(prepared: Path) -> None:
    tokenizer = Tokenizer((prepared / "tokenizer.model").read_bytes())
    assert tokenizer.decode(tokenizer.encode("lazy dog")) == "lazy dog"
    info = load_info(prepared)
    assert info["name"] == "lrs3" and info["copy"] == {"pretrain": 4, "trainval": 8, "test": 3}
    [row] = read_jsonl(prepared / "skipped.jsonl")  # the pretrain clip of the validation talk
    assert row["utterance_id"].startswith("pretrain/") and "validation split" in row["reason"]
    assert not (prepared / ".clips").exists()


def test_a_film_of_which_the_check_knows_nothing_is_skipped_by_name(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    copy = lrs3_copy(tmp_path / "copy", talks=4, clips=1)
    (copy / "trainval/talk0/00002.mp4").write_bytes(b"no film")
    (copy / "trainval/talk0/00002.txt").write_text("Text:  HELLO\n")
    labelled_film(copy / "trainval/talk0/00003.mp4", "WORD", 100, False)
    (copy / "trainval/talk0/00003.txt").write_text("Text:  {LG}\n")
    labelled_film(copy / "trainval/talk0/00004.mp4", "WORD", 100, False)
    (copy / "trainval/talk0/00004.txt").write_text(f"Text:  {'ZEBRA ' * 20}\n")
    labelled_film(copy / "test/other/00009.mp4", "WORD", 90, False)
    (copy / "test/other/00009.txt").write_text("Text:  ÑANDÚ\n", encoding="utf-8")
    (copy / "pretrain/talk1/00050.txt").write_text("Text:  NO TIMES\n")
    (copy / "trainval/talk2/00001.mp4").write_bytes(b"")
    run(copy, tmp_path / "out", lrs=LrsConfig(4.0, 30, 0.1, seed=1), allow_missing=1)
    reasons = {r["utterance_id"]: r["reason"] for r in read_jsonl(tmp_path / "out/skipped.jsonl")}
    expected = {
        "trainval/talk0/00002": "not readable as video",
        "trainval/talk0/00003": "is empty once normalised",
        "trainval/talk0/00004": "no CTC path exists",
        "pretrain/talk1/00050": "no word times",
        "trainval/talk2/00001": "is missing or empty",
    }
    for name, reason in expected.items():
        assert reason in reasons[name], name
    info = load_info(tmp_path / "out")  # a test clip is kept, and counted
    assert info["counts"]["texts_outside_vocabulary"] == 1
    assert "outside the vocabulary: ñ ú" in info["notes"]["test/other/00009"]
    assert "test/other/00009" in load_prepared(tmp_path / "out", "test")["utterance_id"]


def start(root: Path, out: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    repository = Path(stand_in.__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, stand_in.__file__, "lrs3", str(root), str(out), *more],
        env={**clean, "PYTHONPATH": str(repository), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_give_the_same_rows_as_one(
    root: Path, prepared: Path, tmp_path: Path
) -> None:
    ranks = [start(root, tmp_path, "0", "2", RANK=str(k), WORLD_SIZE="2") for k in range(2)]
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert all("clips tracked and written" in text for text in said)  # both had work
    assert rows(tmp_path) == rows(prepared)
    one, two = load_face_templates(prepared), load_face_templates(tmp_path)
    assert all((one.templates[name] == two.templates[name]).all() for name in one.templates)


@pytest.mark.slow
def test_kill_9_loses_at_most_a_film(root: Path, prepared: Path, tmp_path: Path) -> None:
    first = start(root, tmp_path, "0.4")
    deadline = time.monotonic() + 200
    # Finished files alone: one that is being written has a hidden name.
    while len(list(tmp_path.glob(".clips/*/[!.]*.json"))) < 3:
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (tmp_path / "corpus.json").exists()
    second = start(root, tmp_path)
    said, _ = second.communicate(timeout=300)
    before = int(said.split(" of them tracked before")[0].split()[-1])
    assert second.returncode == 0 and before >= 3, said
    assert rows(tmp_path) == rows(prepared)


def test_parts_share_the_corpus_out_and_nobody_is_divided(
    root: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small parts give the rows of one large part, in the same order."""
    install(monkeypatch.setattr)
    make = talking_faces.make_parts
    monkeypatch.setattr(talking_faces, "make_parts", lambda films: make(films, at_least=2))
    run(root, tmp_path)
    assert len(list(tmp_path.glob("train/*.arrow"))) > len(list(prepared.glob("train/*.arrow")))
    assert rows(tmp_path) == rows(prepared)


def test_the_check_alone_writes_nothing_and_refuses_a_wrong_copy(
    root: Path, tmp_path: Path
) -> None:
    said = run(root, tmp_path / "out", check_only=True)
    assert said[0] == "LRS3 pretrain: 4 complete utterances, published 118516"
    assert "is accepted: 14 clips, 1 not to be used" in said[-1]
    assert not (tmp_path / "out").exists()
    with pytest.raises(CorpusError, match="LRS3: 151804 utterances or files are missing"):
        run(root, tmp_path / "out", is_subset=False, check_only=True)
    with pytest.raises(CorpusError, match="no folder pretrain, trainval or test"):
        find_copy(tmp_path)


def test_training_clips_of_test_talks_are_taken_out(tmp_path: Path) -> None:
    copy = lrs3_copy(tmp_path, talks=3, clips=1)
    labelled_film(copy / "pretrain/other/00001.mp4", "AN UNSEEN TALK", 100, True)
    clips, skipped = films_of(find_copy(copy), copy, LRS)
    assert {clip.split for clip in clips if clip.speaker_id == "other"} == {"test"}
    assert any("talk other is of the test split" in row["reason"] for row in skipped)
