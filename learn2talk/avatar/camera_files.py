"""Files of cameras: our own JSON, and the ``transforms.json`` of NeRF's data sets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsr.files import read_json, write_json
from learn2talk.avatar.cameras import PinholeCamera

SCHEMA = "learn2talk.cameras"
NUMBERS = ("fx", "fy", "cx", "cy", "width", "height", "near")
TRANSFORMS_NEAR = 0.01  # their files name none, and are in metres as often as not
DISTORTIONS = ("k1", "k2", "k3", "k4", "p1", "p2")


def write_cameras(path: Path | str, cameras: Sequence[PinholeCamera]) -> None:
    """Write cameras, one for each frame, as JSON."""
    write_json(path, {"schema": SCHEMA, "cameras": [camera_facts(one) for one in cameras]})


def read_cameras(
    path: Path | str, size: tuple[int, int] | None = None, scale: float = 1.0
) -> list[PinholeCamera]:
    """Read the cameras of a file, in the order of their frames, 1 or more.

    Read are :func:`write_cameras`'s files and ``transforms.json`` as NeRF, its many descendants and
    GaussianAvatars write it: ``frames`` with a ``transform_matrix`` each, from the camera's space
    to the world's, the camera in OpenGL's convention (x right, y up, z backwards); of ``fl_x``,
    ``fl_y``, ``camera_angle_x``, ``camera_angle_y`` (radians), ``cx``, ``cy``, ``w`` and ``h``
    what there is, of the frame or of the file.

    Args:
        path: the file.
        size: width and height, pixels, for a ``transforms.json`` that names none.
        scale: how many of our units (mm) one of a ``transforms.json`` is, such as 1000 for metres.

    Raises:
        ValueError: neither kind, or a camera in it that cannot be; file and frame are named.
    """
    path = Path(path)
    said = read_json(path)
    if isinstance(said, dict) and said.get("schema") == SCHEMA:
        rows = said.get("cameras")
        cameras = [camera_of(row, path) for row in (rows if isinstance(rows, list) else [])]
    elif isinstance(said, dict) and isinstance(said.get("frames"), list):
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"{path}: a scale of {scale}; give a number above 0")
        cameras = []
        for number, frame in enumerate(said["frames"]):
            try:
                cameras.append(_from_transforms(said, frame, size, scale))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}: frame {number}: {error}") from error
    else:
        raise ValueError(
            f"{path}: neither a file of cameras that we wrote nor a transforms.json with frames"
        )
    if not cameras:
        raise ValueError(f"{path}: holds no camera; write it again")
    return cameras


def camera_facts(camera: PinholeCamera) -> dict[str, Any]:
    """A camera, JSON-ready; `camera_of` reads it."""
    return {
        "rotation": camera.rotation.tolist(),
        "translation": camera.translation.tolist(),
        **{name: getattr(camera, name) for name in NUMBERS},
    }


def camera_of(facts: Any, path: Path) -> PinholeCamera:
    """A camera from what `camera_facts` gave. Raises ValueError that names the file."""
    try:
        numbers = {name: facts[name] for name in NUMBERS}
        for name in ("width", "height"):
            if not isinstance(numbers[name], int):
                raise ValueError(f"{name} is {numbers[name]!r}, no whole number")
        return PinholeCamera(np.array(facts["rotation"]), np.array(facts["translation"]), **numbers)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its camera cannot be read ({error}); copy it again") from error


def _from_transforms(
    said: Mapping[str, Any], frame: Any, size: tuple[int, int] | None, scale: float
) -> PinholeCamera:
    if not isinstance(frame, dict) or "transform_matrix" not in frame:
        raise ValueError("has no transform_matrix")
    shared = {**{name: value for name, value in said.items() if name != "frames"}, **frame}
    for name in DISTORTIONS:
        if _number(shared, name, 0.0) != 0.0:
            raise ValueError(
                f"{name} is {shared[name]}, and a lens that distorts is not drawn; undistort the "
                "pictures first"
            )
    width, height = (_number(shared, name, None) for name in ("w", "h"))
    if width is None or height is None:
        if size is None:
            raise ValueError("names no size (w, h); give one")
        width, height = size
    if width != int(width) or height != int(height):
        raise ValueError(f"a picture of {width} x {height} pixels; give whole numbers")
    fx = _focal(shared, "fl_x", "camera_angle_x", width)
    fy = _focal(shared, "fl_y", "camera_angle_y", height)
    if fx is None and fy is None:
        raise ValueError("names no focal length (fl_x, fl_y, camera_angle_x or camera_angle_y)")
    to_world = np.asarray(frame["transform_matrix"], dtype=np.float64)
    if to_world.shape not in ((4, 4), (3, 4)) or not np.isfinite(to_world).all():
        raise ValueError(
            f"transform_matrix has shape {to_world.shape} or is not finite; give 4 x 4"
        )
    rotation = np.diag([1.0, -1.0, -1.0]) @ to_world[:3, :3].T
    return PinholeCamera(
        rotation,
        -rotation @ to_world[:3, 3] * scale,
        fy if fx is None else fx,
        fx if fy is None else fy,
        _number(shared, "cx", width / 2),
        _number(shared, "cy", height / 2),
        int(width),
        int(height),
        TRANSFORMS_NEAR * scale,
    )


def _focal(shared: Mapping[str, Any], name: str, angle_name: str, pixels: float) -> Any:
    """Focal length in pixels, or None where neither it nor the angle of view is named."""
    focal, angle = _number(shared, name, None), _number(shared, angle_name, None)
    if focal is not None:
        return focal
    if angle is None:
        return None
    if not 0 < angle < math.pi:
        raise ValueError(f"{angle_name} is {angle}; give radians between 0 and pi")
    return pixels / 2 / math.tan(angle / 2)


def _number(shared: Mapping[str, Any], name: str, otherwise: float | None) -> Any:
    """A finite number of the file, or ``otherwise`` where it is not named."""
    value = shared.get(name, otherwise)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; give a number")
    return value
