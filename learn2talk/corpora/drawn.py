"""A prepared corpus with its mouths drawn from its motion: what a lip reader of drawn faces learns.

Beside the real film of an utterance comes the mouth of its tracked (or synthetic) face, drawn on
one neutral face for all, as generated faces are drawn where they are read or compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from avsr.data.manifest import (
    SPLITS,
    decode_vertices,
    encode_array,
    is_prepared,
    load_face_templates,
    load_info,
    load_prepared,
    save_prepared,
)
from avsr.files import sha256_file
from learn2talk.data.motion import animated_ids, load_templates, mean_template
from learn2talk.drawing import render_mouth_crops
from learn2talk.schema import FaceTemplate

SUFFIX = "@drawn"  # of the ids of utterances whose mouth is drawn


def draw_mouths(
    prepared: Path | str,
    out: Path | str,
    *,
    template: FaceTemplate | None = None,
    with_films: bool = True,
) -> Path:
    """Write a corpus whose utterances come with drawn mouths.

    Args:
        prepared: prepared corpus with motion.
        out: folder to write; a finished one that was made of the same is left as it is.
        template: neutral face that is moved for everybody, of the corpus's topology; None takes
            the mean of its training speakers.
        with_films: keep the utterances with their films too; the drawn ones end in "@drawn".

    Returns:
        ``out``.

    Raises:
        ValueError: the template has another topology, or ``out`` holds something else.
    """
    prepared, out = Path(prepared), Path(out)
    info = load_info(prepared)
    templates = load_templates(prepared)
    face = template or mean_template([templates[name] for name in _training_speakers(prepared)])
    topology = load_face_templates(prepared).topology
    if face.topology != topology:
        raise ValueError(
            f"{prepared}: is of topology {topology!r}, the template of {face.topology!r}; give one "
            "of the corpus's"
        )
    facts = {
        "source_sha256": sha256_file(prepared / "corpus.json"),
        "template_sha256": hashlib.sha256(face.vertices.tobytes()).hexdigest(),
        "with_films": with_films,
    }
    if is_prepared(out):
        if load_info(out).get("drawn") != facts:
            raise ValueError(f"{out}: is finished and was made of something else; give another")
        return out
    info = {**info, "drawn": facts}
    info.pop("counts", None)
    splits = {split: _rows(prepared, split, templates, face, with_films) for split in SPLITS}
    return save_prepared(out, splits, load_face_templates(prepared), info)


def _training_speakers(prepared: Path) -> list[str]:
    return sorted(set(load_prepared(prepared, "train")["speaker_id"]))


def _rows(
    prepared: Path,
    split: str,
    templates: dict[str, FaceTemplate],
    face: FaceTemplate,
    with_films: bool,
) -> Iterator[dict[str, Any]]:
    ids = animated_ids(face)
    for row in load_prepared(prepared, split):
        if with_films:
            yield row
        moved = (
            decode_vertices(row["vertices"])[:, ids] - templates[row["speaker_id"]].vertices[ids]
        )
        yield {
            **row,
            "utterance_id": row["utterance_id"] + SUFFIX,
            "mouth_crops": encode_array(drawn_mouths(face, ids, moved)),
        }


def drawn_mouths(face: FaceTemplate, ids: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Grey mouth crops uint8 (T, 96, 96) of a face whose vertices ``ids`` (R,) are moved.

    Args:
        face: at rest.
        moved: float (T, R, 3), mm, displacement.
    """
    vertices = np.repeat(face.vertices[None], len(moved), axis=0)
    vertices[:, ids] += moved
    return render_mouth_crops(vertices, face)
