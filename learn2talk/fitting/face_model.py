"""A blend-shape face and where MediaPipe's landmarks lie on it.

Axis letters: V vertices, I identity shapes, E expression shapes, N anchors, M samples of a path.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsr.tracking import LIPS_INNER, LIPS_OUTER
from learn2talk.schema import FaceTemplate

LIP_LANDMARKS = LIPS_OUTER + LIPS_INNER
# How much a landmark counts beside a lip point: eyelids and brows say little about speech, the
# corners of the eyes and the nose hold the head, few points stand for the whole chin.
LANDMARK_WEIGHT: dict[int, float] = {
    **dict.fromkeys(LIP_LANDMARKS, 1.0),
    **dict.fromkeys((33, 133, 362, 263), 1.0),
    **dict.fromkeys((168, 197, 4, 2, 98, 327), 1.0),
    **dict.fromkeys((148, 152, 377), 1.5),
    **dict.fromkeys((160, 158, 153, 144, 385, 387, 373, 380), 0.5),
    **dict.fromkeys((70, 63, 105, 66, 107, 336, 296, 334, 293, 300), 0.3),
}
# Where MediaPipe's lip points lie on the way from a corner of the mouth to the middle of a lip, as
# shares of its length: from the canonical face model that Google publishes with the landmarker.
LIP_SHARES = {
    ("outer", "lower"): (0.0, 0.135, 0.314, 0.541, 0.769, 1.0),
    ("outer", "upper"): (0.0, 0.134, 0.321, 0.539, 0.786, 1.0),
    ("inner", "lower"): (0.0, 0.187, 0.356, 0.571, 0.781, 1.0),
    ("inner", "upper"): (0.0, 0.161, 0.365, 0.580, 0.789, 1.0),
}


@dataclass(frozen=True, eq=False)
class FaceModel:
    """face = template + identity coefficients x identities + weights x expressions.

    template: the mean neutral face. identities float32 (I, V, 3): mm at one standard deviation.
    expressions float32 (E, V, 3): mm at weight 1, weights are 0 to 1. names: of the E expressions.
    anchors: MediaPipe landmark -> vertex that shows the same point of a face; the 40 lip points
    are the template's own and need not be given.

    Raises ValueError when a shape disagrees, a value is not finite, or an id does not exist.
    """

    template: FaceTemplate
    identities: NDArray[np.float32]
    expressions: NDArray[np.float32]
    names: tuple[str, ...]
    anchors: Mapping[int, int]

    def __post_init__(self) -> None:
        topology, count = self.template.topology, len(self.template.vertices)
        for name in ("identities", "expressions"):
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if array.ndim != 3 or array.shape[1:] != (count, 3):
                raise ValueError(
                    f"face model {topology!r}: {name} have shape {array.shape}; its template has "
                    f"{count} vertices: give (any, {count}, 3)"
                )
            object.__setattr__(self, name, array)
        for name, array in (
            ("template", self.template.vertices),
            ("identities", self.identities),
            ("expressions", self.expressions),
        ):
            if not np.isfinite(array).all():
                raise ValueError(f"face model {topology!r}: {name} hold NaN or infinite values")
        if len(self.names) != len(self.expressions):
            raise ValueError(
                f"face model {topology!r}: {len(self.names)} names for {len(self.expressions)} "
                "expressions; give one each"
            )
        lips = dict(zip(LIP_LANDMARKS, self.template.lip_ids.tolist(), strict=True))
        anchors = {**self.anchors, **lips}
        for landmark, vertex in anchors.items():
            if landmark not in LANDMARK_WEIGHT or not 0 <= vertex < count:
                raise ValueError(
                    f"face model {topology!r}: anchor {landmark}: {vertex} is not one of the "
                    f"landmarks that are fitted with a vertex of 0 to {count - 1}"
                )
        object.__setattr__(self, "anchors", anchors)

    @property
    def landmark_ids(self) -> NDArray[np.int64]:
        """MediaPipe ids (N,) of the anchors."""
        return np.array(list(self.anchors), dtype=np.int64)

    @property
    def anchor_ids(self) -> NDArray[np.int64]:
        """Vertex ids (N,) of the anchors."""
        return np.array(list(self.anchors.values()), dtype=np.int64)

    @property
    def importance(self) -> NDArray[np.float64]:
        """How much each anchor counts, (N,)."""
        return np.array([LANDMARK_WEIGHT[landmark] for landmark in self.anchors])

    @property
    def is_lip(self) -> NDArray[np.bool_]:
        """Which anchors are lip points, (N,)."""
        return np.isin(self.landmark_ids, LIP_LANDMARKS)


def anchor_points(model: FaceModel, landmarks: NDArray) -> NDArray[np.float64]:
    """The fitted landmarks float64 (..., N, 3) of MediaPipe's (..., 478, 3)."""
    return landmarks[..., model.landmark_ids, :].astype(np.float64)


def mesh_path(vertices: NDArray, faces: NDArray, through: Sequence[int]) -> list[int]:
    """Vertices of the shortest way along the edges of a mesh through given vertices, in order.

    Args:
        vertices: (V, 3). faces: int (F, 3 or 4). through: two vertices or more.

    Raises:
        ValueError: two of them are not connected.
    """
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    near = np.abs(vertices - vertices[list(through)].mean(axis=0)).max(axis=1)
    reach = 2.0 * near[list(through)].max()  # a contour does not leave its own surroundings
    ends = ends[(near[ends] <= reach).all(axis=1)]
    lengths = np.linalg.norm(vertices[ends[:, 0]] - vertices[ends[:, 1]], axis=1)
    neighbours: dict[int, list[tuple[int, float]]] = {}
    for (one, other), length in zip(ends.tolist(), lengths.tolist(), strict=True):
        neighbours.setdefault(one, []).append((other, length))
        neighbours.setdefault(other, []).append((one, length))
    path = [int(through[0])]
    for start, goal in zip(through[:-1], through[1:], strict=True):
        path += _shortest(neighbours, int(start), int(goal))[1:]
    return path


def _shortest(
    neighbours: Mapping[int, Sequence[tuple[int, float]]], start: int, goal: int
) -> list[int]:
    best, before, queue = {start: 0.0}, {start: start}, [(0.0, start)]
    while queue:
        length, vertex = heapq.heappop(queue)
        if vertex == goal:
            path = [goal]
            while path[-1] != start:
                path.append(before[path[-1]])
            return path[::-1]
        for other, step in neighbours.get(vertex, ()):
            if length + step < best.get(other, np.inf):
                best[other], before[other] = length + step, vertex
                heapq.heappush(queue, (length + step, other))
    raise ValueError(f"vertices {start} and {goal} are not connected by edges of the mesh")


def at_shares(vertices: NDArray, path: Sequence[int], shares: Sequence[float]) -> list[int]:
    """The vertices of a path nearest to given shares (M,) of its length, each taken once."""
    steps = np.linalg.norm(np.diff(vertices[list(path)], axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    chosen = [int(np.abs(along - share).argmin()) for share in shares]
    if len(set(chosen)) != len(chosen):
        raise ValueError(
            f"a path of {len(path)} vertices has no {len(shares)} different ones at the shares "
            f"{tuple(shares)}; the mesh is too coarse there"
        )
    return [int(path[index]) for index in chosen]
