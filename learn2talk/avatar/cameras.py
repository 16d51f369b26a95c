"""Pinhole cameras around a face, in OpenCV's convention.

Space of the face: x to the image's right, y up, z towards the viewer, mm. Space of the camera: x to
the right, y down, z away from the camera. Picture: pixel (row, column) has its centre at
(column + 0.5, row + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """What a camera sees of a point p: fx x / z + cx, fy y / z + cy with (x, y, z) = R p + t.

    rotation (3, 3) float64: R, orthonormal, determinant 1. translation (3,) float64: t, in the
    unit of the space. fx, fy, cx, cy: pixels. width, height: of the picture, pixels. near: what is
    closer to the camera (z, unit of the space) is not drawn.

    Raises ValueError when a shape, the rotation or a size cannot be.
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    near: float = 1.0

    def __post_init__(self) -> None:
        rotation = np.asarray(self.rotation, dtype=np.float64)
        translation = np.asarray(self.translation, dtype=np.float64)
        if rotation.shape != (3, 3) or translation.shape != (3,):
            raise ValueError(
                f"camera: rotation {rotation.shape} and translation {translation.shape}; give "
                "(3, 3) and (3,)"
            )
        if not np.isfinite(translation).all():
            raise ValueError("camera: the translation is not finite")
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5) or (
            np.linalg.det(rotation) < 0
        ):
            raise ValueError("camera: the rotation is no rotation matrix (orthonormal, det 1)")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera: a picture of {self.width} x {self.height} pixels; give 1+")
        if not (self.fx > 0 and self.fy > 0 and self.near > 0):
            raise ValueError(
                f"camera: fx {self.fx}, fy {self.fy} and near {self.near} must be positive"
            )
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "translation", translation)

    @property
    def centre(self) -> NDArray[np.float64]:
        """Where the camera stands, (3,), in the space that it looks at."""
        centre: NDArray[np.float64] = -self.rotation.T @ self.translation
        return centre
