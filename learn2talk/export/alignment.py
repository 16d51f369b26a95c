"""Two faces laid over each other, and on which side of the mouth a vertex lies.

Axis letters: V vertices, P points. Distances in millimetres.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsr.video import fit_similarity as least_squares
from learn2talk.schema import CONTOUR_POINTS, FaceTemplate

_WELD_MM = 1e-3  # border vertices of two parts that lie this near are one vertex
_HALF = CONTOUR_POINTS // 2


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> scale * rotation @ x + translation, mm; rotation (3, 3) float64, proper."""

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def points(self, points: NDArray) -> NDArray[np.float64]:
        """Points (..., 3) of the source in the target's space."""
        return self.displacement(points) + self.translation

    def displacement(self, movement: NDArray) -> NDArray[np.float64]:
        """Displacements (..., 3) of the source in the target's space."""
        return self.scale * (np.asarray(movement, dtype=np.float64) @ self.rotation.T)

    @property
    def degrees(self) -> float:
        """Angle of the rotation, degrees."""
        cosine = (np.trace(self.rotation) - 1.0) / 2.0
        return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def align(source: NDArray, target: NDArray) -> Similarity:
    """Similarity from points (P, 3) to points (P, 3): nearest rotation, scale of their spreads.

    The rotation and translation are those of least squares; the scale is the ratio of the root mean
    square spreads, which, unlike that of least squares, does not shrink a face that differs in
    shape and is inverted when the two change places (Horn, 1987, section 2.D). Equal points give
    the identity exactly.

    Raises:
        ValueError: the points of one side lie on a line or in one place.
    """
    one, other = np.asarray(source, np.float64), np.asarray(target, np.float64)
    from_centre, to_centre = one.mean(axis=0), other.mean(axis=0)
    one, other = one - from_centre, other - to_centre
    for name, points in (("source", one), ("target", other)):
        spread = np.linalg.svd(points, compute_uv=False)
        if not spread[1] > 1e-6 * max(spread[0], 1e-9):
            raise ValueError(
                f"the {name}'s lip points lie on a line or in one place; check its regions "
                "'lips_outer' and 'lips_inner'"
            )
    if np.array_equal(source, target):
        return Similarity(1.0, np.eye(3), np.zeros(3))
    rotation = least_squares(one, other).rotation
    scale = float(np.sqrt((other**2).sum() / (one**2).sum()))
    return Similarity(scale, rotation, to_centre - scale * rotation @ from_centre)


def same_topology(one: FaceTemplate, other: FaceTemplate) -> bool:
    """Whether vertex i of both is the same place of the face: same count, same triangles."""
    return len(one.vertices) == len(other.vertices) and np.array_equal(
        one.triangles, other.triangles
    )


def path_along_edges(
    vertices: NDArray, triangles: NDArray[np.int32], stops: Iterable[int]
) -> list[int]:
    """Vertices of the shortest way along edges through `stops` in order, both ends included.

    Raises:
        ValueError: no way of edges joins two stops.
    """
    neighbours = _neighbours(vertices, triangles)
    stops = list(stops)
    path = stops[:1]
    for goal in stops[1:]:
        away = _distances(neighbours, [goal])
        if not np.isfinite(away[path[-1]]):
            raise ValueError(f"no edges join vertices {path[-1]} and {goal}; check the mesh")
        while path[-1] != goal:
            path.append(min(neighbours[path[-1]], key=lambda edge: away[edge[0]] + edge[1])[0])
    return path


def upper_share(template: FaceTemplate) -> NDArray[np.float64]:
    """How far each vertex belongs to the upper lip's side of the mouth, (V,) in [0, 1].

    1 on the upper lip, 0 on the lower lip, 0.5 at the corners, from the distances to both along the
    surface: the lips lie within a tenth of a millimetre and belong to different sides. NaN where no
    path leads to the lips (teeth, tongue, eyes).
    """
    outer, inner = template.region("lips_outer"), template.region("lips_inner")
    lower = np.concatenate([ids[: _HALF + 1] for ids in (outer, inner)])
    upper = np.concatenate([np.append(ids[_HALF:], ids[0]) for ids in (outer, inner)])
    edges = _neighbours(template.vertices, template.triangles)
    below, above = _distances(edges, lower.tolist()), _distances(edges, upper.tolist())
    total = below + above
    reached = np.isfinite(total)
    share = np.full(len(total), np.nan)
    share[reached] = np.where(
        total[reached] > 1e-9, below[reached] / np.maximum(total[reached], 1e-9), 0.5
    )
    return share


def _neighbours(vertices: NDArray, triangles: NDArray[np.int32]) -> list[list[tuple[int, float]]]:
    """For each vertex its neighbours along the edges with their distances; seams are welded."""
    ends = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    pairs, uses = np.unique(np.sort(ends, axis=1), axis=0, return_counts=True)
    border = np.unique(pairs[uses == 1])
    place = np.round(vertices[border] / _WELD_MM).astype(np.int64)
    _, first, group = np.unique(place, axis=0, return_index=True, return_inverse=True)
    seams = np.stack([border, border[first[group.reshape(-1)]]], axis=1)
    pairs = np.concatenate([pairs, seams[seams[:, 0] != seams[:, 1]]])
    step = vertices[pairs[:, 0]].astype(np.float64) - vertices[pairs[:, 1]]
    length = np.linalg.norm(step, axis=1)
    found: list[list[tuple[int, float]]] = [[] for _ in vertices]
    for (one, other), away in zip(pairs.tolist(), length.tolist(), strict=True):
        found[one].append((other, away))
        found[other].append((one, away))
    return found


def _distances(
    neighbours: list[list[tuple[int, float]]], starts: Iterable[int]
) -> NDArray[np.float64]:
    """Shortest way along edges from any start to each vertex, (V,); infinite where there is none
    (Dijkstra, 1959)."""
    found = np.full(len(neighbours), np.inf).tolist()
    queue = [(0.0, start) for start in set(starts)]
    for _, start in queue:
        found[start] = 0.0
    while queue:
        away, vertex = heapq.heappop(queue)
        if away > found[vertex]:
            continue
        for other, step in neighbours[vertex]:
            if away + step < found[other]:
                found[other] = away + step
                heapq.heappush(queue, (found[other], other))
    return np.array(found)
