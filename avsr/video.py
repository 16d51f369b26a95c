"""Landmarks and frames to head-pose-free lips and mouth crops: pure functions on arrays.

Axes: T frames, V landmarks, N points, D = 2 or 3 space dimensions, H W image, C crop side.
Image coordinates are pixels, x to the right, y DOWN, pixel centres at whole numbers. Face
coordinates are millimetres, x to the image's right, y UP, z towards the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avsr.units import MOUTH_CROP_SIZE

ADULT_PUPIL_DISTANCE_MM = 63.0
"""Mean adult inter-pupillary distance (Dodgson 2004, SPIE 5291), the population constant that turns
pixels into millimetres, so that millimetres here are up to the speaker's own size (about 6 %)."""

CROP_SIDE_PER_EYE_DISTANCE = 1.3
"""Crop side over outer-eye-corner distance: a neutral mouth (0.6 of that distance) fills 47 %."""


@dataclass(frozen=True)
class Similarity:
    """``target = scale * source @ rotation.T + translation``; one transform or T of them.

    scale: float (...); rotation: float (..., D, D), a proper rotation; translation: float (..., D).
    """

    scale: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Map float (..., N, D) points; returns the same shape."""
        moved = self.scale[..., None, None] * points @ np.swapaxes(self.rotation, -1, -2)
        return moved + self.translation[..., None, :]


def fit_similarity(source: np.ndarray, target: np.ndarray) -> Similarity:
    """Least-squares similarity from ``source`` to ``target`` (Umeyama, TPAMI 13(4) 1991).

    Args:
        source: float (..., N, D) points, not all in one place.
        target: float (..., N, D) or (N, D), the same points elsewhere.
    """
    source_mean, target_mean = source.mean(-2), target.mean(-2)
    source_0, target_0 = source - source_mean[..., None, :], target - target_mean[..., None, :]
    left, singular, right = np.linalg.svd(np.swapaxes(target_0, -1, -2) @ source_0)
    signs = np.ones_like(singular)
    signs[..., -1] = np.sign(np.linalg.det(left @ right))  # a mirror image is not a head pose
    rotation = (left * signs[..., None, :]) @ right
    scale = (singular * signs).sum(-1) / (source_0**2).sum((-1, -2))
    translation = target_mean - scale[..., None] * (rotation @ source_mean[..., None])[..., 0]
    return Similarity(scale, rotation, translation)


def procrustes_mean(points: np.ndarray, iterations: int = 10) -> np.ndarray:
    """Mean shape of T views of N points (generalised Procrustes analysis, Gower 1975).

    Args:
        points: float (T, N, D), finite.
        iterations: rounds of align-all, average; it converges in a few.

    Returns:
        float (N, D), centred, oriented as the first view, with the views' mean centroid size.
    """
    centred = points - points.mean(1, keepdims=True)
    size = np.sqrt((centred**2).sum((1, 2))).mean()
    mean = centred[0]
    for _ in range(iterations):
        aligned = fit_similarity(centred, mean).apply(centred).mean(0)
        aligned -= aligned.mean(0)
        aligned *= size / np.sqrt((aligned**2).sum())
        if np.abs(aligned - mean).max() < 1e-7 * size:
            break
        mean = aligned
    return mean


def smooth_in_time(values: np.ndarray, sigma_frames: float) -> np.ndarray:
    """Zero-phase Gaussian smoothing along axis 0, ends held; ``sigma_frames`` 0 changes nothing."""
    if sigma_frames < 0:
        raise ValueError(f"sigma_frames is {sigma_frames}; give 0 (no smoothing) or more")
    if sigma_frames == 0 or len(values) < 2:
        return values.copy()
    radius = max(1, int(np.ceil(4 * sigma_frames)))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_frames) ** 2)
    kernel /= kernel.sum()
    index = np.clip(np.arange(-radius, len(values) + radius), 0, len(values) - 1)
    windows = np.lib.stride_tricks.sliding_window_view(values[index], 2 * radius + 1, axis=0)
    return windows @ kernel


def smooth_rotations(rotations: np.ndarray, sigma_frames: float) -> np.ndarray:
    """Smooth (T, D, D) rotations: the nearest rotations to their Gaussian means."""
    left, _, right = np.linalg.svd(smooth_in_time(rotations, sigma_frames))
    signs = np.ones(left.shape[:-1])
    signs[..., -1] = np.sign(np.linalg.det(left @ right))
    return (left * signs[..., None, :]) @ right


def fill_missing(
    values: np.ndarray, tracked: np.ndarray, max_missing_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give every frame a value: short inner gaps interpolated, the rest held.

    Args:
        values: float (T, ...); rows where ``tracked`` is False are not read.
        tracked: bool (T,), True = measured.
        max_missing_frames: longest inner gap in frames that is interpolated linearly.

    Returns:
        filled float (T, ...) and ``bridged`` bool (T,): True where the value is measured or
        interpolated, False where it is only held (long gaps, and both ends of the clip).

    Raises:
        ValueError: no frame is tracked.
    """
    known = np.flatnonzero(tracked)
    if len(known) == 0:
        raise ValueError("no frame is tracked, so there is nothing to interpolate from")
    time = np.arange(len(values))
    after = np.clip(np.searchsorted(known, time), 0, len(known) - 1)
    right = known[after]
    left = np.where(right <= time, right, known[np.maximum(after - 1, 0)])
    gap = right - left - 1
    bridged = tracked | ((left < time) & (time < right) & (gap <= max_missing_frames))
    nearest = np.where(np.abs(right - time) < np.abs(time - left), right, left)
    weight = np.where(bridged & ~tracked, (time - left) / np.maximum(right - left, 1), 0.0)
    weight = weight.reshape(-1, *([1] * (values.ndim - 1)))
    filled = values[np.where(bridged, left, nearest)]
    filled = filled + weight * (values[np.where(bridged, right, nearest)] - filled)
    return filled.astype(values.dtype, copy=False), bridged


def reject_broken_segments(
    frames: np.ndarray, tracked: np.ndarray, cut_level: float = 15.0
) -> np.ndarray:
    """Take back detections in broken picture segments (film damaged up to the next key frame).

    Damaged GRID clips start grey, slowly gather moving blocks, and jump to the true picture at a
    later key frame (once after 72 of 75 frames); a detector sometimes "finds" a face among the
    blocks. Jumps split the clip into segments; one in which at most half of the frames have a face
    keeps none. If the first segment is such a one, the film began without its key frame: all up to
    the last jump is rejected.

    Args:
        frames: uint8 (T, H, W, 3).
        tracked: bool (T,), True where the detector found a face.
        cut_level: mean absolute change of grey levels between two frames that counts as a jump;
            talking moves it by 0.3-3, the jumps of GRID's damaged clips by 10-50. After a broken
            start a third of it counts.

    Returns:
        bool (T,), a subset of ``tracked``.
    """
    small = frames[:, ::4, ::4].astype(np.float32)
    change = np.abs(np.diff(small, axis=0)).mean((1, 2, 3))
    edges = [0, *(np.flatnonzero(change > cut_level) + 1), len(frames)]
    kept = tracked.copy()
    if len(edges) == 2:  # no jump: a face that is often lost is no sign of damage
        return kept
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        if 2 * int(tracked[start:end].sum()) <= end - start:
            kept[start:end] = False
    if not kept[: edges[1]].any():  # by then much of the picture may be right: a smaller jump
        kept[: np.flatnonzero(change > cut_level / 3)[-1] + 1] = False
    return kept


@dataclass(frozen=True)
class FaceFrameIds:
    """Which landmarks fix the head: ids into V.

    stable: points that speech does not move. outer_eyes: (image-left, image-right) outer corners.
    pupils: (image-left, image-right). vertical: (top of the forehead, chin).
    """

    stable: tuple[int, ...]
    outer_eyes: tuple[int, int]
    pupils: tuple[int, int]
    vertical: tuple[int, int]


def remove_head_pose(
    landmarks: np.ndarray,
    ids: FaceFrameIds,
    *,
    tracked: np.ndarray | None = None,
    sigma_frames: float = 1.0,
) -> tuple[np.ndarray, Similarity]:
    """Head-pose-free face in millimetres.

    The clip's Procrustes mean of the stable points defines the head; each frame is brought to it by
    a similarity transform whose rotation, log scale and centre are smoothed in time, so that jitter
    of the stable points does not enter the lips. The frame is fixed on the face: x along the mean
    outer-eye-corner line, y up towards the forehead, z to the viewer, origin midway between the
    outer eye corners; the scale makes the median pupil distance ``ADULT_PUPIL_DISTANCE_MM``.

    Args:
        landmarks: float (T, V, 3), image coordinates in pixels (z in pixels too, larger = farther).
        ids: the landmarks that fix the head.
        tracked: bool (T,), the frames that define the head's shape, at least one; ``None`` = all.
        sigma_frames: standard deviation of the pose smoothing in frames.

    Returns:
        float64 (T, V, 3) in millimetres and the T transforms from pixels to millimetres.
    """
    upright = landmarks * np.array([1.0, -1.0, -1.0])  # a half turn about x: handedness is kept
    stable = upright[:, list(ids.stable)]
    measured = slice(None) if tracked is None else tracked
    mean = procrustes_mean(stable[measured])
    raw = fit_similarity(stable, mean)
    rotation = smooth_rotations(raw.rotation, sigma_frames)
    scale = np.exp(smooth_in_time(np.log(raw.scale), sigma_frames))
    centre = smooth_in_time(stable.mean(1), sigma_frames)
    translation = -scale[:, None] * np.einsum("tij,tj->ti", rotation, centre)
    posed = Similarity(scale, rotation, translation).apply(upright)
    face_axes, origin = _face_axes(posed[measured], ids)
    left, right = posed[measured, ids.pupils[0]], posed[measured, ids.pupils[1]]
    pupils = np.linalg.norm(left - right, axis=-1)
    mm = ADULT_PUPIL_DISTANCE_MM / float(np.median(pupils))
    flip = np.diag([1.0, -1.0, -1.0])
    whole = Similarity(
        mm * scale, face_axes @ rotation @ flip, mm * (translation - origin) @ face_axes.T
    )
    return whole.apply(landmarks), whole


def head_poses(to_head: Similarity, tracked: np.ndarray | None = None) -> np.ndarray:
    """How the head turns and moves about its mean place in a clip.

    Args:
        to_head: the T transforms of :func:`remove_head_pose`, from pixels to millimetres.
        tracked: bool (T,), the frames that define the mean, at least one; ``None`` = all.

    Returns:
        float64 (T, 6): rotation vector in radians, then translation in millimetres, in the axes of
        the picture with y up and z to the viewer. A head-pose-free face is turned by the first,
        about its origin between the eyes, then moved by the second. How far the head is from the
        camera cannot be told from the picture of a far camera: the last number is 0.
    """
    measured = slice(None) if tracked is None else tracked
    flip = np.diag([1.0, -1.0, -1.0])
    back = flip @ np.swapaxes(to_head.rotation, -1, -2)
    mean = smooth_rotations(back[measured].mean(0, keepdims=True), 0.0)[0]
    turned = rotation_vectors(back @ mean.T)
    pixels = -np.einsum("tij,tj->ti", back, to_head.translation) / to_head.scale[:, None]
    places = float(np.median(to_head.scale[measured])) * pixels
    moved = places - places[measured].mean(0)
    moved[:, 2] = 0.0
    return np.concatenate([turned, moved], axis=1)


def rotation_vectors(rotations: np.ndarray) -> np.ndarray:
    """Rotations float (..., 3, 3) by less than half a turn as axis times angle, (..., 3) rad."""
    cosine = (np.trace(rotations, axis1=-2, axis2=-1) - 1.0) / 2.0
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    skew = rotations - np.swapaxes(rotations, -1, -2)
    axis = np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], axis=-1)
    return axis * (0.5 / np.sinc(angle / np.pi))[..., None]


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """The inverse of :func:`rotation_vectors` (Rodrigues): (..., 3) rad to (..., 3, 3)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    cross = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    sine, half = np.sinc(angle / np.pi), np.sinc(angle / (2.0 * np.pi))
    return np.eye(3) + sine * cross + 0.5 * half**2 * (cross @ cross)


def _face_axes(posed: np.ndarray, ids: FaceFrameIds) -> tuple[np.ndarray, np.ndarray]:
    """Rows x, y, z of the face frame and its origin, from pose-free (T, V, 3)."""
    mean = np.median(posed, axis=0)
    left, right = mean[ids.outer_eyes[0]], mean[ids.outer_eyes[1]]
    top, bottom = mean[ids.vertical[0]], mean[ids.vertical[1]]
    x = (right - left) / np.linalg.norm(right - left)
    up = (top - bottom) - ((top - bottom) @ x) * x
    y = up / np.linalg.norm(up)
    return np.stack([x, y, np.cross(x, y)]), (left + right) / 2


def crop_mouths(
    frames: np.ndarray,
    landmarks: np.ndarray,
    ids: FaceFrameIds,
    mouth: tuple[int, ...],
    *,
    size: int = MOUTH_CROP_SIZE,
    sigma_frames: float = 3.0,
) -> np.ndarray:
    """Grey mouth crops, upright and of one scale, that follow the head and not the jaw's jitter.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        landmarks: float (T, V, 3) in pixels, every frame filled.
        ids: the landmarks that fix the head: roll and scale of each crop.
        mouth: landmarks whose centre, smoothed in time, is the crop's centre.
        size: crop side in pixels.
        sigma_frames: standard deviation of the smoothing of centre, roll and scale in frames.

    Returns:
        uint8 (T, size, size); the neutral mouth's corners are about 47 % of the side apart. Outside
        the picture the border is repeated.
    """
    centre, direction, side = mouth_squares(landmarks, ids, mouth, sigma_frames=sigma_frames)
    crops = np.empty((len(frames), size, size), np.uint8)
    for t, frame in enumerate(frames):
        crops[t] = sample_square(frame, centre[t], direction[t], float(side[t]), size)
    return crops


def mouth_squares(
    landmarks: np.ndarray,
    ids: FaceFrameIds,
    mouth: tuple[int, ...],
    *,
    sigma_frames: float = 3.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where :func:`crop_mouths` cuts: centre (T, 2), direction (T, 2) and side (T,) in pixels.

    The arguments are those of :func:`crop_mouths`; the result is what :func:`sample_square` takes.
    """
    flat = landmarks[..., :2]
    stable = landmarks[:, list(ids.stable)]
    mean = procrustes_mean(stable)
    pose = fit_similarity(np.broadcast_to(mean, stable.shape), stable)
    eyes = landmarks[:, ids.outer_eyes[1]] - landmarks[:, ids.outer_eyes[0]]
    # The 3D distance over the pose's scale is the head's own size; a turned head keeps its scale.
    eye_distance = np.median(np.linalg.norm(eyes, axis=-1) / pose.scale) * pose.scale
    side = np.exp(smooth_in_time(np.log(CROP_SIDE_PER_EYE_DISTANCE * eye_distance), sigma_frames))
    direction = smooth_in_time(
        eyes[:, :2] / np.linalg.norm(eyes[:, :2], axis=-1)[:, None], sigma_frames
    )
    direction /= np.linalg.norm(direction, axis=-1)[:, None]
    centre = smooth_in_time(flat[:, list(mouth)].mean(1), sigma_frames)
    return centre, direction, side


def grey(frame: np.ndarray) -> np.ndarray:
    """Luma (ITU-R BT.601) of uint8 RGB (H, W, 3) as float32 (H, W), 0-255."""
    return frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def sample_square(
    image: np.ndarray, centre: np.ndarray, direction: np.ndarray, side: float, size: int
) -> np.ndarray:
    """Bilinear square cut-out of an image in grey, averaged over sub-pixels where it shrinks.

    Args:
        image: float (H, W), 0-255, or uint8 RGB (H, W, 3), of which only the pixels that the square
            needs are made grey.
        centre: float (2,) x, y of the square's centre in pixels.
        direction: float (2,) unit vector along the square's upper edge, left to right.
        side: length of the square's edge in image pixels, above 0.
        size: side of the result in pixels.

    Returns:
        uint8 (size, size); beyond the image its border is repeated.
    """
    sub = max(1, int(np.ceil(side / size)))  # one sample for each source pixel: no aliasing
    offsets = ((np.arange(size * sub) + 0.5) / (size * sub) - 0.5) * side
    right, down = np.asarray(direction), np.array([-direction[1], direction[0]])
    points = centre + offsets[None, :, None] * right + offsets[:, None, None] * down
    height, width = image.shape[:2]
    x = np.clip(points[..., 0], 0, width - 1)
    y = np.clip(points[..., 1], 0, height - 1)
    x0 = np.minimum(x.astype(np.int64), max(width - 2, 0))
    y0 = np.minimum(y.astype(np.int64), max(height - 2, 0))
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    across, along = (x - x0).astype(np.float32), (y - y0).astype(np.float32)
    if image.ndim == 3:
        left, upper = x0.min(), y0.min()
        image = grey(image[upper : y1.max() + 1, left : x1.max() + 1])
        x0, x1, y0, y1 = x0 - left, x1 - left, y0 - upper, y1 - upper
    top = image[y0, x0] * (1 - across) + image[y0, x1] * across
    bottom = image[y1, x0] * (1 - across) + image[y1, x1] * across
    fine = top * (1 - along) + bottom * along
    coarse = fine.reshape(size, sub, size, sub).mean((1, 3))
    return np.clip(np.rint(coarse), 0, 255).astype(np.uint8)
