"""Wavefront OBJ: ``v`` and ``f`` lines; textures, normals, materials and lines are left aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from learn2talk.mesh_files.parsed import ParsedMesh, corners_split


def read_obj(path: Path) -> ParsedMesh:
    """Vertices and triangles of an OBJ file.

    Raises:
        ValueError: not text, or a line that cannot be read; the message names file and line.
    """
    vertices: list[tuple[float, float, float]] = []
    polygons: list[list[int]] = []
    for number, line in _lines(path):
        word, *values = line.split()
        try:
            if word == "v":
                x, y, z = values[:3]
                vertices.append((float(x), float(y), float(z)))
            elif word == "f":
                polygons.append([_index(value, len(vertices)) for value in values])
                if len(values) < 3:
                    raise ValueError("fewer than 3 corners")
        except ValueError as error:
            raise ValueError(
                f"{path}:{number}: '{line[:60]}' cannot be read ({error}); is the file truncated? "
                "export it again"
            ) from error
    triangles, split = corners_split(polygons)
    return ParsedMesh(np.array(vertices, dtype=np.float64).reshape(-1, 3), triangles, split)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with something on them and their numbers; a backslash at the end joins two."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not a text file, so not OBJ; give an .obj file") from error
    held, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        start = start if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        line, held = (held + line).strip(), ""
        if line:
            yield start, line
    if held:
        raise ValueError(
            f"{path}:{start}: ends within a line; the file is truncated, copy it again"
        )


def _index(corner: str, count: int) -> int:
    """Vertex id from 0 of ``7``, ``7/1``, ``7//3`` or ``-1`` (counted back from the last one)."""
    given = int(corner.split("/", 1)[0])
    if given == 0:
        raise ValueError("index 0; OBJ counts from 1")
    if given < -count:
        raise ValueError(f"index {given} with {count} vertices before it")
    return given - 1 if given > 0 else count + given
