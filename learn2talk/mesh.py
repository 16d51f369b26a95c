"""Triangle meshes as arrays: topology from grids, normals, and checks. Pure functions, no files.

Axis letters: V vertices, F triangles, T frames. Coordinates: millimetres, x to the image's right,
y up, z to the viewer; a triangle is counter-clockwise seen from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def grid_triangles(rows: int, columns: int, *, closed: bool) -> np.ndarray:
    """Triangles of a grid of vertices stored row by row.

    Args:
        rows: number of rows, 2 or more.
        columns: vertices in a row, 2 or more (3 where closed).
        closed: whether the last column joins the first (a tube) or not (a sheet).

    Returns:
        int32 (F, 3), counter-clockwise where columns run counter-clockwise and rows outward.
    """
    if rows < 2 or columns < (3 if closed else 2):
        raise ValueError(
            f"a grid of {rows} rows x {columns} columns has no triangles; give 2 rows or more and "
            f"{3 if closed else 2} columns or more"
        )
    row = np.arange(rows - 1)[:, None] * columns
    column = np.arange(columns if closed else columns - 1)[None, :]
    after = (column + 1) % columns
    inner, inner_after = row + column, row + after
    outer, outer_after = inner + columns, inner_after + columns
    first = np.stack([inner, outer, outer_after], axis=-1).reshape(-1, 3)
    second = np.stack([inner, outer_after, inner_after], axis=-1).reshape(-1, 3)
    return np.concatenate([first, second]).astype(np.int32)


def fan_triangles(centre: int, ring: np.ndarray) -> np.ndarray:
    """Triangles int32 (N, 3) joining ``centre`` to a closed counter-clockwise ring of N."""
    ring = np.asarray(ring, dtype=np.int32)
    return np.stack([np.full_like(ring, centre), ring, np.roll(ring, -1)], axis=-1)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals, the mean of the adjacent triangles' weighted by their area.

    Args:
        vertices: (..., V, 3) mm; triangles: int (F, 3).

    Returns:
        float32 (..., V, 3); a vertex of no triangle, or of degenerate ones only, gets (0, 0, 1).
    """
    corners = vertices[..., triangles, :].astype(np.float64)
    face = np.cross(
        corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    )
    normals = np.zeros(vertices.shape, dtype=np.float64)
    moved = np.moveaxis(normals, -2, 0)  # a view: vertices first, for add.at
    for corner in range(3):
        np.add.at(moved, triangles[:, corner], np.moveaxis(face, -2, 0))
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    unit = np.where(length > 1e-9, normals / np.maximum(length, 1e-9), np.array([0.0, 0.0, 1.0]))
    return unit.astype(np.float32)


def undirected_edges(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every edge once, int64 (E, 2) with the smaller vertex first, and how many triangles share it.

    The second, int (E,), is 1 or 2 everywhere in a manifold mesh.
    """
    ends = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64), axis=1)
    # One number an edge: sorting pairs is six times slower.
    codes, uses = np.unique(ends[:, 0] << 32 | ends[:, 1], return_counts=True)
    return np.stack([codes >> 32, codes & 0xFFFFFFFF], axis=1), uses


def edge_uses(triangles: np.ndarray) -> np.ndarray:
    """How many triangles share each undirected edge: int (E,). All 1 or 2 in a manifold mesh."""
    return undirected_edges(triangles)[1]


def triangle_neighbours(triangles: np.ndarray) -> np.ndarray:
    """The triangle beyond each edge: int32 (F, 3), edge k runs from corner k to the next.

    -1 where there is none, or more than one (an edge that three triangles share has no other side).
    """
    count = len(triangles)
    ends = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1), axis=-1)
    _, edge, uses = np.unique(ends.reshape(-1, 2), axis=0, return_inverse=True, return_counts=True)
    edge = edge.reshape(-1)
    owners = np.repeat(np.arange(count), 3)
    total = np.zeros(len(uses), dtype=np.int64)
    np.add.at(total, edge, owners)
    beyond = np.where(uses[edge] == 2, total[edge] - owners, -1)  # of two owners, the other
    return beyond.reshape(count, 3).astype(np.int32)


@dataclass
class MeshAssembly:
    """Collects parts, each with its own vertices, into one mesh with named regions."""

    vertices: list[np.ndarray] = field(default_factory=list)
    triangles: list[np.ndarray] = field(default_factory=list)
    regions: dict[str, list[np.ndarray]] = field(default_factory=dict)
    num_vertices: int = 0

    def add(self, vertices: np.ndarray, triangles: np.ndarray, *regions: str) -> int:
        """Add a part and return the index of its first vertex.

        Args:
            vertices: (N, 3) mm; triangles: (F, 3) indices into them.
            regions: names that all its vertices join.
        """
        start = self.num_vertices
        count = len(vertices)
        self.vertices.append(np.asarray(vertices, dtype=np.float64))
        self.triangles.append(np.asarray(triangles, dtype=np.int32) + start)
        for name in regions:
            self.regions.setdefault(name, []).append(np.arange(start, start + count))
        self.num_vertices += count
        return start
