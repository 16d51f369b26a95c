"""The lip contours of any face mesh: 20 + 20 vertices in the canonical order, from landmarks.

The canonical order begins at the image-left corner of the mouth, runs along the lower lip to the
image-right corner (point 10) and back along the upper lip. What people have instead are the 20
mouth landmarks of the 68-point markup (Multi-PIE, iBUG), or other landmarks along the lips. The
contour between two neighbouring landmarks is the shortest way over the mesh's edges; 11 points are
taken from each lip, as evenly by length as its vertices allow, the corners shared. Every point is
a vertex: it moves with the mesh and needs no weights.

Pure functions, no files. Axis letters: V vertices, F triangles, N ids.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from learn2talk.mesh import undirected_edges
from learn2talk.schema import CONTOUR_POINTS

HALF = CONTOUR_POINTS // 2  # steps from corner to corner
MOUTH_LANDMARKS = 20  # points 48 to 67 of the 68-point markup
BACKWARD_SHARE = 0.1  # of the mouth's width that a contour may run back, at rounded corners


class MeshEdges:
    """The edges of a mesh with their lengths, to find the shortest way from vertex to vertex."""

    def __init__(self, vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> None:
        ends, _ = undirected_edges(triangles)
        lengths = np.linalg.norm(vertices[ends[:, 0]] - vertices[ends[:, 1]], axis=1)
        both = np.concatenate([ends, ends[:, ::-1]])
        order = np.argsort(both[:, 0], kind="stable")
        self._to = both[order, 1].tolist()
        self._length = np.concatenate([lengths, lengths])[order].tolist()
        self._start = np.searchsorted(both[order, 0], np.arange(len(vertices) + 1)).tolist()

    def path(self, start: int, end: int) -> tuple[list[int], float]:
        """Vertices of the shortest way, both ends included, and its length.

        Raises:
            ValueError: the two are not connected.
        """
        nearest: dict[int, float] = {start: 0.0}
        before: dict[int, int] = {}
        waiting = [(0.0, start)]
        while waiting:
            distance, vertex = heapq.heappop(waiting)
            if vertex == end:
                way = [end]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1], distance
            if distance > nearest[vertex]:
                continue
            for edge in range(self._start[vertex], self._start[vertex + 1]):
                other, further = self._to[edge], distance + self._length[edge]
                if further < nearest.get(other, np.inf):
                    nearest[other], before[other] = further, vertex
                    heapq.heappush(waiting, (further, other))
        raise ValueError(
            f"vertices {start} and {end} are not connected by edges; landmarks must lie on one "
            "piece of the mesh"
        )

    def around(self, start: Sequence[int], fence: set[int]) -> set[int]:
        """Every vertex that can be reached from ``start`` without stepping on ``fence``."""
        found = set(start) - fence
        waiting = list(found)
        while waiting:
            vertex = waiting.pop()
            new = set(self._to[self._start[vertex] : self._start[vertex + 1]]) - found - fence
            found |= new
            waiting.extend(new)
        return found


def lip_contours(
    vertices: NDArray[np.floating],
    triangles: NDArray[np.integer],
    mouth_landmarks: Sequence[int] | NDArray[np.integer],
) -> dict[str, NDArray[np.int32]]:
    """Both canonical contours from the mouth landmarks of the 68-point markup.

    Args:
        vertices: (V, 3) at rest; x to the image's right, y up.
        triangles: (F, 3).
        mouth_landmarks: vertex ids (20,) of points 48 to 67: from the image-left corner along the
            upper lip's outer edge to the right corner and back along the lower lip; then the same
            inside (60 the left inner corner, 64 the right one).

    Returns:
        ``lips_outer`` and ``lips_inner``, int32 (20,) each, and ``lips``: both rings with all
        vertices between them, ascending.

    Raises:
        ValueError: not 20 landmarks, a lip with fewer than 11 vertices, or another order.
    """
    ids = [int(i) for i in mouth_landmarks]
    if len(ids) != MOUTH_LANDMARKS or len(set(ids)) != MOUTH_LANDMARKS:
        raise ValueError(
            f"there are {len(ids)} mouth landmarks, {len(set(ids))} of them different; give "
            f"{MOUTH_LANDMARKS} vertices: points 48 to 67 of the 68-point markup"
        )
    if min(ids) < 0 or max(ids) >= len(vertices):
        raise ValueError(
            f"mouth landmarks are vertices {min(ids)} to {max(ids)}, but the mesh has "
            f"{len(vertices)}"
        )
    parts = {
        "lips_outer": ([ids[0], *ids[11:5:-1]], ids[:7]),
        "lips_inner": ([ids[12], ids[19], ids[18], ids[17], ids[16]], ids[12:17]),
    }
    return contours_through(vertices, triangles, parts)


def contours_through(
    vertices: NDArray[np.floating],
    triangles: NDArray[np.integer],
    landmarks: Mapping[str, tuple[Sequence[int], Sequence[int]]],
) -> dict[str, NDArray[np.int32]]:
    """The regions of :func:`lip_contours` from any landmarks along the lips.

    Args:
        vertices, triangles: the mesh at rest.
        landmarks: ``lips_outer`` and ``lips_inner``: landmarks of the lower and of the upper lip,
            both from the image-left to the image-right corner, corners included.
    """
    edges = MeshEdges(vertices, triangles)
    rings: dict[str, list[int]] = {}
    regions: dict[str, NDArray[np.int32]] = {}
    for name, (lower, upper) in landmarks.items():
        below, above = _ways(edges, lower, upper, name)
        chosen = _evenly(below, vertices) + _evenly(above, vertices)[-2:0:-1]
        regions[name] = np.array(chosen, dtype=np.int32)
        rings[name] = below + above[1:-1]
    outer, inner = regions["lips_outer"], regions["lips_inner"]
    check_contours(vertices, triangles, outer, inner, edges)
    lips = set(rings["lips_outer"]) | set(rings["lips_inner"])
    for middle in (HALF // 2, HALF + HALF // 2):
        between = edges.path(int(outer[middle]), int(inner[middle]))[0]
        lips |= edges.around([v for v in between if v not in lips], lips)
    regions["lips"] = np.array(sorted(lips), dtype=np.int32)
    return regions


def _ways(
    edges: MeshEdges, lower: Sequence[int], upper: Sequence[int], name: str
) -> tuple[list[int], list[int]]:
    """All vertices of the lower and of the upper lip's edge, from corner to corner.

    Where both run together at a corner (a landmark beside the mouth), they begin where they part.
    """
    halves: list[list[int]] = []
    for side, anchors in (("lower", lower), ("upper", upper)):
        way = [int(anchors[0])]
        for start, end in zip(anchors, anchors[1:], strict=False):
            way += edges.path(int(start), int(end))[0][1:]
        if len(set(way)) != len(way):
            raise ValueError(
                f"{name}: the way along the {side} lip crosses itself at vertex "
                f"{next(v for v in way if way.count(v) > 1)}; check the order of the landmarks"
            )
        halves.append(way)
    below, above = halves
    while min(len(below), len(above)) > 1 and below[1] == above[1]:
        below, above = below[1:], above[1:]
    while min(len(below), len(above)) > 1 and below[-2] == above[-2]:
        below, above = below[:-1], above[:-1]
    for side, way in (("lower", below), ("upper", above)):
        if len(way) < HALF + 1:
            raise ValueError(
                f"{name}: the {side} lip has {len(way)} vertices from corner to corner, fewer "
                f"than {HALF + 1}; give the contour itself, {CONTOUR_POINTS} vertex ids"
            )
    if both := set(below[1:-1]) & set(above[1:-1]):
        raise ValueError(f"{name}: both lips run through vertex {min(both)}; check the landmarks")
    return below, above


def _evenly(way: list[int], vertices: NDArray[np.floating]) -> list[int]:
    """11 vertices of a way, ends included, each as near as can be to a tenth of its length."""
    steps = np.linalg.norm(np.diff(vertices[way], axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    chosen = [0]
    for k in range(1, HALF):
        low, high = chosen[-1] + 1, len(way) - 1 - (HALF - k)
        places = np.arange(low, high + 1)
        chosen.append(int(places[np.abs(along[places] - along[-1] * k / HALF).argmin()]))
    return [way[i] for i in (*chosen, len(way) - 1)]


def check_contours(
    vertices: NDArray[np.floating],
    triangles: NDArray[np.integer],
    outer: NDArray[np.integer],
    inner: NDArray[np.integer],
    edges: MeshEdges | None = None,
) -> None:
    """Refuse contours that are not in the canonical order on a face at rest.

    The inner contour's lips touch at rest, so that coordinates do not tell which is which: the
    middle of its first half must be nearer over the mesh to the lower lip's outer edge.

    Args:
        vertices, triangles: the mesh, x to the image's right, y up.
        outer, inner: vertex ids (20,). edges: of the mesh, where they are there already.

    Raises:
        ValueError: naming the contour, what is wrong, and the order that is needed.
    """
    needed = (
        "the order is image-left corner, lower lip, image-right corner, upper lip, with x to the "
        "image's right and y up"
    )
    for name, ids in (("lips_outer", outer), ("lips_inner", inner)):
        if len(ids) != CONTOUR_POINTS or len(set(np.asarray(ids).tolist())) != CONTOUR_POINTS:
            raise ValueError(
                f"{name} has {len(ids)} vertices, {len(set(np.asarray(ids).tolist()))} of them "
                f"different; give {CONTOUR_POINTS}"
            )
        x = np.asarray(vertices)[ids, 0]
        width = float(x[HALF] - x[0])
        back = BACKWARD_SHARE * abs(width)
        if width <= 0:
            raise ValueError(
                f"{name} begins at x {x[0]:.4g}, right of its point 10 (x {x[HALF]:.4g}): {needed}"
            )
        steps = np.diff(np.append(x, x[0]))
        steps[HALF:] *= -1.0
        if (steps < -back).any():
            raise ValueError(f"{name} runs back after its point {int(steps.argmin())}: {needed}")
    y = np.asarray(vertices)[outer, 1]
    if y[1:HALF].mean() >= y[HALF + 1 :].mean():
        raise ValueError(f"lips_outer has its first half above its second: {needed}")
    edges = edges or MeshEdges(vertices, triangles)
    middle = int(outer[HALF // 2])
    below, above = int(inner[HALF // 2]), int(inner[HALF + HALF // 2])
    if edges.path(middle, below)[1] >= edges.path(middle, above)[1]:
        raise ValueError(
            f"lips_inner has its points 5 and 15 on the wrong lips, seen from lips_outer: {needed}"
        )
