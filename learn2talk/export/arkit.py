"""ARKit-52 weights of a face motion. Axis letters: T frames, K shapes, P points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learn2talk.export.box_least_squares import smooth_box_weights
from learn2talk.export.checks import checked_displacement
from learn2talk.export.shapes import ARKIT_NAMES, ShapeSet, built_in_shapes, shapes_on
from learn2talk.head.eyelids import EYELIDS
from learn2talk.head_pose import yaw_pitch_roll
from learn2talk.schema import FaceTemplate, Motion

SMOOTHNESS = 0.05
RIDGE = 2e-3
_STIFF = 0.02  # of the shapes' mean square, added to the ridge
MOVES_MM = 0.1  # a vertex that never leaves rest by more does not move
FACE_REGIONS = ("lower_face", "upper_face")
EYELID_IMPORTANCE = 0.5  # of all moving eyelid vertices together; mouth and face have 1
# Of these only one can be at work at a time.
OPPOSITES = (
    ("jawLeft", "jawRight"),
    ("mouthLeft", "mouthRight"),
    *((f"eyeLookUp{side}", f"eyeLookDown{side}") for side in ("Left", "Right")),
    *((f"eyeLookIn{side}", f"eyeLookOut{side}") for side in ("Left", "Right")),
    *((f"eyeBlink{side}", f"eyeWide{side}") for side in ("Left", "Right")),
)


@dataclass(frozen=True, eq=False)
class ArkitCurves:
    """Weights (T, 52) float32 in [0, 1] in the order of `ARKIT_NAMES`, at fps frames a second.

    driven: names that the shapes could move; all others are 0 throughout. source: the shapes.
    lip_residual_mm, lip_residual_max_mm: root mean square and largest distance of the lip points
    from what the weights give; face_residual_mm: root mean square over all fitted points.
    explained: share of the squared displacement of the fitted points that the weights give.
    head_rotation (T, 3): yaw, pitch, roll in radians (`learn2talk.head_pose.yaw_pitch_roll`); None
    for a motion without a head pose.
    """

    weights: NDArray[np.float32]
    fps: float
    driven: tuple[str, ...]
    source: str
    lip_residual_mm: float
    lip_residual_max_mm: float
    face_residual_mm: float
    explained: float
    head_rotation: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = self.weights.shape
        if len(shape) != 2 or shape[0] < 1 or shape[1] != len(ARKIT_NAMES):
            raise ValueError(f"ARKit weights have shape {shape}; give (T, 52), T at least 1")
        if not ((self.weights >= 0) & (self.weights <= 1)).all():
            raise ValueError("ARKit weights are not all between 0 and 1; clip them first")
        if not 0 < self.fps < np.inf:
            raise ValueError(f"ARKit curves have fps {self.fps}; it must be positive")
        if self.head_rotation is not None and self.head_rotation.shape != (shape[0], 3):
            raise ValueError(
                f"head rotation has shape {self.head_rotation.shape}; give ({shape[0]}, 3): yaw, "
                "pitch, roll"
            )


def solve_arkit(
    motion: Motion,
    shapes: ShapeSet | None = None,
    *,
    smoothness: float = SMOOTHNESS,
    ridge: float = RIDGE,
) -> ArkitCurves:
    """The ARKit weights whose shapes come nearest to a motion.

    Shapes of another topology are carried over to the motion's template and scaled to its mouth.
    The canonical lip points and the regions lower_face and upper_face are fitted, the lips and the
    other points with the same total weight, by bounded least squares over all frames at once. Of
    two opposite shapes (jawLeft, jawRight) a frame keeps the stronger. A shape that acts mostly
    where the motion is still (brows, for a student that moves the lower face) is not driven.

    Eyelids that move are fitted too, with a weight of their own that leaves the mouth's alone.

    Args:
        motion: vertices in mm; its head pose is taken out first and given as `head_rotation`.
        shapes: whose ARKit shapes; None takes the procedural head's (jaw and mouth), `ict.py` has
            others.
        smoothness: price of (change of a weight from frame to frame)^2, mm^2; 0 is off.
        ridge: price of weight^2, mm^2, more than 0: of shapes that look alike it takes the
            smallest weights.

    Returns:
        curves at the motion's fps, with their residual.

    Raises:
        ValueError: no frames, a vertex that is not finite, no lip contours, or an option out of
            range.
    """
    displacement = checked_displacement(motion, "set of ARKit curves")
    template = motion.template
    here = shapes_on(built_in_shapes() if shapes is None else shapes, template)
    ids, importance = _fitted_points(template, displacement)
    basis = here.displacement[:, ids].astype(np.float64)
    wanted = displacement[:, ids]
    energy = importance * (basis**2).sum(axis=2)
    moves = np.linalg.norm(wanted, axis=2).max(axis=0) > MOVES_MM
    used = np.flatnonzero(energy[:, moves].sum(axis=1) > 0.5 * energy.sum(axis=1))
    basis = basis[used]
    driven = tuple(here.names[k] for k in used)
    weights = _weights(basis, wanted, importance, driven, smoothness, ridge).astype(np.float32)
    curves = np.zeros((len(wanted), len(ARKIT_NAMES)), np.float32)
    curves[:, [ARKIT_NAMES.index(name) for name in driven]] = weights.T
    off = np.einsum("kt,kpx->tpx", weights.astype(np.float64), basis) - wanted
    away = np.linalg.norm(off, axis=2)
    lips = away[:, np.isin(ids, template.lip_ids)]
    total = float((wanted**2).sum())
    head_rotation = None
    if motion.head_pose is not None:
        head_rotation = yaw_pitch_roll(motion.head_pose).astype(np.float32)
    return ArkitCurves(
        weights=curves,
        fps=motion.fps,
        driven=driven,
        source=here.source,
        lip_residual_mm=float(np.sqrt((lips**2).mean())),
        lip_residual_max_mm=float(lips.max()),
        face_residual_mm=float(np.sqrt((away**2).mean())),
        explained=1.0 - float((off**2).sum()) / total if total > 0 else 1.0,
        head_rotation=head_rotation,
    )


def _weights(
    basis: NDArray[np.float64],
    wanted: NDArray[np.float64],
    importance: NDArray[np.float64],
    names: tuple[str, ...],
    smoothness: float,
    ridge: float,
) -> NDArray[np.float64]:
    """Weights (K, T) of shapes (K, P, 3) for displacements (T, P, 3)."""
    size = 3 * len(importance)
    weighted = (importance[:, None] * basis).reshape(len(basis), size)
    products = weighted @ basis.reshape(len(basis), size).T
    moments = weighted @ wanted.reshape(len(wanted), size).T
    ceiling = np.ones((len(basis), len(wanted)))
    # Two opposite shapes together do almost nothing, so a stiff ridge decides which one it is.
    stiff = ridge + _STIFF * float(np.diag(products).mean()) if len(basis) else ridge
    weights = smooth_box_weights(products, moments, ceiling, smoothness=smoothness, ridge=stiff)
    for pair in OPPOSITES:
        if set(pair) <= set(names):
            one, other = (names.index(name) for name in pair)
            weaker = weights[one] < weights[other]
            ceiling[one, weaker], ceiling[other, ~weaker] = 0.0, 0.0
    return smooth_box_weights(products, moments, ceiling, smoothness=smoothness, ridge=ridge)


def _fitted_points(
    template: FaceTemplate, displacement: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Vertices (P,) that are fitted and their importance (P,): 1 in all, and eyelids beside it."""
    lips = np.unique(template.lip_ids)
    face = [template.regions[name] for name in FACE_REGIONS if name in template.regions]
    ids = np.union1d(lips, np.concatenate([lips, *face]))
    is_lip = np.isin(ids, lips)
    importance = np.where(is_lip, 1.0 / is_lip.sum(), 1.0 / max(int((~is_lip).sum()), 1))
    importance = importance / importance.sum()
    lids = [template.regions[name] for name in EYELIDS if name in template.regions]
    if not lids:
        return ids, importance
    moving = np.setdiff1d(np.concatenate(lids), ids)
    moving = moving[np.linalg.norm(displacement[:, moving], axis=2).max(axis=0) > MOVES_MM]
    if not len(moving):
        return ids, importance
    beside = np.full(len(moving), EYELID_IMPORTANCE / len(moving))
    return np.concatenate([ids, moving]), np.concatenate([importance, beside])
