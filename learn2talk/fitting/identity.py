"""Whose face it is: a face model brought to one neutral face of landmarks.

Axis letters: V vertices, N anchors, E expressions, K unknowns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsr.tracking import HEAD, NUM_LANDMARKS
from avsr.video import ADULT_PUPIL_DISTANCE_MM, Similarity
from learn2talk.fitting.face_model import FaceModel, anchor_points
from learn2talk.schema import FaceTemplate

PUPILS_MM = (45.0, 85.0)  # what a face in millimetres may have
# What identity shapes cannot say is bent smoothly: standard deviation as a share of
# `FitConfig.bend_mm` and reach of two Gaussian processes. The near one is wide beside a closed
# mouth's gap, so that no bending opens it.
_BENDS = ((1.0, 40.0), (0.35, 10.0))
_ROUNDS, _SETTLED_MM = 20, 1e-7


@dataclass(frozen=True)
class FitConfig:
    """How a face model is fitted; the defaults are for MediaPipe's landmarks of a talking face."""

    landmark_noise_mm: float = 1.0
    """Standard deviation of a landmark, above 0: what the shapes' own sizes are weighed against."""
    weight_spread: float = 0.3
    """Standard deviation of an expression weight before anything is seen, above 0."""
    bend_mm: float | None = 3.0
    """How far a face may differ from the identity shapes, smoothly; None: not at all."""
    depth_weight: float = 0.5
    """Weight of z beside x and y, 0 to 1: a tracker of one picture guesses it."""
    gap_weight: float = 10.0
    """Weight of each distance between upper and lower lip beside a lip point; 0: none. In ten
    clips of GRID the tracker closed the lips (under 1 mm) in 10 of 15 words that begin with b or p;
    with 10 the fitted ICT face did so in the same 10, without it in none."""
    smoothness: float = 0.05
    """Weight of the second difference in time of the anchors' movement; 0: frames are free."""
    rounds: int = 4
    """Most rounds of head pose and expressions, 1 or more."""
    tolerance: float = 1e-4
    """A weight is found when a step changes none by more than this."""
    max_steps: int = 3000
    """Most steps in search of the weights in each round, 1 or more."""

    def __post_init__(self) -> None:
        positive = ("landmark_noise_mm", "weight_spread", "tolerance")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"fitting: {name} is {getattr(self, name)}; give more than 0")
        if self.bend_mm is not None and not self.bend_mm > 0:
            raise ValueError(f"fitting: bend_mm is {self.bend_mm}; give more than 0, or None")
        if not 0.0 <= self.depth_weight <= 1.0:
            raise ValueError(f"fitting: depth_weight is {self.depth_weight}; give 0 to 1")
        for name in ("gap_weight", "smoothness"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"fitting: {name} is {getattr(self, name)}; give 0 or more")
        for name in ("rounds", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"fitting: {name} is {getattr(self, name)}; give 1 or more")


DEFAULT_FIT = FitConfig()


@dataclass(frozen=True, eq=False)
class PersonalFace:
    """A face model that has become somebody, in the head frame of that person's landmarks.

    template: the neutral face, mm. turn: (3, 3), the model's size times its rotation into the head
    frame. coefficients (I,): of the model's identity shapes. offset (N, 3) mm: what is left between
    the neutral landmarks and the template's anchors; it is taken to be the same in every frame.
    """

    model: FaceModel
    template: FaceTemplate
    turn: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    offset: NDArray[np.float64]

    @property
    def size(self) -> float:
        """How large the face is beside the model, 1 = the same."""
        return float(np.cbrt(np.linalg.det(self.turn)))

    @property
    def anchors(self) -> NDArray[np.float64]:
        """The neutral anchors (N, 3) mm."""
        return self.template.vertices[self.model.anchor_ids].astype(np.float64)

    @property
    def anchor_expressions(self) -> NDArray[np.float64]:
        """Movement of the anchors at weight 1, (E, N, 3) mm."""
        moves = self.model.expressions[:, self.model.anchor_ids].astype(np.float64)
        return moves @ self.turn.T

    def pose(self, weights: NDArray) -> NDArray[np.float32]:
        """Vertices float32 (T, V, 3) mm of expression weights (T, E), head-pose-free."""
        model = self.model
        flat = model.expressions.reshape(len(model.expressions), -1)
        moved = (weights.astype(np.float32) @ flat).reshape(len(weights), -1, 3)
        posed = moved @ self.turn.T.astype(np.float32)
        posed += self.template.vertices
        return posed


def weighted_similarity(
    source: NDArray, target: NDArray, weights: NDArray, *, scaled: bool
) -> Similarity:
    """Least-squares transform of points (..., N, 3) with weights (N,); scale 1 unless ``scaled``.

    Umeyama, TPAMI 13(4) 1991, with weights.
    """
    share = weights / weights.sum()
    source_mean, target_mean = share @ source, share @ target
    source_0 = source - source_mean[..., None, :]
    target_0 = target - target_mean[..., None, :]
    left, singular, right = np.linalg.svd(np.swapaxes(target_0 * share[:, None], -1, -2) @ source_0)
    signs = np.ones_like(singular)
    signs[..., -1] = np.sign(np.linalg.det(left @ right))
    rotation = (left * signs[..., None, :]) @ right
    scale = np.ones(singular.shape[:-1])
    if scaled:
        scale = (singular * signs).sum(-1) / ((source_0**2).sum(-1) @ share)
    turned = (scale[..., None, None] * rotation @ source_mean[..., None])[..., 0]
    return Similarity(scale, rotation, target_mean - turned)


def pose_directions(points: NDArray, *, scaled: bool) -> NDArray[np.float64]:
    """How points (N, 3) move when the head turns, shifts (and grows): columns (3 N, 6 or 7)."""
    axes = np.eye(3)
    columns = [np.cross(axis, points).reshape(-1) for axis in axes]
    columns += [np.tile(axis, len(points)) for axis in axes]
    if scaled:
        columns.append(points.reshape(-1))
    return np.stack(columns, axis=1)


def without(directions: NDArray, values: NDArray) -> NDArray:
    """Columns ``values`` (M, K) less all that ``directions`` (M, D) can explain."""
    basis, _ = np.linalg.qr(directions)
    return values - basis @ (basis.T @ values)


def row_weights(model: FaceModel, config: FitConfig) -> NDArray[np.float64]:
    """Square roots of the weights of x, y and z of each anchor, (3 N,)."""
    axes = np.array([1.0, 1.0, config.depth_weight])
    return np.sqrt(model.importance[:, None] * axes).reshape(-1)


def fit_identity(
    model: FaceModel, neutral: NDArray, config: FitConfig = DEFAULT_FIT
) -> PersonalFace:
    """The face of a person from one neutral face with the mouth closed.

    Size and rotation, the model's identity shapes and a smooth bending (a Gaussian process over the
    surface: Luethi et al., "Gaussian process morphable models", TPAMI 40(8) 2018) are found
    together by regularised least squares.

    Args:
        model: face model.
        neutral: (478, 3) MediaPipe's landmarks, mm: x to the right, y up, z to the viewer.
        config: noise and priors.

    Raises:
        ValueError: not 478 landmarks, not finite, or not in millimetres.
    """
    check_millimetres(neutral)
    target = anchor_points(model, neutral)
    ids, rows = model.anchor_ids, row_weights(model, config)
    start = model.template.vertices[ids].astype(np.float64)
    shapes = model.identities[:, ids].reshape(len(model.identities), -1).T.astype(np.float64)
    root = None if config.bend_mm is None else _root(_kernel(start, start), config.bend_mm)
    if root is not None:
        shapes = np.concatenate([shapes, np.kron(root, np.eye(3))], axis=1)
    seen = without(rows[:, None] * pose_directions(start, scaled=True), rows[:, None] * shapes)
    normal = seen.T @ seen + config.landmark_noise_mm**2 * np.eye(seen.shape[1])
    found = np.zeros(shapes.shape[1])
    for _ in range(_ROUNDS):
        points = start + (shapes @ found).reshape(-1, 3)
        pose = weighted_similarity(points, target, model.importance, scaled=True)
        back = (target - pose.translation) @ pose.rotation / pose.scale
        wanted = without(
            rows[:, None] * pose_directions(start, scaled=True),
            (rows * (back - start).reshape(-1))[:, None],
        )
        before, found = found, np.linalg.solve(normal, seen.T @ wanted[:, 0])
        if np.abs(shapes @ (found - before)).max() < _SETTLED_MM:
            break
    coefficients = found[: len(model.identities)]
    vertices = model.template.vertices.astype(np.float64)
    vertices = vertices + np.tensordot(coefficients, model.identities, axes=1)
    if root is not None and config.bend_mm is not None:
        bend = found[len(coefficients) :].reshape(-1, 3)
        reach = _kernel(model.template.vertices.astype(np.float64), start) * config.bend_mm**2
        vertices = vertices + reach @ np.linalg.solve(root.T, bend)
    pose = weighted_similarity(vertices[ids], target, model.importance, scaled=True)
    face = FaceTemplate(
        model.template.topology,
        pose.apply(vertices),
        model.template.triangles,
        model.template.regions,
    )
    turn = float(pose.scale) * pose.rotation
    return PersonalFace(model, face, turn, coefficients, target - face.vertices[ids])


def _kernel(one: NDArray, other: NDArray) -> NDArray:
    """Covariance (A, B) of the bending at points (A, 3) and (B, 3), for a bend of 1 mm."""
    square = ((one[:, None] - other[None]) ** 2).sum(-1)
    parts = [share**2 * np.exp(-0.5 * square / reach**2) for share, reach in _BENDS]
    return np.sum(parts, axis=0)


def _root(kernel: NDArray, bend_mm: float) -> NDArray:
    """Lower triangular square root; anchors that almost coincide need the small diagonal."""
    return np.linalg.cholesky(bend_mm**2 * (kernel + 1e-6 * np.eye(len(kernel))))


def check_millimetres(neutral: NDArray) -> None:
    """Refuse a neutral face (478, 3) that is not one, or not in millimetres."""
    if neutral.shape != (NUM_LANDMARKS, 3):
        raise ValueError(
            f"the neutral face has shape {neutral.shape}; give MediaPipe's ({NUM_LANDMARKS}, 3)"
        )
    if not np.isfinite(neutral).all():
        raise ValueError("the neutral face holds NaN or infinite values; was a face found?")
    left, right = HEAD.pupils
    apart = float(np.linalg.norm(neutral[right] - neutral[left]))
    low, high = PUPILS_MM
    if not low <= apart <= high or neutral[right, 0] < neutral[left, 0]:
        raise ValueError(
            f"the neutral face has pupils {apart:.4g} apart (right minus left x: "
            f"{neutral[right, 0] - neutral[left, 0]:.4g}); millimetres give {low:g} to {high:g}, "
            f"about {ADULT_PUPIL_DISTANCE_MM:g}: convert the unit, x to the image's right"
        )
