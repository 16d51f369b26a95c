"""Weights between 0 and 1 that fit a motion, all frames at once. Axis letters: K shapes, T frames.

scipy is no dependency of this project; the problem is convex and small, and coordinate descent
needs a dozen lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_SWEEPS = 20_000


def smooth_box_weights(
    products: NDArray[np.float64],
    moments: NDArray[np.float64],
    ceiling: NDArray[np.float64],
    *,
    smoothness: float,
    ridge: float,
    tolerance: float = 2e-6,
) -> NDArray[np.float64]:
    """Minimise sum_t w_t' A w_t - 2 c_t' w_t + ridge |w_t|^2 + smoothness |w_t - w_(t-1)|^2.

    Projected Gauss-Seidel: one weight of every second frame at a time, which do not touch each
    other. It converges to the only minimum, as ridge > 0 makes the problem strictly convex.

    Args:
        products: A, (K, K), symmetric and positive semidefinite.
        moments: c, (K, T).
        ceiling: largest value of each weight, (K, T), 0 or more.
        smoothness, ridge: 0 or more, more than 0; in the unit of A.
        tolerance: stop when no weight changes by more in a sweep.

    Returns:
        (K, T) from 0 to the ceiling.

    Raises:
        ValueError: smoothness or ridge out of range.
        RuntimeError: no convergence.
    """
    if smoothness < 0 or not ridge > 0:
        raise ValueError(
            f"smoothness is {smoothness} and ridge {ridge}; give 0 or more, and more than 0"
        )
    shapes, frames = moments.shape
    weights = np.zeros((shapes, frames))
    neighbours = np.full(frames, 2.0)
    neighbours[0] -= 1.0
    neighbours[-1] -= 1.0
    for _ in range(_MAX_SWEEPS):
        largest = 0.0
        for k in range(shapes):
            own = products[k, k]
            curve = weights[k]
            pull = moments[k] - products[k] @ weights + own * curve
            scale = own + ridge + smoothness * neighbours
            for every_second in (slice(0, None, 2), slice(1, None, 2)):
                beside = np.zeros(frames)
                beside[1:] += curve[:-1]
                beside[:-1] += curve[1:]
                best = np.clip((pull + smoothness * beside) / scale, 0.0, ceiling[k])[every_second]
                largest = max(largest, float(np.abs(best - curve[every_second]).max(initial=0.0)))
                curve[every_second] = best
        if largest <= tolerance:
            return weights
    raise RuntimeError(f"ARKit weights did not settle in {_MAX_SWEEPS} sweeps; report this motion")
