"""Faces that are measured: the student's, the truth, and every control.

Axis letters: T frames, R animated vertices, M measured vertices, S samples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.data.manifest import decode_array, decode_vertices, load_prepared
from learn2talk.data.motion import load_templates
from learn2talk.data.motion_clip import MotionClip
from learn2talk.files import TrainedStudent
from learn2talk.metrics import lip_gap_mm, unique_ids
from learn2talk.schema import FaceTemplate

UPPER_REGION = "upper_face"
CLOSED_SHARE = 0.25  # closed: gap below min + this share of the spread of the real gap
Number = TypeVar("Number", bound=np.generic)
SHIFTS = (-6, -3, -1, 1, 3, 6)  # frames

Faces = dict[str, Callable[[int], NDArray[np.float32]]]
"""Kind of face to its displacement (T, M, 3), mm, of the clip with a given index."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Vertices that are measured, and where the regions lie among them."""

    ids: NDArray[np.int32]  # (M,) ascending: animated ones and the upper face
    animated: NDArray[np.int64]  # positions in ids
    lips: NDArray[np.int64]  # (40,) in the canonical order
    upper: NDArray[np.int64]  # empty where the topology names no upper face


def measured_vertices(template: FaceTemplate, animated_ids: NDArray[np.int32]) -> Measured:
    """What is measured of a topology: the animated vertices and its upper face."""
    upper = unique_ids(template.regions.get(UPPER_REGION, np.zeros(0, np.int32)))
    ids = unique_ids(np.concatenate([animated_ids, upper]))
    return Measured(
        ids=ids,
        animated=np.searchsorted(ids, animated_ids),
        lips=np.searchsorted(ids, template.lip_ids),
        upper=np.searchsorted(ids, upper),
    )


@dataclass(frozen=True, eq=False)
class Truth:
    """What really happened in a clip."""

    displacement: NDArray[np.float32]  # (T, M, 3) mm
    waveform: NDArray[np.float32]  # (S,)


def load_truth(prepared: Path, split: str, ids: NDArray[np.int32]) -> dict[str, Truth]:
    """Motion of the vertices `ids` and the sound of each utterance of a split."""
    templates = load_templates(prepared)
    columns = ["utterance_id", "speaker_id", "audio", "vertices"]
    return {
        row["utterance_id"]: Truth(_displacement(row, templates, ids), _waveform(row))
        for row in load_prepared(prepared, split).select_columns(columns)
    }


def _displacement(
    row: dict[str, Any], templates: dict[str, FaceTemplate], ids: NDArray[np.int32]
) -> NDArray[np.float32]:
    neutral = templates[row["speaker_id"]].vertices[ids]
    moved: NDArray[np.float32] = (decode_vertices(row["vertices"])[:, ids] - neutral).astype(
        np.float32
    )
    return moved


def _waveform(row: dict[str, Any]) -> NDArray[np.float32]:
    waveform: NDArray[np.float32] = decode_array(row["audio"]).astype(np.float32)
    return waveform


def mean_displacement(prepared: Path, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """Mean displacement of vertices over the tracked frames of the training split, (M, 3), mm."""
    templates = load_templates(prepared)
    total, count = np.zeros((len(ids), 3)), 0
    columns = ["speaker_id", "vertices", "video_valid"]
    for row in load_prepared(prepared, "train").select_columns(columns):
        tracked = decode_array(row["video_valid"]).astype(bool)
        total += _displacement(row, templates, ids)[tracked].sum(axis=0, dtype=np.float64)
        count += int(tracked.sum())
    if not count:
        raise ValueError(
            f"{prepared}: no training frame is tracked, so there is no mean face; prepare the "
            "corpus again"
        )
    mean: NDArray[np.float32] = (total / count).astype(np.float32)
    return mean


def fitted(frames: NDArray[Number], length: int) -> NDArray[Number]:
    """The first `length` frames; a shorter motion stands still at its last frame."""
    index = np.minimum(np.arange(length), len(frames) - 1)
    return frames[index]


def shifted_in_time(frames: NDArray[Number], shift: int) -> NDArray[Number]:
    """The motion late by `shift` frames (early where negative), standing still at the edge."""
    index = np.clip(np.arange(len(frames)) - shift, 0, len(frames) - 1)
    return frames[index]


@torch.no_grad()
def generated(trained: TrainedStudent, clip: MotionClip, measured: Measured) -> NDArray[np.float32]:
    """The student's motion of a clip, (T, M, 3), mm; vertices that it does not move are still."""
    heard = clip.student_features(trained.model.config.num_mels)
    pieces = trained.model.forward_windows(torch.from_numpy(heard))
    made = np.concatenate([piece.numpy() for piece in pieces])
    frames = np.zeros((len(made), len(measured.ids), 3), dtype=np.float32)
    frames[:, measured.animated] = made
    return frames


def make_faces(
    trained: TrainedStudent,
    clips: Sequence[MotionClip],
    truth: Sequence[Truth],
    measured: Measured,
    mean: NDArray[np.float32],
) -> Faces:
    """The student, the truth and each control, made when a clip is asked for."""
    made = functools.cache(lambda index: generated(trained, clips[index], measured))

    def real(index: int) -> NDArray[np.float32]:
        return truth[index].displacement

    def other(index: int) -> int:
        # The next utterance of the split, the last one takes the first: fixed, and never itself.
        return (index + 1) % len(clips)

    def length(index: int) -> int:
        return clips[index].num_frames

    faces: Faces = {
        "truth": real,
        "student": made,
        "mean_face": lambda index: np.repeat(mean[None], length(index), axis=0),
        "still_face": lambda index: np.zeros_like(real(index)),
        "other_utterance": lambda index: fitted(real(other(index)), length(index)),
        "student_of_other": lambda index: fitted(made(other(index)), length(index)),
    }
    for shift in SHIFTS:
        faces[f"truth_shifted_{shift:+d}"] = functools.partial(_late, real, shift)
    return faces


def _late(
    real: Callable[[int], NDArray[np.float32]], shift: int, index: int
) -> NDArray[np.float32]:
    return shifted_in_time(real(index), shift)


def closed_thresholds(clips: Sequence[MotionClip]) -> dict[str, float]:
    """Lip gap below which each speaker's mouth counts as closed, mm, from the real motion.

    The 2nd percentile plus a quarter of the way to the 98th: tracked lips never touch exactly.
    """
    gaps: dict[str, list[NDArray]] = {}
    for clip in clips:
        gaps.setdefault(clip.speaker_id, []).append(lip_gap_mm(clip.lips)[clip.tracked])
    thresholds = {}
    for speaker, parts in gaps.items():
        low, high = np.quantile(np.concatenate(parts), [0.02, 0.98])
        thresholds[speaker] = float(low + CLOSED_SHARE * (high - low))
    return thresholds
