"""A corpus seen by a sync expert: known offsets are found, wrong clips moved or taken out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.data.manifest import (
    SPLITS,
    decode_row,
    encode_utterance,
    load_face_templates,
    load_info,
    load_prepared,
    save_prepared,
)
from avsr.files import read_json, read_jsonl
from learn2talk import cli, sync_checks
from learn2talk.sync_checks import (
    ClipSync,
    Embedded,
    SyncCheckConfig,
    calibration_curve,
    check_corpus,
    clip_sync,
    correct_corpus,
    late_lips,
    problem_of,
    with_late_sound,
)

from .conftest import tiny_utterance


def units(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def true_pair(name: str, windows: int = 60, seed: int = 0, noise: float = 0.1) -> Embedded:
    rng = np.random.default_rng(seed)
    audio = units(rng.normal(size=(windows, 8)))
    motion = units(audio + noise * rng.normal(size=(windows, 8)))
    return Embedded(name, audio, motion, np.ones(windows, bool))


@pytest.mark.parametrize("known", [-10, -1, 0, 3, 12])
def test_sound_that_is_late_is_found_late(known: int) -> None:
    late = with_late_sound(true_pair("a"), known)
    assert len(late.audio) == len(late.motion) == len(late.mask) == 60 - abs(known)
    score = clip_sync(late, 15).score
    assert score is not None and score.offset_frames == known
    assert score.offset_ms == 40.0 * known


def test_a_clip_without_a_searchable_window_has_no_score() -> None:
    assert clip_sync(true_pair("a", windows=20), 15).score is None
    dark = true_pair("a")
    assert clip_sync(replace(dark, mask=np.zeros(60, bool)), 15).score is None
    with pytest.raises(ValueError, match="clip a has 20 windows; no shift of 20"):
        with_late_sound(true_pair("a", windows=20), 20)


def test_lips_are_moved_and_sound_stays() -> None:
    utterance = tiny_utterance("u", "s0", 3)
    later = late_lips(utterance, 4)
    assert np.array_equal(later.lips[4:], utterance.lips[:-4])
    assert np.array_equal(later.vertices[4:], utterance.vertices[:-4])
    assert not later.video_valid[:6].any() and later.video_valid[6:].all()  # 2 were not valid
    assert np.array_equal(later.audio, utterance.audio) and later.words == utterance.words
    earlier = late_lips(utterance, -3)
    assert np.array_equal(earlier.lips[:-3], utterance.lips[3:])
    assert earlier.video_valid[:-3][1:].all() and not earlier.video_valid[-3:].any()
    assert late_lips(utterance, 0) is utterance


def loudness_expert(model: Any, prepared: Path, split: str) -> list[Embedded]:
    """A stand-in for a trained expert: sound by its level, lips by how far they are open."""
    found = []
    for row in load_prepared(prepared, split):
        one = decode_row(row)
        level = np.sqrt(np.square(one.audio.reshape(-1, 640)).mean(1)) ** 0.5
        opening = one.lips[:, 35, 1] - one.lips[:, 25, 1]
        pair = []
        for values in (level, opening):
            normal = (values - values.mean()) / values.std()
            windows = np.lib.stride_tricks.sliding_window_view(normal, 5)
            pair.append(units(np.concatenate([windows, np.full((len(windows), 1), 0.3)], axis=1)))
        mask = np.lib.stride_tricks.sliding_window_view(one.video_valid, 5).all(1)
        found.append(Embedded(one.utterance_id, pair[0], pair[1], mask))
    return found


@pytest.fixture
def faulty(tmp_path: Path, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clips of 90 frames: some in time, train1 with lips 4 frames early, train2 with other lips."""
    monkeypatch.setattr(sync_checks, "load_sync_expert", lambda *_: (None, {"weights_sha256": "1"}))
    monkeypatch.setattr(sync_checks, "embedded_clips", loudness_expert)
    splits: dict[str, list[Any]] = {}
    for offset, (split, count) in enumerate({"train": 4, "valid": 1, "test": 2}.items()):
        clips = [tiny_utterance(f"{split}{i}", "s0", 9 * offset + i, 90) for i in range(count)]
        splits[split] = clips
    train = splits["train"]
    train[1] = late_lips(train[1], -4)
    foreign = tiny_utterance("x", "s0", 99, 90)
    train[2] = replace(train[2], lips=foreign.lips[::-1].copy(), vertices=foreign.vertices[::-1])
    train[2] = replace(train[2], vertices=np.ascontiguousarray(train[2].vertices))
    train[3] = tiny_utterance("train3", "s0", 77, 30)  # too short to be searched
    faces = load_face_templates(tiny_corpus)
    rows = {split: [encode_utterance(one) for one in clips] for split, clips in splits.items()}
    skipped = [{"utterance_id": "lost", "path": "p", "reason": "no face"}]
    return save_prepared(tmp_path / "faulty", rows, faces, {"name": "tests"}, skipped)


CONFIG = SyncCheckConfig(min_confidence=0.3)


def test_early_lips_are_moved_back_and_foreign_ones_taken_out(faulty: Path, tmp_path: Path) -> None:
    counts = correct_corpus(faulty, tmp_path / "out", tmp_path / "expert", CONFIG)
    assert counts["train"] == {"clips": 4, "moved": 1, "taken_out": 1, "not_searched": 1}
    kept = {
        row["utterance_id"]: decode_row(row) for row in load_prepared(tmp_path / "out", "train")
    }
    assert set(kept) == {"train0", "train1", "train3"}
    intact = tiny_utterance("train1", "s0", 1, 90)
    assert np.allclose(kept["train1"].lips[4:-4], intact.lips[4:-4], atol=0.02)
    assert not kept["train1"].video_valid[:4].any()
    rows = {r["utterance_id"]: r["reason"] for r in read_jsonl(tmp_path / "out/skipped.jsonl")}
    assert set(rows) == {"lost", "train2"} and "no clear offset" in rows["train2"]
    info = load_info(tmp_path / "out")
    assert info["sync"]["clips"]["train"]["moved"] == 1 and info["counts"]["skipped"] == 2
    # Corrected once, nothing is left to move.
    again = check_corpus(tmp_path / "out", tmp_path / "expert", CONFIG)
    assert [s.score.offset_frames for s in again["train"] if s.score] == [0, 0]


def test_without_correction_clips_are_only_taken_out(faulty: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, correct=False, max_offset_frames=2)
    counts = correct_corpus(faulty, tmp_path / "out", tmp_path / "expert", config)
    assert counts["train"]["moved"] == 0 and counts["train"]["taken_out"] == 2
    [reason] = [
        row["reason"]
        for row in read_jsonl(tmp_path / "out/skipped.jsonl")
        if row["utterance_id"] == "train1"
    ]
    # The lips are early, so the sound is late.
    assert reason.startswith("sound and lips are +4 frames apart, more than max_offset_frames 2")


def test_a_split_is_never_emptied(faulty: Path, tmp_path: Path) -> None:
    config = SyncCheckConfig(min_confidence=2.0)
    with pytest.raises(ValueError, match=r"all 1 clips of split 'valid' would be taken out"):
        correct_corpus(faulty, tmp_path / "out", tmp_path / "expert", config)
    assert not (tmp_path / "out").exists()


def test_the_curve_finds_known_offsets(faulty: Path, tmp_path: Path) -> None:
    curve = calibration_curve(tmp_path / "expert", faulty, max_shift=8)
    assert [row["known_frames"] for row in curve["offsets"]] == list(range(-8, 9))
    assert all(row["median_frames"] == row["known_frames"] for row in curve["offsets"])
    assert all(row["share_exact"] == 1.0 and row["clips"] == 2 for row in curve["offsets"])
    distances = {row["shift_frames"]: row for row in curve["distances"]}
    assert min(distances, key=lambda shift: distances[shift]["mean"]) == 0
    assert distances[0]["low"] <= distances[0]["mean"] <= distances[0]["high"]
    with pytest.raises(ValueError, match=r"no clip of split 'test' is long enough .* \+-60"):
        calibration_curve(tmp_path / "expert", faulty, max_shift=60)


def test_impossible_limits_are_refused() -> None:
    for change, message in (
        ({"max_offset_frames": 16}, "between 0 and max_shift 15"),
        ({"max_offset_frames": -1}, "max_offset_frames -1"),
        ({"max_shift": 0, "max_offset_frames": 0}, "max_shift 0 must be at least 1"),
        ({"min_confidence": float("nan")}, "min_confidence nan"),
    ):
        with pytest.raises(ValueError, match=message):
            SyncCheckConfig(**change)
    assert problem_of(ClipSync("a", None), CONFIG) is None


def test_the_command_writes_what_is_asked(
    faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check-sync", str(faulty), "--expert", str(tmp_path / "expert")]
    words += ["--config.min-confidence", "0.3", "--config.max-shift", "8"]
    words += ["--config.max-offset-frames", "8", "--clips", str(tmp_path / "clips.jsonl")]
    cli.main([*words, "--curve", str(tmp_path / "curve.json"), "--out", str(tmp_path / "out")])
    clips = {row["utterance_id"]: row for row in read_jsonl(tmp_path / "clips.jsonl")}
    assert len(clips) == 7 and clips["train1"]["offset_ms"] == 160.0
    assert clips["train0"]["offset_frames"] == 0 and clips["train0"]["split"] == "train"
    assert len(read_json(tmp_path / "curve.json")["offsets"]) == 17
    assert set(SPLITS) <= {path.name for path in (tmp_path / "out").iterdir()}
    assert '"taken_out": 1' in capsys.readouterr().out
    shutil.rmtree(tmp_path / "out")
    cli.main(words)
    assert not (tmp_path / "out").exists()
