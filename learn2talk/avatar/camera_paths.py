"""Cameras that look at a face: from the front, and turning around the head.

Space of the face and of the camera: `learn2talk.avatar.cameras`. All distances in mm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.schema import FaceTemplate

FIELD_OF_VIEW_DEGREES = 20.0  # as of a portrait lens; up and down
MARGIN = 1.06  # the head may fill the picture but for this
NEAR_MM = 1.0


def look_at(
    eye: Sequence[float] | NDArray,
    target: Sequence[float] | NDArray,
    up: Sequence[float] | NDArray = (0.0, 1.0, 0.0),
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation (3, 3) and translation (3,) of a camera at ``eye`` that has ``target`` in its axis.

    Args:
        eye, target: points (3,).
        up: direction (3,) of any length that points upwards in the picture.

    Raises:
        ValueError: a point is not finite, the two are one, or ``up`` points along the view.
    """
    eye, target, up = (np.asarray(one, dtype=np.float64) for one in (eye, target, up))
    if not (np.isfinite(eye).all() and np.isfinite(target).all() and np.isfinite(up).all()):
        raise ValueError(f"look_at: eye {eye}, target {target} or up {up} is not finite")
    forward = target - eye
    right = np.cross(forward, up)
    for what, vector in (
        ("eye and target are one point", forward),
        ("up is along the view", right),
    ):
        if np.linalg.norm(vector) <= 1e-9 * (np.linalg.norm(forward) + np.linalg.norm(up)):
            raise ValueError(f"look_at: {what}: eye {eye}, target {target}, up {up}; change one")
    forward = forward / np.linalg.norm(forward)
    right = right / np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return rotation, -rotation @ eye


def front_camera(template: FaceTemplate, width: int = 512, height: int = 512) -> PinholeCamera:
    """A camera straight in front of a head, so far away that all of it is in the picture.

    Args:
        template: the neutral face, mm; its vertices say how large the head is.
        width, height: of the picture, pixels.
    """
    return _around(template, np.zeros(1), 0.0, width, height)[0]


def orbit_cameras(
    template: FaceTemplate,
    num_frames: int,
    width: int = 512,
    height: int = 512,
    swing_degrees: float = 30.0,
    frames_per_turn: int = 100,
    full_circle: bool = False,
    height_degrees: float = 0.0,
) -> list[PinholeCamera]:
    """A camera for each frame that turns around the head, all of which stays in the picture.

    Frame 0 is in front. By default the camera goes to the image's right, back, to the left and
    back, fastest in front.

    Args:
        template: the neutral face, mm.
        num_frames: how many cameras, 0 or more.
        width, height: of the picture, pixels.
        swing_degrees: how far to each side, 0 to 180.
        frames_per_turn: frames of one swing to both sides and back, or of one circle; 1 or more.
        full_circle: once around at an even pace, instead of the swing.
        height_degrees: the camera looks from so much above (below 0: from below), -80 to 80.

    Raises:
        ValueError: a number cannot be.
    """
    if num_frames < 0 or frames_per_turn < 1:
        raise ValueError(
            f"orbit: {num_frames} frames, {frames_per_turn} a turn; give 0 or more and 1 or more"
        )
    if not 0 <= swing_degrees <= 180 or not -80 <= height_degrees <= 80:
        raise ValueError(
            f"orbit: a swing of {swing_degrees} degrees, {height_degrees} degrees high; give 0 to "
            "180 and -80 to 80"
        )
    turns = np.arange(num_frames) / frames_per_turn
    angles = 360.0 * turns if full_circle else swing_degrees * np.sin(2 * np.pi * turns)
    return _around(template, np.deg2rad(angles), np.deg2rad(height_degrees), width, height)


def _around(
    template: FaceTemplate, angles: NDArray, above: float, width: int, height: int
) -> list[PinholeCamera]:
    """Cameras at angles (T,), radians, around the vertical, all at one distance."""
    points = np.asarray(template.vertices, dtype=np.float64)
    if not len(points):
        raise ValueError(f"topology {template.topology!r} has no vertices to look at")
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    tall = np.tan(np.deg2rad(FIELD_OF_VIEW_DEGREES / 2))  # half the picture at distance 1
    wide = tall * width / height
    directions = np.stack(
        [
            np.sin(angles) * np.cos(above),
            np.full(len(angles), np.sin(above)),
            np.cos(angles) * np.cos(above),
        ],
        axis=1,
    )
    distance = NEAR_MM
    for direction in directions:
        rotation, _ = look_at(direction, np.zeros(3))
        x, y, z = rotation @ (points - middle).T
        # A point at depth z + distance is in the picture when |x| is at most wide times that.
        needed = np.maximum(MARGIN * np.abs(x) / wide, MARGIN * np.abs(y) / tall) - z
        distance = max(distance, float(needed.max()), float(-z.min()) + 2 * NEAR_MM)
    focal = height / 2 / tall
    cameras = []
    for direction in directions:
        rotation, translation = look_at(middle + distance * direction, middle)
        cameras.append(
            PinholeCamera(
                rotation, translation, focal, focal, width / 2, height / 2, width, height, NEAR_MM
            )
        )
    return cameras
