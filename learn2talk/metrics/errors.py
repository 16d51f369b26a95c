"""Distances in space: LVE and its variants, MVE, FDD, and what a figure is in other units.

The same models differ by a factor of ten between papers because the variants share one name:

- LVE, canonical, mm^2: mean over all frames of all clips of the largest squared lip error
  (CodeTalker, main/cal_metric.py at 1b7cb95): `lip_vertex_errors`, pooled by frames.
- rooted, mm: the same of the error itself (UniTalker's LVD, `metric_L2norm` in loss/loss.py):
  `lip_vertex_errors_mm`. UniTalker's loop then averages clip means, not frames.
- centred, mm: both lips moved to their own centre in every frame, after MeshTalk (Richard et al.,
  ICCV 2021): `centred_lip_vertex_errors_mm`. A constant or a moving offset costs nothing.
- RMS of the max, mm: the root of the canonical figure (ARTalk, arXiv 2502.20323):
  `root_mean` in `learn2talk.metrics.pooling` over `lip_vertex_errors`. Never below the rooted one.

CodeTalker's and UniTalker's code was read; the repositories of MeshTalk and ARTalk hold no metric,
so that those two follow FACE_METRICS.md. Arrays are numpy, millimetres, frames first.
Axis letters: T frames, V vertices, L lip vertices, U upper-face vertices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def check_pair(prediction: Array, reference: Array) -> None:
    """Raise ValueError unless both are one non-empty (T, V, 3)."""
    if prediction.shape != reference.shape or prediction.ndim != 3 or prediction.shape[-1] != 3:
        raise ValueError(
            f"prediction {prediction.shape} and reference {reference.shape} must have one shape "
            "(T, V, 3); cut both to the same frames and vertices"
        )
    if 0 in prediction.shape:
        raise ValueError(f"no value to measure in an array of shape {prediction.shape}")


def lip_vertex_errors(*, reference: Array, prediction: Array) -> Array:
    """Canonical LVE before pooling: for each frame the largest squared lip error, (T,), mm^2.

    The figure LVE is the mean over all frames of all clips (CodeTalker's definition): pool the
    frames, do not average clip means.

    Args:
        reference, prediction: float (T, L, 3), mm, lip vertices only.

    Raises:
        ValueError: shapes differ, or there is no frame.
    """
    check_pair(prediction, reference)
    return np.square(prediction - reference).sum(axis=-1).max(axis=-1)


def lip_vertex_errors_mm(*, reference: Array, prediction: Array) -> Array:
    """LVE's rooted variant, UniTalker's LVD: largest lip error of each frame, (T,), mm."""
    return np.sqrt(lip_vertex_errors(reference=reference, prediction=prediction))


def mean_vertex_errors_mm(*, reference: Array, prediction: Array) -> Array:
    """MVE before pooling: for each frame the mean over vertices of the error, (T,), mm.

    On lip vertices it is the mean lip error. Arguments and errors as in `lip_vertex_errors`.
    """
    check_pair(prediction, reference)
    return np.sqrt(np.square(prediction - reference).sum(axis=-1)).mean(axis=-1)


def centred_lip_vertex_errors_mm(*, reference: Array, prediction: Array) -> Array:
    """LVE's centred variant: largest lip error of each frame, each lips' mean removed, (T,), mm.

    Arguments and errors as in `lip_vertex_errors`.
    """
    check_pair(prediction, reference)
    return lip_vertex_errors_mm(
        reference=reference - reference.mean(axis=1, keepdims=True),
        prediction=prediction - prediction.mean(axis=1, keepdims=True),
    )


def face_dynamics_mm2(displacement: Array) -> float:
    """Mean over vertices of the deviation over time of the squared displacement, mm^2.

    Args:
        displacement: float (T, U, 3), mm, upper-face vertices minus those of the neutral face.

    Raises:
        ValueError: not of that shape, or nothing in it.
    """
    check_pair(displacement, displacement)
    return float(np.square(displacement).sum(axis=-1, dtype=np.float64).std(axis=0).mean())


def upper_face_dynamics_deviation_mm2(*, reference: Array, prediction: Array) -> float:
    """FDD of one clip, **signed**: the truth's dynamics minus the prediction's, mm^2.

    Xing et al., "CodeTalker", CVPR 2023; main/cal_metric.py at 1b7cb95: deviation with divisor T,
    mean over clips and not over frames. Positive: the prediction moves too little. Over-animation
    lowers it below zero, so that clips of both signs cancel: report the mean of its absolute
    value as well.

    Args:
        reference, prediction: float (T, U, 3), mm, upper-face vertices minus the neutral face's.

    Raises:
        ValueError: shapes differ, or there is no frame.
    """
    check_pair(prediction, reference)
    return face_dynamics_mm2(reference) - face_dynamics_mm2(prediction)


def squared_in_own_units(value_mm2: float, *, mm_per_unit: float) -> float:
    """A squared figure (LVE, FDD) in a paper's own unit of length, to compare with its tables.

    Lengths divide by the unit, squares by its square. VOCASET comes in metres (`mm_per_unit`
    1000), so its "x 1e-5" column is mm^2 / 10: 25 mm^2 is 2.5e-5 m^2. BIWI's meshes, as CodeTalker
    prepares them, are scaled by a factor that no paper states, so its "x 1e-4" column becomes mm^2
    only for who holds both meshes and measures the factor.

    Raises:
        ValueError: the unit is not positive.
    """
    if not mm_per_unit > 0:
        raise ValueError(f"mm_per_unit is {mm_per_unit}; give the unit's length in mm, above 0")
    return value_mm2 / mm_per_unit**2
