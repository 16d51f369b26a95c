"""Mouth crops in the convention of the published weights: aligned to a mean face, 96 x 96, grey.

Both projects turn, scale and shift each frame so that points of the face that speech hardly moves
fall on those of a mean face in a picture of 256 x 256, and cut 96 x 96 around the mouth. What is as
published: the points, the smoothing over 12 frames, the picture's size and border, bilinear
interpolation, where the cut is rounded to whole pixels. What is not:

- Landmarks are MediaPipe's, at the places of the 68-point (iBUG) scheme; the projects used FAN
  (Auto-AVSR) and dlib (AV-HuBERT). The same point of a face differs by some pixels.
- The mean face is our own (:data:`MEAN_FACE`). The projects' file ``20words_mean_face.npy`` can be
  given instead; it is in Auto-AVSR's repository (Apache-2.0) and not in ours.
- Auto-AVSR fits with OpenCV's least-median estimate, here it is least squares; its smoothed points
  are moved by the mean of all 68 points, here by that of the 26 used.
- AV-HuBERT stores its crops as lossy video and turns them grey afterwards; here they are grey first
  and never stored.
"""

# T frames, V landmarks, N points, H W image

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from avsr.video import Similarity, fit_similarity, grey

PICTURE_SIDE, CROP_SIDE = 256, 96
SMOOTHED_FRAMES = 12
MOUTH = tuple(range(48, 68))
# The landmark of MediaPipe's face mesh at each point of the 68-point scheme that is used.
LANDMARK_OF_POINT: dict[int, int] = {
    28: 197,
    33: 2,
    36: 33,
    39: 133,
    42: 362,
    45: 263,
    **dict(zip(range(48, 60), (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181), strict=True)),
    **dict(zip(range(60, 68), (78, 82, 13, 312, 308, 317, 14, 87), strict=True)),
}
MEAN_FACE: dict[int, tuple[float, float]] = {
    28: (127.3, 102.3),
    33: (127.7, 134.0),
    36: (89.7, 92.9),
    39: (112.4, 93.9),
    42: (141.5, 94.3),
    45: (163.8, 92.7),
    48: (106.0, 156.9),
    54: (150.3, 157.2),
}
"""Pixels x, y of a mean face: the Procrustes mean of 60 tracked frames of GRID's speaker s1, seen
from the front, at the scale that the projects' crops have (outer eye corners 74 pixels apart)."""


@dataclass(frozen=True)
class CropConvention:
    """How one project aligns its crops.

    stable: points of the 68-point scheme that are brought onto the mean face.
    smoothing: ``"centred"``: over the frames around, fewer at the ends, and the cut follows the
        smoothed mouth; ``"forward"``: over this and the next frames, the last ones share one
        alignment, and the cut follows the mouth itself.
    """

    stable: tuple[int, ...]
    smoothing: Literal["centred", "forward"]


AUTO_AVSR = CropConvention((28, 33, 36, 39, 42, 45, 48, 54), "centred")
AV_HUBERT = CropConvention((33, 36, 39, 42, 45), "forward")


def read_mean_face(path: Path | str) -> dict[int, tuple[float, float]]:
    """A mean face of 68 points from ``20words_mean_face.npy``.

    Raises:
        ValueError: missing, or not 68 points in the plane.
    """
    path = Path(path)
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not readable as .npy ({error}); check the path") from error
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"{path}: holds shape {points.shape}; a mean face is (68, 2) numbers")
    return {index: (float(x), float(y)) for index, (x, y) in enumerate(points)}


def aligned_mouth_crops(
    frames: np.ndarray,
    landmarks: np.ndarray,
    convention: CropConvention,
    mean_face: dict[int, tuple[float, float]] = MEAN_FACE,
) -> np.ndarray:
    """Grey mouth crops of a film.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        landmarks: float (T, V, 2 or 3), MediaPipe's in pixels, every frame filled.
        convention: of the weights' project.
        mean_face: pixels of the convention's stable points.

    Returns:
        uint8 (T, 96, 96); beyond the picture there is black.

    Raises:
        ValueError: a different number of frames and landmarks, none, or a mean face without a
            stable point.
    """
    if len(frames) != len(landmarks) or len(frames) == 0:
        raise ValueError(
            f"{len(frames)} frames with {len(landmarks)} rows of landmarks; give one row a frame"
        )
    if missing := [point for point in convention.stable if point not in mean_face]:
        raise ValueError(f"the mean face lacks the points {missing}; give all of them")
    ids = list(LANDMARK_OF_POINT)
    points = landmarks[:, [LANDMARK_OF_POINT[point] for point in ids], :2].astype(np.float64)
    smoothed = _smoothed(points, convention)
    stable = [ids.index(point) for point in convention.stable]
    target = np.array([mean_face[point] for point in convention.stable])
    onto_mean = fit_similarity(smoothed[:, stable], target)
    mouth = [ids.index(point) for point in MOUTH]
    followed = smoothed if convention.smoothing == "centred" else points
    centres = onto_mean.apply(followed[:, mouth]).mean(1)
    half = CROP_SIDE // 2
    corners = np.round(np.clip(centres, half, PICTURE_SIDE - half) - half)
    crops = np.empty((len(frames), CROP_SIDE, CROP_SIDE), np.uint8)
    for t, frame in enumerate(frames):
        at = Similarity(onto_mean.scale[t], onto_mean.rotation[t], onto_mean.translation[t])
        crops[t] = _warped(np.rint(grey(frame)), at, corners[t])
    return crops


def _smoothed(points: np.ndarray, convention: CropConvention) -> np.ndarray:
    """Points (T, N, 2) averaged over neighbouring frames, as the convention says."""
    count = len(points)
    smoothed = np.empty_like(points)
    if convention.smoothing == "forward":
        width = min(count, SMOOTHED_FRAMES)
        for t in range(count):
            first = min(t, count - width)
            smoothed[t] = points[first : first + width].mean(0)
        return smoothed
    for t in range(count):
        margin = min(SMOOTHED_FRAMES // 2, t, count - 1 - t)
        mean = points[t - margin : t + margin + 1].mean(0)
        smoothed[t] = mean + points[t].mean(0) - mean.mean(0)
    return smoothed


def _warped(image: np.ndarray, onto_mean: Similarity, corner: np.ndarray) -> np.ndarray:
    """The 96 x 96 at ``corner`` (x, y) of the aligned picture, bilinear; uint8."""
    side = np.arange(CROP_SIDE, dtype=np.float64)
    grid = np.stack(np.meshgrid(side + corner[0], side + corner[1]), axis=-1)
    source = (grid - onto_mean.translation) @ onto_mean.rotation / onto_mean.scale
    height, width = image.shape
    bordered = np.pad(image, 1)  # black, and a pixel outside fades into it
    x = np.clip(source[..., 0], -1, width) + 1
    y = np.clip(source[..., 1], -1, height) + 1
    x0, y0 = np.minimum(x.astype(int), width), np.minimum(y.astype(int), height)
    across, along = x - x0, y - y0
    top = bordered[y0, x0] * (1 - across) + bordered[y0, x0 + 1] * across
    bottom = bordered[y0 + 1, x0] * (1 - across) + bordered[y0 + 1, x0 + 1] * across
    return np.clip(np.rint(top * (1 - along) + bottom * along), 0, 255).astype(np.uint8)
