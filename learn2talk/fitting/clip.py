"""A clip of landmarks to the motion of a face model: head pose, expression weights, errors in mm.

Axis letters: T frames, V vertices, N anchors, E expressions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.tracking import HEAD, LIPS_INNER, NUM_LANDMARKS
from avsr.units import VIDEO_FPS
from avsr.video import Similarity, fill_missing, remove_head_pose
from learn2talk.fitting.face_model import FaceModel, anchor_points
from learn2talk.fitting.identity import (
    DEFAULT_FIT,
    FitConfig,
    PersonalFace,
    fit_identity,
    pose_directions,
    row_weights,
    weighted_similarity,
    without,
)
from learn2talk.fitting.weights import bounded_weights
from learn2talk.schema import Motion

NEUTRAL_SHARE, MIN_NEUTRAL_FRAMES = 0.1, 3
# Inner lip points, lower and upper, at the middle of the mouth.
GAP_LANDMARKS = (LIPS_INNER[5], LIPS_INNER[15])
SMALLEST_FACE_PX = 4.0  # between the outer corners of the eyes; less are normalised coordinates


@dataclass(frozen=True)
class FitErrors:
    """Distances between tracked landmarks and the fitted face, mm, over the tracked frames.

    mean_mm, p95_mm: of all fitted landmarks. lips_mm, lips_p95_mm: of the 40 lip points.
    lip_gap_pcc: correlation over time of the gap between the lips, None where it does not change.
    frames, tracked_frames: of the clip.
    """

    mean_mm: float
    p95_mm: float
    lips_mm: float
    lips_p95_mm: float
    lip_gap_pcc: float | None
    frames: int
    tracked_frames: int

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class FaceFit:
    """What a clip gives. What was observed is scale x (vertices @ rotation.T + translation).

    motion: head-pose-free. weights float32 (T, E), 0 to 1, in the order of the model's names.
    rotation float64 (T, 3, 3); translation float64 (T, 3), mm; scale float64 (T,): 1 for
    landmarks in mm, pixels per mm for landmarks in pixels.
    """

    face: PersonalFace
    motion: Motion
    weights: NDArray[np.float32]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    scale: NDArray[np.float64]
    errors: FitErrors


def fit_vertices(
    model: FaceModel,
    vertices: NDArray,
    tracked: NDArray[np.bool_],
    *,
    face: PersonalFace | None = None,
    fps: float = VIDEO_FPS,
    config: FitConfig = DEFAULT_FIT,
) -> FaceFit:
    """Fit a face model to landmarks in millimetres.

    Args:
        model: face model.
        vertices: (T, 478, 3) mm, x to the image's right, y up, z to the viewer, with little or no
            head movement left (the ``vertices`` of a prepared corpus).
        tracked: bool (T,), True where a face was found; other frames are not read, their
            expressions follow the neighbours and fall to rest in longer gaps.
        face: whose face it is, in the head frame of ``vertices`` (:func:`fit_identity`); None: the
            frames with the mouth closed, taken for neutral (:func:`neutral_landmarks`), say it.
        fps: frames a second.
        config: noise and priors.

    Raises:
        ValueError: no frame is tracked, shapes disagree, a tracked landmark is not finite, or the
            face is not in millimetres.
    """
    _check(vertices, tracked)
    if face is None:
        face = fit_identity(model, neutral_landmarks(vertices, tracked), config)
    elif face.model is not model:
        raise ValueError("the face belongs to another face model; fit it to this one")
    points, _ = fill_missing(anchor_points(model, vertices), tracked, len(tracked))
    weights, pose = _alternate(face, points, tracked, config)
    motion = Motion(face.pose(weights), fps, face.template)
    return FaceFit(
        face=face,
        motion=motion,
        weights=weights.astype(np.float32),
        rotation=pose.rotation,
        translation=pose.translation,
        scale=np.ones(len(tracked)),
        errors=_errors(model, motion, pose, points, tracked),
    )


def fit_landmarks(
    model: FaceModel,
    landmarks: NDArray,
    tracked: NDArray[np.bool_],
    *,
    face: PersonalFace | None = None,
    fps: float = VIDEO_FPS,
    config: FitConfig = DEFAULT_FIT,
) -> FaceFit:
    """Fit a face model to MediaPipe's landmarks in pixels; millimetres by the mean pupil distance.

    The head's movement is removed first (`avsr.video.remove_head_pose`, which also sets the scale),
    then :func:`fit_vertices` finds the rest; the pose of the result holds both.

    Args:
        model: face model.
        landmarks: (T, 478, 3) pixels, y down, z larger = farther (`avsr.tracking.FaceTrack`).
        tracked: bool (T,), True where a face was found; other frames are not read.
        face: as in :func:`fit_vertices`; it may be that of other clips of the same person.
        fps: frames a second.
        config: noise and priors.

    Raises:
        ValueError: as :func:`fit_vertices`; or the landmarks are not in pixels.
    """
    _check(landmarks, tracked)
    left, right = HEAD.outer_eyes
    eyes = np.linalg.norm(landmarks[tracked, right, :2] - landmarks[tracked, left, :2], axis=-1)
    if float(np.median(eyes)) < SMALLEST_FACE_PX:
        raise ValueError(
            f"outer eye corners are {np.median(eyes):.3g} pixels apart; give landmarks in pixels, "
            "not shares of the picture, of a face that can be seen"
        )
    filled, _ = fill_missing(landmarks.astype(np.float64), tracked, len(tracked))
    vertices, head = remove_head_pose(filled, HEAD, tracked=tracked)
    fit = fit_vertices(model, vertices, tracked, face=face, fps=fps, config=config)
    # vertices = s R pixels + t, so pixels = (1 / s) R^-1 (vertices - t).
    back = np.swapaxes(head.rotation, -1, -2)
    translation = np.einsum("tij,tj->ti", back, fit.translation - head.translation)
    return FaceFit(
        face=fit.face,
        motion=fit.motion,
        weights=fit.weights,
        rotation=back @ fit.rotation,
        translation=translation,
        scale=1.0 / head.scale,
        errors=fit.errors,
    )


def neutral_landmarks(vertices: NDArray, tracked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The face (478, 3) at rest: median of the tenth of the tracked frames with the lips closest.

    Args:
        vertices: (T, 478, 3) without head pose. tracked: bool (T,), at least one frame.
    """
    known = vertices[tracked].astype(np.float64)
    lower, upper = GAP_LANDMARKS
    gap = np.linalg.norm(known[:, upper] - known[:, lower], axis=-1)
    count = min(max(MIN_NEUTRAL_FRAMES, round(NEUTRAL_SHARE * len(known))), len(known))
    neutral: NDArray[np.float64] = np.median(known[np.argsort(gap)[:count]], axis=0)
    return neutral


def _check(landmarks: NDArray, tracked: NDArray[np.bool_]) -> None:
    if landmarks.shape[1:] != (NUM_LANDMARKS, 3) or tracked.shape != landmarks.shape[:1]:
        raise ValueError(
            f"landmarks {landmarks.shape} with tracked {tracked.shape}; give MediaPipe's "
            f"(T, {NUM_LANDMARKS}, 3) and (T,)"
        )
    if tracked.dtype != np.bool_:
        raise ValueError(f"tracked is {tracked.dtype}; give bool, True where a face was found")
    if not tracked.any():
        raise ValueError(f"no face in any of {len(tracked)} frames, so there is nothing to fit")
    broken = tracked & ~np.isfinite(landmarks).all(axis=(1, 2))
    if broken.any():
        raise ValueError(
            f"frame {int(np.flatnonzero(broken)[0])} is marked as tracked but has a landmark that "
            "is NaN or infinite; mark it as not tracked"
        )


def _alternate(
    face: PersonalFace, points: NDArray, tracked: NDArray[np.bool_], config: FitConfig
) -> tuple[NDArray[np.float64], Similarity]:
    """Weights (T, E) and rigid head poses of anchors (T, N, 3).

    The expressions are fitted to what no head pose explains (variable projection), so that an open
    jaw and a nodding head are told apart in few rounds.
    """
    model = face.model
    rows = _rows(model, config)
    rest = face.anchors + face.offset
    # A landmark keeps its offset from the face's anchor, the lips' distance is wanted as it is: a
    # model whose neutral lips stand a little apart closes them where the speaker does.
    apart = rows @ face.offset.reshape(-1)
    apart[: face.offset.size] = 0.0
    flat = face.anchor_expressions.reshape(len(model.names), -1)
    head = rows @ pose_directions(rest, scaled=False)
    design = without(head, rows @ flat.T)
    weights = np.zeros((len(points), len(flat)))
    prior = (config.landmark_noise_mm / config.weight_spread) ** 2
    for _ in range(config.rounds):
        moved = rest + (weights @ flat).reshape(len(points), -1, 3)
        pose = weighted_similarity(moved, points, model.importance, scaled=False)
        back = (points - pose.translation[:, None]) @ pose.rotation
        left = rows @ (back - rest).reshape(len(points), -1).T + apart[:, None]
        before = weights
        weights = bounded_weights(
            design,
            without(head, left).T,
            tracked.astype(np.float64),
            prior=prior,
            smoothness=config.smoothness,
            start=before,
            tolerance=config.tolerance,
            max_steps=config.max_steps,
        )
        if np.abs(weights - before).max() < 10 * config.tolerance:
            break
    moved = rest + (weights @ flat).reshape(len(points), -1, 3)
    pose = weighted_similarity(moved, points, model.importance, scaled=False)
    return weights, pose


def _rows(model: FaceModel, config: FitConfig) -> NDArray[np.float64]:
    """What is measured of the anchors' coordinates: matrix (M, 3 N).

    Each coordinate with its weight, then the distances between upper and lower lip: whether a mouth
    is closed matters more than where exactly the lips are.
    """
    own = np.diag(row_weights(model, config))
    place = {int(landmark): index for index, landmark in enumerate(model.landmark_ids)}
    gaps = np.zeros((len(LIPS_INNER) // 2 - 1, 3, len(place), 3))
    for step, across in enumerate(gaps, start=1):
        upper, lower = place[LIPS_INNER[-step]], place[LIPS_INNER[step]]
        for axis in range(3):
            across[axis, upper, axis], across[axis, lower, axis] = 1.0, -1.0
    axes = np.sqrt(config.gap_weight * np.array([1.0, 1.0, config.depth_weight]))
    gaps *= axes[None, :, None, None]
    return np.concatenate([own, gaps.reshape(-1, 3 * len(place))])


def _errors(
    model: FaceModel,
    motion: Motion,
    pose: Similarity,
    points: NDArray,
    tracked: NDArray[np.bool_],
) -> FitErrors:
    anchors = motion.vertices[:, model.anchor_ids].astype(np.float64)
    away = np.linalg.norm(pose.apply(anchors) - points, axis=-1)[tracked]
    lips = away[:, model.is_lip]
    lower, upper = (int(np.flatnonzero(model.landmark_ids == i)[0]) for i in GAP_LANDMARKS)
    gaps = [
        np.linalg.norm(found[tracked, upper] - found[tracked, lower], axis=-1)
        for found in (points, anchors)
    ]
    return FitErrors(
        mean_mm=float(away.mean()),
        p95_mm=float(np.percentile(away, 95)),
        lips_mm=float(lips.mean()),
        lips_p95_mm=float(np.percentile(lips, 95)),
        lip_gap_pcc=_correlation(*gaps),
        frames=len(tracked),
        tracked_frames=int(tracked.sum()),
    )


def _correlation(one: NDArray, other: NDArray) -> float | None:
    """Pearson's, or None where one of them does not change."""
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return None if norm < 1e-9 else float((one * other).sum() / norm)
