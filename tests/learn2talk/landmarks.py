"""Landmarks as MediaPipe would see them on a face model whose shape and motion are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avsr.tracking import HEAD, NUM_LANDMARKS
from learn2talk.fitting.face_model import FaceModel


def seen_vertices(model: FaceModel) -> NDArray[np.int64]:
    """A vertex for each of the 478 landmarks: the anchors, the eyes, and skin that stays."""
    vertices = model.template.vertices
    still = np.abs(model.expressions).max(axis=(0, 2)) < 1e-6
    still[vertices[:, 2] < 0] = False  # the back of the head
    upper = np.flatnonzero(still & (vertices[:, 1] > 0))
    ids = upper[np.arange(NUM_LANDMARKS) * 7 % len(upper)].astype(np.int64)
    for landmark, x in zip(HEAD.pupils, (-32.0, 32.0), strict=True):
        ids[landmark] = upper[np.linalg.norm(vertices[upper, :2] - (x, 0.0), axis=1).argmin()]
    ids[model.landmark_ids] = model.anchor_ids
    return ids


def person_vertices(
    model: FaceModel, coefficients: NDArray, weights: NDArray
) -> NDArray[np.float64]:
    """The model's face (T, V, 3) mm for identity (I,) and expressions (T, E), head-pose-free."""
    neutral = model.template.vertices + np.tensordot(coefficients, model.identities, axes=1)
    moved: NDArray[np.float64] = neutral + np.tensordot(weights, model.expressions, axes=1)
    return moved


def smooth_weights(rng: np.random.Generator, frames: int, shapes: int) -> NDArray[np.float64]:
    """Weights (T, E) in [0, 1] that begin and end at rest; about half of them rest in any frame."""
    knots = rng.uniform(-0.8, 0.9, (frames // 5 + 2, shapes))
    knots[:2] = knots[-1:] = 0.0
    time = np.linspace(0.0, len(knots) - 1.0, frames)
    curves = [np.interp(time, np.arange(len(knots)), knots[:, shape]) for shape in range(shapes)]
    return np.clip(np.stack(curves, axis=1), 0.0, 1.0)


def rotations(rng: np.random.Generator, frames: int, degrees: float) -> NDArray[np.float64]:
    """Small random turns of a head (T, 3, 3), by Rodrigues' formula."""
    axis = rng.standard_normal((frames, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.radians(degrees) * rng.uniform(0.2, 1.0, frames)[:, None, None]
    x, y, z = axis.T
    zero = np.zeros(frames)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    turned: NDArray[np.float64] = (
        np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    )
    return turned
