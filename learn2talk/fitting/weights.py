"""Expression weights over time: least squares within bounds, smooth, all frames at once.

Axis letters: T frames, M rows (coordinates of landmarks), E expressions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNSEEN_MM = 1.0  # a shape that moves all landmarks together by less is held at 0


def bounded_weights(
    design: NDArray,
    targets: NDArray,
    seen: NDArray,
    *,
    prior: float,
    smoothness: float,
    start: NDArray | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 3000,
) -> NDArray[np.float64]:
    """Weights w (T, E) in [0, 1] that explain the targets.

    Minimises sum over frames t and shapes e of seen_t |design w_t - target_t|^2 + prior w_te^2
    + smoothness |design_e|^2 (w_t-1,e - 2 w_te + w_t+1,e)^2 by accelerated projected gradients
    with restarts (Beck & Teboulle, SIAM J. Imaging Sciences 2(1) 2009; O'Donoghue & Candes, Found.
    Comput. Math. 15, 2015), in units in which every shape has the same size.

    Args:
        design: (M, E) mm at weight 1.
        targets: (T, M) mm; rows of frames that are not seen are not read.
        seen: (T,) weight of each frame, 0 = unknown; such frames follow their neighbours.
        prior: mm^2, 0 or more.
        smoothness: 0 or more.
        start: (T, E) to begin from; None: zeros.
        tolerance: stop when a step changes no weight by more than this.
        max_steps: at most this many.
    """
    length = np.linalg.norm(design, axis=0)
    kept = length > UNSEEN_MM
    frames, weights = len(targets), np.zeros((len(targets), design.shape[1]))
    if not kept.any() or not frames:
        return weights
    length = length[kept]
    unit = design[:, kept] / length
    gram = unit.T @ unit
    known = seen > 0
    wanted = np.zeros((frames, len(length)))
    wanted[known] = seen[known, None] * (targets[known] @ unit)
    ridge = prior / length**2
    steepest = np.linalg.eigvalsh(gram)[-1] * seen.max() + ridge.max() + 16.0 * smoothness
    now = np.zeros_like(wanted) if start is None else start[:, kept] * length
    ahead, momentum = now, 1.0
    for _ in range(max_steps):
        slope = seen[:, None] * (ahead @ gram) + ridge * ahead - wanted
        if smoothness > 0 and frames > 2:
            slope += smoothness * _bending(ahead)
        after = np.clip(ahead - slope / steepest, 0.0, length)
        step = after - now
        if ((ahead - after) * step).sum() > 0:  # the momentum leads uphill: begin it anew
            ahead, momentum = now, 1.0
            continue
        faster = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = after + (momentum - 1.0) / faster * step
        now, momentum = after, faster
        if np.abs(step / length).max() < tolerance:
            break
    weights[:, kept] = now / length
    return weights


def _bending(values: NDArray) -> NDArray:
    """Gradient of half the sum of squared second differences in time of (T, E)."""
    second = values[2:] - 2.0 * values[1:-1] + values[:-2]
    slope = np.zeros_like(values)
    slope[2:] += second
    slope[1:-1] -= 2.0 * second
    slope[:-2] += second
    return slope
