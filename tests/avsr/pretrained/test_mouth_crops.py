from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.pretrained.mouth_crops import (
    AUTO_AVSR,
    AV_HUBERT,
    LANDMARK_OF_POINT,
    MEAN_FACE,
    CropConvention,
    aligned_mouth_crops,
    read_mean_face,
)
from avsr.video import Similarity

CONVENTIONS = pytest.mark.parametrize("convention", [AUTO_AVSR, AV_HUBERT])
MOUTH_AT = np.array([128.0, 157.0])


def face() -> np.ndarray:
    """(478, 2): the mean face's points, a mouth around (128, 157), anything elsewhere."""
    points = np.random.default_rng(0).uniform(60, 190, (478, 2))
    for point, landmark in LANDMARK_OF_POINT.items():
        angle = 2 * np.pi * (point - 48) / 20
        points[landmark] = MEAN_FACE.get(
            point, tuple(MOUTH_AT + [20 * np.cos(angle), 8 * np.sin(angle)])
        )
    return points


def picture(height: int = 300, width: int = 340) -> np.ndarray:
    """Smooth RGB (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    level = 128 + 60 * np.sin(x / 9) * np.cos(y / 11) + 40 * np.sin(y / 23)
    return np.repeat(level.astype(np.uint8)[..., None], 3, axis=2)


def moved(
    points: np.ndarray, scale: float, degrees: float, shift: tuple[float, float]
) -> Similarity:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    return Similarity(np.array(scale), rotation, np.array(shift))


@CONVENTIONS
def test_a_face_on_the_mean_face_is_cut_as_it_stands(convention: CropConvention) -> None:
    frames = np.stack([picture()] * 3)
    landmarks = np.stack([face()] * 3)
    crops = aligned_mouth_crops(frames, landmarks, convention)
    mouth = landmarks[0, [LANDMARK_OF_POINT[p] for p in range(48, 68)]].mean(0)
    left, top = np.round(mouth - 48).astype(int)
    expected = frames[0, top : top + 96, left : left + 96, 0]
    assert crops.shape == (3, 96, 96)
    for crop in crops:
        np.testing.assert_allclose(crop.astype(int), expected, atol=1)


@CONVENTIONS
def test_turn_size_and_place_of_the_head_do_not_matter(convention: CropConvention) -> None:
    """A film of a still face that a camera turns and zooms: crops as of the untouched picture."""
    straight = picture(256, 256)
    points = face()
    at = moved(points, 1.3, 17.0, (60.0, -20.0))
    y, x = np.mgrid[:420, :420]
    source = (np.stack([x, y], -1) - at.translation) @ at.rotation / at.scale
    near = np.clip(np.rint(source).astype(int), 0, 255)
    turned = straight[near[..., 1], near[..., 0]]
    still = aligned_mouth_crops(straight[None], points[None], convention)
    found = aligned_mouth_crops(turned[None], at.apply(points)[None], convention)
    assert np.abs(found.astype(int) - still).mean() < 4.0
    assert np.abs(np.roll(found, 4, 2).astype(int) - still).mean() > 10.0


@CONVENTIONS
def test_it_is_what_opencv_makes_of_the_same_transform(convention: CropConvention) -> None:
    cv2 = pytest.importorskip("cv2")
    points = face()
    at = moved(points, 0.8, -9.0, (70.0, 40.0))
    landmarks, frame = at.apply(points), picture()
    crop = aligned_mouth_crops(frame[None], landmarks[None], convention)[0]
    back = np.hstack(
        [at.rotation.T / at.scale, (-at.rotation.T @ at.translation / at.scale)[:, None]]
    )
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    whole = cv2.warpAffine(grey, back, (256, 256), flags=cv2.INTER_LINEAR)
    mouth = points[[LANDMARK_OF_POINT[p] for p in range(48, 68)]].mean(0)
    left, top = np.round(mouth - 48).astype(int)
    # OpenCV interpolates at 1/32 of a pixel.
    expected = whole[top : top + 96, left : left + 96].astype(int)
    assert np.abs(crop - expected).max() <= 3
    assert np.abs(crop - expected).mean() < 0.5


def test_smoothing_is_that_of_each_project() -> None:
    """A face that moves to the right: one looks around, the other ahead."""
    points = face()
    steps = np.arange(40) * 2.0
    landmarks = points[None] + np.stack([steps, 0 * steps], 1)[:, None]
    frames = np.zeros((40, 300, 420, 3), np.uint8)
    y, x = np.mgrid[:300, :420]
    frames[:] = (x // 2).clip(0, 255).astype(np.uint8)[None, ..., None]
    middle = (slice(None), 48, 48)
    around = aligned_mouth_crops(frames, landmarks, AUTO_AVSR)[middle].astype(int)
    ahead = aligned_mouth_crops(frames, landmarks, AV_HUBERT)[middle].astype(int)
    expected = ((MOUTH_AT[0] + steps) / 2).astype(int)
    assert np.abs(around - expected).max() <= 1
    # Alignment is 5.5 frames ahead, the cut follows the mouth itself: it stays in the middle.
    assert np.abs(ahead - expected).max() <= 1


def test_beyond_the_picture_it_is_black() -> None:
    points = face()[None] - [100.0, 0.0]
    crop = aligned_mouth_crops(np.full((1, 256, 256, 3), 200, np.uint8), points, AUTO_AVSR)[0]
    assert (crop[:, :15] == 0).all()
    assert (crop[:, 25:] == 200).all()


def test_a_mean_face_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mean.npy"
    np.save(path, np.arange(136.0).reshape(68, 2))
    assert read_mean_face(path)[28] == (56.0, 57.0)
    np.save(path, np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"holds shape \(5, 2\)"):
        read_mean_face(path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not readable"):
        read_mean_face(path)
    with pytest.raises(ValueError, match="not readable"):
        read_mean_face(tmp_path / "gone.npy")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="2 frames with 1 rows"):
        aligned_mouth_crops(np.zeros((2, 9, 9, 3), np.uint8), face()[None], AUTO_AVSR)
    with pytest.raises(ValueError, match=r"lacks the points \[28"):
        aligned_mouth_crops(np.zeros((1, 9, 9, 3), np.uint8), face()[None], AUTO_AVSR, {33: (1, 2)})
