"""How well a sync expert tells true from shifted, and the offset that it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.metrics import roc_auc
from avsr.training.run_folder import provenance
from avsr.units import VIDEO_FPS
from learn2talk.data.motion import MotionClips
from learn2talk.data.motion_clip import MotionClip
from learn2talk.files import load_sync_expert
from learn2talk.metrics import ShiftedWindows, SyncScore, shifted_windows, sync_score
from learn2talk.models.sync_expert import Role, SyncNet3D

FPS = float(VIDEO_FPS)
MAX_SHIFT = 15  # frames, of the offset search
POOLED_WINDOWS = (1, 6, 11, 21)  # windows averaged: 0.2, 0.4, 0.6 and 1.0 s of speech for W = 5


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
    scores = [score for e in embedded if (score := score_clip(e)) is not None]
    return {
        "split": split,
        "clips": len(clips),
        "excluded": [list(pair) for pair in clips.excluded],
        "expert": {"folder": expert.name, "role": role, "sha256": info["weights_sha256"]},
        "auc_by_length_of_speech": lengths,
        "auc_clips": _clip_auc(embedded),
        "clips_scored_for_offset": len(scores),
        "offset": offset_figures(scores),
        **provenance(),
    }


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of a clip's windows, and which of them are really tracked."""

    audio: NDArray[np.float32]  # (N, E)
    motion: NDArray[np.float32]  # (N, E)
    mask: NDArray[np.bool_]  # (N,)


@torch.no_grad()
def embed(model: SyncNet3D, clip: MotionClip, lips: NDArray[np.float32]) -> Embedded:
    """Embeddings of a clip's sound and of some lips (T, 40, 3), mm, that claim to belong to it."""
    neutral = torch.from_numpy(clip.neutral_lips)[None]
    out = model(
        torch.from_numpy(clip.features)[None],
        torch.from_numpy(np.ascontiguousarray(lips, dtype=np.float32))[None],
        neutral,
    )
    mask = model.window_mask(torch.from_numpy(clip.tracked)[None])[0]
    return Embedded(out.audio[0].numpy(), out.motion[0].numpy(), mask.numpy())


def score_clip(embedded: Embedded) -> SyncScore | None:
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
    model: SyncNet3D, clips: Sequence[MotionClip], embedded: Sequence[Embedded], pool: int
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


def _clip_auc(embedded: Sequence[Embedded]) -> float | None:
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


def offset_figures(scores: Sequence[SyncScore]) -> dict[str, Any]:
    """Offsets of several clips in a few numbers."""
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
