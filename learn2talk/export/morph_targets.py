"""A motion as a few morph targets and their weights over time. Axis letters: T frames, V vertices,
R vertices that move, K targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STILL_MM = 1e-5  # a vertex that never leaves the template by more does not move
_POWER_STEPS, _SPARE = 6, 12


@dataclass(frozen=True, eq=False)
class MorphTargets:
    """motion[t] = template + weights[t] @ targets, within the error.

    ids (R,) int64: the vertices that move. targets (K, R, 3) float32, mm. weights (T, K) float32 in
    [0, 1]: players that hold a weight to that range show the motion unchanged. The first target is
    an offset whose weight is always 1 (0 targets where nothing moves). error_mean_mm, error_max_mm:
    distance from the motion over frames and all vertices.
    """

    ids: NDArray[np.int64]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    error_mean_mm: float
    error_max_mm: float

    def displacement(self) -> NDArray[np.float64]:
        """What the weights and targets give, (T, R, 3) mm."""
        return np.einsum(
            "tk,krx->trx", self.weights.astype(np.float64), self.targets.astype(np.float64)
        )


def factorise(
    displacement: NDArray[np.float64], *, max_targets: int, tolerance_mm: float
) -> MorphTargets:
    """Principal components of a motion, shifted and scaled so that all weights lie in [0, 1].

    Args:
        displacement: (T, V, 3) mm, from the template.
        max_targets: at most so many, 2 or more.
        tolerance_mm: stop at fewer once no vertex is further off in any frame.

    Returns:
        the targets; their error is measured after rounding to float32.

    Raises:
        ValueError: max_targets below 2, or a tolerance that is negative.
    """
    if max_targets < 2 or not tolerance_mm >= 0:
        raise ValueError(
            f"morph targets: max_targets is {max_targets} and tolerance_mm {tolerance_mm}; give 2 "
            "or more, and 0 or more"
        )
    frames, count = displacement.shape[:2]
    ids = np.flatnonzero(np.abs(displacement).max(axis=(0, 2)) > STILL_MM)
    moving = displacement[:, ids].reshape(frames, -1)
    if not len(ids):
        empty = np.zeros((frames, 0), np.float32)
        still = float(np.linalg.norm(displacement, axis=2).max())
        return MorphTargets(ids, np.zeros((0, 0, 3), np.float32), empty, still, still)
    mean = moving.mean(axis=0)
    scores, axes = _principal(moving - mean, max_targets - 1)
    rest = moving - mean
    used = 0
    while used < len(axes) and _longest(rest) > tolerance_mm:
        rest = rest - scores[:, used, None] * axes[used]
        used += 1
    scores, axes = scores[:, :used], axes[:used]
    low, span = scores.min(axis=0), np.ptp(scores, axis=0)
    targets = np.concatenate([(mean + low @ axes)[None], span[:, None] * axes])
    weights = np.concatenate([np.ones((frames, 1)), (scores - low) / span], axis=1)
    found = MorphTargets(
        ids,
        targets.reshape(len(targets), -1, 3).astype(np.float32),
        np.clip(weights, 0.0, 1.0).astype(np.float32),
        0.0,
        0.0,
    )
    off = np.linalg.norm(found.displacement() - displacement[:, ids], axis=2)
    return MorphTargets(
        ids, found.targets, found.weights, float(off.sum() / (frames * count)), float(off.max())
    )


def _longest(rows: NDArray[np.float64]) -> float:
    """The longest displacement in (T, 3 R), mm."""
    return float(np.sqrt((rows.reshape(len(rows), -1, 3) ** 2).sum(axis=2).max()))


def _principal(
    rows: NDArray[np.float64], most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (T, K) and orthonormal axes (K, N) of centred rows (T, N), K <= most, largest first.

    Subspace iteration from fixed random directions (Halko, Martinsson, Tropp, 2011): the cost grows
    with the length of the film, not with its square. Axes of no variance are left out.
    """
    width = min(most + _SPARE, *rows.shape)
    start = np.random.default_rng(0).standard_normal((rows.shape[1], width))
    basis = np.linalg.qr(rows @ start).Q
    for _ in range(_POWER_STEPS):
        basis = np.linalg.qr(rows @ np.linalg.qr(rows.T @ basis).Q).Q
    left, size, axes = np.linalg.svd(basis.T @ rows, full_matrices=False)
    keep = min(most, int((size > 1e-9 * max(size[0], 1e-12)).sum())) if size[0] > 1e-9 else 0
    return (basis @ left[:, :keep]) * size[:keep], axes[:keep]
