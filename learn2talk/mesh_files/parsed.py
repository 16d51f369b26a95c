"""What the readers return, and the checks that every mesh goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learn2talk.mesh import undirected_edges

NAMED = 3  # offenders in a message
SMALLEST_SHARE = 1e-12  # of the mesh's extent squared: a triangle below it has no area


@dataclass(frozen=True, eq=False)
class ParsedMesh:
    """A file's vertices (V, 3) and triangles (F, 3), unchecked; how many polygons were split."""

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    polygons_split: int = 0


@dataclass(frozen=True, eq=False)
class MeshFile:
    """A mesh as its file has it.

    path: where it was read. vertices (V, 3) float64 in the file's own unit and order. triangles
    (F, 3) int32. polygons_split: quads and larger polygons that became triangles, each a fan from
    its first vertex. warnings: what is odd about it and does no harm by itself, a line each.
    """

    path: Path
    vertices: NDArray[np.float64]
    triangles: NDArray[np.int32]
    polygons_split: int
    warnings: tuple[str, ...]


def corners_split(polygons: Sequence[Sequence[float]]) -> tuple[NDArray[np.int64], int]:
    """Triangles (F, 3) of polygons of 3 or more corners, in their order; how many were split."""
    triangles = [
        (corners[0], corners[i], corners[i + 1])
        for corners in polygons
        for i in range(1, len(corners) - 1)
    ]
    split = sum(len(corners) > 3 for corners in polygons)
    return np.array(triangles, dtype=np.int64).reshape(-1, 3), split


def checked(path: Path, mesh: ParsedMesh, num_vertices: int | None) -> MeshFile:
    """Refuse what no topology can be built on; note what is odd.

    Raises:
        ValueError: see :func:`learn2talk.mesh_files.read_mesh`.
    """
    vertices, triangles = mesh.vertices, mesh.triangles
    count = len(vertices)
    if count == 0 or len(triangles) == 0:
        raise ValueError(
            f"{path}: has {count} vertices and {len(triangles)} triangles; give a mesh with faces"
        )
    if num_vertices is not None and count != num_vertices:
        raise ValueError(
            f"{path}: has {count} vertices, the topology {num_vertices}; export it without merging "
            "or splitting vertices (texture seams, smoothing groups), or name its own topology"
        )
    broken = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(broken):
        raise ValueError(
            f"{path}: {len(broken)} vertices are not numbers, the first is {broken[0]}; export it "
            "again"
        )
    outside = (triangles < 0) | (triangles >= count)
    if outside.any():
        row = int(np.flatnonzero(outside.any(axis=1))[0])
        raise ValueError(
            f"{path}: {int(outside.any(axis=1).sum())} triangles name vertices that are not there, "
            f"the first {triangles[row].tolist()} of {count} (counted from 0); export it again"
        )
    ordered = np.sort(triangles, axis=1)
    twice = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if len(twice):
        raise ValueError(
            f"{path}: {len(twice)} triangles name a vertex twice, the first "
            f"{triangles[twice[0]].tolist()} (counted from 0); remove degenerate faces and export "
            "it again"
        )
    cleaned = triangles.astype(np.int32)
    return MeshFile(path, vertices, cleaned, mesh.polygons_split, _warnings(vertices, cleaned))


def _warnings(vertices: NDArray[np.float64], triangles: NDArray[np.int32]) -> tuple[str, ...]:
    found = []
    edges, uses = undirected_edges(triangles)
    shared = edges[uses > 2]
    if len(shared):
        found.append(
            f"{len(shared)} non-manifold edges (more than two triangles share them): "
            + _first([f"{a}-{b}" for a, b in shared.tolist()])
        )
    unused = np.setdiff1d(np.arange(len(vertices)), triangles)
    if len(unused):
        names = _first([str(i) for i in unused.tolist()])
        found.append(f"{len(unused)} vertices belong to no triangle: {names}")
    corners = vertices[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    extent = float(np.ptp(vertices, axis=0).max())
    flat = np.flatnonzero(np.linalg.norm(normal, axis=1) <= SMALLEST_SHARE * extent**2)
    if len(flat):
        names = _first([str(triangles[i].tolist()) for i in flat])
        found.append(f"{len(flat)} triangles have no area: {names}")
    return tuple(found)


def _first(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
