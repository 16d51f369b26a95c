"""A face turned and moved as a whole, and what that is in other people's words.

A pose is 6 numbers as `avsr.video.head_poses` gives them: a rotation vector in radians, about the
origin of the face's coordinates, then a translation in millimetres; x to the image's right, y up, z
to the viewer. Axis letters: T frames, V vertices.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avsr.video import rotation_matrices
from learn2talk.schema import Motion


def with_head_pose(motion: Motion, head_pose: NDArray) -> Motion:
    """A head-pose-free motion, every vertex turned and moved with the head.

    Args:
        motion: head-pose-free.
        head_pose: (T, 6), rad and mm, of its T frames.

    Raises:
        ValueError: the motion has a head pose already, another length, or values not finite.
    """
    if motion.head_pose is not None:
        raise ValueError("this motion has a head pose already; take without_head_pose first")
    pose = np.asarray(head_pose, dtype=np.float32)
    if pose.shape != (len(motion.vertices), 6):
        raise ValueError(
            f"head pose has shape {pose.shape}; this motion needs ({len(motion.vertices)}, 6)"
        )
    turned = motion.vertices @ np.swapaxes(_turns(pose), 1, 2)
    moved = np.asarray(turned + pose[:, None, 3:], dtype=np.float32)
    return replace(motion, vertices=moved, head_pose=pose)


def without_head_pose(motion: Motion) -> Motion:
    """The same face looking straight ahead; the very motion where it has no head pose."""
    if motion.head_pose is None:
        return motion
    places = motion.vertices - motion.head_pose[:, None, 3:]
    free = np.asarray(places @ _turns(motion.head_pose), dtype=np.float32)
    return replace(motion, vertices=free, head_pose=None)


def _turns(head_pose: NDArray[np.float32]) -> NDArray[np.float32]:
    turns: NDArray[np.float32] = rotation_matrices(head_pose[:, :3].astype(float)).astype(
        np.float32
    )
    return turns


def yaw_pitch_roll(head_pose: NDArray) -> NDArray[np.float64]:
    """Turns of the head as ARKit's tools name them, (T, 3) rad.

    Yaw turns the nose to the face's own left (the image's right), pitch lifts it, roll tilts the
    crown to the face's own right; first yaw, then pitch, then roll, each about the turned axes.
    """
    turn = rotation_matrices(np.asarray(head_pose, dtype=np.float64)[:, :3])
    yaw = np.arctan2(turn[:, 0, 2], turn[:, 2, 2])
    pitch = np.arcsin(np.clip(turn[:, 1, 2], -1.0, 1.0))
    roll = np.arctan2(turn[:, 1, 0], turn[:, 1, 1])
    return np.stack([yaw, pitch, roll], axis=1)


def quaternions(head_pose: NDArray) -> NDArray[np.float64]:
    """The turns as unit quaternions x, y, z, w, (T, 4)."""
    vectors = np.asarray(head_pose, dtype=np.float64)[:, :3]
    half = np.linalg.norm(vectors, axis=1, keepdims=True) / 2
    return np.concatenate([vectors * np.sinc(half / np.pi) / 2, np.cos(half)], axis=1)
