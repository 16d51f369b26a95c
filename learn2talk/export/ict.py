"""ICT-FaceKit's expression shapes (MIT), which carry ARKit's names, and its face as a template.

Axis letters: V vertices, K shapes, F triangles.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learn2talk.export.alignment import path_along_edges
from learn2talk.export.shapes import ARKIT_NAMES, ShapeSet
from learn2talk.schema import CONTOUR_POINTS, FaceTemplate

ICT_FILE = "ict_light_21451v.npz"
ICT_TOPOLOGY = "ict_facekit_21451"
_MM_PER_CM = 10.0
_KEYS = ("neutral", "quads", "expr", "expr_names", "lmk68", "parts")
# Multi-PIE landmarks (0-67) from the image-left corner below to the image-right corner and back.
_OUTER = (48, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49)
_INNER = (60, 67, 66, 65, 64, 63, 62, 61)
_TEETH_LOWER = (19247, 21451)  # README of ICT-FaceKit, table "Teeth Details"
_TEETH_UPPER = (17039, 19247)


def load_ict_shapes(folder: Path | str) -> ShapeSet:
    """ICT-FaceKit light as a set of ARKit shapes on its own face, mm.

    Args:
        folder: holds `ict_light_21451v.npz` (neutral, quads, expr, expr_names, lmk68, parts; cm).

    Returns:
        the shapes that ARKit has; ICT's two halves of browInnerUp and of cheekPuff are added. ICT
        has no tongueOut.

    Raises:
        ValueError: no such file, or an array is missing.
    """
    path = Path(folder) / ICT_FILE
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the folder of ICT-FaceKit light")
    with np.load(path, allow_pickle=False) as stored:
        missing = [key for key in _KEYS if key not in stored.files]
        if missing:
            raise ValueError(f"{path}: has no {', '.join(missing)}; copy the file again")
        arrays = {key: stored[key] for key in _KEYS}
    if "jawOpen" not in arrays["expr_names"]:
        raise ValueError(f"{path}: has no expression jawOpen; copy the file again")
    template = _template(arrays)
    summed: dict[str, NDArray[np.float32]] = {}
    for name, shape in zip(arrays["expr_names"].tolist(), arrays["expr"], strict=True):
        arkit = _arkit_name(str(name))
        if arkit is None:
            raise ValueError(f"{path}: expression {name!r} is none of ARKit's 52; copy it again")
        part = _MM_PER_CM * shape.astype(np.float32)
        summed[arkit] = summed[arkit] + part if arkit in summed else part
    names = tuple(name for name in ARKIT_NAMES if name in summed)
    return ShapeSet(template, names, np.stack([summed[name] for name in names]), "ICT-FaceKit")


def _arkit_name(name: str) -> str | None:
    """`mouthSmile_L` -> `mouthSmileLeft`; `cheekPuff_L` -> `cheekPuff`; None for another name."""
    stem, _, side = name.partition("_")
    sided = stem + {"L": "Left", "R": "Right", "": ""}.get(side, side)
    return next((known for known in (sided, stem) if known in ARKIT_NAMES), None)


def _template(arrays: dict[str, NDArray]) -> FaceTemplate:
    vertices = _MM_PER_CM * arrays["neutral"].astype(np.float32)
    quads = arrays["quads"]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    distinct = (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
    triangles = triangles[distinct]
    marks = arrays["lmk68"]
    parts = {
        str(name): np.arange(int(first), int(last) + 1) for name, first, last in arrays["parts"]
    }
    outer, rim = _contour(vertices, triangles, marks[list(_OUTER)])
    inner, _ = _contour(vertices, triangles, marks[list(_INNER)])
    face = parts["face"]
    opened = arrays["expr"][arrays["expr_names"].tolist().index("jawOpen")].astype(np.float32)
    drop = np.linalg.norm(opened, axis=1)
    gums = parts["gums_tongue"]
    with_jaw = drop[gums] > 0.5 * drop[slice(*_TEETH_LOWER)].mean()
    nose_base = float(vertices[marks[33], 1])
    low = vertices[face, 1] < nose_base
    front = vertices[face, 2] > float(vertices[marks[0], 2])  # before the jaw's hinge
    chin = float(vertices[marks[8], 1]) - 15.0
    lower = face[low & front & (vertices[face, 1] > chin)]
    regions = {
        "lips_outer": outer,
        "lips_inner": inner,
        "lips": _enclosed(triangles[np.isin(triangles, face).all(axis=1)], inner, rim),
        "lower_face": np.union1d(lower, np.concatenate([outer, inner])),
        "upper_face": face[~low & front],
        "mouth_inside": np.union1d(parts["mouth_socket"], gums[~with_jaw]),
        "tongue": gums[with_jaw],  # with the lower gums
        "teeth_lower": np.arange(*_TEETH_LOWER),
        "teeth_upper": np.arange(*_TEETH_UPPER),
    }
    return FaceTemplate(ICT_TOPOLOGY, vertices, triangles, regions)


def _contour(
    vertices: NDArray[np.float32], triangles: NDArray[np.int32], marks: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """20 vertices of the mesh, evenly spaced from corner to corner on the way through landmarks,
    and all vertices of that way."""
    # Only the mouth's surroundings are searched: the way never leaves them.
    low, high = vertices[marks].min(axis=0) - 10.0, vertices[marks].max(axis=0) + 10.0
    near = ((vertices >= low) & (vertices <= high)).all(axis=1)
    mouth = triangles[near[triangles].all(axis=1)]
    right = int(np.argmax(vertices[marks, 0]))
    halves, way = [], []
    for stops in (marks[: right + 1], np.append(marks[right:], marks[0])):
        path = np.array(path_along_edges(vertices, mouth, stops.tolist()))
        steps = np.linalg.norm(np.diff(vertices[path].astype(np.float64), axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        wanted = np.linspace(0.0, along[-1], CONTOUR_POINTS // 2 + 1)[:-1]
        halves.append(path[np.abs(along[None] - wanted[:, None]).argmin(axis=1)])
        way.append(path)
    return np.concatenate(halves), np.unique(np.concatenate(way))


def _enclosed(
    triangles: NDArray[np.int32], start: NDArray[np.int64], rim: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The vertices that edges join to `start` without crossing `rim`, and the rim."""
    found = np.zeros(int(triangles.max()) + 1, dtype=bool)
    wall = found.copy()
    found[start], wall[rim] = True, True
    while True:
        touched = (found & ~wall)[triangles].any(axis=1)
        grown = found.copy()
        grown[triangles[touched]] = True
        if np.array_equal(grown, found):
            return np.flatnonzero(found | wall)
        found = grown
