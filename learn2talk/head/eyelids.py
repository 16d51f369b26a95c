"""The procedural head's eyelids: the upper lid and its lashes come down over the eyeball.

Axis letters: T frames, V vertices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from learn2talk.head.parts import BAND_COLUMNS, BAND_ROWS
from learn2talk.schema import FaceTemplate

EYELIDS = ("lash", "lid")  # regions, of which the lower lid stays
SIDES = 2  # the image's left, which is the face's own right, comes first
_OVERLAP_MM = 0.3  # that the closed lid's edge stays above the lower one
_LID_LIFT_MM, _LASH_LIFT_MM = 1.9, 2.3  # above the eyeball: in front of the glint
_LIFTED_BY = 0.25  # share of the way on which a lid comes in front of iris and glint


def has_eyelids(template: FaceTemplate) -> bool:
    """Whether a template has the procedural head's lids."""
    band = BAND_ROWS * BAND_COLUMNS
    sizes = {"lash": SIDES * band, "lid": 2 * SIDES * band}
    return "eye_white" in template.regions and all(
        name in template.regions and len(template.regions[name]) == size
        for name, size in sizes.items()
    )


def close_eyelids(
    vertices: NDArray[np.float32], template: FaceTemplate, closure: NDArray
) -> NDArray[np.float32]:
    """A motion with its upper lids lowered.

    Args:
        vertices: (T, V, 3) mm, head-pose-free.
        template: the neutral face, eyes open.
        closure: (T, 2) in [0, 1], of the lid at the image's left, then at its right: 0 is open.

    Returns:
        float32 (T, V, 3) mm.

    Raises:
        ValueError: the template has no eyelids, or the closure has another shape or range.
    """
    if not has_eyelids(template):
        raise ValueError(
            f"topology {template.topology!r} has no eyelids that can close; only the procedural "
            "head blinks, leave blinks out"
        )
    closed = np.asarray(closure, dtype=np.float64)
    if closed.shape != (len(vertices), SIDES) or not ((closed >= 0) & (closed <= 1)).all():
        raise ValueError(
            f"eyelid closure has shape {closed.shape}; give ({len(vertices)}, {SIDES}) in [0, 1]"
        )
    moved = vertices.copy()
    for side in range(SIDES):
        ids, displacement = _lowered(template, side, closed[:, side])
        moved[:, ids] += displacement.astype(np.float32)
    return moved


def _lowered(
    template: FaceTemplate, side: int, closed: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Vertices of one upper lid and its lashes, and their displacement (T, 54, 3) mm."""
    band = BAND_ROWS * BAND_COLUMNS
    lids, lash = template.region("lid"), template.region("lash")
    upper, lower = lids[2 * side * band :][: 2 * band].reshape(2, BAND_ROWS, BAND_COLUMNS)
    lashes = lash[side * band :][:band].reshape(BAND_ROWS, BAND_COLUMNS)
    rest = template.vertices.astype(np.float64)
    edge, top = rest[upper[0], 1], rest[upper[-1], 1]
    # A lid's edge never rises: at the corners, where the lids meet, it stays.
    drop = np.maximum(edge - (rest[lower[-1], 1] + _OVERLAP_MM), 0.0)
    share = np.clip((top - rest[upper, 1]) / (top - edge), 0.0, 1.0)
    ids = np.concatenate([upper.ravel(), lashes.ravel()])
    drops = np.concatenate([(share * drop).ravel(), np.tile(drop, BAND_ROWS)])
    lift = np.repeat([_LID_LIFT_MM, _LASH_LIFT_MM], band)
    lift[:band] *= share.ravel() > 0  # the crease stays
    centre, radius = _eyeball(rest[_eye_white(template, side)])
    here = rest[ids]
    own = here[:, 2] - _ball_z(here, centre, radius)
    ahead = np.maximum(own, lift)
    y = here[:, 1] - closed[:, None] * drops
    path = np.stack([np.broadcast_to(here[:, 0], y.shape), y], axis=2)
    forward = np.clip(closed / _LIFTED_BY, 0.0, 1.0)[:, None] * (drops > 0)
    z = _ball_z(path, centre, radius) + own + forward * (ahead - own)
    z = np.where(drops > 0, z, here[:, 2])
    return ids, np.stack([np.zeros_like(y), y - here[:, 1], z - here[:, 2]], axis=2)


def _eye_white(template: FaceTemplate, side: int) -> NDArray[np.int32]:
    white = template.region("eye_white")
    half = len(white) // SIDES
    return white[side * half :][:half]


def _eyeball(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Centre (3,) and radius of the sphere nearest to points (N, 3): linear least squares."""
    middle = points.mean(axis=0)
    about = points - middle
    system = np.concatenate([2.0 * about, np.ones((len(about), 1))], axis=1)
    solved = np.linalg.lstsq(system, (about**2).sum(axis=1), rcond=None)[0]
    return middle + solved[:3], float(np.sqrt(solved[3] + (solved[:3] ** 2).sum()))


def _ball_z(
    points: NDArray[np.float64], centre: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """z of the eyeball's front at the x and y of points (..., 2 or more)."""
    away = ((points[..., :2] - centre[:2]) ** 2).sum(axis=-1)
    return centre[2] + np.sqrt(np.maximum(radius**2 - away, 0.0))
