"""Motions as parameters of a FLAME head, and parameters as motions in millimetres.

What is carried over is the movement from the neutral face, never the face: an avatar keeps its own
shape. Axis letters: T frames, V vertices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsr.video import rotation_matrices, rotation_vectors
from learn2talk.avatar.flame_fit import FlameFitConfig, fit_expression_and_jaw
from learn2talk.avatar.flame_model import MM_PER_M, FlameModel
from learn2talk.avatar.flame_params import FlameParams, flame_vertices, neutral_of
from learn2talk.contours import lip_contours
from learn2talk.export.alignment import same_topology
from learn2talk.export.checks import checked_displacement
from learn2talk.export.retarget import RetargetReport, retarget
from learn2talk.head_pose import without_head_pose
from learn2talk.mesh_files import MeshFile
from learn2talk.region_files import read_regions
from learn2talk.schema import FaceTemplate, Motion
from learn2talk.topology_regions import OWN_REGIONS, flame


@dataclass(frozen=True)
class FlameFitReport:
    """How well FLAME follows a motion; distances of vertices from where they should be, mm.

    mean_mm, p95_mm, max_mm: over all vertices and frames. lips_mean_mm: over the lips, ``None``
    where the motion's face names none. expression_max: largest coefficient, in standard deviations
    of FLAME's people: much above 3 is a face that FLAME has not seen. jaw_max_degrees: widest turn
    of the jaw. retarget: what was lost before, where the motion was on another topology.
    """

    mean_mm: float
    p95_mm: float
    max_mm: float
    lips_mean_mm: float | None
    expression_max: float
    jaw_max_degrees: float
    retarget: RetargetReport | None = None

    def lines(self) -> list[str]:
        """The report as text."""
        lips = "no lips known" if self.lips_mean_mm is None else f"lips {self.lips_mean_mm:.3f}"
        found = [
            f"distance of FLAME's vertices from the motion's: mean {self.mean_mm:.3f} mm, 95 % "
            f"below {self.p95_mm:.3f}, largest {self.max_mm:.3f}, {lips}",
            f"largest expression coefficient {self.expression_max:.2f}, widest jaw "
            f"{self.jaw_max_degrees:.1f} degrees",
        ]
        if self.retarget is not None:
            found.append(
                f"before, from another topology: scale {self.retarget.scale:.3f}, lips at rest "
                f"{self.retarget.lip_rest_mismatch_mm:.2f} mm apart, lip movement off by at most "
                f"{self.retarget.lip_error_max_mm:.3f} mm, opening by at most "
                f"{self.retarget.gap_error_max_mm:.3f} mm"
            )
        return found


def flame_face(
    model: FlameModel, params: FlameParams, folder: Path | str | None = None
) -> FaceTemplate:
    """The head of the parameters at rest as a neutral face, mm.

    Args:
        model: FLAME.
        params: shape and static offset are used.
        folder: where the user's FLAME masks and landmarks are (`learn2talk.topology_regions`), or a
            ``regions.json``; None: a face without regions.

    Raises:
        ValueError: a file that is needed is missing or of another mesh; see `neutral_of`.
    """
    vertices = (MM_PER_M * neutral_of(model, params)).astype(np.float32)
    if folder is None:
        return FaceTemplate(model.topology, vertices, model.triangles)
    folder = Path(folder)
    mean = model.vertices.astype(np.float64)
    if (folder / OWN_REGIONS).is_file():
        described = read_regions(folder / OWN_REGIONS)
        regions: Mapping[str, NDArray] = described.regions
        mouth = described.mouth_landmarks
    else:
        regions, mouth = flame(MeshFile(folder, mean, model.triangles, 0, ()), folder)
    if mouth is not None:
        regions = lip_contours(mean, model.triangles, mouth) | dict(regions)
    return FaceTemplate(model.topology, vertices, model.triangles, regions)


def motion_of_flame(
    model: FlameModel,
    params: FlameParams,
    fps: float,
    regions: Mapping[str, NDArray[np.int32]] | None = None,
) -> Motion:
    """The moving head of the parameters in mm; its template is the same head at rest.

    The turn and the translation of the whole head are the motion's head pose, none where both are
    zero (`learn2talk.head_pose.without_head_pose` takes it off); the neck's turn is movement.

    Args:
        model: FLAME. params: T frames.
        fps: frames a second, which the parameters do not say.
        regions: vertex ids of the face's parts; None: none.

    Raises:
        ValueError: see `neutral_of`.
    """
    template = replace(flame_face(model, params), regions=dict(regions or {}))
    roots = _roots(model, template, params.expr)
    turned = (rotation_matrices(params.rotation.astype(np.float64)) @ roots[..., None])[..., 0]
    moved = roots - turned + MM_PER_M * params.translation
    pose = np.concatenate([params.rotation, moved], axis=1).astype(np.float32)
    vertices = MM_PER_M * flame_vertices(model, params)
    return Motion(vertices.astype(np.float32), fps, template, pose if pose.any() else None)


def flame_params_of(
    motion: Motion,
    model: FlameModel,
    *,
    avatar: FlameParams | None = None,
    folder: Path | str | None = None,
    config: FlameFitConfig | None = None,
) -> tuple[FlameParams, FlameFitReport]:
    """A motion of any topology as parameters of a FLAME head: expression, jaw, and the whole head.

    The head's vertices are led to its own neutral face plus the motion's displacement from the
    motion's neutral face. Neck and eyes stay at rest; a head pose of the motion becomes rotation
    and translation, about the origin of FLAME's coordinates.

    Args:
        motion: on FLAME's topology, or on any face with lip contours, which is retargeted first.
        model: FLAME.
        avatar: whose shape and static offset are taken; None: the mean head.
        folder: of the user's FLAME masks and landmarks, read for a motion of another topology.
        config: of the fit; None: its defaults.

    Raises:
        ValueError: no frame, a vertex that is not finite, another topology without ``folder`` or
            without lip contours; see `neutral_of` and `flame_face`.
    """
    checked_displacement(motion, "FLAME parameter file")
    own = avatar or FlameParams.at_rest()
    face = flame_face(model, own)
    free, report = without_head_pose(motion), None
    if _is_flame(motion.template, face):
        displacement = free.vertices.astype(np.float64) - motion.template.vertices
        face = replace(face, regions=motion.template.regions)
    elif folder is None:
        raise ValueError(
            f"the motion's face is {motion.template.topology!r} with "
            f"{len(motion.template.vertices)} vertices, FLAME's {face.topology!r}; to carry it "
            "over give the folder of your FLAME masks and landmarks (--flame-files)"
        )
    else:
        face = flame_face(model, own, folder)
        carried, report = retarget(free, face)
        displacement = carried.vertices.astype(np.float64) - face.vertices
    lips = _lip_ids(face)
    target = face.vertices + displacement
    fitted = fit_expression_and_jaw(model, face.vertices, target, lip_ids=lips, config=config)
    still = FlameParams.at_rest(len(target), own.shape, own.static_offset)
    params = replace(
        still,
        expr=fitted.expression.astype(np.float32),
        jaw_pose=fitted.jaw.astype(np.float32),
    )
    if motion.head_pose is not None:
        params = _with_head_pose(model, face, params, motion.head_pose)
    distance = fitted.distance_mm
    return params, FlameFitReport(
        mean_mm=float(distance.mean()),
        p95_mm=float(np.quantile(distance, 0.95)),
        max_mm=float(distance.max()),
        lips_mean_mm=None if lips is None else float(distance[:, lips].mean()),
        expression_max=float(np.abs(fitted.expression).max()),
        jaw_max_degrees=float(np.degrees(np.linalg.norm(fitted.jaw, axis=1).max())),
        retarget=report,
    )


def placed_as(params: FlameParams, other: FlameParams) -> FlameParams:
    """The same movement of a head that stands as another does in its first frame.

    Cameras of GaussianAvatars look at where its head was filmed, not at FLAME's origin. Rotation
    and translation follow those of the first frame; neck and eyes are that frame's.
    """
    frames = len(params)
    first = rotation_matrices(other.rotation[0].astype(np.float64))
    turns = first @ rotation_matrices(params.rotation.astype(np.float64))
    moved = params.translation @ first.T + other.translation[0]
    return replace(
        params,
        rotation=rotation_vectors(turns).astype(np.float32),
        translation=moved.astype(np.float32),
        neck_pose=np.repeat(other.neck_pose[:1], frames, axis=0),
        eyes_pose=np.repeat(other.eyes_pose[:1], frames, axis=0),
    )


def _is_flame(source: FaceTemplate, face: FaceTemplate) -> bool:
    named = source.topology == face.topology and len(source.vertices) == len(face.vertices)
    return named or same_topology(source, face)


def _lip_ids(face: FaceTemplate) -> NDArray[np.int32] | None:
    if "lips" in face.regions:
        return face.region("lips")
    contours = {"lips_outer", "lips_inner"} <= set(face.regions)
    return face.lip_ids if contours else None


def _roots(model: FlameModel, face: FaceTemplate, expr: NDArray) -> NDArray[np.float64]:
    """Where the root joint is in each frame before the head turns about it, (T, 3) mm."""
    regressor = model.joint_regressor[0].astype(np.float64)
    by_expression = MM_PER_M * np.einsum("v,vce->ce", regressor, model.expressions)
    roots: NDArray[np.float64] = regressor @ face.vertices + expr @ by_expression.T
    return roots


def _with_head_pose(
    model: FlameModel, face: FaceTemplate, params: FlameParams, pose: NDArray[np.float32]
) -> FlameParams:
    """FLAME turns about its root joint, a head pose about the origin: the shift makes up for it."""
    roots = _roots(model, face, params.expr)
    turned = (rotation_matrices(pose[:, :3].astype(np.float64)) @ roots[..., None])[..., 0]
    shift = (pose[:, 3:] + turned - roots) / MM_PER_M
    return replace(params, rotation=pose[:, :3], translation=shift.astype(np.float32))
