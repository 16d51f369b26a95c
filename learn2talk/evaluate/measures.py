"""What is measured of a face: each figure's name, unit, region, direction and definition.

Axis letters: T frames, M measured vertices, N windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from learn2talk.data.motion_clip import MotionClip
from learn2talk.evaluate.expert import FPS, Embedded
from learn2talk.evaluate.faces import Measured, Truth
from learn2talk.metrics import (
    ClosureCounts,
    SyncScore,
    centred_lip_vertex_errors_mm,
    lip_correlation,
    lip_gap_mm,
    lip_jitter,
    lip_speed_mm_s,
    lip_vertex_errors,
    mean_vertex_errors_mm,
    silence_motion_mm_s,
    silent_frames,
    speech_mesh_score,
    speech_mesh_window_score,
    temporal_misalignment,
    upper_face_dynamics_deviation_mm2,
)
from learn2talk.metrics.pooling import Statistic, correlation, mean, root_mean

Better = Literal["lower", "higher", "near zero", "near the truth"]


@dataclass(frozen=True)
class Measure:
    """One figure of a report."""

    unit: str
    region: str
    """Key of the report's regions; "" where the figure has none."""
    better: Better
    what: str
    statistic: Statistic = mean


MEASURES: dict[str, Measure] = {
    "lip_error_mm": Measure(
        "mm", "lips", "lower", "mean over frames and the 40 lip points of the error"
    ),
    "lve_rooted_mm": Measure(
        "mm", "lips", "lower", "mean over frames of the largest lip error (LVE, rooted)"
    ),
    "lve_mm2": Measure(
        "mm^2",
        "lips",
        "lower",
        "mean over frames of the largest squared lip error (LVE, canonical)",
    ),
    "mve_mm": Measure(
        "mm", "animated", "lower", "mean over frames and animated vertices of the error"
    ),
    "mve_face_mm": Measure(
        "mm", "face", "lower", "mean over frames and all measured vertices of the error (MVE)"
    ),
    "lve_rooted_clip_mean_mm": Measure(
        "mm", "lips", "lower", "the rooted LVE as UniTalker's code pools it: mean of clip means"
    ),
    "lve_centred_mm": Measure(
        "mm", "lips", "lower", "rooted LVE, both lips centred in each frame (MeshTalk)"
    ),
    "lve_rms_of_max_mm": Measure(
        "mm", "lips", "lower", "root of the canonical LVE (ARTalk)", root_mean
    ),
    "fdd_signed_mm2": Measure(
        "mm^2", "upper_face", "near zero", "FDD: truth's dynamics minus the face's, mean over clips"
    ),
    "fdd_absolute_mm2": Measure(
        "mm^2", "upper_face", "lower", "mean over clips of the absolute FDD"
    ),
    "lip_pcc": Measure(
        "1", "lip_gap", "higher", "mean over clips of the correlation of the lip gaps over time"
    ),
    "mtm_ms": Measure(
        "ms", "lip_gap", "lower", "MTM: mean time between matched extrema of the lip gap"
    ),
    "mtm_clip_mean_ms": Measure(
        "ms", "lip_gap", "lower", "MTM as its released code pools it: mean of clip means"
    ),
    "mtm_miss_rate": Measure(
        "1", "lip_gap", "lower", "share of the truth's extrema that MTM matches with nothing"
    ),
    "mtm_extra_rate": Measure(
        "1", "lip_gap", "lower", "share of the face's extrema that MTM matches with nothing"
    ),
    "slcc": Measure(
        "1",
        "lips",
        "higher",
        "correlation over clips of lip and speech intensity, z-scored by speaker",
        correlation,
    ),
    "lse_d": Measure("1", "lips", "lower", "smallest mean distance of sound and motion, by shifts"),
    "lse_c": Measure("1", "lips", "higher", "median minus smallest mean distance, by shifts"),
    "offset_ms": Measure(
        "ms", "lips", "near zero", "mean over clips of the judge's offset, positive = audio late"
    ),
    "offset_absolute_ms": Measure(
        "ms", "lips", "lower", "mean over clips of the absolute offset; LSE is blind to it"
    ),
    "speech_mesh_score": Measure(
        "1", "lips", "higher", "cosine of mean-pooled sound and motion embeddings (PLRS-like)"
    ),
    "speech_mesh_window_score": Measure(
        "1", "lips", "higher", "PLRS as released: mean cosine of windows that do not overlap"
    ),
    "closure_recall": Measure(
        "1", "lip_gap", "higher", "share of p, b, m at which the lips close, within 40 ms"
    ),
    "closure_precision": Measure(
        "1", "lip_gap", "higher", "share of closures inside speech that lie at a p, b or m"
    ),
    "jitter_mm_per_frame3": Measure(
        "mm/frame^3", "lips", "near the truth", "mean length of the third difference of lip points"
    ),
    "silence_motion_mm_s": Measure(
        "mm/s",
        "lips",
        "near the truth",
        "mean lip speed where the sound is 30 dB under its loudest",
    ),
}

Columns = Mapping[str, tuple[float, ...]]
"""Measure to its summed columns of one clip; a measure that says nothing of it has zeros."""


def steady(tracked: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Whether frames t to t + length - 1 are all tracked, (T - length + 1,)."""
    if len(tracked) < length:
        return np.zeros(0, dtype=bool)
    windows = np.lib.stride_tricks.sliding_window_view(tracked, length)
    return np.asarray(windows.all(axis=1), dtype=bool)


def longest_tracked(tracked: NDArray[np.bool_]) -> slice:
    """The longest stretch of tracked frames, the first of equals."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], tracked, [False]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    first, last = runs[np.diff(runs, axis=1)[:, 0].argmax()]
    return slice(int(first), int(last))


def _all(values: NDArray) -> tuple[float, float]:
    return float(np.sum(values, dtype=np.float64)), float(len(values))


def _once(value: float) -> tuple[float, float]:
    return (0.0, 0.0) if np.isnan(value) else (value, 1.0)


def spatial_columns(
    made: NDArray[np.float32], real: NDArray[np.float32], measured: Measured
) -> Columns:
    """Columns of the errors in space of one clip's tracked frames.

    Args:
        made, real: float32 (T, M, 3), mm, displacement of the measured vertices.
    """
    made_lips, real_lips = made[:, measured.lips], real[:, measured.lips]
    squared = lip_vertex_errors(reference=real_lips, prediction=made_lips)
    rooted = np.sqrt(squared)
    columns = {
        "lip_error_mm": _all(mean_vertex_errors_mm(reference=real_lips, prediction=made_lips)),
        "lve_rooted_mm": _all(rooted),
        "lve_mm2": _all(squared),
        "mve_mm": _all(
            mean_vertex_errors_mm(
                reference=real[:, measured.animated], prediction=made[:, measured.animated]
            )
        ),
        "mve_face_mm": _all(mean_vertex_errors_mm(reference=real, prediction=made)),
        "lve_rooted_clip_mean_mm": _once(float(rooted.mean())),
        "lve_centred_mm": _all(
            centred_lip_vertex_errors_mm(reference=real_lips, prediction=made_lips)
        ),
        "lve_rms_of_max_mm": _all(squared),
    }
    signed = float("nan")
    if len(measured.upper):
        signed = upper_face_dynamics_deviation_mm2(
            reference=real[:, measured.upper], prediction=made[:, measured.upper]
        )
    return columns | {"fdd_signed_mm2": _once(signed), "fdd_absolute_mm2": _once(abs(signed))}


def timing_columns(
    lips: NDArray[np.float32], real_lips: NDArray[np.float32], tracked: NDArray[np.bool_]
) -> Columns:
    """Columns of PCC over the tracked frames, and of MTM over the longest tracked stretch.

    Args:
        lips, real_lips: float32 (T, 40, 3), mm.
        tracked: bool (T,).
    """
    stretch = longest_tracked(tracked)
    apart = temporal_misalignment(
        reference=lip_gap_mm(real_lips[stretch]), prediction=lip_gap_mm(lips[stretch]), fps=FPS
    )
    return {
        "lip_pcc": _once(lip_correlation(reference=real_lips[tracked], prediction=lips[tracked])),
        "mtm_ms": (apart.apart_ms, apart.matches),
        "mtm_clip_mean_ms": _once(apart.mean_ms),
        "mtm_miss_rate": (apart.extrema - apart.matched, apart.extrema),
        "mtm_extra_rate": (apart.made_extrema - apart.made_matched, apart.made_extrema),
    }


def motion_columns(lips: NDArray[np.float32], clip: MotionClip, truth: Truth) -> Columns:
    """Columns of jitter and of motion in silence, over tracked frames only."""
    silent = silent_frames(truth.waveform, len(lips), fps=FPS) & clip.tracked
    return {
        "jitter_mm_per_frame3": _all(lip_jitter(lips)[steady(clip.tracked, 4)]),
        "silence_motion_mm_s": _all(silence_motion_mm_s(lips, silent, fps=FPS)),
    }


def tracked_intensity(lips: NDArray[np.float32], tracked: NDArray[np.bool_]) -> float:
    """Lip intensity over the steps between tracked frames, mm/s; NaN without one."""
    speed = lip_speed_mm_s(lips, fps=FPS)[steady(tracked, 2)]
    return float(np.sqrt(np.square(speed, dtype=np.float64).mean())) if len(speed) else np.nan


def sync_columns(embedded: Embedded, score: SyncScore | None) -> Columns:
    """Columns of what a judge says of one clip; no score where the clip is too short."""
    audio, motion, mask = embedded.audio, embedded.motion, embedded.mask
    nothing = (0.0, 0.0)
    return {
        "lse_d": _once(score.lse_d) if score else nothing,
        "lse_c": _once(score.lse_c) if score else nothing,
        "offset_ms": _once(score.offset_ms) if score else nothing,
        "offset_absolute_ms": _once(abs(score.offset_ms)) if score else nothing,
        "speech_mesh_score": _once(speech_mesh_score(audio, motion, mask)),
        "speech_mesh_window_score": _once(speech_mesh_window_score(audio, motion, mask)),
    }


def closure_columns(closures: ClosureCounts) -> Columns:
    """Columns of closure recall and precision of one clip."""
    return {
        "closure_recall": (closures.closed, closures.phones),
        "closure_precision": (closures.closures_at_phones, closures.closures),
    }
