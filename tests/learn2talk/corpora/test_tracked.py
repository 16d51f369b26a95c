"""A corpus of landmarks becomes one of a face model: complete, exact, resumable, nothing hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avsr.data.manifest import (
    FaceTemplates,
    PreparedUtterance,
    decode_row,
    encode_utterance,
    load_face_templates,
    load_info,
    load_prepared,
    save_prepared,
)
from avsr.files import read_jsonl
from avsr.schema import WordTime
from avsr.tracking import LIPS_INNER, LIPS_OUTER, TOPOLOGY
from learn2talk.cli import main
from learn2talk.corpora import tracked
from learn2talk.corpora.fit_blocks import Block, FitJob, TrackedConfig
from learn2talk.corpora.tracked import prepare_tracked, summary
from learn2talk.data.motion import MotionClips
from learn2talk.fitting.identity import FitConfig
from learn2talk.fitting.procedural import head_model
from tests.learn2talk.landmarks import person_vertices, seen_vertices, smooth_weights

MODEL = head_model()
SEEN = seen_vertices(MODEL)
LIPS = list(LIPS_OUTER + LIPS_INNER)
FRAMES = 30


def utterance(name: str, speaker: str, seed: int) -> tuple[PreparedUtterance, np.ndarray]:
    """A clip and the true face (T, V, 3) behind its landmarks."""
    rng = np.random.default_rng(seed)
    person = np.random.default_rng(int(speaker[1:])).uniform(-1, 1, len(MODEL.identities))
    face = person_vertices(MODEL, person, smooth_weights(rng, FRAMES, len(MODEL.names)))
    vertices = face[:, SEEN].astype(np.float32)
    clip = PreparedUtterance(
        utterance_id=name,
        speaker_id=speaker,
        text="a b",
        audio=rng.uniform(-0.1, 0.1, 640 * FRAMES).astype(np.float32),
        mouth_crops=rng.integers(0, 255, (FRAMES, 96, 96)).astype(np.uint8),
        lips=np.ascontiguousarray(vertices[:, LIPS]),
        vertices=vertices,
        video_valid=np.ones(FRAMES, dtype=bool),
        words=(WordTime("a", 0.2, 0.6), WordTime("b", 0.6, 1.0)),
        phones=(),
        num_frames=FRAMES,
        num_samples=640 * FRAMES,
        source=f"/films/{name}.mp4",
    )
    return clip, face


def scattered(clip: PreparedUtterance, sigma_mm: float) -> PreparedUtterance:
    """Lip points that no mouth has."""
    rng = np.random.default_rng(0)
    vertices = clip.vertices.copy()
    vertices[:, LIPS] += rng.normal(0, sigma_mm, (FRAMES, 40, 3)).astype(np.float32)
    return replace(clip, vertices=vertices, lips=np.ascontiguousarray(vertices[:, LIPS]))


def with_tracked(clip: PreparedUtterance, frames: int) -> PreparedUtterance:
    valid = np.zeros(FRAMES, dtype=bool)
    valid[5 : 5 + frames] = True
    return replace(clip, video_valid=valid)


def neutral(speaker: str) -> np.ndarray:
    return utterance("x", speaker, 0)[1][0, SEEN].astype(np.float32)


def save(folder: Path, rows: dict[str, list[PreparedUtterance]], topology: str = TOPOLOGY) -> Path:
    faces = FaceTemplates(
        topology,
        np.zeros((0, 3), np.int32),
        {},
        {"s1": neutral("s1"), "s2": neutral("s2"), "s4": 0.001 * neutral("s4")},
    )
    never = {"utterance_id": "never", "path": "/films/never.mp4", "reason": "no such film"}
    return save_prepared(
        folder,
        {split: [encode_utterance(clip) for clip in clips] for split, clips in rows.items()},
        faces,
        {"name": "tiny", "fps": 25, "sample_rate_hz": 16000},
        [never],
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train = [utterance(f"t{i}", f"s{1 + i % 2}", i)[0] for i in range(3)]
    spoilt = [
        scattered(utterance("scattered", "s1", 7)[0], 5.0),
        with_tracked(utterance("faceless", "s1", 8)[0], 0),
        with_tracked(utterance("glimpse", "s2", 9)[0], 4),
        utterance("stranger", "s3", 10)[0],
        utterance("metres", "s4", 11)[0],
    ]
    rows = {
        "train": train + spoilt,
        "valid": [utterance("v0", "s2", 20)[0]],
        "test": [with_tracked(utterance("e0", "s1", 30)[0], 20)],
    }
    return save(tmp_path_factory.mktemp("landmarks"), rows)


@pytest.fixture(scope="module")
def fitted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fitted")
    return prepare_tracked(corpus, out, num_processes=1, progress=False)


def test_clips_carry_the_face_behind_the_landmarks(fitted: Path) -> None:
    faces = load_face_templates(fitted)
    assert faces.topology == MODEL.template.topology
    assert sorted(faces.templates) == ["s1", "s2"]
    lips = np.concatenate([faces.regions["lips_outer"], faces.regions["lips_inner"]])
    rows = [decode_row(row) for row in load_prepared(fitted, "train")]
    assert [row.utterance_id for row in rows] == ["t0", "t1", "t2"]
    for index, row in enumerate(rows):
        clip, face = utterance(row.utterance_id, row.speaker_id, index)
        assert row.vertices.shape == (FRAMES, 2500, 3)
        np.testing.assert_allclose(row.lips, row.vertices[:, lips], atol=0.02)
        assert np.linalg.norm(row.lips - face[:, lips], axis=-1).mean() < 0.4
        np.testing.assert_array_equal(row.audio, clip.audio)
        np.testing.assert_array_equal(row.mouth_crops, clip.mouth_crops)
        assert (row.text, row.words, row.source) == (clip.text, clip.words, clip.source)
        neutral_lips = faces.templates[row.speaker_id][lips]
        assert np.linalg.norm(neutral_lips - face[0, lips], axis=-1).mean() < 0.4


def test_students_can_read_it(fitted: Path) -> None:
    clips = MotionClips(fitted, "train")
    assert len(clips) == 3
    assert clips.clips[0].displacement.shape[0] == FRAMES
    assert MotionClips(fitted, "test").clips[0].tracked.sum() == 20


def test_what_could_not_be_used_is_listed_with_its_reason(fitted: Path) -> None:
    reasons = {row["utterance_id"]: row["reason"] for row in read_jsonl(fitted / "skipped.jsonl")}
    assert sorted(reasons) == ["faceless", "glimpse", "metres", "never", "scattered", "stranger"]
    assert "a face in only 0 of 30 frames" in reasons["faceless"]
    assert "min_tracked_frames is 10" in reasons["glimpse"]
    assert "max_lip_error_mm is 3.0" in reasons["scattered"]
    assert "speaker 's3' has no neutral face" in reasons["stranger"]
    assert "speaker 's4'" in reasons["metres"]
    assert "convert the unit" in reasons["metres"]
    assert reasons["never"] == "no such film"
    info = load_info(fitted)
    assert info["counts"]["skipped"] == 6
    assert info["counts"]["utterances"]["train"]["utterances"] == 3
    assert info["counts"]["utterances"]["test"]["valid_frames"] == 20


def test_errors_of_every_fitted_clip_are_kept(fitted: Path) -> None:
    rows = {row["utterance_id"]: row for row in read_jsonl(fitted / "fitting.jsonl")}
    assert sorted(rows) == ["e0", "scattered", "t0", "t1", "t2", "v0"]
    assert not rows["scattered"]["kept"]
    assert rows["scattered"]["lips_mm"] > 3.0
    assert rows["e0"]["tracked_frames"] == 20
    assert rows["e0"]["split"] == "test"
    info = load_info(fitted)
    assert info["topology"] == MODEL.template.topology
    assert info["name"] == "tiny"
    figures = info["fitting"]
    assert (figures["fitted"], figures["kept"]) == (6, 5)
    lips = [row["lips_mm"] for row in rows.values() if row["kept"]]
    assert figures["lips_mm"]["mean"] == pytest.approx(np.mean(lips))
    assert figures["lips_mm"]["worst"] == pytest.approx(max(lips))
    assert not (fitted / ".fits").exists()


def test_a_summary_skips_what_is_unknown() -> None:
    row = dict.fromkeys(tracked.ERRORS, 1.0) | {"kept": True}
    still = row | {"lip_gap_pcc": None, "lips_mm": 2.0}
    figures = summary([row, still, row | {"kept": False, "lips_mm": 9.0}])
    assert figures["lips_mm"] == {"mean": 1.5, "median": 1.5, "worst": 2.0}
    assert figures["lip_gap_pcc"]["mean"] == 1.0
    assert (figures["fitted"], figures["kept"]) == (3, 2)


def test_a_stopped_run_goes_on(
    corpus: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real = tracked.fit_block

    def counted(block: Block, job: FitJob) -> None:
        if len(done) == 4 and not resumed:
            raise KeyboardInterrupt
        real(block, job)
        done.append(block.name)

    resumed = False
    monkeypatch.setattr(tracked, "fit_block", counted)
    monkeypatch.setattr(tracked, "BLOCK_ROWS", 2)
    with pytest.raises(KeyboardInterrupt):
        prepare_tracked(corpus, tmp_path, num_processes=1, progress=False)
    assert not (tmp_path / "corpus.json").exists()
    resumed = True
    said: list[str] = []
    prepare_tracked(corpus, tmp_path, num_processes=1, progress=False, say=said.append)
    assert "6 blocks of clips, 4 fitted before" in said[0]
    assert sorted(done) == sorted(set(done))
    for split in ("train", "valid", "test"):
        one, other = (
            [row["vertices"] for row in load_prepared(folder, split)]
            for folder in (fitted, tmp_path)
        )
        assert one == other


def test_a_finished_folder_is_kept_and_other_settings_refused(corpus: Path, fitted: Path) -> None:
    before = (fitted / "corpus.json").stat().st_mtime_ns
    prepare_tracked(corpus, fitted, num_processes=1, progress=False)
    assert (fitted / "corpus.json").stat().st_mtime_ns == before
    other = TrackedConfig(fit=FitConfig(smoothness=0.5))
    with pytest.raises(ValueError, match="another folder"):
        prepare_tracked(corpus, fitted, num_processes=1, config=other, progress=False)


def test_limits_decide_what_is_kept(corpus: Path, tmp_path: Path) -> None:
    config = TrackedConfig(max_lip_error_mm=50.0, min_tracked_frames=4)
    prepare_tracked(corpus, tmp_path, num_processes=1, config=config, progress=False)
    kept = {row["utterance_id"] for row in load_prepared(tmp_path, "train")}
    assert kept == {"t0", "t1", "t2", "scattered", "glimpse"}


def test_a_corpus_that_cannot_be_fitted_is_refused(
    corpus: Path, fitted: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="topology 'procedural_head'"):
        prepare_tracked(fitted, tmp_path / "a", num_processes=1, progress=False)
    with pytest.raises(ValueError, match=r"no corpus\.json"):
        prepare_tracked(tmp_path / "nothing", tmp_path / "b", num_processes=1, progress=False)
    with pytest.raises(ValueError, match="no such file; give the folder of ICT"):
        prepare_tracked(corpus, tmp_path / "c", ict=tmp_path, num_processes=1, progress=False)
    with pytest.raises(ValueError, match="num_processes is 0"):
        prepare_tracked(corpus, tmp_path / "d", num_processes=0, progress=False)
    empty = {"train": [utterance("z", "s3", 0)[0]], "valid": [], "test": []}
    nobody = save(tmp_path / "nobody", empty)
    with pytest.raises(ValueError, match="none of 2 clips is usable; the last: speaker 's3'"):
        prepare_tracked(nobody, tmp_path / "e", num_processes=1, progress=False)


@pytest.mark.parametrize("wrong", [{"max_lip_error_mm": 0.0}, {"min_tracked_frames": 0}])
def test_impossible_limits_are_refused(wrong: dict[str, float]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        TrackedConfig(**wrong)  # type: ignore[arg-type]


def test_the_command_says_what_it_made(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"prepare tracked --prepared {corpus} --out {tmp_path} --processes 1"
    main([*words.split(), "--config.max-lip-error-mm", "2.5"])
    assert "5 clips fitted, lips within 0." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*words.split(), "--config.max-lip-error-mm", "1.5"])
    assert "give another folder" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_give_the_same(corpus: Path, fitted: Path, tmp_path: Path) -> None:
    prepare_tracked(corpus, tmp_path, num_processes=2, progress=False)
    one, other = (
        [row["vertices"] for row in load_prepared(folder, "train")] for folder in (fitted, tmp_path)
    )
    assert one == other
