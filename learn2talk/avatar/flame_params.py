"""Parameters of FLAME over time, and `flame_param.npz`, the file that GaussianAvatars is driven by.

The file holds float32 arrays: shape (300,), expr (T, 100), rotation, neck_pose, jaw_pose and
translation (T, 3), eyes_pose (T, 6), static_offset (1, V, 3), dynamic_offset (T, V, 3); rotation
vectors in rad, lengths in metres. GaussianAvatars' V is 5143: FLAME's 5023 vertices, then 120 of
teeth that it adds. Axis letters: T frames, V vertices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.files import write_atomically
from learn2talk.avatar.flame_model import (
    NUM_EXPRESSIONS,
    NUM_SHAPES,
    FlameModel,
    flame_neutral,
    flame_posed,
)

ADDED_TEETH = 120  # vertices that GaussianAvatars appends to FLAME's
_WIDTHS = {
    "expr": NUM_EXPRESSIONS,
    "rotation": 3,
    "neck_pose": 3,
    "jaw_pose": 3,
    "eyes_pose": 6,
    "translation": 3,
}
_BLOCK = 64  # frames that are posed at once


@dataclass(frozen=True, eq=False)
class FlameParams:
    """A head of FLAME over T frames; every array float32.

    shape (300,). expr (T, 100). rotation, neck_pose, jaw_pose (T, 3) and eyes_pose (T, 6; left,
    then right): rotation vectors, rad, each in the space of its joint's parent. translation (T, 3)
    m. static_offset (V, 3) m, added to the shaped head before it is posed; None: none.

    Raises ValueError when a shape disagrees, there is no frame, or a value is not finite.
    """

    shape: NDArray[np.float32]
    expr: NDArray[np.float32]
    rotation: NDArray[np.float32]
    neck_pose: NDArray[np.float32]
    jaw_pose: NDArray[np.float32]
    eyes_pose: NDArray[np.float32]
    translation: NDArray[np.float32]
    static_offset: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.expr)
        if count == 0:
            raise ValueError("FLAME parameters: expr has no frame; give one or more")
        wanted: dict[str, tuple[int, ...]] = {"shape": (NUM_SHAPES,)}
        wanted |= {name: (count, width) for name, width in _WIDTHS.items()}
        if self.static_offset is not None:
            wanted["static_offset"] = (len(self.static_offset), 3)
        for name, shape in wanted.items():
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if array.shape != shape:
                frames = f" of {count} frames" if name in _WIDTHS else ""
                raise ValueError(
                    f"FLAME parameters{frames}: {name} has shape {array.shape}; give {shape}"
                )
            if not np.isfinite(array).all():
                place = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
                raise ValueError(f"FLAME parameters: {name} is not finite at {place}")
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.expr)

    @classmethod
    def at_rest(
        cls,
        num_frames: int = 1,
        shape: NDArray | None = None,
        static_offset: NDArray | None = None,
    ) -> FlameParams:
        """Frames that do not move, of the mean head or of one with a shape (300,)."""
        still = {name: np.zeros((num_frames, width), np.float32) for name, width in _WIDTHS.items()}
        own = np.zeros(NUM_SHAPES, np.float32) if shape is None else shape
        return cls(shape=own, static_offset=static_offset, **still)

    @property
    def rotations(self) -> NDArray[np.float32]:
        """Rotation vectors (T, 5, 3) rad of `flame_model.JOINTS`."""
        parts = (self.rotation, self.neck_pose, self.jaw_pose, self.eyes_pose)
        return np.concatenate(parts, axis=1).reshape(len(self), -1, 3)


def neutral_of(model: FlameModel, params: FlameParams) -> NDArray[np.float32]:
    """The head of the parameters at rest, without expression, (V, 3) float32, m.

    A static offset may have the `ADDED_TEETH` more rows that GaussianAvatars' has; they are not
    read where the model has no vertices for them.

    Raises:
        ValueError: a static offset of any other number of vertices.
    """
    count, offset = len(model.vertices), params.static_offset
    if offset is not None and len(offset) not in (count, count + ADDED_TEETH):
        raise ValueError(
            f"FLAME parameters: static_offset has {len(offset)} vertices, the model {count}; give "
            "the model that they were made with"
        )
    return flame_neutral(model, params.shape, None if offset is None else offset[:count])


def flame_vertices(model: FlameModel, params: FlameParams) -> NDArray[np.float32]:
    """The moving head of the parameters, (T, V, 3) float32, m.

    Raises:
        ValueError: see `neutral_of`.
    """
    neutral = torch.from_numpy(neutral_of(model, params)).double()
    vertices = np.empty((len(params), *neutral.shape), np.float32)
    given = (params.expr, params.rotations, params.translation)
    for start in range(0, len(params), _BLOCK):
        part = slice(start, start + _BLOCK)
        frames = [torch.from_numpy(array[part]).double() for array in given]
        vertices[part] = flame_posed(model, neutral, *frames).numpy()
    return vertices


def write_flame_params(path: Path | str, params: FlameParams, num_vertices: int) -> None:
    """Write a `flame_param.npz` as GaussianAvatars writes it, atomically.

    Args:
        path: ends in ``.npz``.
        params: what to write.
        num_vertices: of the static and dynamic offsets (both zeros where there are none): those of
            the static offset, or the model's.

    Raises:
        ValueError: the static offset has another number of vertices, or the path another ending.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: FLAME parameters are an .npz file; name it flame_param.npz")
    offset = params.static_offset
    if offset is None:
        offset = np.zeros((num_vertices, 3), np.float32)
    if len(offset) != num_vertices:
        raise ValueError(
            f"{path}: static_offset has {len(offset)} vertices, asked for are {num_vertices}"
        )
    arrays = {f.name: getattr(params, f.name) for f in fields(params)} | {
        "static_offset": offset[None],
        "dynamic_offset": np.zeros((len(params), num_vertices, 3), np.float32),
    }
    with write_atomically(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_flame_params(path: Path | str) -> FlameParams:
    """A `flame_param.npz` of GaussianAvatars, of its datasets, or of `write_flame_params`.

    Leading axes of 1 are taken off: shape (1, 300), static_offset (1, V, 3). A missing static
    offset is none. dynamic_offset must be zero: GaussianAvatars stores it and does not use it.

    Raises:
        ValueError: missing, damaged, a key that is missing or of another shape, a value that is no
            number or not finite, or a dynamic offset that moves.
    """
    path = Path(path)
    stored = _read_arrays(path)
    missing = [name for name in ("shape", *_WIDTHS) if name not in stored]
    if missing:
        raise ValueError(
            f"{path}: has no {', '.join(missing)}; is it the flame_param.npz of an avatar?"
        )
    dynamic = stored.get("dynamic_offset")
    if dynamic is not None and np.any(dynamic):
        raise ValueError(
            f"{path}: dynamic_offset is not zero (up to {np.abs(dynamic).max():.3g}); it is not "
            "supported: set it to zero"
        )
    shape = _without_first(stored["shape"], 1)
    offset = stored.get("static_offset")
    try:
        return FlameParams(
            shape=shape,
            static_offset=None if offset is None else _without_first(offset, 2),
            **{name: stored[name] for name in _WIDTHS},
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path")
    names = ("shape", *_WIDTHS, "static_offset", "dynamic_offset")
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as there:
            stored = {name: there[name] for name in there.files if name in names}
    except (BadZipFile, ValueError, EOFError, AttributeError) as error:
        raise ValueError(f"{path}: not a complete .npz file ({error}); copy it again") from error
    wrong = [name for name, array in stored.items() if array.dtype.kind not in "iuf"]
    if wrong:
        raise ValueError(f"{path}: {', '.join(wrong)} hold no numbers; write the file again")
    return stored


def _without_first(array: NDArray[Any], axes: int) -> NDArray[Any]:
    """The array without a leading axis of 1 where it has one more than ``axes``."""
    return array[0] if array.ndim == axes + 1 and len(array) == 1 else array
