"""Displacements of one face carried over to a face of another topology.

Axis letters: T frames, V vertices, C control vertices of the source, M vertices of the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learn2talk.export.alignment import Similarity, align, same_topology, upper_share
from learn2talk.schema import FaceTemplate

# Control vertices: so many within so many mouth widths of the mouth, beside the 40 lip points.
_TIERS = ((0.65, 240), (1.2, 160), (2.4, 200))
_SEAM = (0.35, 0.65)  # share of the upper side between which the two fields are blended
_FADE = (0.2, 0.8)  # mouth widths from the nearest control over which movement fades out
_EQUAL = 1e-4  # mouth widths: distances that differ by less are the same
_BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Transfer:
    """A linear map from displacements of `source` to displacements of `target`.

    alignment: the source's lips onto the target's at rest. controls (C,) and ids (M,): vertices of
    source and target. operator (M, C) float64, rows sum to 1 or, where movement fades out, less;
    None where both have the same topology, and vertex i follows vertex i.
    """

    source: FaceTemplate
    target: FaceTemplate
    alignment: Similarity
    controls: NDArray[np.int64]
    ids: NDArray[np.int64]
    operator: NDArray[np.float64] | None

    def apply(self, displacement: NDArray) -> NDArray[np.float64]:
        """Displacement (T, V of the source, 3) mm as (T, V of the target, 3) mm.

        The canonical lip points follow exactly; the rest by interpolation.
        """
        turned = self.alignment.displacement(displacement[:, self.controls])
        if self.operator is None:
            return turned
        moved = np.zeros((len(displacement), len(self.target.vertices), 3))
        active = np.flatnonzero(turned.any(axis=(0, 2)))
        operator = self.operator[:, active]
        for frame, there in zip(turned[:, active], moved, strict=True):
            there[self.ids] = operator @ frame
        moved[:, self.target.lip_ids] = self.alignment.displacement(
            displacement[:, self.source.lip_ids]
        )
        return moved


def make_transfer(source: FaceTemplate, target: FaceTemplate) -> Transfer:
    """How the vertices of a target follow those of a source.

    The faces are aligned by their 40 lip points (rotation, translation, one scale) and the source
    is bent so that its lips lie on the target's. Two fields of displacement, one of the upper lip's
    side of the face and one of the lower's, are interpolated from the source's vertices with the
    biharmonic kernel |x| and a constant; they are blended away from the mouth, where they agree.
    Farther than 0.8 mouth widths from the source's face nothing moves.

    Raises:
        ValueError: one of the templates has no canonical lip contours, or they are degenerate.
    """
    alignment = align(source.lips, target.lips)
    if same_topology(source, target):
        everything = np.arange(len(source.vertices))
        return Transfer(source, target, alignment, everything, everything, None)
    side = upper_share(source)
    width = float(np.linalg.norm(target.lips[10] - target.lips[0]))
    laid = _bent(alignment.points(source.vertices), source.lip_ids, target.lips, width)
    controls = _controls(source, np.isfinite(side))
    there = upper_share(target)
    gap = _nearest(target.vertices.astype(np.float64), laid[controls])
    fade = 1.0 - _smoothstep((gap / width - _FADE[0]) / (_FADE[1] - _FADE[0]))
    ids = np.flatnonzero(np.isfinite(there) & (fade > 0))
    upper = _smoothstep((there[ids] - _SEAM[0]) / (_SEAM[1] - _SEAM[0]))
    places = target.vertices[ids].astype(np.float64)
    operator = np.zeros((len(ids), len(controls)))
    for share, mine in (
        (upper, side[controls] >= _SEAM[0]),
        (1.0 - upper, side[controls] <= _SEAM[1]),
    ):
        rows = np.flatnonzero(share > 0)
        field = _interpolator(laid[controls[mine]], places[rows])
        operator[np.ix_(rows, np.flatnonzero(mine))] += share[rows, None] * field
    return Transfer(source, target, alignment, controls, ids, fade[ids, None] * operator)


def _smoothstep(value: NDArray[np.float64]) -> NDArray[np.float64]:
    share = np.clip(value, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def _pairwise(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (N, P); from differences, since nearby points must not lose digits."""
    found = np.empty((len(one), len(other)))
    for start in range(0, len(one), _BLOCK):
        block = slice(start, start + _BLOCK)
        found[block] = np.sqrt(
            sum((one[block, None, axis] - other[None, :, axis]) ** 2 for axis in range(3))
        )
    return found


def _nearest(points: NDArray[np.float64], controls: NDArray[np.float64]) -> NDArray[np.float64]:
    return _pairwise(points, controls).min(axis=1)


def _bent(
    points: NDArray[np.float64],
    lip_ids: NDArray[np.int32],
    lips: NDArray[np.float32],
    width: float,
) -> NDArray[np.float64]:
    """Aligned points with the lips moved exactly onto `lips`; the correction dies out over a mouth
    width. The kernel exp(-r / width) stays regular for lips a tenth of a millimetre apart."""
    missing = lips - points[lip_ids]
    kernel = np.exp(-_pairwise(points[lip_ids], points[lip_ids]) / width)
    weights = np.linalg.solve(kernel, missing)
    bent = points + np.exp(-_pairwise(points, points[lip_ids]) / width) @ weights
    bent[lip_ids] = lips
    return bent


def _controls(source: FaceTemplate, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Vertices of the source that carry the field: the lips, then farthest points, denser at the
    mouth. Distances are in mouth widths, and of equal ones the first vertex is taken, so that
    neither size nor place nor the target change the choice."""
    width = np.linalg.norm(source.lips[10] - source.lips[0])
    points = source.vertices.astype(np.float64) / width
    away = np.linalg.norm(points - source.lips.mean(axis=0) / width, axis=1)
    away[~usable] = np.inf
    inside = source.regions.get("mouth_inside", np.zeros(0, np.int32))
    away[inside] = np.maximum(away[inside], _TIERS[-2][0] + 1e-3)  # the skin comes first
    chosen = list(dict.fromkeys(source.lip_ids.tolist()))
    for reach, count in _TIERS:
        pool = np.flatnonzero(away <= reach)
        gap = _nearest(points[pool], points[chosen])
        for _ in range(min(count, len(pool))):
            best = int(np.flatnonzero(gap >= gap.max() - _EQUAL)[0])
            if gap[best] < 10 * _EQUAL:
                break
            chosen.append(int(pool[best]))
            gap = np.minimum(gap, np.linalg.norm(points[pool] - points[pool[best]], axis=1))
    return np.array(chosen)


def _interpolator(
    controls: NDArray[np.float64], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(M, C): values at the places from values at the controls, kernel |x| with a constant."""
    count = len(controls)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = _pairwise(controls, controls)
    system[count, :count] = system[:count, count] = 1.0
    values = np.concatenate([_pairwise(places, controls), np.ones((len(places), 1))], axis=1)
    return np.linalg.solve(system.T, values.T).T[:, :count]
