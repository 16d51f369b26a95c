"""FLAME, the head model of Li et al. (ACM TOG 36(6), 2017), from a user's own file.

We hold no FLAME and hand none out: its file comes from its authors, to whom a user registers, and
their licence (non-commercial for most versions) binds what is made with it. What stands here is our
own, written from the paper: shape, expression and pose correctives on a template, then linear blend
skinning about five joints. Unit: metres, as in the file; x to the face's left (the image's right),
y up, z to the viewer. Axis letters: T frames, V vertices, F triangles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learn2talk.plain_pickles import read_plain_pickle
from learn2talk.region_files import check_width

JOINTS = ("root", "neck", "jaw", "left eye", "right eye")
PARENTS = (0, 1, 1, 1)  # of neck, jaw and eyes
JAW = JOINTS.index("jaw")
NUM_SHAPES, NUM_EXPRESSIONS = 300, 100
MM_PER_M = 1000.0
_CORRECTIVES = 9 * len(PARENTS)
# Key of FLAME's file -> another name for the same array (that of the networks built on FLAME).
_KEYS = {
    "v_template": "v_template",
    "shapedirs": "shapedirs",
    "posedirs": "posedirs",
    "J_regressor": "J_regressor",
    "kintree_table": "parents",
    "weights": "lbs_weights",
    "f": "faces",
}
_WEIGHT_SLACK = 1e-2  # a vertex's skinning weights sum to 1 but for this


@dataclass(frozen=True, eq=False)
class FlameModel:
    """FLAME as arrays, metres. FLAME has V = 5023 and F = 9976; any V with its structure will do.

    vertices (V, 3) float32: the mean head, mouth closed. shapes (V, 3, 300) and expressions
    (V, 3, 100) float32: m at coefficient 1 (a standard deviation). correctives (V, 3, 36) float32:
    m for an element of the rotation matrices of `JOINTS` 1 to 4 minus the identity, row by row.
    joint_regressor (5, V) float32: joints from vertices. weights (V, 5) float32: how much each
    joint moves a vertex, rows sum to 1. triangles (F, 3) int32.

    Raises ValueError that says which array is wrong: its shape, a value that is not finite, weights
    that do not sum to 1, a triangle of vertices that are not there.
    """

    vertices: NDArray[np.float32]
    shapes: NDArray[np.float32]
    expressions: NDArray[np.float32]
    correctives: NDArray[np.float32]
    joint_regressor: NDArray[np.float32]
    weights: NDArray[np.float32]
    triangles: NDArray[np.int32]

    def __post_init__(self) -> None:
        count, joints = len(self.vertices), len(JOINTS)
        wanted = {
            "vertices": (count, 3),
            "shapes": (count, 3, NUM_SHAPES),
            "expressions": (count, 3, NUM_EXPRESSIONS),
            "correctives": (count, 3, _CORRECTIVES),
            "joint_regressor": (joints, count),
            "weights": (count, joints),
        }
        for name, shape in wanted.items():
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if array.shape != shape:
                raise ValueError(f"FLAME: {name} has shape {array.shape}; give {shape}")
            if not np.isfinite(array).all():
                place = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
                raise ValueError(f"FLAME: {name} is not finite at {place}; copy the file again")
            object.__setattr__(self, name, array)
        sums = self.weights.sum(axis=1)
        vertex = int(np.abs(sums - 1.0).argmax())
        if abs(sums[vertex] - 1.0) > _WEIGHT_SLACK:
            raise ValueError(
                f"FLAME: the weights of vertex {vertex} sum to {sums[vertex]:.4g}, not 1; copy the "
                "file again"
            )
        triangles = np.ascontiguousarray(self.triangles, dtype=np.int32)
        if triangles.ndim != 2 or triangles.shape[1] != 3 or not len(triangles):
            raise ValueError(f"FLAME: triangles have shape {triangles.shape}; give (F, 3)")
        if triangles.min() < 0 or triangles.max() >= count:
            raise ValueError(
                f"FLAME: triangles name vertices {triangles.min()} to {triangles.max()}, but there "
                f"are {count}"
            )
        object.__setattr__(self, "triangles", triangles)

    @property
    def topology(self) -> str:
        """Name of the vertex numbering: ``flame_5023`` for FLAME's own."""
        return f"flame_{len(self.vertices)}"


def load_flame(path: Path | str) -> FlameModel:
    """FLAME from a user's own file: ``generic_model.pkl``, ``flame2023.pkl`` or an ``.npz``.

    A pickle is read as plain data, chumpy's and SciPy's arrays in it too; nothing of it is run. An
    ``.npz`` has the same keys, or those of networks built on FLAME (``lbs_weights``, ``faces``,
    ``parents``, ``posedirs`` as (36, 3 V)), and may have more vertices than FLAME.

    Raises:
        ValueError: missing, damaged, a key that is missing, of another shape or not finite, joints
            in another order, or a head of impossible size (a unit other than metres).
    """
    path = Path(path)
    stored = _read_npz(path) if path.suffix == ".npz" else _read_pickle(path)
    missing = [key for key, other in _KEYS.items() if key not in stored and other not in stored]
    if missing:
        raise ValueError(f"{path}: has no {', '.join(missing)}; give FLAME's own model file")
    arrays = {
        key: _numbers(path, key, stored[key] if key in stored else stored[other])
        for key, other in _KEYS.items()
    }
    _check_joints(path, arrays["kintree_table"])
    shapes = arrays["shapedirs"]
    if shapes.ndim != 3 or shapes.shape[2] != NUM_SHAPES + NUM_EXPRESSIONS:
        raise ValueError(
            f"{path}: shapedirs has shape {shapes.shape}; FLAME has {NUM_SHAPES} shapes and "
            f"{NUM_EXPRESSIONS} expressions: (V, 3, {NUM_SHAPES + NUM_EXPRESSIONS})"
        )
    correctives = arrays["posedirs"]
    if correctives.ndim == 2 and correctives.shape[0] == _CORRECTIVES:
        correctives = correctives.T.reshape(-1, 3, _CORRECTIVES)
    try:
        model = FlameModel(
            vertices=arrays["v_template"],
            shapes=shapes[:, :, :NUM_SHAPES],
            expressions=shapes[:, :, NUM_SHAPES:],
            correctives=correctives,
            joint_regressor=arrays["J_regressor"],
            weights=arrays["weights"],
            triangles=arrays["f"].astype(np.int64),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    check_width(model.vertices, MM_PER_M, "m", str(path))
    return model


def _read_pickle(path: Path) -> Mapping[str, Any]:
    found = read_plain_pickle(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: is a {type(found).__name__}; give FLAME's own model file")
    return found


def _read_npz(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path")
    names = [*_KEYS, *_KEYS.values()]
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as there:
            return {name: there[name] for name in there.files if name in names}
    except (BadZipFile, ValueError, EOFError, AttributeError) as error:
        raise ValueError(f"{path}: not a complete .npz file ({error}); copy it again") from error


def _numbers(path: Path, key: str, value: Any) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{path}: {key}: {error}; copy the file again") from error
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: {key} holds {array.dtype}, not numbers; copy the file again")
    return array


def _check_joints(path: Path, tree: NDArray[Any]) -> None:
    """Refuse another skeleton: (2, 5), parents over numbers, or the parents (5,) alone."""
    parents = np.atleast_2d(tree)[0]
    if parents.shape != (len(JOINTS),) or tuple(parents[1:].tolist()) != PARENTS:
        raise ValueError(
            f"{path}: kintree_table has the parents {parents.tolist()}; FLAME's joints are "
            f"{', '.join(JOINTS)} with parents none, {', '.join(map(str, PARENTS))}"
        )


def flame_neutral(
    model: FlameModel, shape: NDArray, static_offset: NDArray | None
) -> NDArray[np.float32]:
    """A head of FLAME at rest, without expression, (V, 3) float32, m.

    Args:
        shape: (300,) coefficients. static_offset: (V, 3) m; None: none.
    """
    vertices = model.vertices + model.shapes @ np.asarray(shape, dtype=np.float32)
    moved: NDArray[np.float32] = vertices if static_offset is None else vertices + static_offset
    return moved.astype(np.float32)


def flame_posed(
    model: FlameModel, neutral: Tensor, expression: Tensor, rotations: Tensor, translation: Tensor
) -> Tensor:
    """Vertices (T, V, 3) of FLAME, m; differentiable in everything but the model.

    Args:
        model: its arrays are taken in the dtype of ``neutral``.
        neutral: (V, 3) m, `flame_neutral`.
        expression: (T, 100).
        rotations: (T, 5, 3) rotation vectors, rad, of `JOINTS`, each in its parent's space.
        translation: (T, 3) m, after everything else.
    """
    dtype = neutral.dtype
    arrays = {
        name: torch.from_numpy(getattr(model, name)).to(neutral.device, dtype)
        for name in ("expressions", "correctives", "joint_regressor", "weights")
    }
    turns = rotation_tensors(rotations)
    shaped = neutral + torch.einsum("te,vce->tvc", expression, arrays["expressions"])
    joints = arrays["joint_regressor"] @ shaped
    bent = (turns[:, 1:] - torch.eye(3, dtype=dtype, device=neutral.device)).flatten(1)
    rest = shaped + torch.einsum("tp,vcp->tvc", bent, arrays["correctives"])
    turned, shifted = [turns[:, 0]], [joints[:, 0] - _apply(turns[:, 0], joints[:, 0])]
    for joint, parent in enumerate(PARENTS, start=1):
        turn = turned[parent] @ turns[:, joint]
        there = _apply(turned[parent], joints[:, joint]) + shifted[parent]
        turned.append(turn)
        shifted.append(there - _apply(turn, joints[:, joint]))
    weights = arrays["weights"]
    turn_of = torch.einsum("vj,tjab->tvab", weights, torch.stack(turned, dim=1))
    shift_of = weights @ torch.stack(shifted, dim=1)
    return _apply(turn_of, rest) + shift_of + translation[:, None]


def _apply(matrix: Tensor, point: Tensor) -> Tensor:
    return (matrix @ point[..., None])[..., 0]


def rotation_tensors(vectors: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) rad; smooth at 0, too."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    turned: Tensor = torch.linalg.matrix_exp(torch.stack(rows, -1).unflatten(-1, (3, 3)))
    return turned
