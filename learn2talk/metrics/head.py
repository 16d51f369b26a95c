"""How a head moves: errors against a truth, and figures that a still head does not have.

Poses are those of `avsr.video.head_poses`: (T, 6), rotation vector in radians, translation in mm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avsr.units import VIDEO_FPS
from avsr.video import rotation_matrices


def pose_errors(*, reference: NDArray, prediction: NDArray) -> tuple[NDArray, NDArray]:
    """Angle between two heads, degrees (T,), and distance of their places, mm (T,)."""
    angles = _angles_deg(reference[:, :3], prediction[:, :3])
    return angles, np.linalg.norm(prediction[:, 3:] - reference[:, 3:], axis=1)


def angular_speeds_deg_s(
    pose: NDArray, tracked: NDArray[np.bool_], fps: float = VIDEO_FPS, step: int = 1
) -> NDArray[np.float64]:
    """How fast the head turns between frames t and t + step where all frames between are tracked.

    Args:
        pose: (T, 6).
        tracked: bool (T,).
        fps: frames a second.
        step: frames; over one frame a tracker's jitter counts as movement, over several less.

    Returns:
        degrees a second, (M,); empty where nothing is long enough.
    """
    if len(pose) <= step:
        return np.zeros(0)
    whole = np.lib.stride_tricks.sliding_window_view(tracked, step + 1).all(axis=1)
    return _angles_deg(pose[:-step, :3], pose[step:, :3])[whole] * (fps / step)


def pose_spread(pose: NDArray, tracked: NDArray[np.bool_]) -> tuple[float, float]:
    """Root mean square distance from the clip's mean pose: degrees, and mm; 0 for a still head.

    Raises:
        ValueError: no frame is tracked.
    """
    if not tracked.any():
        raise ValueError("no frame is tracked; a clip without poses has no spread")
    seen = pose[tracked].astype(np.float64)
    away = np.square(seen - seen.mean(axis=0))
    degrees = np.degrees(np.sqrt(away[:, :3].sum(axis=1).mean()))
    return float(degrees), float(np.sqrt(away[:, 3:].sum(axis=1).mean()))


def distribution_distance(one: NDArray, other: NDArray) -> float:
    """First Wasserstein distance of two samples of numbers, in their unit; 0 for equal ones.

    The area between the two quantile functions; the samples may have different sizes.

    Raises:
        ValueError: a sample is empty.
    """
    if not len(one) or not len(other):
        raise ValueError(f"samples have {len(one)} and {len(other)} numbers; give at least one")
    places = np.union1d(np.arange(len(one) + 1) / len(one), np.arange(len(other) + 1) / len(other))
    middle = (places[1:] + places[:-1]) / 2
    first = np.sort(one)[np.minimum((middle * len(one)).astype(int), len(one) - 1)]
    second = np.sort(other)[np.minimum((middle * len(other)).astype(int), len(other) - 1)]
    return float((np.abs(first - second) * np.diff(places)).sum())


def _angles_deg(one: NDArray, other: NDArray) -> NDArray[np.float64]:
    """Angle of the turn that leads from one rotation to another, (T,) degrees."""
    first, second = (rotation_matrices(v.astype(np.float64)) for v in (one, other))
    # The chord 2 sqrt(2) sin(angle / 2): exact for small angles, where a cosine is not.
    chord = np.linalg.norm(first - second, axis=(1, 2)) / np.sqrt(8.0)
    return np.degrees(2.0 * np.arcsin(np.clip(chord, 0.0, 1.0)))
