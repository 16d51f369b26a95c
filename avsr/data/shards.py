"""A prepared corpus from shards that many processes wrote: nothing is copied, nothing is read."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from avsr.data.manifest import (
    SPLITS,
    FaceTemplates,
    ManifestError,
    empty_split,
    is_prepared,
    save_face_templates,
)
from avsr.files import read_json, write_json, write_jsonl


def finish_shards(
    out: Path | str,
    shards: Mapping[str, Sequence[Path]],
    face_templates: FaceTemplates,
    info: Mapping[str, Any],
    skipped: Iterable[dict[str, Any]] = (),
) -> Path:
    """Make a finished prepared corpus of Arrow shards; the counterpart of ``save_prepared``.

    Shards are renamed, not read. A shard that is in its place already is left there, so that a
    call that was killed can be repeated.

    Args:
        out: folder of the corpus.
        shards: for each split the files of `avsr.data.manifest.write_shard`, on the file system of
            ``out``, in the order of their rows.
        face_templates: mesh and neutral faces.
        info: facts for corpus.json, ``counts`` included.
        skipped: rows of skipped.jsonl.

    Raises:
        ManifestError: ``out`` is finished already, a split is unknown, or a shard is missing.
    """
    out = Path(out)
    if is_prepared(out):
        raise ManifestError(f"{out}: is a finished prepared corpus already; give another folder")
    if set(shards) != set(SPLITS):
        raise ManifestError(f"{out}: splits are {sorted(shards)}, expected {', '.join(SPLITS)}")
    for split, paths in shards.items():
        _place_split(out / split, paths)
    write_json(out / "dataset_dict.json", {"splits": list(SPLITS)})
    count = write_jsonl(out / "skipped.jsonl", skipped)
    save_face_templates(out / "face_templates.npz", face_templates)
    counts = {**info.get("counts", {}), "skipped": count}
    write_json(out / "corpus.json", {**info, "counts": counts})
    return out


def _save_empty(folder: Path) -> None:
    """An empty split, without the library's progress bar about 0 examples."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    silent = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        empty_split().save_to_disk(str(folder), num_shards=1)
    finally:
        if not silent:
            enable_progress_bars()


def _place_split(folder: Path, paths: Sequence[Path]) -> None:
    """The files of ``Dataset.save_to_disk`` around shards that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{path.name}" for path in paths]
    for path, name in zip(paths, names, strict=True):
        if path.is_file():
            os.replace(path, folder / name)
        elif not (folder / name).is_file():
            raise ManifestError(f"{path}: a shard is missing; delete {folder.parent} and prepare")
    scratch = folder / f".empty-{uuid.uuid4().hex[:8]}"
    try:
        _save_empty(scratch)
        state = read_json(scratch / "state.json")
        if names:
            state["_data_files"] = [{"filename": name} for name in names]
        else:
            names = [entry["filename"] for entry in state["_data_files"]]
            os.replace(scratch / names[0], folder / names[0])
        # The fingerprint names caches: two corpora must not share one.
        state["_fingerprint"] = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(names)).hex[:16]
        write_json(folder / "dataset_info.json", read_json(scratch / "dataset_info.json"))
        write_json(folder / "state.json", state)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for other in folder.glob("*.arrow"):  # of an earlier call with other films
        if other.name not in names:
            other.unlink()
