"""What a sync expert says of a corpus: where sound and lips are apart, and a corpus without that.

The calibration curve shows how far it can be trusted: sound that was shifted by a known number of
frames against the shift that the expert finds.
"""

# T frames, N windows, E embedding width, C clips, S shifts

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.data.manifest import (
    SPLITS,
    PreparedUtterance,
    decode_row,
    encode_utterance,
    load_face_templates,
    load_info,
    load_prepared,
    save_prepared,
)
from avsr.files import read_jsonl
from avsr.training.run_folder import provenance
from learn2talk.data.motion import MotionClips
from learn2talk.evaluate import embed
from learn2talk.files import load_sync_expert
from learn2talk.metrics import SyncScore, pooled_mean, sync_score
from learn2talk.models.sync_expert import Role, SyncNet3D

FPS = 25.0


@dataclass(frozen=True)
class SyncCheckConfig:
    """Which clips a corpus keeps, and whether they are moved."""

    correct: bool = True
    """Move the lips of a clip by the offset that was found; False only takes clips out."""
    max_offset_frames: int = 10
    """A clip whose sound and lips are farther apart is taken out; at most max_shift."""
    min_confidence: float = 0.05
    """Smallest LSE-C: a clip below has no clear offset and is taken out. 0 keeps all."""
    max_shift: int = 15
    """Range of the search, frames either way."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_offset_frames <= self.max_shift:
            raise ValueError(
                f"max_offset_frames {self.max_offset_frames} must be between 0 and max_shift "
                f"{self.max_shift}"
            )
        if self.max_shift < 1 or not self.min_confidence >= 0:
            raise ValueError(
                f"max_shift {self.max_shift} must be at least 1 and min_confidence "
                f"{self.min_confidence} at least 0"
            )


@dataclass(frozen=True)
class ClipSync:
    """Synchrony of one clip; the score is None where too little of it is tracked to be searched."""

    utterance_id: str
    score: SyncScore | None


@dataclass(frozen=True, eq=False)
class Embedded:
    """A clip in an expert's space: unit vectors (N, E), and which motion windows are tracked."""

    utterance_id: str
    audio: NDArray[np.float32]
    motion: NDArray[np.float32]
    mask: NDArray[np.bool_]


def embedded_clips(model: SyncNet3D, prepared: Path, split: str) -> list[Embedded]:
    """Every clip of a split that has a complete window."""
    clips = MotionClips(
        prepared, split, num_mels=model.config.num_mels, window_frames=model.config.window_frames
    )
    found = []
    for clip in clips.clips:
        one = embed(model, clip, clip.lips)
        found.append(Embedded(clip.utterance_id, one.audio, one.motion, one.mask))
    return found


def clip_sync(clip: Embedded, max_shift: int) -> ClipSync:
    """LSE-D, LSE-C and offset of a clip."""
    inner = clip.mask[max_shift : len(clip.mask) - max_shift]
    if not inner.any():
        return ClipSync(clip.utterance_id, None)
    score = sync_score(clip.audio, clip.motion, clip.mask, max_shift=max_shift, fps=FPS)
    return ClipSync(clip.utterance_id, score)


def with_late_sound(clip: Embedded, frames: int) -> Embedded:
    """The clip with its sound later by ``frames`` (earlier where negative), cut to what is left.

    An embedding sees its window and nothing else, so this is what the expert would say of a file
    with such a fault.
    """
    count = len(clip.motion)
    if abs(frames) >= count:
        raise ValueError(f"clip {clip.utterance_id} has {count} windows; no shift of {frames}")
    sound = slice(max(0, -frames), count - max(0, frames))
    lips = slice(max(0, frames), count - max(0, -frames))
    return Embedded(clip.utterance_id, clip.audio[sound], clip.motion[lips], clip.mask[lips])


def calibration_curve(
    expert: Path,
    prepared: Path,
    *,
    role: Role = "judge",
    split: str = "test",
    max_shift: int = 15,
    seed: int = 0,
) -> dict[str, Any]:
    """Known against found offsets, -15 to 15 frames, on clips that the expert never saw.

    Args:
        expert: folder of a trained sync expert.
        prepared: prepared corpus.
        role: the role that it was trained for.
        split: which clips.
        max_shift: largest known offset, and range of the search, frames.
        seed: of the intervals.

    Returns:
        JSON-ready: for each known offset (positive = audio late) the median and mean found, shares
        found exactly and within one frame, and how many clips; and the mean distance at each shift
        with its 95 % interval over clips.

    Raises:
        ValueError: the expert has another role; no clip is long enough.
    """
    model, info = load_sync_expert(expert, role)
    clips = embedded_clips(model, prepared, split)
    rows = [_calibrated(clips, known, max_shift) for known in range(-max_shift, max_shift + 1)]
    if not any(row["clips"] for row in rows):
        raise ValueError(
            f"{prepared}: no clip of split {split!r} is long enough for a search of +-{max_shift} "
            "frames; give a smaller max_shift"
        )
    return {
        "split": split,
        "fps": FPS,
        "sign": "positive = audio late",
        "expert": {"folder": expert.name, "role": role, "sha256": info["weights_sha256"]},
        "offsets": rows,
        "distances": _distance_curve(clips, max_shift, seed),
        **provenance(),
    }


def _calibrated(clips: Sequence[Embedded], known: int, max_shift: int) -> dict[str, Any]:
    """What is found of one known offset; clips that are too short for it are counted."""
    found, short = [], 0
    for clip in clips:
        if abs(known) >= len(clip.motion):
            short += 1
            continue
        score = clip_sync(with_late_sound(clip, known), max_shift).score
        if score is None:
            short += 1
        else:
            found.append(score.offset_frames)
    wrong = np.abs(np.array(found, dtype=float) - known)
    return {
        "known_frames": known,
        "clips": len(found),
        "too_short": short,
        "median_frames": float(np.median(found)) if found else None,
        "mean_frames": float(np.mean(found)) if found else None,
        "share_exact": float((wrong == 0).mean()) if found else None,
        "share_within_1_frame": float((wrong <= 1).mean()) if found else None,
    }


def _distance_curve(clips: Sequence[Embedded], max_shift: int, seed: int) -> list[dict[str, Any]]:
    """Mean distance (C clips) at each shift, with intervals where there are two clips or more."""
    scores = [(c.utterance_id, s) for c in clips if (s := clip_sync(c, max_shift).score)]
    names = [name for name, _ in scores]
    curve = []
    for place, shift in enumerate(range(-max_shift, max_shift + 1)):
        values = np.array([score.mean_distances[place] for _, score in scores])
        row: dict[str, Any] = {"shift_frames": shift, "clips": len(values)}
        row["mean"] = float(values.mean()) if len(values) else None
        if len(values) > 1:
            ones = np.ones(len(values))
            interval = pooled_mean(values, ones, names, clustered_by="utterance", seed=seed)
            row |= {"low": interval.low, "high": interval.high}
        curve.append(row)
    return curve


def late_lips(utterance: PreparedUtterance, frames: int) -> PreparedUtterance:
    """The utterance with lips, face and pictures later by ``frames``, sound and texts in place.

    Frames that come in at an edge stand still and are not valid.
    """
    if frames == 0:
        return utterance
    wanted = np.arange(utterance.num_frames) - frames
    index = wanted.clip(0, utterance.num_frames - 1)
    return replace(
        utterance,
        lips=utterance.lips[index],
        vertices=utterance.vertices[index],
        mouth_crops=utterance.mouth_crops[index],
        video_valid=utterance.video_valid[index] & (wanted == index),
    )


def problem_of(sync: ClipSync, config: SyncCheckConfig) -> str | None:
    """Why a clip is taken out, None where it stays."""
    if sync.score is None:
        return None
    if sync.score.lse_c < config.min_confidence:
        return (
            f"no clear offset: LSE-C {sync.score.lse_c:.3f} is below min_confidence "
            f"{config.min_confidence:g}"
        )
    if abs(sync.score.offset_frames) > config.max_offset_frames:
        return (
            f"sound and lips are {sync.score.offset_frames:+d} frames apart, more than "
            f"max_offset_frames {config.max_offset_frames}"
        )
    return None


def check_corpus(
    prepared: Path, expert: Path, config: SyncCheckConfig | None = None, *, role: Role = "loss"
) -> dict[str, list[ClipSync]]:
    """Synchrony of every clip of a prepared corpus, by split; clips without a window are missing.

    Args:
        prepared: prepared corpus.
        expert: folder of a sync expert. The judge that scores faces must not choose their training
            data, so its role is "loss" unless said.
        config: range of the search.
        role: the role that the expert was trained for.
    """
    config = config or SyncCheckConfig()
    model, _ = load_sync_expert(expert, role)
    return {
        split: [clip_sync(c, config.max_shift) for c in embedded_clips(model, prepared, split)]
        for split in SPLITS
    }


def correct_corpus(
    prepared: Path,
    out: Path,
    expert: Path,
    config: SyncCheckConfig | None = None,
    *,
    role: Role = "loss",
) -> dict[str, Any]:
    """A copy of a prepared corpus in which sound and lips belong together.

    A clip with a clear, small offset is moved by it (``correct``), one with a large or unclear
    offset is taken out and listed in ``skipped.jsonl`` with the reason. Clips too short to be
    searched are kept as they are, and counted.

    Args:
        prepared: prepared corpus. out: folder to write. expert, role: see :func:`check_corpus`.
        config: limits.

    Returns:
        JSON-ready counts of each split: clips, moved, taken_out, not_searched.

    Raises:
        ValueError: ``out`` is finished already, the expert has another role, or a split would be
            left without a clip.
    """
    config = config or SyncCheckConfig()
    syncs = check_corpus(prepared, expert, config, role=role)
    skipped = list(read_jsonl(prepared / "skipped.jsonl"))
    for split, found in syncs.items():
        out_of = [s for s in found if problem_of(s, config)]
        if len(out_of) == len(found):
            raise ValueError(
                f"{prepared}: all {len(found)} clips of split {split!r} would be taken out, for "
                f"example {problem_of(found[0], config)}; is {expert} an expert of such faces?"
            )
        skipped += [
            {"utterance_id": s.utterance_id, "path": "", "reason": problem_of(s, config)}
            for s in out_of
        ]
    counts = summary(syncs, config)
    info = load_info(prepared)
    facts = {"config": asdict(config), "role": role, "clips": counts, "expert": expert.name}
    own = {name: value for name, value in info["counts"].items() if name != "utterances"}
    save_prepared(
        out,
        {split: _kept(prepared, split, syncs[split], config) for split in SPLITS},
        load_face_templates(prepared),
        {**info, "counts": own, "sync": facts},
        skipped,
    )
    return counts


def summary(
    syncs: Mapping[str, Sequence[ClipSync]], config: SyncCheckConfig
) -> dict[str, dict[str, int]]:
    """For each split how many clips were looked at, are moved, are taken out, were too short."""
    return {
        split: {
            "clips": len(found),
            "moved": sum(bool(_shift(s, config)) and not problem_of(s, config) for s in found),
            "taken_out": sum(problem_of(s, config) is not None for s in found),
            "not_searched": sum(s.score is None for s in found),
        }
        for split, found in syncs.items()
    }


def _shift(sync: ClipSync, config: SyncCheckConfig) -> int:
    """By how many frames the lips of a clip are moved."""
    return sync.score.offset_frames if config.correct and sync.score is not None else 0


def _kept(
    prepared: Path, split: str, syncs: Sequence[ClipSync], config: SyncCheckConfig
) -> Iterator[dict[str, Any]]:
    of_clip = {sync.utterance_id: sync for sync in syncs}
    for row in load_prepared(prepared, split):
        sync = of_clip.get(row["utterance_id"])  # None: no complete window, so nothing to search
        if sync is None:
            yield dict(row)
        elif problem_of(sync, config) is None:
            frames = _shift(sync, config)
            yield encode_utterance(late_lips(decode_row(row), frames)) if frames else dict(row)


def as_row(split: str, sync: ClipSync) -> dict[str, Any]:
    """A line for a table of clips; an unsearched clip has nulls."""
    score = sync.score
    return {
        "utterance_id": sync.utterance_id,
        "split": split,
        "offset_frames": None if score is None else score.offset_frames,
        "offset_ms": None if score is None else score.offset_ms,
        "lse_d": None if score is None else _finite(score.lse_d),
        "lse_c": None if score is None else _finite(score.lse_c),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
