"""Whether lips move at the right time and as strongly as the speech: PCC, MTM, SLCC.

MTM and SLCC: Chae-Yeon et al., "Perceptually Accurate 3D Talking Head Generation: New Definitions,
Speech-Mesh Representation, and Evaluation Metrics", CVPR 2025 (arXiv 2503.20308), read together
with evaluation/evaluate_MTM.py, extract_lip_intensity.py, extract_rms.py and evaluate_SLCC.py of
kaist-ami/Perceptual-3D-Talking-Head at 488a198, whose conventions are kept where the text is open.
Arrays are numpy, millimetres, frames first. Axis letters: T frames, C clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learn2talk.metrics.closure import lip_gap_mm
from learn2talk.metrics.errors import check_pair
from learn2talk.metrics.pooling import correlation, pooled_value

SMOOTHING_FRAMES = 2.0
_KERNEL_REACH = 4.0  # standard deviations
_GAP_DECIMALS = 6  # of a mm: what float32 leaves of a still gap is not a movement

Array = NDArray[np.floating]


def lip_correlation(*, reference: Array, prediction: Array) -> float:
    """Lip PCC: Pearson correlation over time of the lip gaps of two (T, 40, 3); in [-1, 1].

    NaN where one of the gaps never changes (a still face has no correlation).
    """
    check_pair(prediction, reference)
    real, made = (lip_gap_mm(lips.astype(np.float64)) for lips in (reference, prediction))
    real, made = real - real.mean(), made - made.mean()
    scale = float(np.sqrt(np.square(real).sum() * np.square(made).sum()))
    # Rounding leaves a still gap with a tiny spread that correlates with anything.
    if scale < 1e-6 * len(real):
        return float("nan")
    return float((real * made).sum() / scale)


@dataclass(frozen=True)
class Misalignment:
    """Time between matched extrema of two lip gaps, as sums; sums before rates."""

    apart_ms: float
    """Sum over matches of the absolute time between the two extrema, ms."""
    matches: int
    """Pairs of extrema of one kind that the alignment joins; an extremum may be in several."""
    extrema: int
    """Extrema of the truth."""
    matched: int
    """Those of them that are in a match."""
    made_extrema: int
    """Extrema of the prediction."""
    made_matched: int
    """Those of them that are in a match."""

    def __add__(self, other: Misalignment) -> Misalignment:
        return Misalignment(
            self.apart_ms + other.apart_ms,
            self.matches + other.matches,
            self.extrema + other.extrema,
            self.matched + other.matched,
            self.made_extrema + other.made_extrema,
            self.made_matched + other.made_matched,
        )

    @property
    def mean_ms(self) -> float:
        """MTM: mean time between matched extrema, ms; NaN without a match."""
        return self.apart_ms / self.matches if self.matches else float("nan")

    @property
    def miss_rate(self) -> float:
        """Share of the truth's extrema without a match, which MTM does not punish; may be NaN."""
        return 1 - self.matched / self.extrema if self.extrema else float("nan")

    @property
    def extra_rate(self) -> float:
        """Share of the prediction's extrema without a match; NaN where it has none."""
        return 1 - self.made_matched / self.made_extrema if self.made_extrema else float("nan")


def temporal_misalignment(
    *, reference: Array, prediction: Array, fps: float, smoothing_frames: float = SMOOTHING_FRAMES
) -> Misalignment:
    """Mean temporal misalignment (MTM) of one clip as sums, with what it leaves out.

    Both gaps are smoothed and aligned by derivative dynamic time warping on first differences. A
    joined pair of extrema of one kind counts where the prediction's lies between the truth's
    neighbouring extrema. The figure of a corpus is here the mean over all matches; the released
    code takes the mean of clip means, and says nothing of the extrema that found no partner.

    Args:
        reference, prediction: float (T,), lip gaps in mm, T at least 1, on the same frames.
        fps: frames a second.
        smoothing_frames: standard deviation of the Gaussian, frames.

    Raises:
        ValueError: lengths differ, or there is no frame.
    """
    if reference.shape != prediction.shape or reference.ndim != 1 or not len(reference):
        raise ValueError(
            f"lip gaps have shapes {reference.shape} and {prediction.shape}; give two (T,) of the "
            "same frames, T at least 1"
        )
    real, made = (smoothed(gap, smoothing_frames) for gap in (reference, prediction))
    real_kind, made_kind = extrema(real), extrema(made)
    places = np.flatnonzero(real_kind)
    bounds = np.concatenate([[0], places, [len(real) - 1]])
    pairs = [
        (i, j)
        for i, j in warping_path(first_differences(real), first_differences(made))
        if real_kind[i] != 0 and real_kind[i] == made_kind[j]
    ]
    kept = []
    for i, j in pairs:
        at = int(np.searchsorted(places, i)) + 1
        if bounds[at - 1] <= j <= bounds[at + 1]:
            kept.append((i, j))
    return Misalignment(
        apart_ms=float(sum(abs(i - j) for i, j in kept)) * 1000.0 / fps,
        matches=len(kept),
        extrema=len(places),
        matched=len({i for i, _ in kept}),
        made_extrema=int(np.count_nonzero(made_kind)),
        made_matched=len({j for _, j in kept}),
    )


def smoothed(values: Array, deviation: float) -> Array:
    """Gaussian smoothing of (T,) with mirrored edges (d c b a | a b c d), to 1e-6 mm."""
    reach = int(_KERNEL_REACH * deviation + 0.5)
    if reach == 0:
        return np.round(values.astype(np.float64), _GAP_DECIMALS)
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / deviation))
    padded = np.pad(values.astype(np.float64), reach, mode="symmetric")
    return np.round(np.convolve(padded, kernel / kernel.sum(), mode="valid"), _GAP_DECIMALS)


def first_differences(values: Array) -> Array:
    """Change since the frame before, (T,); 0 at the first."""
    return np.diff(values, prepend=values[:1])


def extrema(values: Array) -> NDArray[np.int8]:
    """1 at each local maximum of (T,), -1 at each minimum, else 0; never at an end.

    A plateau counts once, at its middle (the earlier one of two).
    """
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values) != 0]))
    ends = np.concatenate([starts[1:], [len(values)]]) - 1
    rises = np.sign(np.diff(values[starts]))
    kind = np.zeros(len(values), dtype=np.int8)
    turns = np.flatnonzero(rises[:-1] != rises[1:]) + 1
    kind[(starts[turns] + ends[turns]) // 2] = rises[turns - 1]
    return kind


def warping_path(first: Array, second: Array) -> list[tuple[int, int]]:
    """Cheapest monotone alignment of (N,) with (M,) by absolute difference, from start to end.

    Dynamic time warping (Keogh and Pazzani 2001 for the derivative variant) with steps of one in
    either or both; of equal costs the step in both wins, then the step in the first.
    """
    rows, columns = len(first), len(second)
    cost = np.full((rows + 1, columns + 1), np.inf)
    cost[0, 0] = 0.0
    apart = np.abs(first[:, None] - second[None, :])
    # Cells of one anti-diagonal depend on the two before it only.
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(np.minimum(cost[i - 1, j], cost[i, j - 1]), cost[i - 1, j - 1])
        cost[i, j] = apart[i - 1, j - 1] + before
    path = []
    i_at, j_at = rows, columns
    while i_at > 0 and j_at > 0:
        path.append((i_at - 1, j_at - 1))
        steps = (cost[i_at - 1, j_at - 1], cost[i_at - 1, j_at], cost[i_at, j_at - 1])
        best = steps.index(min(steps))
        i_at, j_at = i_at - (best != 2), j_at - (best != 1)
    return path[::-1]


@dataclass(frozen=True)
class SpeechLipCorrelation:
    """SLCC, and how many clips it stands on."""

    value: float
    """Pearson correlation in [-1, 1]; NaN where nothing varies."""
    clips: int
    left_out: int
    """Clips without an intensity, or of identities with one clip or no spread: no z-score."""


def intensity_columns(
    lip: Array, speech: Array, identities: Sequence[str]
) -> tuple[Array, NDArray[np.bool_]]:
    """Columns (C, 6) of :func:`learn2talk.metrics.pooling.correlation` for SLCC, and who counts.

    Args:
        lip, speech: float (C,), lip and speech intensity of each clip; NaN leaves the clip out.
        identities: C names; each name's clips get mean 0 and deviation 1 (divisor n - 1).

    Returns:
        The columns, zero for clips left out, and bool (C,), True = the clip counts.

    Raises:
        ValueError: lengths differ.
    """
    if not len(lip) == len(speech) == len(identities):
        raise ValueError(
            f"{len(lip)} lip and {len(speech)} speech intensities of {len(identities)} clips; give "
            "one of each a clip"
        )
    names = np.asarray(identities)
    both = np.stack([lip, speech]).astype(np.float64)
    known = ~np.isnan(both).any(axis=0)
    scores = np.full(both.shape, np.nan)
    for name in np.unique(names):
        mine = (names == name) & known
        for row, values in enumerate(both):
            own = values[mine]
            spread = own.std(ddof=1) if len(own) > 1 else 0.0
            if spread > 1e-9 * max(1e-9, float(np.abs(own).max())):
                scores[row, mine] = (own - own.mean()) / spread
    counted = ~np.isnan(scores).any(axis=0)
    x, y = np.where(counted, scores, 0.0)
    return np.stack([counted.astype(np.float64), x, y, x * x, y * y, x * y], axis=1), counted


def speech_lip_correlation(
    lip: Array, speech: Array, identities: Sequence[str]
) -> SpeechLipCorrelation:
    """SLCC: correlation over clips of z-scored lip and speech intensity.

    Args:
        lip: float (C,), `lip_intensity_mm_s` of each clip.
        speech: float (C,), `speech_intensity` of each clip.
        identities: C names of speakers.

    Raises:
        ValueError: lengths differ.
    """
    columns, counted = intensity_columns(lip, speech, identities)
    value = pooled_value(columns, correlation)
    return SpeechLipCorrelation(value, int(counted.sum()), int((~counted).sum()))
