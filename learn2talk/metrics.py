"""How far a generated face is from the truth, and how well it keeps time with the speech.

Definitions and traps: docs FACE_METRICS. Arrays are numpy, millimetres, frames first.
Axis letters: T frames, V vertices, L lip vertices, N windows, E embedding width, S shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsr.metrics import Interval

INNER_LOWER_MIDDLE = 25  # of the canonical 40 lip points
INNER_UPPER_MIDDLE = 35
CLOSURE_PHONES = frozenset({"p", "b", "m"})
CLOSURE_TOLERANCE_S = 0.040

Array = NDArray[np.floating]


def _check_pair(prediction: Array, reference: Array) -> None:
    if prediction.shape != reference.shape or prediction.ndim != 3 or prediction.shape[-1] != 3:
        raise ValueError(
            f"prediction {prediction.shape} and reference {reference.shape} must have one shape "
            "(T, V, 3); cut both to the same frames and vertices"
        )
    if 0 in prediction.shape:
        raise ValueError(f"no value to measure in an array of shape {prediction.shape}")


def lip_vertex_errors(*, reference: Array, prediction: Array) -> Array:
    """Canonical LVE before pooling: for each frame the largest squared lip error, (T,), mm^2.

    The figure LVE is the mean over all frames of all clips (CodeTalker's definition): pool the
    frames, do not average clip means.

    Args:
        reference, prediction: float (T, L, 3), mm, lip vertices only.

    Raises:
        ValueError: shapes differ, or there is no frame.
    """
    _check_pair(prediction, reference)
    return np.square(prediction - reference).sum(axis=-1).max(axis=-1)


def lip_vertex_errors_mm(*, reference: Array, prediction: Array) -> Array:
    """LVE's rooted variant, UniTalker's LVD: largest lip error of each frame, (T,), mm."""
    return np.sqrt(lip_vertex_errors(reference=reference, prediction=prediction))


def mean_vertex_errors_mm(*, reference: Array, prediction: Array) -> Array:
    """MVE before pooling: for each frame the mean over vertices of the error, (T,), mm.

    On lip vertices it is the mean lip error. Arguments and errors as in `lip_vertex_errors`.
    """
    _check_pair(prediction, reference)
    return np.sqrt(np.square(prediction - reference).sum(axis=-1)).mean(axis=-1)


def lip_gap_mm(lips: Array) -> Array:
    """Distance of the inner lips' middles, (T,), mm, from canonical lips (T, 40, 3)."""
    return np.linalg.norm(lips[:, INNER_UPPER_MIDDLE] - lips[:, INNER_LOWER_MIDDLE], axis=-1)


def lip_correlation(*, reference: Array, prediction: Array) -> float:
    """Lip PCC: Pearson correlation over time of the lip gaps of two (T, 40, 3); in [-1, 1].

    NaN where one of the gaps never changes (a still face has no correlation).
    """
    _check_pair(prediction, reference)
    real, made = lip_gap_mm(reference), lip_gap_mm(prediction)
    real, made = real - real.mean(), made - made.mean()
    scale = float(np.sqrt(np.square(real).sum() * np.square(made).sum()))
    # Rounding leaves a still gap with a tiny spread that correlates with anything.
    if scale < 1e-6 * len(real):
        return float("nan")
    return float((real * made).sum() / scale)


@dataclass(frozen=True)
class ClosureCounts:
    """Mouth closures as counts; sums before rates."""

    phones: int
    closed: int
    closures: int
    closures_at_phones: int

    def __add__(self, other: ClosureCounts) -> ClosureCounts:
        return ClosureCounts(
            self.phones + other.phones,
            self.closed + other.closed,
            self.closures + other.closures,
            self.closures_at_phones + other.closures_at_phones,
        )

    @property
    def recall(self) -> float:
        """Share of p, b and m at which the lips close; NaN without such phones."""
        return self.closed / self.phones if self.phones else float("nan")

    @property
    def precision(self) -> float:
        """Share of closures inside speech that lie at a p, b or m; NaN without closures."""
        return self.closures_at_phones / self.closures if self.closures else float("nan")


def count_closures(
    gap_mm: Array,
    phones: Sequence[tuple[str, float, float]],
    *,
    threshold_mm: float,
    fps: float = 25.0,
) -> ClosureCounts:
    """Closures of the lips at p, b and m, within +-40 ms of the phone.

    Args:
        gap_mm: (T,) lip gap, mm.
        phones: (phone, start_s, end_s), whole utterance; closures are counted between the first
            phone's start and the last one's end.
        threshold_mm: the speaker's closed threshold; a gap below it is closed.
        fps: frames a second. A frame counts where its time span touches the phone's.
    """
    if not phones:
        return ClosureCounts(0, 0, 0, 0)
    starts = np.arange(len(gap_mm)) / fps
    ends = starts + 1.0 / fps
    is_closed = np.asarray(gap_mm) < threshold_mm
    near_any = np.zeros(len(gap_mm), dtype=bool)
    total = closed = 0
    for phone, start_s, end_s in phones:
        if phone not in CLOSURE_PHONES:
            continue
        near = (starts < end_s + CLOSURE_TOLERANCE_S) & (ends > start_s - CLOSURE_TOLERANCE_S)
        near_any |= near
        total += 1
        closed += bool(is_closed[near].any())
    speech = (starts < phones[-1][2]) & (ends > phones[0][1])
    inside = is_closed & speech
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.view(np.int8), [0]])))
    runs = edges.reshape(-1, 2)
    hits = sum(bool(near_any[first:last].any()) for first, last in runs)
    return ClosureCounts(total, closed, len(runs), hits)


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


def shifted_distances(audio: Array, motion: Array, max_shift: int) -> Array:
    """Distance of motion window i to audio window i + s, (N, 2 max_shift + 1); NaN outside.

    Args:
        audio, motion: unit vectors (N, E).
        max_shift: largest shift, frames.
    """
    if audio.shape != motion.shape or audio.ndim != 2:
        raise ValueError(
            f"audio embeddings {audio.shape} and motion embeddings {motion.shape} must have one "
            "shape (N, E)"
        )
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


def pooled_mean(
    sums: Array,
    counts: Array,
    clusters: Sequence[str],
    *,
    clustered_by: str,
    seed: int,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Mean over all frames of all clips, with its percentile bootstrap interval over clusters.

    The frames of a clip are not independent, so whole clusters are drawn with replacement.

    Args:
        sums, counts: (C,) sum of a measure over a clip's frames, and how many frames.
        clusters: C names; clips of one name are drawn together.
        clustered_by: what the names are, "speaker" or "utterance".
        seed: of the resampling.
        num_resamples: how many resamples.
        confidence: in (0, 1).

    Raises:
        ValueError: nothing was counted, or there are fewer than two clusters.
    """
    names = sorted(set(clusters))
    if len(names) < 2 or not np.sum(counts) > 0:
        raise ValueError(
            f"{len(names)} clusters with {np.sum(counts)} frames have no bootstrap interval; "
            "measure two clips or more"
        )
    row = np.searchsorted(names, list(clusters))
    total = np.bincount(row, weights=sums, minlength=len(names))
    frames = np.bincount(row, weights=counts, minlength=len(names))
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=num_resamples
    )
    drawn_frames = drawn @ frames
    value = float(total.sum() / frames.sum())
    # A draw of clips without a single tracked frame says nothing: it takes the measured value.
    safe = np.where(drawn_frames > 0, drawn_frames, 1.0)
    means = np.where(drawn_frames > 0, (drawn @ total) / safe, value)
    tail = (1 - confidence) / 2
    return Interval(
        value=value,
        low=float(np.quantile(means, tail)),
        high=float(np.quantile(means, 1 - tail)),
        confidence=confidence,
        clustered_by=clustered_by,
        num_clusters=len(names),
        num_resamples=num_resamples,
        seed=seed,
    )
