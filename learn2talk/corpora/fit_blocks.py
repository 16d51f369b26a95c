"""Blocks of rows of a prepared corpus, each fitted into an Arrow shard (`corpora.tracked`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsr.data.manifest import (
    decode_array,
    decode_vertices,
    encode_array,
    encode_vertices,
    load_face_templates,
    load_prepared,
    write_shard,
)
from avsr.files import write_atomically, write_json
from learn2talk.fitting.clip import FaceFit, fit_vertices
from learn2talk.fitting.face_model import FaceModel
from learn2talk.fitting.ict import read_ict
from learn2talk.fitting.identity import DEFAULT_FIT, FitConfig, PersonalFace, fit_identity
from learn2talk.fitting.procedural import head_model

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class TrackedConfig:
    """Which clips are kept, and how they are fitted."""

    max_lip_error_mm: float = 3.0
    """Clips whose lip points are farther from the fitted face, on average, are skipped."""
    min_tracked_frames: int = 10
    """Clips with fewer frames in which a face was found are skipped."""
    fit: FitConfig = DEFAULT_FIT
    """Noise and priors of the fit."""

    def __post_init__(self) -> None:
        if not self.max_lip_error_mm > 0:
            raise ValueError(f"max_lip_error_mm is {self.max_lip_error_mm}; give more than 0")
        if self.min_tracked_frames < 1:
            raise ValueError(f"min_tracked_frames is {self.min_tracked_frames}; give 1 or more")


@dataclass(frozen=True)
class Block:
    """Rows [first, last) of a split."""

    split: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.split}-{self.first:07d}"


@dataclass(frozen=True)
class FitJob:
    """What every process needs to know; ``ict`` None takes the procedural head."""

    prepared: Path
    folder: Path
    ict: Path | None
    config: TrackedConfig

    def shard(self, block: Block) -> Path:
        """Where the rows of a block go."""
        return self.folder / f"{block.name}.arrow"

    def facts(self, block: Block) -> Path:
        """What happened to them; written last, it marks a finished block."""
        return self.folder / f"{block.name}.json"


@lru_cache(maxsize=2)
def face_model(ict: Path | None) -> FaceModel:
    """ICT's face from its folder, or without one the procedural head."""
    return head_model() if ict is None else read_ict(ict)


@lru_cache(maxsize=8)
def split_rows(prepared: Path, split: str) -> datasets.Dataset:
    """The rows of a split, opened once a process."""
    return load_prepared(prepared, split)


@lru_cache(maxsize=8)
def _neutral_faces(prepared: Path) -> dict[str, np.ndarray]:
    return load_face_templates(prepared).templates


@lru_cache(maxsize=64)
def person(job: FitJob, speaker: str) -> PersonalFace:
    """The face of a speaker, from the neutral face that the corpus has.

    Raises ValueError where it has none, or one that is no face in millimetres.
    """
    neutral = _neutral_faces(job.prepared).get(speaker)
    if neutral is None:
        raise ValueError(f"speaker {speaker!r} has no neutral face; prepare the corpus again")
    try:
        return fit_identity(face_model(job.ict), neutral, job.config.fit)
    except ValueError as error:
        raise ValueError(f"speaker {speaker!r}: {error}") from error


def fit_row(row: dict[str, Any], job: FitJob) -> FaceFit:
    """The face model's motion for a row of the corpus.

    Raises ValueError with the reason for which the clip cannot be used.
    """
    tracked = decode_array(row["video_valid"]).astype(bool)
    found, wanted = int(tracked.sum()), job.config.min_tracked_frames
    if found < wanted:
        raise ValueError(
            f"a face in only {found} of {len(tracked)} frames, min_tracked_frames is {wanted}"
        )
    face = person(job, row["speaker_id"])
    vertices = decode_vertices(row["vertices"])
    return fit_vertices(face.model, vertices, tracked, face=face, config=job.config.fit)


def fit_block(block: Block, job: FitJob) -> None:
    """Fit the rows of a block: an Arrow shard of those that are kept, and what happened to all."""
    rows = split_rows(job.prepared, block.split)
    fitting: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []

    def kept() -> Iterator[dict[str, Any]]:
        for index in range(block.first, block.last):
            row = rows[index]
            name = row["utterance_id"]
            try:
                fit = fit_row(row, job)
                found = {"utterance_id": name, "split": block.split, **fit.errors.to_json()}
                limit, error = job.config.max_lip_error_mm, fit.errors.lips_mm
                fitting.append({**found, "kept": error <= limit})
                if error > limit:
                    raise ValueError(
                        f"the fitted lips are {error:.2f} mm away from the tracked ones, "
                        f"max_lip_error_mm is {limit}"
                    )
            except ValueError as error_found:
                skipped.append(
                    {"utterance_id": name, "path": row["source"], "reason": str(error_found)}
                )
                continue
            motion = fit.motion
            yield {
                **row,
                "vertices": encode_vertices(motion.vertices),
                "lips": encode_array(motion.lips),
            }

    with write_atomically(job.shard(block)) as temporary:
        counts = write_shard(temporary, kept())
    if not counts["utterances"]:
        job.shard(block).unlink()
    write_json(job.facts(block), {"counts": counts, "fitting": fitting, "skipped": skipped})
