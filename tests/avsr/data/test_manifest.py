"""Prepared corpora: rows, folders, atomicity, errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.data.manifest import (
    FLOAT16_REACH_MM,
    FaceTemplates,
    ManifestError,
    PreparedUtterance,
    decode_array,
    decode_row,
    decode_vertices,
    encode_array,
    encode_utterance,
    encode_vertices,
    is_prepared,
    load_face_templates,
    load_info,
    load_prepared,
    save_prepared,
)
from avsr.files import read_jsonl
from avsr.schema import PhoneTime, WordTime

FACES = FaceTemplates(
    "toy",
    np.array([[0, 1, 2]], np.int32),
    {"lips": np.array([1, 2], np.int32)},
    {"s1": np.eye(3, dtype=np.float32)},
)


def utterance(utterance_id: str = "s1/a", frames: int = 3) -> PreparedUtterance:
    generator = np.random.default_rng(frames)
    return PreparedUtterance(
        utterance_id=utterance_id,
        speaker_id="s1",
        text="bin blue",
        audio=generator.uniform(-1, 1, 640 * frames).astype(np.float32),
        mouth_crops=generator.integers(0, 256, (frames, 96, 96)).astype(np.uint8),
        lips=generator.normal(size=(frames, 40, 3)).astype(np.float32),
        vertices=generator.normal(size=(frames, 5, 3)).astype(np.float32),
        video_valid=np.arange(frames) > 0,
        words=(WordTime("bin", 0.0, 0.04), WordTime("blue", 0.04, 0.1)),
        phones=(PhoneTime("ɪ", 0.0, 0.02),),
        num_frames=frames,
        num_samples=640 * frames,
        source="s1/video/a.mp4",
        head_pose=generator.normal(size=(frames, 6)).astype(np.float32),
    )


def save(out: Path, **splits: list[PreparedUtterance]) -> Path:
    rows = {s: [encode_utterance(u) for u in splits.get(s, [])] for s in ("train", "valid", "test")}
    skipped = [{"utterance_id": "s1/x", "path": "x.mp4", "reason": "no face"}]
    return save_prepared(out, rows, FACES, {"name": "toy", "counts": {"own": 0}}, skipped)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool", "int64"])
def test_array_bytes_round_trip(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    back = decode_array(encode_array(array[:, ::2]))
    assert back.dtype == array.dtype and back.flags.writeable
    np.testing.assert_array_equal(back, array[:, ::2])


def test_decode_array_refuses_other_bytes() -> None:
    with pytest.raises(ManifestError, match="3 bytes are not a .npy array"):
        decode_array(b"abc")


def test_corpus_round_trip(tmp_path: Path) -> None:
    first, second = utterance("s1/a"), utterance("s1/b", 4)
    out = save(tmp_path / "toy", train=[first, second])
    rows = load_prepared(out, "train")
    for row, wanted in zip(rows, (first, second), strict=True):
        found = decode_row(row)
        for name, value in vars(wanted).items():
            if name == "vertices":
                assert np.abs(found.vertices - value).max() <= 0.01
            else:
                np.testing.assert_array_equal(getattr(found, name), value)
            assert not isinstance(value, np.ndarray) or getattr(found, name).dtype == value.dtype
    assert len(load_prepared(out, "valid")) == 0
    counts = load_info(out)["counts"]
    assert counts["utterances"]["train"] == {"utterances": 2, "frames": 7, "valid_frames": 5}
    assert counts["own"] == 0 and counts["skipped"] == 1
    assert [row["reason"] for row in read_jsonl(out / "skipped.jsonl")] == ["no face"]


@pytest.mark.parametrize("reach_mm", [0.0, 1.0, 31.9])
def test_vertices_take_half_the_room_and_come_back_to_a_hundredth_of_a_mm(reach_mm: float) -> None:
    rng = np.random.default_rng(0)
    face = rng.normal(0, 60, (478, 3)).astype(np.float32)
    moved = rng.uniform(-reach_mm, reach_mm, (100, 478, 3))
    vertices = (face + moved - moved.mean(axis=0)).astype(np.float32)
    data = encode_vertices(vertices)
    found = decode_vertices(data)
    assert found.dtype == np.float32 and found.shape == vertices.shape and found.flags.writeable
    assert np.abs(found - vertices).max() <= 0.01
    away = np.abs(vertices - vertices.mean(0)).max()
    assert (len(data) < 0.53 * vertices.nbytes) == bool(away < FLOAT16_REACH_MM)


def test_motion_that_goes_far_and_folders_of_before_are_read_exactly() -> None:
    far = np.zeros((4, 5, 3), np.float32)
    far[0] = 50.0  # 37.5 mm from the mean
    for vertices in (far, np.zeros((0, 5, 3), np.float32)):
        np.testing.assert_array_equal(decode_vertices(encode_vertices(vertices)), vertices)
    np.testing.assert_array_equal(decode_vertices(encode_array(far)), far)


def test_broken_vertices_are_refused() -> None:
    good = encode_vertices(np.ones((4, 5, 3), np.float32))
    mean = encode_array(np.zeros((5, 3), np.float32))
    for data in (b"", good[:-1], mean, mean + encode_array(np.zeros((4, 6, 3), np.float16))):
        with pytest.raises(ManifestError, match="prepare the corpus again"):
            decode_vertices(data)


def test_face_templates_round_trip(tmp_path: Path) -> None:
    faces = load_face_templates(save(tmp_path / "toy", train=[utterance()]))
    assert faces.topology == "toy"
    assert faces.triangles.dtype == np.int32 and faces.regions["lips"].dtype == np.int32
    np.testing.assert_array_equal(faces.templates["s1"], FACES.templates["s1"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": np.zeros(1919, np.float32)}, r"audio is float32 \(1919,\), expected"),
        ({"audio": np.zeros(1920, np.float64)}, "audio is float64"),
        ({"audio": np.full(1920, np.nan, np.float32)}, "audio has NaN"),
        ({"lips": np.zeros((3, 39, 3), np.float32)}, "lips is"),
        ({"video_valid": np.ones(2, bool)}, "video_valid is"),
        ({"num_samples": 1}, "num_samples is 1"),
    ],
)
def test_bad_utterances_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match="utterance s1/a: " + message):
        encode_utterance(replace(utterance(), **change))


def test_an_id_in_two_splits_is_refused_and_nothing_is_finished(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="s1/a is in train and again in test"):
        save(tmp_path / "toy", train=[utterance()], test=[utterance()])
    assert not is_prepared(tmp_path / "toy")
    assert list((tmp_path / "toy").iterdir()) == []


def test_finished_folder_is_not_overwritten(tmp_path: Path) -> None:
    out = save(tmp_path / "toy", train=[utterance()])
    with pytest.raises(ManifestError, match="finished prepared corpus already"):
        save(out, train=[utterance()])


def test_killed_run_is_not_read_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("avsr.data.manifest.write_json", stop)
        save(tmp_path / "toy", train=[utterance()])
    with pytest.raises(ManifestError, match="not a finished prepared corpus"):
        load_prepared(tmp_path / "toy", "train")
    save(tmp_path / "toy", train=[utterance()])
    assert len(load_prepared(tmp_path / "toy", "train")) == 1


def test_rows_are_taken_one_by_one(tmp_path: Path) -> None:
    taken: list[str] = []

    def rows() -> Iterator[dict[str, Any]]:
        for name in "ab":
            taken.append(name)
            yield encode_utterance(utterance(f"s1/{name}"))

    save_prepared(tmp_path / "toy", {"train": rows(), "valid": [], "test": []}, FACES, {})
    assert taken == ["a", "b"]


def test_unknown_split_and_missing_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="'dev' is not one of train, valid, test"):
        load_prepared(tmp_path, "dev")
    with pytest.raises(ManifestError, match="expected train, valid, test"):
        save_prepared(tmp_path / "toy", {"train": []}, FACES, {})
    with pytest.raises(ManifestError, match="face_templates.npz: no such file"):
        load_face_templates(tmp_path)
    with pytest.raises(ManifestError, match="run its 'prepare' command"):
        load_info(tmp_path)


def test_rows_without_a_head_pose_have_none(tmp_path: Path) -> None:
    """Rows of a folder from before head poses were kept are copied and read."""
    row = encode_utterance(utterance())
    del row["head_pose"]
    assert decode_row(row).head_pose.shape == (0, 6)
    out = save_prepared(tmp_path / "c", {"train": [row], "valid": [], "test": []}, FACES, {})
    assert decode_row(load_prepared(out, "train")[0]).head_pose.shape == (0, 6)
