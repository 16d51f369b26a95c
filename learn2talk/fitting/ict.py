"""The ICT face model (ICT-FaceKit light, MIT licence) from a folder that the user gives.

The folder holds `ict_light_21451v.npz` with neutral (V, 3), quads (F, 4), expr (53, V, 3),
expr_names, lmk68 (68,), identity10_face9409 (10, 9409, 3), all in cm, x to the image's right, y up,
z to the viewer. The face area is taken: the identities are defined on it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from learn2talk.fitting.face_model import LIP_SHARES, FaceModel, at_shares, mesh_path
from learn2talk.schema import FaceTemplate

ICT_FILE = "ict_light_21451v.npz"
TOPOLOGY = "ict-facekit-face"
NUM_ALL, NUM_FACE, NUM_EXPRESSIONS, NUM_IDENTITIES = 21451, 9409, 53, 10
MM_PER_CM = 10.0
# The point of the 68-point scheme at each landmark that is fitted, lips apart.
POINT_OF_LANDMARK: dict[int, int] = {
    **dict(zip((148, 152, 377), (7, 8, 9), strict=True)),
    **dict(zip((70, 63, 105, 66, 107, 336, 296, 334, 293, 300), range(17, 27), strict=True)),
    **dict(zip((168, 197, 4, 98, 2, 327), (27, 28, 30, 31, 33, 35), strict=True)),
    **dict(zip((33, 160, 158, 133, 153, 144), range(36, 42), strict=True)),
    **dict(zip((362, 385, 387, 263, 373, 380), range(42, 48), strict=True)),
}
_SHAPES: dict[str, tuple[int, ...]] = {
    "neutral": (NUM_ALL, 3),
    "expr": (NUM_EXPRESSIONS, NUM_ALL, 3),
    "expr_names": (NUM_EXPRESSIONS,),
    "lmk68": (68,),
    "identity10_face9409": (NUM_IDENTITIES, NUM_FACE, 3),
}
# Corner, way points, middle of the lip, way points, corner: points of the 68-point scheme.
_LIP_POINTS = {
    ("outer", "lower"): ((48, 59, 58, 57), (57, 56, 55, 54)),
    ("outer", "upper"): ((48, 49, 50, 51), (51, 52, 53, 54)),
    ("inner", "lower"): ((60, 67, 66), (66, 65, 64)),
    ("inner", "upper"): ((60, 61, 62), (62, 63, 64)),
}


def read_ict(folder: Path | str) -> FaceModel:
    """The face area of ICT-FaceKit light as a face model in mm: 9409 vertices, 53 expressions.

    Raises:
        ValueError: the folder or its file is missing, or an array has another shape, is not finite
            or not in centimetres.
    """
    path = Path(folder) / ICT_FILE
    arrays = _read(path)
    vertices = arrays["neutral"][:NUM_FACE].astype(np.float64) * MM_PER_CM
    points = arrays["lmk68"].astype(np.int64)
    if points.min() < 0 or points.max() >= NUM_FACE:
        raise ValueError(f"{path}: lmk68 names vertices outside the face's {NUM_FACE}; copy again")
    eyes = float(np.linalg.norm(vertices[points[45]] - vertices[points[36]]))
    if not 70.0 <= eyes <= 120.0:
        raise ValueError(
            f"{path}: outer eye corners are {eyes / MM_PER_CM:.3g} apart, which is no length in cm "
            "(about 9); give the published file"
        )
    faces = arrays["quads"]
    faces = faces[(faces < NUM_FACE).all(axis=1)]
    try:
        outer, inner = lip_contours(vertices, faces, points)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]]).astype(np.int32)
    template = FaceTemplate(
        TOPOLOGY,
        vertices.astype(np.float32),
        triangles,
        _regions(vertices, triangles, outer, inner, points),
    )
    expressions = arrays["expr"][:, :NUM_FACE].astype(np.float32) * np.float32(MM_PER_CM)
    return FaceModel(
        template=template,
        identities=arrays["identity10_face9409"].astype(np.float32) * np.float32(MM_PER_CM),
        expressions=expressions,
        names=tuple(str(name) for name in arrays["expr_names"]),
        anchors={landmark: int(points[point]) for landmark, point in POINT_OF_LANDMARK.items()},
    )


def _read(path: Path) -> dict[str, NDArray]:
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; give the folder of ICT-FaceKit light that holds {ICT_FILE}"
        )
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            names = [name for name in (*_SHAPES, "quads") if name in stored.files]
            arrays = {name: stored[name] for name in names}
    except (BadZipFile, ValueError, EOFError, OSError, AttributeError) as error:
        raise ValueError(f"{path}: not a complete .npz file ({error}); copy it again") from error
    missing = [name for name in (*_SHAPES, "quads") if name not in arrays]
    if missing:
        raise ValueError(f"{path}: has no {', '.join(missing)}; copy the published file again")
    for name, shape in _SHAPES.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}, expected {shape}")
        if shape[-1] == 3 and not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: {name} holds NaN or infinite values; copy it again")
    quads = arrays["quads"]
    if quads.ndim != 2 or quads.shape[1] != 4 or quads.min() < 0 or quads.max() >= NUM_ALL:
        raise ValueError(
            f"{path}: quads have shape {quads.shape}, expected (any, 4) with ids below {NUM_ALL}"
        )
    return arrays


def lip_contours(
    vertices: NDArray, faces: NDArray, points: Sequence[int] | NDArray
) -> tuple[list[int], list[int]]:
    """Vertices of the canonical lip contours, 20 outer and 20 inner, on a mesh with 68 landmarks.

    The contour is the shortest way along edges through the landmarks; its points lie at the same
    shares of the way from a corner to the middle of a lip as MediaPipe's on its own face model.
    (Landmarks 61, 63, 65, 67 lie half-way on ICT's lips: they are not MediaPipe's 82, 312, 317,
    87, as tables of indices say, which lie at four fifths.)

    Args:
        vertices: (V, 3). faces: int (F, 3 or 4). points: vertex of each of the 68 points.

    Returns:
        outer and inner: image-left corner, lower lip, image-right corner, upper lip.
    """
    contours = []
    for ring in ("outer", "inner"):
        halves = {}
        for lip in ("lower", "upper"):
            shares = LIP_SHARES[ring, lip]
            left, right = (
                mesh_path(vertices, faces, [int(points[point]) for point in way])
                for way in _LIP_POINTS[ring, lip]
            )
            there = at_shares(vertices, left, shares)
            back = at_shares(vertices, right[::-1], shares)[::-1]
            halves[lip] = there + back[1:]
        contours.append(halves["lower"] + halves["upper"][-2:0:-1])
    return contours[0], contours[1]


def _regions(
    vertices: NDArray,
    triangles: NDArray,
    outer: Sequence[int],
    inner: Sequence[int],
    points: NDArray,
) -> Mapping[str, NDArray]:
    """Canonical contours, all of the lips, and the face below and above the base of the nose."""
    rims = {}
    for name, ring in (("outer", 0), ("inner", 1)):
        ways = [way for (kind, _), pair in _LIP_POINTS.items() if kind == name for way in pair]
        paths = [mesh_path(vertices, triangles, [int(points[p]) for p in way]) for way in ways]
        rims[ring] = {vertex for path in paths for vertex in path}
    between = _between(triangles, rims[0], rims[1])
    nose, chin = vertices[points[33], 1], vertices[points[8], 1]
    front = vertices[:, 2] > vertices[points[36], 2] - 60.0  # not the back of the jaw
    front &= vertices[:, 1] > chin - 25.0  # nor the neck
    lower = (vertices[:, 1] < nose) & front
    lower[list(between)] = True
    return {
        "lips_outer": np.array(outer, np.int32),
        "lips_inner": np.array(inner, np.int32),
        "lips": np.array(sorted(between), np.int32),
        "lower_face": np.flatnonzero(lower).astype(np.int32),
        "upper_face": np.flatnonzero(~lower & front).astype(np.int32),
    }


def _between(triangles: NDArray, outer: set[int], inner: set[int]) -> set[int]:
    """Vertices of the two contours and of the strip that they bound."""
    neighbours: dict[int, set[int]] = {}
    for triangle in triangles.tolist():
        for vertex in triangle:
            neighbours.setdefault(vertex, set()).update(triangle)
    rims = outer | inner
    lips = set(rims)
    for start in sorted({v for rim in inner for v in neighbours[rim]} - rims):
        if start in lips:
            continue
        part, stack, touches = {start}, [start], set()
        while stack:
            found = neighbours[stack.pop()] - part
            touches |= found & rims
            part |= found - rims
            stack.extend(found - rims)
        if touches & outer:  # the other side of the inner contour is the mouth's inside
            lips |= part
    return lips
