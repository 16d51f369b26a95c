"""BIWI: the protocol, copies without a unit, and what a prepared one holds."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from avsr.corpora.clips import CorpusError
from avsr.data.manifest import decode_row, load_face_templates, load_info, load_prepared
from avsr.files import read_jsonl
from learn2talk.cli import main
from learn2talk.corpora.biwi import BiwiConfig, find_copy, open_copy, published
from learn2talk.corpora.biwi import prepare as prepare_biwi
from tests.learn2talk.corpora.scan_stand_in import BIWI, biwi
from tests.learn2talk.sheet_face import write_obj

NAMES = ("F2_e01", "F2_e33", "F2_e37", "M6_e40")
ABSENT = 560 - len(NAMES)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return biwi(tmp_path_factory.mktemp("biwi") / "copy", NAMES)


def test_the_published_protocol() -> None:
    rows = published()
    assert len({name for name, _, _ in rows}) == 560
    assert Counter(s for _, _, s in rows) == {"train": 192, "valid": 24, "test": 24, None: 320}
    other = published("b")
    assert Counter(s for _, _, s in other) == {"train": 192, "valid": 24, "test": 32, None: 312}
    assert {speaker for _, speaker, split in other if split == "test"} == set(
        "F1 F5 F6 F7 F8 M1 M2 M6".split()
    )


@pytest.mark.slow
def test_a_copy_becomes_a_prepared_corpus(copy: Path, tmp_path: Path) -> None:
    out = prepare_biwi(copy, tmp_path / "a", allow_missing=ABSENT, say=lambda _: None)
    info = load_info(out)
    assert info["face"]["topology"] == "biwi_23370" and info["test_set"] == "a"
    assert info["mm_per_unit_from"] == "rigid_scans" and info["pictures"] == "drawn"
    assert load_prepared(out, "test")["utterance_id"] == ["F2_e37"]
    row = decode_row(load_prepared(out, "train")[0])
    middle = BIWI.vertices.mean(axis=0)
    np.testing.assert_allclose(row.vertices, BIWI.motion(25, 25.0) - middle, atol=0.05)
    assert set(load_face_templates(out).templates) == {"F2"}
    skipped = {r["utterance_id"]: r["reason"] for r in read_jsonl(out / "skipped.jsonl")}
    assert "in no split" in skipped["M6_e40"] and len(skipped) == ABSENT + 1
    config = BiwiConfig(test="b")
    out = prepare_biwi(copy, tmp_path / "b", allow_missing=ABSENT, config=config)
    assert load_prepared(out, "test")["utterance_id"] == ["M6_e40"]


def test_sizes_come_from_the_scans_and_differ_by_speaker(copy: Path) -> None:
    corpus = open_copy(copy, allow_missing=ABSENT, say=lambda _: None)
    assert set(corpus.mm_per_unit) == {"F2", "M6"}
    for size in corpus.mm_per_unit.values():
        assert size == pytest.approx(185.0, rel=1e-4)
    wide = np.ptp(corpus.template("M6").vertices[:, 0])
    assert wide == pytest.approx(1.05 * np.ptp(BIWI.vertices[:, 0]), rel=1e-4)
    given = BiwiConfig(mm_per_unit=180.0)
    corpus = open_copy(copy, allow_missing=ABSENT, config=given, say=lambda _: None)
    assert set(corpus.mm_per_unit.values()) == {180.0}


def test_without_a_unit_nothing_is_guessed(copy: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(copy, root)
    write_obj(root / "rigid_scans" / "M6.obj", BIWI.vertices * (1, 2, 1), BIWI.triangles)
    with pytest.raises(CorpusError, match=r"M6\.obj: is not the face of templates\.pkl"):
        open_copy(root, allow_missing=ABSENT, say=lambda _: None)
    shutil.rmtree(root / "rigid_scans")
    with pytest.raises(CorpusError, match="no known unit .*--config.mm-per-unit"):
        open_copy(root, allow_missing=ABSENT, say=lambda _: None)
    with pytest.raises(ValueError, match="no known unit fits"):
        config = BiwiConfig(mm_per_unit=1.0)
        open_copy(root, allow_missing=ABSENT, config=config, say=lambda _: None)
    with pytest.raises(CorpusError, match="more than 0"):
        BiwiConfig(mm_per_unit=0.0)
    with pytest.raises(CorpusError, match="not 'c'"):
        BiwiConfig(test="c")  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match="0 or more"):
        BiwiConfig(max_difference_s=-1.0)


def test_a_copy_in_millimetres_is_taken_as_it_is(tmp_path: Path) -> None:
    root = biwi(tmp_path / "copy", NAMES[:1], unit_mm=1.0, scans=False)
    corpus = open_copy(root, allow_missing=559, say=lambda _: None)
    assert corpus.mm_per_unit == {"F2": 1.0} and corpus.info["mm_per_unit_from"].endswith("mm")


def test_copies_that_are_refused(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", "biwi", "--root", str(copy), "--check"])
    shown = capsys.readouterr()
    assert "BIWI: 4 complete sequences, published 560" in shown.out
    assert f"{ABSENT} sequences are missing" in shown.err
    main(["prepare", "biwi", "--root", str(copy), "--check", "--allow-missing", str(ABSENT)])
    assert "is accepted, test a" in capsys.readouterr().out
    with pytest.raises(CorpusError, match="vertices_npy: no such folder"):
        find_copy(tmp_path)
