"""Figures of a sync expert and of a student on a split that neither was trained on.

Every figure of a student stands beside controls: the mean face, the still face, other utterances'
motion, and the truth shifted in time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.metrics import roc_auc
from avsr.training.run_folder import provenance
from learn2talk.data.motion import MotionClip, MotionClips
from learn2talk.files import TrainedStudent, load_student, load_sync_expert
from learn2talk.metrics import (
    ClosureCounts,
    ShiftedWindows,
    SyncScore,
    count_closures,
    lip_correlation,
    lip_gap_mm,
    lip_vertex_errors,
    mean_vertex_errors_mm,
    pooled_mean,
    shifted_windows,
    sync_score,
)
from learn2talk.models.sync_expert import Role, SyncNet3D
from learn2talk.schema import FaceTemplate

FPS = 25.0
MAX_SHIFT = 15  # frames, of the offset search
POOLED_WINDOWS = (1, 6, 11, 21)  # windows averaged: 0.2, 0.4, 0.6 and 1.0 s of speech for W = 5
CLOSED_SHARE = 0.25  # closed: gap below min + this share of the spread of the real gap


def evaluate_sync_expert(
    expert: Path, prepared: Path, *, role: Role = "judge", split: str = "test"
) -> dict[str, Any]:
    """How well a sync expert tells true from shifted windows, and which offset it finds.

    AUC of cosines, true against shifted by 3 to 15 frames either way, pooled over all windows of
    the split: (a) all windows, (b) windows inside speech (between the first word's start and the
    last one's end), (c) whole clips; and, named as such, means over longer stretches.

    Args:
        expert: folder of a trained sync expert.
        prepared: prepared corpus.
        role: the role that it was trained for.
        split: which clips.

    Returns:
        JSON-ready figures.

    Raises:
        ValueError: the expert has another role; no clip has a complete window.
    """
    model, info = load_sync_expert(expert, role)
    clips = MotionClips(
        prepared,
        split,
        num_mels=model.config.num_mels,
        window_frames=model.config.window_frames,
    )
    embedded = [embed(model, clip, clip.lips) for clip in clips.clips]
    lengths = {}
    for pool in POOLED_WINDOWS:
        seconds = (pool + model.config.window_frames - 1) / FPS
        lengths[f"{seconds:.2f}_s"] = _window_auc(model, clips.clips, embedded, pool)
    scores = [score for e in embedded if (score := _score(e)) is not None]
    return {
        "split": split,
        "clips": len(clips),
        "excluded": [list(pair) for pair in clips.excluded],
        "expert": {"folder": expert.name, "role": role, "sha256": info["weights_sha256"]},
        "auc_by_length_of_speech": lengths,
        "auc_clips": _clip_auc(embedded),
        "clips_scored_for_offset": len(scores),
        "offset": _offset_figures(scores),
        **provenance(),
    }


@dataclass(frozen=True, eq=False)
class _Embedded:
    audio: NDArray[np.float32]  # (N, E)
    motion: NDArray[np.float32]  # (N, E)
    mask: NDArray[np.bool_]  # (N,)


@torch.no_grad()
def embed(model: SyncNet3D, clip: MotionClip, lips: NDArray[np.float32]) -> _Embedded:
    """Embeddings of a clip's sound and of some lips (T, 40, 3), mm, that claim to belong to it."""
    neutral = torch.from_numpy(clip.neutral_lips)[None]
    out = model(
        torch.from_numpy(clip.features)[None],
        torch.from_numpy(np.ascontiguousarray(lips, dtype=np.float32))[None],
        neutral,
    )
    mask = model.window_mask(torch.from_numpy(clip.tracked)[None])[0]
    return _Embedded(out.audio[0].numpy(), out.motion[0].numpy(), mask.numpy())


def _score(embedded: _Embedded) -> SyncScore | None:
    """Synchrony of a clip, or None where it is too short or too little of it is tracked."""
    inner = embedded.mask[MAX_SHIFT : len(embedded.mask) - MAX_SHIFT]
    if not inner.any():
        return None
    return sync_score(embedded.audio, embedded.motion, embedded.mask, max_shift=MAX_SHIFT, fps=FPS)


def _speech_span(clip: MotionClip) -> tuple[float, float]:
    """Start of the first and end of the last word, seconds; an empty span without words."""
    times = clip.words or clip.phones
    return (times[0][1], times[-1][2]) if times else (0.0, 0.0)


def _window_auc(
    model: SyncNet3D, clips: Sequence[MotionClip], embedded: Sequence[_Embedded], pool: int
) -> dict[str, float | int | None]:
    parts: list[ShiftedWindows] = []
    in_speech: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = []
    for clip, one in zip(clips, embedded, strict=True):
        windows = shifted_windows(one.audio, one.motion, one.mask, pool_windows=pool)
        start_s, end_s = _speech_span(clip)
        length_s = (pool + model.config.window_frames - 1) / FPS

        def inside(
            index: NDArray[np.int64],
            first_s: float = start_s,
            last_s: float = end_s,
            span_s: float = length_s,
        ) -> NDArray[np.bool_]:
            result: NDArray[np.bool_] = (index / FPS >= first_s) & (index / FPS + span_s <= last_s)
            return result

        parts.append(windows)
        in_speech.append((inside(windows.true_index), inside(windows.shifted_index)))
    true = np.concatenate([w.true for w in parts])
    shifted = np.concatenate([w.shifted for w in parts])
    true_in = np.concatenate([a for a, _ in in_speech])
    shifted_in = np.concatenate([b for _, b in in_speech])
    return {
        "all_windows": roc_auc(true, shifted) if len(true) and len(shifted) else None,
        "num_true": len(true),
        "num_shifted": len(shifted),
        "speech_windows": roc_auc(true[true_in], shifted[shifted_in])
        if true_in.any() and shifted_in.any()
        else None,
        "num_true_in_speech": int(true_in.sum()),
    }


def _clip_auc(embedded: Sequence[_Embedded]) -> float | None:
    """AUC of whole clips: mean cosine at shift 0 against the mean at each shift of 3 to 15."""
    true, shifted = [], []
    for one in embedded:
        windows = shifted_windows(one.audio, one.motion, one.mask)
        if not len(windows.true):
            continue
        true.append(float(windows.true.mean()))
        for shift in np.unique(windows.shift):
            shifted.append(float(windows.shifted[windows.shift == shift].mean()))
    return roc_auc(np.array(true), np.array(shifted)) if true and shifted else None


def _offset_figures(scores: Sequence[SyncScore]) -> dict[str, Any]:
    if not scores:
        return {"mean_ms": None, "reason": "no clip is long enough"}
    offsets = np.array([score.offset_ms for score in scores])
    frames = np.array([score.offset_frames for score in scores])
    return {
        "sign": "positive = audio late",
        "mean_ms": float(offsets.mean()),
        "median_ms": float(np.median(offsets)),
        "share_within_1_frame": float((np.abs(frames) <= 1).mean()),
        "share_exactly_0": float((frames == 0).mean()),
        "lse_d": float(np.mean([score.lse_d for score in scores])),
        "lse_c": float(np.mean([score.lse_c for score in scores])),
    }


@dataclass
class _System:
    """What was measured of one kind of face, clip by clip."""

    sums: dict[str, list[float]] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    correlations: list[float] = field(default_factory=list)
    scores: list[SyncScore] = field(default_factory=list)
    closures: ClosureCounts = field(default_factory=lambda: ClosureCounts(0, 0, 0, 0))


MEASURES: dict[str, str] = {
    "lip_error_mm": "mean over frames and the 40 lip points of the error",
    "lip_vertex_error_mm": "mean over frames of the largest lip error (LVE, rooted)",
    "lve_mm2": "mean over frames of the largest squared lip error (LVE, canonical)",
    "mve_mm": "mean over frames and animated vertices of the error",
}


def evaluate_student(
    student: Path, judge: Path, prepared: Path, *, split: str = "test", seed: int = 0
) -> dict[str, Any]:
    """Errors in mm, synchrony and closures of a student, with its controls, on one split.

    Args:
        student: folder of a trained student.
        judge: folder of a sync expert of role "judge" (never the student's loss).
        prepared: prepared corpus; its "train" split gives the mean face.
        split: which clips.
        seed: of the bootstrap.

    Returns:
        JSON-ready figures: each measure with a 95 % interval over speakers (over utterances where
        there is one speaker), and the paired differences of student and controls.

    Raises:
        ValueError: the judge is a loss; topologies differ; no usable clip.
    """
    trained = load_student(student)
    model, judge_info = load_sync_expert(judge, "judge")
    window = model.config.window_frames
    # A student of samples has no log-mel features of its own: then they are the judge's.
    mels = trained.model.config.num_mels
    clips = MotionClips(
        prepared,
        split,
        num_mels=model.config.num_mels if mels is None else mels,
        window_frames=window,
        waveforms=mels is None,
    )
    if not np.array_equal(clips.animated_ids, trained.animated_ids):
        raise ValueError(
            f"{student}: moves {len(trained.animated_ids)} vertices of "
            f"{trained.template.topology!r}, {prepared} has {len(clips.animated_ids)} of "
            f"{next(iter(clips.templates.values())).topology!r}; give a corpus of one topology"
        )
    faces = make_faces(trained, clips, mean_displacement(prepared))
    positions = np.searchsorted(trained.animated_ids, trained.template.lip_ids)
    thresholds = closed_thresholds(clips.clips)
    systems = {
        name: _measure(frames, clips.clips, positions, model, thresholds)
        for name, frames in faces.items()
    }
    names = [clip.speaker_id for clip in clips.clips]
    by = "speaker" if len(set(names)) > 1 else "utterance"
    clusters = names if by == "speaker" else [clip.utterance_id for clip in clips.clips]
    figures = {name: _figures(system, clusters, by, seed) for name, system in systems.items()}
    return {
        "split": split,
        "clips": len(clips),
        "excluded": [list(pair) for pair in clips.excluded],
        "clustered_by": by,
        "seed": seed,
        "measures": MEASURES,
        "topology": _topology_info(trained.template, trained.animated_ids),
        "student_sha256": trained.provenance["student_sha256"],
        "judge_sha256": judge_info["weights_sha256"],
        "systems": figures,
        "student_minus_control": _differences(systems, clusters, by, seed),
        **provenance(),
    }


def _topology_info(template: FaceTemplate, animated: NDArray[np.int32]) -> dict[str, Any]:
    return {"name": template.topology, "animated": len(animated), "lips": 40, "unit": "mm"}


def mean_displacement(prepared: Path) -> NDArray[np.float32]:
    """Mean displacement of the animated vertices over the training split, (R, 3), mm."""
    clips = MotionClips(prepared, "train")
    tracked = [clip.displacement[clip.tracked] for clip in clips.clips]
    total = np.sum([frames.sum(axis=0, dtype=np.float64) for frames in tracked], axis=0)
    mean: NDArray[np.float32] = (total / sum(len(f) for f in tracked)).astype(np.float32)
    return mean


def fitted(frames: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """The first `length` frames; a shorter motion stands still at its last frame."""
    index = np.minimum(np.arange(length), len(frames) - 1)
    return frames[index]


def shifted_in_time(frames: NDArray[np.float32], shift: int) -> NDArray[np.float32]:
    """The motion late by `shift` frames (early where negative), standing still at the edge."""
    index = np.clip(np.arange(len(frames)) - shift, 0, len(frames) - 1)
    return frames[index]


def make_faces(
    trained: TrainedStudent, clips: MotionClips, mean: NDArray[np.float32]
) -> dict[str, list[NDArray[np.float32]]]:
    """Displacement (T, R, 3) of every clip for the student, the truth and each control."""
    real = [clip.displacement for clip in clips.clips]
    student = trained.model
    made = []
    with torch.no_grad():
        for clip in clips.clips:
            heard = torch.from_numpy(clip.student_features(student.config.num_mels))
            made.append(torch.cat(list(student.forward_windows(heard))).numpy())
    # The next utterance of the split, the last one takes the first: fixed, and never itself.
    other = [(i + 1) % len(real) for i in range(len(real))]
    lengths = [len(frames) for frames in real]
    faces = {
        "truth": real,
        "student": made,
        "mean_face": [np.repeat(mean[None], n, axis=0) for n in lengths],
        "still_face": [np.zeros_like(frames) for frames in real],
        "other_utterance": [fitted(real[j], n) for j, n in zip(other, lengths, strict=True)],
        "student_of_other": [fitted(made[j], n) for j, n in zip(other, lengths, strict=True)],
    }
    for shift in (-6, -3, -1, 1, 3, 6):
        faces[f"truth_shifted_{shift:+d}"] = [shifted_in_time(f, shift) for f in real]
    return faces


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


def _measure(
    faces: Sequence[NDArray[np.float32]],
    clips: Sequence[MotionClip],
    positions: NDArray[np.int64],
    judge: SyncNet3D,
    thresholds: dict[str, float],
) -> _System:
    system = _System(sums={name: [] for name in MEASURES})
    for clip, frames in zip(clips, faces, strict=True):
        made, real = frames[clip.tracked], clip.displacement[clip.tracked]
        made_lips, real_lips = made[:, positions], real[:, positions]
        squared = lip_vertex_errors(reference=real_lips, prediction=made_lips)
        values = {
            "lip_error_mm": mean_vertex_errors_mm(reference=real_lips, prediction=made_lips),
            "lip_vertex_error_mm": np.sqrt(squared),
            "lve_mm2": squared,
            "mve_mm": mean_vertex_errors_mm(reference=real, prediction=made),
        }
        for name, value in values.items():
            system.sums[name].append(float(value.sum()))
        system.counts.append(len(squared))
        lips = clip.neutral_lips + frames[:, positions]
        system.correlations.append(
            lip_correlation(reference=clip.lips[clip.tracked], prediction=lips[clip.tracked])
        )
        score = _score(embed(judge, clip, lips))
        if score is not None:
            system.scores.append(score)
        system.closures += count_closures(
            lip_gap_mm(lips), clip.phones, threshold_mm=thresholds[clip.speaker_id], fps=FPS
        )
    return system


def _figures(system: _System, clusters: list[str], by: str, seed: int) -> dict[str, Any]:
    counts = np.array(system.counts)
    known = [value for value in system.correlations if not math.isnan(value)]
    figures: dict[str, Any] = {
        name: asdict(pooled_mean(np.array(sums), counts, clusters, clustered_by=by, seed=seed))
        for name, sums in system.sums.items()
    }
    figures["lip_correlation"] = float(np.mean(known)) if known else None
    figures["lip_correlation_clips"] = len(known)
    figures["sync"] = _offset_figures(system.scores)
    figures["sync_clips"] = len(system.scores)
    closures = system.closures
    figures["closures"] = asdict(closures) | {
        "recall": closures.recall if closures.phones else None,
        "precision": closures.precision if closures.closures else None,
    }
    return figures


def _differences(
    systems: dict[str, _System], clusters: list[str], by: str, seed: int
) -> dict[str, Any]:
    """Student minus control of each measure, paired clip by clip; negative = student better."""
    counts = np.array(systems["student"].counts)

    def difference(control: str, name: str) -> dict[str, Any]:
        apart = np.array(systems["student"].sums[name]) - np.array(systems[control].sums[name])
        return asdict(pooled_mean(apart, counts, clusters, clustered_by=by, seed=seed))

    return {
        control: {name: difference(control, name) for name in MEASURES}
        for control in ("mean_face", "still_face", "other_utterance", "student_of_other")
    }
