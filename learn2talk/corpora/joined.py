"""Several prepared corpora of one topology as one: more voices and faces for a student.

    learn2talk prepare joined --parts runs/grid/head runs/synthetic --out runs/faces

Rows are copied as they are. Phones that a corpus does not know can be estimated from its words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from avsr.corpora.phone_times import estimated_phones
from avsr.data.manifest import (
    SPLITS,
    FaceTemplates,
    is_prepared,
    load_face_templates,
    load_info,
    load_prepared,
    save_prepared,
)
from avsr.files import sha256_file
from avsr.schema import WordTime
from avsr.text import normalise


def join_corpora(
    parts: Sequence[Path | str], out: Path | str, *, estimate_phones: bool = False
) -> Path:
    """Copy the rows of several prepared corpora into one.

    Args:
        parts: folders of prepared corpora of one topology, 1 or more.
        out: folder to write; a finished one that was made of the same is left as it is.
        estimate_phones: give phones to utterances that have word times and none
            (`avsr.corpora.phone_times`); without it they stay without.

    Returns:
        ``out``.

    Raises:
        ValueError: no part; topologies, triangles or regions differ; two corpora have a speaker of
            one name with different faces, or an utterance id comes twice; ``out`` holds something
            else.
    """
    folders, out = [Path(part) for part in parts], Path(out)
    if not folders:
        raise ValueError(f"{out}: nothing to join; give one prepared corpus or more")
    infos = [load_info(folder) for folder in folders]
    facts = {
        "parts": {folder.name: sha256_file(folder / "corpus.json") for folder in folders},
        "phones_estimated": estimate_phones,
    }
    if is_prepared(out):
        if load_info(out).get("joined") != facts:
            raise ValueError(f"{out}: is finished and was made of something else; give another")
        return out
    info = {
        "name": " and ".join(str(one["name"]) for one in infos),
        "synthetic": all(one.get("synthetic", False) for one in infos),
        "joined": facts,
    }
    faces = _joined_faces(folders)
    splits = {split: _rows(folders, split, estimate_phones) for split in SPLITS}
    return save_prepared(out, splits, faces, info)


def _joined_faces(folders: Sequence[Path]) -> FaceTemplates:
    """One mesh with the neutral faces of all speakers."""
    first = load_face_templates(folders[0])
    templates: dict[str, np.ndarray] = {}
    for folder in folders:
        faces = load_face_templates(folder)
        same = (
            faces.topology == first.topology
            and np.array_equal(faces.triangles, first.triangles)
            and faces.regions.keys() == first.regions.keys()
            and all(np.array_equal(ids, first.regions[n]) for n, ids in faces.regions.items())
        )
        if not same:
            raise ValueError(
                f"{folder}: has another mesh ({faces.topology!r}) than {folders[0]} "
                f"({first.topology!r}), or other regions; join corpora of one topology"
            )
        for speaker, template in faces.templates.items():
            if not np.array_equal(templates.get(speaker, template), template):
                raise ValueError(
                    f"{folder}: speaker {speaker!r} has another face than in a corpus before; "
                    "rename one of them"
                )
            templates[speaker] = template
    return FaceTemplates(first.topology, first.triangles, dict(first.regions), templates)


def _rows(folders: Sequence[Path], split: str, estimate_phones: bool) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for row in load_prepared(folder, split):
            if estimate_phones and row["phones"] == "[]":
                row = {**row, "phones": _estimated(row)}
            yield row


def _estimated(row: dict[str, Any]) -> str:
    words = [WordTime(**word) for word in json.loads(row["words"])]
    spoken = [word for word in words if normalise(word.word)]
    try:
        phones = estimated_phones(spoken)
    except ValueError as error:
        raise ValueError(f"utterance {row['utterance_id']}: {error}") from error
    return json.dumps([asdict(phone) for phone in phones], ensure_ascii=False)
