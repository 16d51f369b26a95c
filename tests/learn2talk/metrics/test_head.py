"""Figures of a moving head, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from learn2talk.metrics.head import (
    angular_speeds_deg_s,
    distribution_distance,
    pose_errors,
    pose_spread,
)


def turning(degrees: list[float]) -> np.ndarray:
    pose = np.zeros((len(degrees), 6), np.float32)
    pose[:, 1] = np.radians(degrees)
    return pose


def test_errors_are_angle_and_distance() -> None:
    reference, prediction = turning([0, 10, 20]), turning([0, 10, 23])
    prediction[1, 3:] = 3, 4, 0
    degrees, distance = pose_errors(reference=reference, prediction=prediction)
    np.testing.assert_allclose(degrees, [0, 0, 3], atol=1e-5)
    np.testing.assert_allclose(distance, [0, 5, 0])


def test_speed_counts_tracked_neighbours_only() -> None:
    pose, tracked = turning([0, 1, 3, 90, 4]), np.array([True, True, True, False, True])
    np.testing.assert_allclose(angular_speeds_deg_s(pose, tracked), [25, 50], rtol=1e-5)
    np.testing.assert_allclose(angular_speeds_deg_s(pose, tracked, step=2), [37.5], rtol=1e-5)
    assert angular_speeds_deg_s(pose[:1], tracked[:1]).shape == (0,)
    still = angular_speeds_deg_s(turning([5] * 4), np.ones(4, bool))
    np.testing.assert_array_equal(still, 0)


def test_spread_is_about_the_clips_own_mean() -> None:
    pose, tracked = turning([10, 12, 50]), np.array([True, True, False])
    pose[1, 3] = 4.0
    degrees, distance = pose_spread(pose, tracked)
    assert degrees == pytest.approx(1.0, abs=1e-5) and distance == pytest.approx(2.0)
    assert pose_spread(turning([7, 7]), np.ones(2, bool)) == pytest.approx((0, 0), abs=1e-6)
    with pytest.raises(ValueError, match="no frame is tracked"):
        pose_spread(pose, np.zeros(3, bool))


def test_distance_of_distributions() -> None:
    one = np.array([3.0, 1.0, 2.0])
    assert distribution_distance(one, one[::-1]) == 0
    assert distribution_distance(one, one + 5) == pytest.approx(5)
    assert distribution_distance(np.zeros(2), np.array([0.0, 0.0, 3.0])) == pytest.approx(1)
    assert distribution_distance(np.array([0.0, 1.0]), np.array([0.5])) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="give at least one"):
        distribution_distance(one, np.zeros(0))
