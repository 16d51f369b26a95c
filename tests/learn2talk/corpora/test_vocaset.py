"""VOCASET: copies in both layouts, what is refused, and what a prepared one holds."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from avsr.corpora.clips import CorpusError
from avsr.data.manifest import decode_row, load_face_templates, load_info, load_prepared
from avsr.files import read_jsonl, write_wav
from learn2talk.cli import main
from learn2talk.corpora.scan_corpus import motion_of
from learn2talk.corpora.vocaset import SPEAKERS, VocasetConfig, find_copy, open_copy, published
from learn2talk.corpora.vocaset import prepare as prepare_vocaset
from learn2talk.data.motion import MotionClips
from learn2talk.schema import Motion
from tests.learn2talk.corpora.scan_stand_in import FLAME, vocaset, vocaset_release

TRAIN, OTHER = SPEAKERS["train"][:2]
VALID, TEST = SPEAKERS["valid"][0], SPEAKERS["test"][1]
NAMES = (
    f"{TRAIN}_sentence01",
    f"{OTHER}_sentence40",
    f"{VALID}_sentence21",
    f"{TEST}_sentence22",
    f"{TEST}_sentence20",  # of no split
)
ABSENT = 478 - len(NAMES)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vocaset(tmp_path_factory.mktemp("vocaset") / "copy", NAMES)


def test_the_published_protocol() -> None:
    rows = published()
    assert Counter(split for _, _, split in rows) == {
        "train": 319,
        "valid": 40,
        "test": 39,
        None: 80,
    }
    assert len({name for name, _, _ in rows}) == 478
    assert "FaceTalk_170811_03274_TA_sentence24" not in {name for name, _, _ in rows}


def test_a_copy_becomes_a_prepared_corpus_that_students_read(copy: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out = prepare_vocaset(copy, tmp_path / "out", allow_missing=ABSENT, say=said.append)
    info = load_info(out)
    assert (info["name"], info["source_fps"], info["fps"]) == ("vocaset", 60.0, 25)
    assert (info["pictures"], info["resampler"], info["synthetic"]) == ("drawn", "low_pass", False)
    assert info["face"]["topology"] == "flame_5023" and info["face"]["regions_source"]
    assert {k: v["utterances"] for k, v in info["counts"]["utterances"].items()} == {
        "train": 2,
        "valid": 1,
        "test": 1,
    }
    skipped = {row["utterance_id"]: row["reason"] for row in read_jsonl(out / "skipped.jsonl")}
    assert len(skipped) == ABSENT + 1
    assert "in no split" in skipped[f"{TEST}_sentence20"]
    row = decode_row(load_prepared(out, "train")[0])
    assert (row.utterance_id, row.speaker_id, row.text) == (NAMES[0], TRAIN, "")
    assert row.num_frames == 25 and row.video_valid.all()
    expected = FLAME.motion(25, 25.0)
    np.testing.assert_allclose(row.vertices[5:-5], expected[5:-5], atol=0.15)  # mm, at its time
    np.testing.assert_allclose(row.lips, row.vertices[:, _lip_ids(out)], atol=0.01)
    assert row.mouth_crops.std() > 5  # a drawn mouth, not an empty picture
    moved = np.abs(np.diff(row.mouth_crops.astype(int), axis=0)).mean(axis=(1, 2))
    assert moved.max() > 0.5
    templates = load_face_templates(out)
    assert set(templates.templates) == {TRAIN, OTHER, VALID, TEST}
    assert np.ptp(templates.templates[OTHER][:, 0]) > np.ptp(templates.templates[TRAIN][:, 0])
    clips = MotionClips(out, "train")
    assert len(clips) == 2 and clips.clips[0].features.shape == (100, 80)
    assert clips.clips[0].displacement[:, :, 1].min() < -6.0
    assert prepare_vocaset(copy, out, allow_missing=ABSENT, say=said.append) == out
    with pytest.raises(CorpusError, match="prepared with another resampler"):
        config = VocasetConfig(resampler="every_second_frame")
        prepare_vocaset(copy, out, allow_missing=ABSENT, config=config, say=said.append)


def _lip_ids(out: Path) -> np.ndarray:
    regions = load_face_templates(out).regions
    return np.concatenate([regions["lips_outer"], regions["lips_inner"]])


def test_a_stopped_run_goes_on(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from learn2talk.corpora import scan_corpus

    made = scan_corpus.utterance_of

    def stops(corpus: scan_corpus.ScanCorpus, sequence: scan_corpus.ScanSequence) -> object:
        if sequence.name == NAMES[2]:
            raise KeyboardInterrupt
        return made(corpus, sequence)

    monkeypatch.setattr(scan_corpus, "utterance_of", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare_vocaset(copy, tmp_path, allow_missing=ABSENT, say=lambda _: None)
    done: list[str] = []

    def counts(corpus: scan_corpus.ScanCorpus, sequence: scan_corpus.ScanSequence) -> object:
        done.append(sequence.name)
        return made(corpus, sequence)

    monkeypatch.setattr(scan_corpus, "utterance_of", counts)
    prepare_vocaset(copy, tmp_path, allow_missing=ABSENT, say=lambda _: None)
    assert done == [NAMES[2], NAMES[3]]
    assert not (tmp_path / ".sequences").exists()


def test_motion_at_thirty_frames_by_either_resampler(copy: Path) -> None:
    def motion(config: VocasetConfig) -> Motion:
        corpus = open_copy(copy, allow_missing=ABSENT, config=config, say=lambda _: None)
        sequence = corpus.copy.sequences[0]
        vertices = motion_of(corpus, sequence, 30.0)
        return Motion(vertices, 30.0, corpus.template(sequence.speaker_id))

    dropped = motion(VocasetConfig(resampler="every_second_frame"))
    np.testing.assert_allclose(dropped.vertices, FLAME.motion(60, 60.0)[::2], atol=1e-3)
    filtered = motion(VocasetConfig())
    np.testing.assert_allclose(filtered.vertices[6:-6], FLAME.motion(30, 30.0)[6:-6], atol=0.15)
    assert filtered.duration_s == 1.0


def test_a_copy_at_thirty_frames_is_recognised(tmp_path: Path) -> None:
    root = vocaset(tmp_path / "copy", NAMES[:1], fps=30.0)
    corpus = open_copy(root, allow_missing=477, say=lambda _: None)
    assert corpus.fps == 30.0
    with pytest.raises(CorpusError, match="has 30 fps already"):
        config = VocasetConfig(resampler="every_second_frame")
        open_copy(root, allow_missing=477, config=config, say=lambda _: None)
    with pytest.raises(CorpusError, match="split valid, 0 of the copy are of it"):
        prepare_vocaset(root, tmp_path / "out", allow_missing=477, say=lambda _: None)
    frames = np.load(root / "vertices_npy" / f"{NAMES[0]}.npy")
    np.save(root / "vertices_npy" / f"{NAMES[0]}.npy", frames[:, :9])
    with pytest.raises(CorpusError, match="split train, 1 of the copy are of it.* has 3 vertices"):
        prepare_vocaset(root, tmp_path / "two", allow_missing=477, say=lambda _: None)
    odd = vocaset(tmp_path / "odd", NAMES[:1], fps=45.0)
    with pytest.raises(CorpusError, match="neither 60 nor 30"):
        open_copy(odd, allow_missing=477, say=lambda _: None)
    with pytest.raises(CorpusError, match="give 60 or 30"):
        VocasetConfig(fps=25.0)


def test_the_releases_own_files(tmp_path: Path) -> None:
    root = vocaset_release(tmp_path / "release", NAMES)
    corpus = open_copy(root, allow_missing=ABSENT, say=lambda _: None)
    assert corpus.fps == 60.0 and len(corpus.copy.sequences) == len(NAMES)
    found = motion_of(corpus, corpus.copy.sequences[0], 60.0)
    np.testing.assert_allclose(found, FLAME.motion(60, 60.0), atol=1e-3)
    assert len(corpus.copy.sequences[0].sound()) == 16000
    out = prepare_vocaset(root, tmp_path / "out", allow_missing=ABSENT, say=lambda _: None)
    assert len(load_prepared(out, "train")) == 2


def test_damaged_release(tmp_path: Path) -> None:
    root = vocaset_release(tmp_path / "release", NAMES)
    path = root / "subj_seq_to_idx.pkl"
    index = pickle.loads(path.read_bytes())
    del index[TRAIN]["sentence01"][7]
    index[VALID]["sentence21"][3] = 10**6
    del index[OTHER]
    index["Somebody"] = {"sentence01": {0: 0}}
    path.write_bytes(pickle.dumps(index))
    copy = find_copy(root)
    assert f"{OTHER}_sentence40" in {row["utterance_id"] for row in copy.missing}
    assert [row["utterance_id"] for row in copy.extra] == ["Somebody_sentence01"]
    by_name = {sequence.name: sequence for sequence in copy.sequences}
    with pytest.raises(CorpusError, match="lacks frames, 59 of 60"):
        by_name[NAMES[0]].vertices()
    with pytest.raises(CorpusError, match="needs 1000001"):
        by_name[NAMES[2]].vertices()
    whole = (root / "data_verts.npy").read_bytes()
    (root / "data_verts.npy").write_bytes(whole[:1000])
    with pytest.raises(CorpusError, match="not a whole .npy"):
        find_copy(root)
    path.write_bytes(pickle.dumps([1]))
    (root / "data_verts.npy").write_bytes(whole)
    with pytest.raises(CorpusError, match="does not hold speakers"):
        find_copy(root)


def test_copies_that_are_refused(copy: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(CorpusError, match=rf"{ABSENT} sequences are missing .* allowed are 0"):
        prepare_vocaset(copy, tmp_path, say=said.append)
    assert said[0] == "VOCASET: 5 complete sequences, published 478"
    assert said[-1] == f"... and {ABSENT - 20} more"
    with pytest.raises(CorpusError, match="neither vertices_npy"):
        find_copy(tmp_path)
    root = vocaset(tmp_path / "copy", NAMES[:1])
    (root / "vertices_npy" / "FaceTalk_170728_03272_TA_sentence41.npy").write_bytes(b"x")
    (root / "wav" / "notes.txt").write_text("x")
    (root / "wav" / f"{NAMES[0]}.wav").write_bytes(b"")
    found = find_copy(root)
    assert not found.sequences and len(found.missing) == 478 and len(found.extra) == 2
    assert {row["utterance_id"] for row in found.extra} == {f"{TRAIN}_sentence41", "notes"}
    with pytest.raises(CorpusError, match="no sequence with its sound"):
        prepare_vocaset(root, tmp_path / "out", allow_missing=480, say=said.append)


def changed(root: Path, what: str) -> None:
    """Break the first sequence of a copy."""
    path = root / "vertices_npy" / f"{NAMES[0]}.npy"
    frames = np.load(path)
    if what == "vertices":
        np.save(path, frames[:, :15066])
    elif what == "nan":
        frames[4, 7] = np.nan
        np.save(path, frames)
    elif what == "millimetres":
        np.save(path, frames * 1000)
    elif what == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif what == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif what == "empty":
        np.save(path, frames[:0])
    elif what == "sound":
        write_wav(root / "wav" / f"{NAMES[0]}.wav", np.zeros(44000), 22000)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("vertices", "has 5022 vertices a frame, the topology flame_5023 has 5023"),
        ("nan", "no numbers in frame 4"),
        ("millimetres", "mm from the template of"),
        ("truncated", "not a whole .npy of numbers"),
        ("pickle", "not a whole .npy of numbers"),
        ("empty", "not a motion"),
        ("sound", "1.00 s of motion at 60 fps and 2.00 s of sound differ"),
    ],
)
def test_a_bad_sequence_is_listed_and_the_others_stay(tmp_path: Path, what: str, said: str) -> None:
    root = vocaset(tmp_path / "copy", NAMES[:4])
    changed(root, what)
    config = VocasetConfig(fps=60.0)
    out = prepare_vocaset(
        root, tmp_path / "out", allow_missing=474, config=config, say=lambda _: None
    )
    skipped = {row["utterance_id"]: row["reason"] for row in read_jsonl(out / "skipped.jsonl")}
    assert said in skipped[NAMES[0]]
    assert load_prepared(out, "train")["utterance_id"] == [NAMES[1]]


def test_templates_that_do_not_fit(tmp_path: Path) -> None:
    root = vocaset(tmp_path / "copy", NAMES[:4])
    path = root / "templates.pkl"
    faces = pickle.loads(path.read_bytes())
    for wrong, said in (
        ({TRAIN: faces[TRAIN][:9]}, r"shape \(9, 3\), expected \(5023, 3\)"),
        ({TRAIN: faces[TRAIN] * np.nan}, "are no numbers"),
        ({TRAIN: faces[TRAIN] * 1000}, "is its unit mm"),
    ):
        path.write_bytes(pickle.dumps(faces | wrong))
        with pytest.raises(ValueError, match=said):
            prepare_vocaset(root, tmp_path / "out", allow_missing=474, say=lambda _: None)
    del faces[OTHER]
    path.write_bytes(pickle.dumps(faces))
    with pytest.raises(ValueError, match=f"speaker {OTHER} has no template"):
        prepare_vocaset(root, tmp_path / "out", allow_missing=474, say=lambda _: None)


def test_texts_and_the_command(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "texts.tsv"
    table.write_text(f'sequence\ttext\n{NAMES[0]}\tthe "nearest" place\n')
    words = ["prepare", "vocaset", "--root", str(copy), "--out", str(tmp_path / "out")]
    main([*words, "--allow-missing", str(ABSENT), "--check"])
    assert "is accepted, 60 fps" in capsys.readouterr().out
    main([*words, "--allow-missing", str(ABSENT), "--config.texts", str(table)])
    assert load_prepared(tmp_path / "out", "train")["text"] == ['the "nearest" place', ""]
    with pytest.raises(SystemExit):
        main(words)
    assert "allowed are 0" in capsys.readouterr().err
    table.write_text("sequence\ttext\nF1_e01\thello\n")
    with pytest.raises(CorpusError, match="not published, the first is 'F1_e01'"):
        open_copy(copy, allow_missing=ABSENT, config=VocasetConfig(texts=table), say=lambda _: None)
    table.write_text("name,text\n")
    with pytest.raises(CorpusError, match="lacks the columns"):
        open_copy(copy, allow_missing=ABSENT, config=VocasetConfig(texts=table), say=lambda _: None)
