"""Which triangle is nearest to a point: an exact search, compiled by numba when it is first called.

Import it inside the function that searches. Axis letters: N points, F triangles.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def nearest(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The nearest triangle of each point; of several equally near, the first.

    A triangle's centroid lies on it, so the nearest centroid bounds the distance from above, and a
    triangle is looked at only where its bounding sphere comes closer: exact, and a few of F are
    measured for each point.

    Args:
        points: float64 (N, 3).
        corners: float64 (F, 3, 3), F 1 or more, each with an area.

    Returns:
        int64 (N,), 0 to F - 1.
    """
    count = corners.shape[0]
    centre, radius = np.empty((3, count)), np.empty(count)
    for f in range(count):
        for axis in range(3):
            centre[axis, f] = (corners[f, 0, axis] + corners[f, 1, axis] + corners[f, 2, axis]) / 3
        largest = 0.0
        for corner in range(3):
            squared = 0.0
            for axis in range(3):
                squared += (corners[f, corner, axis] - centre[axis, f]) ** 2
            largest = max(largest, squared)
        radius[f] = np.sqrt(largest)
    found = np.empty(points.shape[0], dtype=np.int64)
    away = np.empty(count)
    for n in range(points.shape[0]):
        _squares(points[n], centre, away)
        best, best_at = np.inf, 0
        bound = np.sqrt(away.min())
        for f in range(count):
            reach = bound + radius[f]
            if away[f] > reach * reach * (1.0 + 1e-9):  # rounding must not lose one
                continue
            squared = _squared_distance(points[n], corners[f])
            if squared < best:
                best, best_at = squared, f
                bound = min(bound, np.sqrt(squared))
        found[n] = best_at
    return found


@njit(cache=True, nogil=True, fastmath=True)
def _squares(point: np.ndarray, centre: np.ndarray, away: np.ndarray) -> None:
    """Squared distances (F,) of a point (3,) from centres (3, F); in one stride, for the CPU."""
    x, y, z = point[0], point[1], point[2]
    for f in range(centre.shape[1]):
        dx, dy, dz = centre[0, f] - x, centre[1, f] - y, centre[2, f] - z
        away[f] = dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True)
def _squared_distance(point: np.ndarray, corners: np.ndarray) -> float:
    """Squared distance of a point from a triangle: to its inside where the foot of the
    perpendicular lies in it, otherwise to the nearest of its sides."""
    side, other, away = corners[1] - corners[0], corners[2] - corners[0], point - corners[0]
    aa, ab, bb = (side * side).sum(), (side * other).sum(), (other * other).sum()
    pa, pb = (away * side).sum(), (away * other).sum()
    area = aa * bb - ab * ab
    u, v = (bb * pa - ab * pb) / area, (aa * pb - ab * pa) / area
    if u >= 0.0 and v >= 0.0 and u + v <= 1.0:
        left = away - u * side - v * other
        return (left * left).sum()
    best = np.inf
    for start in range(3):
        along = corners[(start + 1) % 3] - corners[start]
        to = point - corners[start]
        share = min(max((to * along).sum() / (along * along).sum(), 0.0), 1.0)
        left = to - share * along
        best = min(best, (left * left).sum())
    return best
