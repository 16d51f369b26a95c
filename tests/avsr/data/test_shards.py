"""A prepared corpus of shards: the same as one written at once; killed calls can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.data.manifest import (
    FaceTemplates,
    ManifestError,
    load_info,
    load_prepared,
    save_prepared,
    write_shard,
)
from avsr.data.shards import finish_shards

FACES = FaceTemplates("tests", np.zeros((1, 3), np.int32), {}, {"s0": np.zeros((4, 3), np.float32)})
MakeRow = Callable[..., dict[str, Any]]


def shards(folder: Path, make_row: MakeRow) -> dict[str, list[Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in ("a", "b"):
        path = folder / f"{name}-train.arrow"
        counts = write_shard(path, (make_row(f"{name}/{k}", 20 + k, seed=k) for k in range(3)))
        assert counts == {"utterances": 3, "frames": 63, "valid_frames": 60}
        paths.append(path)
    return {"train": paths, "valid": [], "test": []}


def test_shards_read_as_a_corpus_written_at_once(tmp_path: Path, make_row: MakeRow) -> None:
    finish_shards(tmp_path / "out", shards(tmp_path / "parts", make_row), FACES, {"name": "x"})
    rows = [make_row(f"{name}/{k}", 20 + k, seed=k) for name in "ab" for k in range(3)]
    save_prepared(tmp_path / "once", {"train": rows, "valid": [], "test": []}, FACES, {"name": "x"})
    for split in ("train", "valid", "test"):
        found, wanted = (
            load_prepared(tmp_path / "out", split),
            load_prepared(tmp_path / "once", split),
        )
        assert list(found) == list(wanted) and found.features == wanted.features
    assert load_info(tmp_path / "out")["counts"]["skipped"] == 0
    assert list((tmp_path / "parts").iterdir()) == []  # moved, not copied


def test_a_call_that_was_killed_can_be_repeated(
    tmp_path: Path, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, listed = tmp_path / "out", shards(tmp_path / "parts", make_row)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("avsr.data.shards.write_jsonl", _killed)
        finish_shards(out, listed, FACES, {"name": "x"})
    (out / "train/data-of-an-earlier-try.arrow").write_bytes(b"old")
    finish_shards(out, listed, FACES, {"name": "x"})
    assert len(load_prepared(out, "train")) == 6
    assert not (out / "train/data-of-an-earlier-try.arrow").exists()
    with pytest.raises(ManifestError, match="finished prepared corpus already"):
        finish_shards(out, listed, FACES, {"name": "x"})


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_missing_shards_and_splits_are_named(tmp_path: Path, make_row: MakeRow) -> None:
    listed = shards(tmp_path / "parts", make_row)
    listed["train"][0].unlink()
    with pytest.raises(ManifestError, match="a-train.arrow: a shard is missing"):
        finish_shards(tmp_path / "out", listed, FACES, {})
    with pytest.raises(ManifestError, match="splits are"):
        finish_shards(tmp_path / "out", {"train": []}, FACES, {})
