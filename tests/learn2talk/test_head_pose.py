"""A face turned as a whole: there and back, and in the words of ARKit's tools and glTF."""

from __future__ import annotations

import numpy as np
import pytest

from avsr.video import rotation_matrices
from learn2talk.head_pose import quaternions, with_head_pose, without_head_pose, yaw_pitch_roll
from learn2talk.schema import Motion

from .conftest import tiny_template

POSE = np.array([[0, 0, 0, 0, 0, 0], [0.2, -0.1, 0.3, 5, -3, 0]], np.float32)


def motion() -> Motion:
    face = tiny_template()
    noise = np.random.default_rng(0).normal(size=(2, *face.vertices.shape))
    return Motion(face.vertices + noise.astype(np.float32), 25.0, face)


def test_there_and_back() -> None:
    free = motion()
    posed = with_head_pose(free, POSE)
    np.testing.assert_array_equal(posed.vertices[0], free.vertices[0])
    expected = rotation_matrices(POSE[1, :3].astype(float)) @ free.vertices[1, 5] + POSE[1, 3:]
    np.testing.assert_allclose(posed.vertices[1, 5], expected, atol=1e-4)
    back = without_head_pose(posed)
    np.testing.assert_allclose(back.vertices, free.vertices, atol=1e-4)
    assert back.head_pose is None and without_head_pose(free) is free
    between = np.linalg.norm(posed.vertices[1, 3] - posed.vertices[1, 40])
    assert between == pytest.approx(
        np.linalg.norm(free.vertices[1, 3] - free.vertices[1, 40]), abs=1e-4
    )


def test_what_cannot_be_turned() -> None:
    free = motion()
    with pytest.raises(ValueError, match="has a head pose already"):
        with_head_pose(with_head_pose(free, POSE), POSE)
    with pytest.raises(ValueError, match=r"head pose has shape \(1, 6\); this motion needs \(2, 6"):
        with_head_pose(free, POSE[:1])
    with pytest.raises(ValueError, match=r"motion head pose has shape \(2, 5\)"):
        Motion(free.vertices, 25.0, free.template, POSE[:, :5])
    with pytest.raises(ValueError, match="not finite at frame 1"):
        Motion(free.vertices, 25.0, free.template, np.where(POSE == 5, np.nan, POSE))


def test_yaw_is_to_the_faces_left_pitch_up_roll_to_its_right() -> None:
    nose, crown = np.array([0, 0, 100.0]), np.array([0, 100.0, 0])
    for place, (point, axis, sign) in enumerate(((nose, 0, 1), (nose, 1, 1), (crown, 0, -1))):
        for pose in np.eye(6)[:3] * 0.1:
            angles = yaw_pitch_roll(pose[None])[0]
            moved = rotation_matrices(pose[:3]) @ point
            if abs(angles[place]) > 1e-6:
                assert abs(angles[place]) == pytest.approx(0.1)
                assert np.sign(moved[axis]) == sign * np.sign(angles[place])
    yaw, pitch, roll = 0.3, -0.2, 0.15
    turn = (
        rotation_matrices(np.array([0, yaw, 0]))
        @ rotation_matrices(np.array([-pitch, 0, 0]))
        @ rotation_matrices(np.array([0, 0, roll]))
    )
    from avsr.video import rotation_vectors

    pose = np.concatenate([rotation_vectors(turn), np.zeros(3)])[None]
    np.testing.assert_allclose(yaw_pitch_roll(pose), [[yaw, pitch, roll]], atol=1e-9)


def test_quaternions_turn_as_the_matrices_do() -> None:
    for (x, y, z, w), pose in zip(quaternions(POSE), POSE, strict=True):
        point = np.array([1.0, 2.0, 3.0])
        axis = np.array([x, y, z])
        turned = point + 2 * np.cross(axis, np.cross(axis, point) + w * point)
        expected = rotation_matrices(pose[:3].astype(float)) @ point
        np.testing.assert_allclose(turned, expected, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(quaternions(POSE), axis=1), 1)
