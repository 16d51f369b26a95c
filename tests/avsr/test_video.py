"""Procrustes, head pose, missing frames, broken pictures, crops."""

from __future__ import annotations

import numpy as np
import pytest

from avsr.video import (
    ADULT_PUPIL_DISTANCE_MM,
    FaceFrameIds,
    Similarity,
    crop_mouths,
    fill_missing,
    fit_similarity,
    grey,
    head_poses,
    procrustes_mean,
    reject_broken_segments,
    remove_head_pose,
    rotation_matrices,
    rotation_vectors,
    sample_square,
    smooth_in_time,
    smooth_rotations,
)

# A toy face, millimetres: outer eyes, pupils, forehead, chin, nose bridge, two temples, lips.
FACE_MM = np.array(
    [
        *([-43.0, 0, 0], [43, 0, 0], [-31.5, 0, 8], [31.5, 0, 8]),
        *([0, 60, 15], [0, -120, 15], [0, 10, 20], [-70, 30, -40], [70, 30, -40]),
        *([-25, -75, 20], [25, -75, 20], [0, -70, 28], [0, -80, 28]),
    ]
)
IDS = FaceFrameIds(stable=(0, 1, 4, 6, 7, 8), outer_eyes=(0, 1), pupils=(2, 3), vertical=(4, 5))
MOUTH = (9, 10, 11, 12)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    def turn(angle: float, i: int, j: int) -> np.ndarray:
        matrix = np.eye(3)
        matrix[[i, j], [i, j]] = np.cos(angle)
        matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
        return matrix

    return turn(roll, 0, 1) @ turn(pitch, 1, 2) @ turn(yaw, 0, 2)


def moving_face(num_frames: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """True face (T, 13, 3) mm with an opening mouth, and its pixels under head motion."""
    time = np.arange(num_frames)
    face = np.repeat(FACE_MM[None], num_frames, axis=0)
    face[:, 12, 1] -= 5 * (1 - np.cos(time / 3))
    image = np.empty_like(face)
    for t in time:
        turned = face[t] @ rotation(0.2 * np.sin(t / 15), 0.05 * np.cos(t / 17), 0.1).T
        image[t] = turned * [0.8, -0.8, -0.8] + [180 + t / 4, 140, 0]
    return face, image


@pytest.mark.parametrize("dimensions", [2, 3])
def test_fit_similarity_recovers_a_known_transform(dimensions: int) -> None:
    points = np.random.default_rng(0).normal(size=(7, dimensions))
    turn = rotation(0.3, 0.2, 0.5) if dimensions == 3 else rotation(0, 0, 0.5)[:2, :2]
    target = 2.5 * points @ turn.T + np.arange(dimensions)
    found = fit_similarity(points, target)
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.rotation, turn, atol=1e-12)
    np.testing.assert_allclose(found.apply(points), target, atol=1e-12)


def test_fit_similarity_never_mirrors() -> None:
    points = np.random.default_rng(0).normal(size=(9, 3))
    assert np.linalg.det(fit_similarity(points, points * [-1, 1, 1]).rotation) == pytest.approx(1)


def test_procrustes_mean_of_moved_copies_is_the_shape() -> None:
    _, image = moving_face()
    mean = procrustes_mean(image[:, list(IDS.stable)])
    moved = fit_similarity(FACE_MM[list(IDS.stable)] * [1, -1, -1], mean)
    error = moved.apply(FACE_MM[list(IDS.stable)] * [1, -1, -1]) - mean
    assert np.abs(error).max() < 1e-6
    np.testing.assert_allclose(mean.mean(0), 0, atol=1e-9)


def test_smoothing_keeps_constants_and_has_no_delay() -> None:
    np.testing.assert_allclose(smooth_in_time(np.full((9, 2), 3.0), 2.0), 3.0)
    pulse = np.zeros(21)
    pulse[10] = 1
    smooth = smooth_in_time(pulse, 1.5)
    np.testing.assert_allclose(smooth, smooth[::-1])
    np.testing.assert_array_equal(smooth_in_time(pulse, 0), pulse)
    with pytest.raises(ValueError, match="sigma_frames is -1"):
        smooth_in_time(pulse, -1)


def test_smooth_rotations_stay_rotations() -> None:
    turns = np.stack([rotation(0.1 * t, 0.02 * t, 0) for t in range(9)])
    smooth = smooth_rotations(turns, 1.0)
    product = smooth @ np.swapaxes(smooth, 1, 2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), (9, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(smooth[4], turns[4], atol=0.01)


def test_fill_missing_interpolates_short_gaps_and_holds_the_rest() -> None:
    values = np.arange(12, dtype=np.float64)[:, None] * 2
    tracked = np.ones(12, bool)
    tracked[[0, 4, 5, 7, 8, 9, 11]] = False
    values[~tracked] = np.nan
    filled, bridged = fill_missing(values, tracked, max_missing_frames=2)
    assert filled[0, 0] == 2 and filled[11, 0] == 20  # ends held
    np.testing.assert_allclose(filled[[4, 5], 0], [8, 10])  # gap of 2: interpolated
    np.testing.assert_allclose(filled[[7, 8, 9], 0], [12, 12, 20])  # gap of 3: nearest held
    np.testing.assert_array_equal(np.flatnonzero(~bridged), [0, 7, 8, 9, 11])


def test_fill_missing_limit_zero_interpolates_nothing() -> None:
    tracked = np.array([True, False, True])
    filled, bridged = fill_missing(np.array([1.0, np.nan, 3.0]), tracked, 0)
    assert not bridged[1] and filled[1] in (1.0, 3.0)


def test_fill_missing_without_any_frame_says_so() -> None:
    with pytest.raises(ValueError, match="no frame is tracked"):
        fill_missing(np.full((3, 2), np.nan), np.zeros(3, bool), 2)


def test_broken_start_is_rejected_up_to_the_last_jump() -> None:
    frames = np.full((30, 16, 16, 3), 128, np.uint8)
    frames[12:20], frames[20:] = 60, 69  # a large and a small jump
    tracked = np.zeros(30, bool)
    tracked[10:] = True  # false faces in 10-19
    kept = reject_broken_segments(frames, tracked)
    np.testing.assert_array_equal(np.flatnonzero(kept), np.arange(20, 30))


def test_steady_pictures_lose_no_detection() -> None:
    frames = np.random.default_rng(0).integers(100, 104, (30, 16, 16, 3)).astype(np.uint8)
    tracked = np.ones(30, bool)
    tracked[5] = False
    np.testing.assert_array_equal(reject_broken_segments(frames, tracked), tracked)


def test_remove_head_pose_gives_back_the_face_in_millimetres() -> None:
    face, image = moving_face()
    found, _ = remove_head_pose(image, IDS, sigma_frames=0.0)
    np.testing.assert_allclose(found, face, atol=1e-6)
    pupils = np.linalg.norm(found[:, 2] - found[:, 3], axis=-1)
    assert np.median(pupils) == pytest.approx(ADULT_PUPIL_DISTANCE_MM)


def test_smoothed_pose_keeps_jitter_of_stable_points_out_of_the_lips() -> None:
    face, image = moving_face(200)
    noisy = image.copy()
    stable = list(IDS.stable)
    noisy[:, stable] += np.random.default_rng(0).normal(0, 0.5, (200, len(stable), 3))
    errors = [
        np.abs(np.diff(remove_head_pose(noisy, IDS, sigma_frames=s)[0][:, 9], axis=0)).mean()
        for s in (0.0, 2.0)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_untracked_frames_do_not_shape_the_head() -> None:
    face, image = moving_face()
    image[:5] *= [1.0, 1.4, 1.0]  # nonsense in frames that were not tracked
    tracked = np.arange(40) >= 5
    found, _ = remove_head_pose(image, IDS, tracked=tracked, sigma_frames=0.0)
    np.testing.assert_allclose(found[5:], face[5:], atol=1e-6)


def test_crop_is_centred_upright_and_scaled() -> None:
    _, image = moving_face(5)
    frames = np.zeros((5, 288, 360, 3), np.uint8)
    for t in range(5):
        for corner in image[t, [9, 10], :2]:
            x, y = np.rint(corner).astype(int)
            frames[t, y - 1 : y + 2, x - 1 : x + 2] = 255
    crops = crop_mouths(frames, image, IDS, MOUTH)
    assert crops.shape == (5, 96, 96) and crops.dtype == np.uint8
    for crop in crops:
        ys, xs = np.nonzero(crop > 100)
        left, right = xs < 48, xs >= 48
        width = xs[right].mean() - xs[left].mean()
        assert width / 96 == pytest.approx(50 / 86 / 1.3, abs=0.03)  # mouth 50, eyes 86 mm
        assert abs(ys[right].mean() - ys[left].mean()) < 1.5  # the roll of 0.1 is gone
        assert xs.mean() == pytest.approx(47.5, abs=2)


def test_sample_square_is_the_identity_on_the_pixel_grid() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.float32)
    crop = sample_square(image, np.array([15.5, 15.5]), np.array([1.0, 0.0]), 32.0, 32)
    np.testing.assert_array_equal(crop, image.astype(np.uint8))


def test_sample_square_averages_where_it_shrinks() -> None:
    stripes = np.zeros((200, 200), np.float32)
    stripes[:, ::2] = 200
    crop = sample_square(stripes, np.array([99.5, 99.5]), np.array([1.0, 0.0]), 160.0, 40)
    assert crop.std() < 3 and crop.mean() == pytest.approx(
        100, abs=2
    )  # plain bilinear: all or none


def test_sample_square_repeats_the_border_outside() -> None:
    crop = sample_square(
        np.full((10, 10), 7.0, np.float32), np.array([0.0, 0.0]), np.array([1.0, 0.0]), 30.0, 16
    )
    assert (crop == 7).all()


@pytest.mark.parametrize("centre", [(40.2, 31.7), (2.0, 60.0), (-90.0, 200.0)])
def test_sample_square_of_a_colour_picture_is_that_of_its_grey(centre: tuple[float, float]) -> None:
    """Also where the square lies partly or wholly outside."""
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    direction = np.array([np.cos(0.3), np.sin(0.3)])
    from_colour, from_grey = (
        sample_square(image, np.array(centre), direction, 41.0, 32)
        for image in (picture, grey(picture))
    )
    np.testing.assert_array_equal(from_colour, from_grey)


def test_grey_is_bt601_luma() -> None:
    pixel = np.array([[[100, 50, 200]]], np.uint8)
    assert grey(pixel)[0, 0] == pytest.approx(0.299 * 100 + 0.587 * 50 + 0.114 * 200)


def test_head_poses_are_found_again() -> None:
    """A face that nods, turns and drifts: its turns to the mean pose, and its drift in mm."""
    generator = np.random.default_rng(5)
    turns = 0.2 * np.sin(np.linspace(0, 6, 40))[:, None] * generator.normal(0, 1, 3)
    turns -= turns.mean(0)
    drift = np.cumsum(generator.normal(0, 0.5, (40, 3)), axis=0) * [1, 1, 0]
    flip = np.diag([1.0, -1.0, -1.0])
    matrices, pixels_per_mm = rotation_matrices(turns), 3.0
    # pixels = pixels_per_mm * flip (turn @ face + drift); the inverse is what is fitted.
    to_head = Similarity(
        np.full(40, 1 / pixels_per_mm),
        np.swapaxes(flip @ matrices, -1, -2),
        -np.einsum("tji,tj->ti", matrices, drift),
    )
    poses = head_poses(to_head)
    np.testing.assert_allclose(poses[:, 3:], drift - drift.mean(0), atol=1e-9)
    # The mean rotation of small turns about one axis is the turn by their mean, nearly.
    np.testing.assert_allclose(poses[:, :3], turns, atol=2e-3)


def test_rotation_vectors_are_the_inverse_of_matrices() -> None:
    vectors = np.random.default_rng(0).normal(0, 0.8, (100, 3))
    vectors[0] = 0.0
    matrices = rotation_matrices(vectors)
    identity = np.broadcast_to(np.eye(3), matrices.shape)
    np.testing.assert_allclose(matrices @ np.swapaxes(matrices, -1, -2), identity, atol=1e-12)
    np.testing.assert_allclose(rotation_vectors(matrices), vectors, atol=1e-9)
