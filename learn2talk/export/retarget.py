"""A motion on the mesh of another face, with what was lost on the way.

Axis letters: T frames, V vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsr.video import fit_similarity
from learn2talk.export.checks import checked_displacement
from learn2talk.export.transfer import Transfer, make_transfer
from learn2talk.head_pose import with_head_pose, without_head_pose
from learn2talk.schema import FaceTemplate, Motion

MOVES_MM = 0.1
JAW_REGIONS = ("teeth_lower", "gums_lower", "tongue")
_CHIN_SHARE = 0.25  # the lowest quarter of the lower face moves as the jaw does


@dataclass(frozen=True)
class RetargetReport:
    """How well a face of another topology follows.

    scale, rotation_degrees: of the alignment, source to target.
    lip_rest_mismatch_mm: root mean square distance of the two mouths at rest, after alignment.
    lip_error_max_mm: largest distance of a lip point's displacement from the source's, aligned.
    gap_error_max_mm: largest difference, over frames, of the inner lips' opening (the canonical
    middle points' distance) from the source's, scaled: what closures lose to another mouth's rest.
    moving_share: share of the target's vertices that leave rest by more than 0.1 mm.
    still_regions: named regions of the target that do not move at all.
    jaw_regions: regions that were moved rigidly with the jaw (teeth, gums, tongue).
    """

    scale: float
    rotation_degrees: float
    lip_rest_mismatch_mm: float
    lip_error_max_mm: float
    gap_error_max_mm: float
    moving_share: float
    still_regions: tuple[str, ...]
    jaw_regions: tuple[str, ...]


def retarget(
    motion: Motion, target: FaceTemplate, transfer: Transfer | None = None
) -> tuple[Motion, RetargetReport]:
    """A motion on a face of any topology: displacements carried over, the canonical lips exactly.

    A target of the motion's own topology is followed vertex by vertex (on the same mesh the motion
    comes back unchanged). Otherwise see `transfer.make_transfer`. Parts that no path of edges joins
    to the lips stay where they are, but for `JAW_REGIONS`, which turn and shift as the jaw does.

    Args:
        motion: vertices in mm; its head pose, where it has one, turns and moves the target as well.
        target: neutral face with the regions "lips_outer" and "lips_inner".
        transfer: `make_transfer` of these two faces, where it is there already; None makes it.

    Returns:
        the motion on the target, same fps, and its report.

    Raises:
        ValueError: no frames, a vertex that is not finite, a template without lip contours, or lip
            points on a line.
    """
    displacement = checked_displacement(motion, "retargeted motion")
    if not np.isfinite(target.vertices).all():
        vertex = int(np.flatnonzero(~np.isfinite(target.vertices).all(axis=1))[0])
        raise ValueError(
            f"target {target.topology!r} is not finite at vertex {vertex}; repair the mesh"
        )
    transfer = transfer or make_transfer(motion.template, target)
    moved = transfer.apply(displacement)
    jaw: tuple[str, ...] = ()
    if transfer.operator is not None:
        jaw = _move_jaw_parts(moved, displacement, transfer)
    vertices = (target.vertices + moved).astype(np.float32)
    result = Motion(vertices, motion.fps, target)
    report = _report(without_head_pose(motion), result, moved, transfer, jaw)
    if motion.head_pose is not None:
        result = with_head_pose(result, motion.head_pose)
    return result, report


def _move_jaw_parts(
    moved: NDArray[np.float64], displacement: NDArray[np.float64], transfer: Transfer
) -> tuple[str, ...]:
    """Move teeth, gums and tongue of the target with the source's jaw; in place."""
    target = transfer.target
    names = tuple(name for name in JAW_REGIONS if name in target.regions)
    if not names:
        return names
    ids = np.unique(np.concatenate([target.region(name) for name in names]))
    chin = _jaw_points(transfer.source)
    rest = transfer.alignment.points(transfer.source.vertices[chin])
    shift = transfer.alignment.displacement(displacement[:, chin])
    centre = rest.mean(axis=0)
    away = target.vertices[ids] - centre
    rotation = fit_similarity(np.broadcast_to(rest, shift.shape), rest + shift).rotation
    turned = away @ np.swapaxes(rotation, 1, 2)
    moved[:, ids] = turned - away + shift.mean(axis=1, keepdims=True)
    return names


def _jaw_points(source: FaceTemplate) -> NDArray[np.int32]:
    """Vertices (N,) that tell how the jaw moves: the lower teeth, or else the chin."""
    if "teeth_lower" in source.regions:
        return source.region("teeth_lower")
    lower = source.regions.get("lower_face", source.lip_ids[1:10])
    height = source.vertices[lower, 1]
    return lower[height <= np.quantile(height, _CHIN_SHARE)]


def _gap(lips: NDArray) -> NDArray[np.float64]:
    """Opening of the inner lips in the middle, (T,) mm, from (T, 40, 3)."""
    return np.linalg.norm(lips[:, 35].astype(np.float64) - lips[:, 25], axis=1)


def _report(
    motion: Motion,
    result: Motion,
    moved: NDArray[np.float64],
    transfer: Transfer,
    jaw: tuple[str, ...],
) -> RetargetReport:
    alignment, target = transfer.alignment, transfer.target
    rest = alignment.points(motion.template.lips) - target.lips
    wanted = alignment.displacement(motion.lips.astype(np.float64) - motion.template.lips)
    gap = _gap(result.lips) - alignment.scale * _gap(motion.lips)
    peak = np.linalg.norm(moved, axis=2).max(axis=0)
    return RetargetReport(
        scale=alignment.scale,
        rotation_degrees=alignment.degrees,
        lip_rest_mismatch_mm=float(np.sqrt((rest**2).sum(axis=1).mean())),
        lip_error_max_mm=float(np.linalg.norm(result.lips - target.lips - wanted, axis=2).max()),
        gap_error_max_mm=float(np.abs(gap).max()),
        moving_share=float((peak > MOVES_MM).mean()),
        still_regions=tuple(
            sorted(name for name, ids in target.regions.items() if not peak[ids].any())
        ),
        jaw_regions=jaw,
    )
