"""Reads meshes of others (OBJ, PLY, GLB) with their vertices in exactly the order of the file.

The order is what a topology is: regions, motions and shapes name vertices by it. So nothing is
merged, welded, sorted or dropped. Axis letters: V vertices, F triangles.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from learn2talk.mesh_files.glb import read_glb
from learn2talk.mesh_files.obj import read_obj
from learn2talk.mesh_files.parsed import MeshFile, ParsedMesh, checked
from learn2talk.mesh_files.ply import read_ply

__all__ = ["MeshFile", "read_mesh"]

READERS: dict[str, Callable[[Path], ParsedMesh]] = {
    ".obj": read_obj,
    ".ply": read_ply,
    ".glb": read_glb,
}


def read_mesh(path: Path | str, *, num_vertices: int | None = None) -> MeshFile:
    """The vertices and triangles of a mesh file, in the file's order and unit.

    Args:
        path: ``.obj``; ``.ply`` (ascii, binary of either byte order); ``.glb`` (static triangles,
            the primitives of all its nodes joined).
        num_vertices: V that the topology must have; ``None`` takes any.

    Raises:
        ValueError: a missing, empty, truncated or unknown file, a vertex that is not a number, an
            index outside the vertices, a triangle that names a vertex twice, or another V.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path}: {path.suffix or 'no suffix'} is not one of {', '.join(READERS)}; export the "
            "mesh as one of these"
        )
    if not path.is_file():
        raise ValueError(f"{path}: no such mesh file; check the path")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: mesh file is empty (0 bytes); copy or export it again")
    return checked(path, reader(path), num_vertices)
