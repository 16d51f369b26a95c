"""Synchrony of sound and motion in the embedding space of a network that was not a loss.

Embedding spaces differ: a value stands beside the network's name and hash.
Axis letters: N windows, E embedding width, S shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PLRS_STRIDE = 5  # windows of 5 frames that do not overlap

Array = NDArray[np.floating]


@dataclass(frozen=True)
class SyncScore:
    """Synchrony of one clip, in the embedding space of one named sync expert."""

    lse_d: float
    """Smallest mean distance over the shifts, in [0, 2]; lower is better."""
    lse_c: float
    """Median minus smallest mean distance over the shifts; higher is surer."""
    offset_frames: int
    """Shift of the smallest distance, frames; positive = audio late."""
    offset_ms: float
    """The same in milliseconds."""
    mean_distances: tuple[float, ...]
    """Mean distance at each shift from -max_shift to max_shift."""


def _check_embeddings(audio: Array, motion: Array) -> None:
    if audio.shape != motion.shape or audio.ndim != 2:
        raise ValueError(
            f"audio embeddings {audio.shape} and motion embeddings {motion.shape} must have one "
            "shape (N, E)"
        )


def shifted_distances(audio: Array, motion: Array, max_shift: int) -> Array:
    """Distance of motion window i to audio window i + s, (N, 2 max_shift + 1); NaN outside.

    Args:
        audio, motion: unit vectors (N, E).
        max_shift: largest shift, frames.
    """
    _check_embeddings(audio, motion)
    count = len(motion)
    # Unit vectors: |a - m|^2 = 2 - 2 a.m; rounding can make it slightly negative.
    between = np.sqrt(np.maximum(2.0 - 2.0 * (motion @ audio.T), 0.0))
    partner = np.arange(count)[:, None] + np.arange(-max_shift, max_shift + 1)[None]
    inside = (partner >= 0) & (partner < count)
    taken = np.take_along_axis(between, partner.clip(0, count - 1), axis=1)
    return np.where(inside, taken, np.nan)


def sync_score(
    audio: Array,
    motion: Array,
    window_mask: NDArray[np.bool_] | None = None,
    *,
    max_shift: int = 15,
    fps: float = 25.0,
) -> SyncScore:
    """LSE-D, LSE-C and offset of a clip from the embeddings of a judge.

    d_i(s) is the distance of motion window i to audio window i + s, m(s) its mean over i;
    LSE-D = min m, LSE-C = median m - min m, offset = argmin m, positive = audio late. Every shift
    is averaged over the same motion windows, those that have a partner at all shifts, so that no
    padding and no change of content biases the edges.

    Args:
        audio, motion: unit vectors (N, E) of a sync expert that was not a loss.
        window_mask: bool (N,), True = the motion window is really tracked; None: all are.
        max_shift: largest shift in frames.
        fps: frames a second.

    Raises:
        ValueError: no window has a partner at every shift (needs N > 2 max_shift).
    """
    distances = shifted_distances(audio, motion, max_shift)
    usable = ~np.isnan(distances).any(axis=1)
    if window_mask is not None:
        usable &= window_mask
    if not usable.any():
        raise ValueError(
            f"clip has {len(motion)} windows and none that is tracked and has partners at shifts "
            f"of +-{max_shift} frames; give a longer clip or a smaller max_shift"
        )
    means = distances[usable].mean(axis=0)
    best = int(means.argmin())
    return SyncScore(
        lse_d=float(means[best]),
        lse_c=float(np.median(means) - means[best]),
        offset_frames=best - max_shift,
        offset_ms=1000.0 * (best - max_shift) / fps,
        mean_distances=tuple(float(value) for value in means),
    )


@dataclass(frozen=True, eq=False)
class ShiftedWindows:
    """Cosines of true and of shifted pairs of one clip; every value is a motion window's.

    true (N',), shifted (M,); true_index (N',) and shifted_index (M,) give the motion window,
    shift (M,) the shift in frames.
    """

    true: Array
    shifted: Array
    true_index: NDArray[np.int64]
    shifted_index: NDArray[np.int64]
    shift: NDArray[np.int64]


def shifted_windows(
    audio: Array,
    motion: Array,
    window_mask: NDArray[np.bool_] | None = None,
    *,
    min_shift: int = 3,
    max_shift: int = 15,
    pool_windows: int = 1,
) -> ShiftedWindows:
    """Cosine of each motion window with its own audio and with audio shifted by 3 to 15 frames.

    Args:
        audio, motion: unit vectors (N, E).
        window_mask: bool (N,), True = the motion window is really tracked; None: all are.
        min_shift, max_shift: range of |shift|, frames.
        pool_windows: each value is the mean over this many consecutive windows, so that it stands
            for pool_windows - 1 more frames; 1 is a window alone.
    """
    mask = np.ones(len(motion), dtype=bool) if window_mask is None else window_mask
    cosine = motion @ audio.T
    values, places, shifts = [], [], []
    for shift in range(-max_shift, max_shift + 1):
        if shift != 0 and abs(shift) < min_shift:
            continue
        index = np.arange(max(0, -shift), len(motion) - max(0, shift))
        if len(index) < pool_windows:
            continue
        pairs = np.lib.stride_tricks.sliding_window_view(cosine[index, index + shift], pool_windows)
        real = np.lib.stride_tricks.sliding_window_view(mask[index], pool_windows).all(axis=1)
        values.append(pairs.mean(axis=1)[real])
        places.append(index[: len(pairs)][real])
        shifts.append(np.full(int(real.sum()), shift))
    value, place = np.concatenate(values), np.concatenate(places)
    moved = np.concatenate(shifts) != 0
    return ShiftedWindows(
        true=value[~moved],
        shifted=value[moved],
        true_index=place[~moved],
        shifted_index=place[moved],
        shift=np.concatenate(shifts)[moved],
    )


def speech_mesh_score(
    audio: Array, motion: Array, window_mask: NDArray[np.bool_] | None = None
) -> float:
    """Cosine of a clip's mean-pooled audio and motion embeddings, in [-1, 1]; higher is better.

    After the Perceptual Lip Readability Score of Chae-Yeon et al., "Perceptually Accurate 3D
    Talking Head Generation", CVPR 2025. A generated motion can score above the real one: it may be
    nearer to what the network expects than this speaker is.

    Args:
        audio, motion: unit vectors (N, E) of a network that was not a loss.
        window_mask: bool (N,), True = the motion window is really tracked; None: all are.

    Returns:
        NaN without a window, or where one of the means vanishes.

    Raises:
        ValueError: shapes differ.
    """
    audio, motion = _usable(audio, motion, window_mask)
    if not len(audio):
        return float("nan")
    heard, seen = audio.mean(axis=0), motion.mean(axis=0)
    scale = float(np.linalg.norm(heard) * np.linalg.norm(seen))
    return float(heard @ seen) / scale if scale > 1e-9 else float("nan")


def speech_mesh_window_score(
    audio: Array,
    motion: Array,
    window_mask: NDArray[np.bool_] | None = None,
    *,
    stride: int = PLRS_STRIDE,
) -> float:
    """PLRS as released: mean cosine of every fifth window with its sound, in [-1, 1].

    evaluation/evaluate_PLRS.py of kaist-ami/Perceptual-3D-Talking-Head; the figure of a corpus is
    the mean over clips. Arguments, NaN and errors as in `speech_mesh_score`.

    Args:
        audio, motion, window_mask: as in `speech_mesh_score`.
        stride: windows from one to the next; the window's length leaves no overlap.
    """
    _check_embeddings(audio, motion)
    mask = None if window_mask is None else window_mask[::stride]
    audio, motion = _usable(audio[::stride], motion[::stride], mask)
    return float((audio * motion).sum(axis=1).mean()) if len(audio) else float("nan")


def _usable(
    audio: Array, motion: Array, window_mask: NDArray[np.bool_] | None
) -> tuple[Array, Array]:
    _check_embeddings(audio, motion)
    return (audio, motion) if window_mask is None else (audio[window_mask], motion[window_mask])
