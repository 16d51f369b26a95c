"""Bounded weights: the conditions of an optimum hold, and rows that are not seen are not read."""

from __future__ import annotations

import numpy as np
import pytest

from learn2talk.fitting.weights import bounded_weights


def objective_slope(
    design: np.ndarray,
    targets: np.ndarray,
    seen: np.ndarray,
    weights: np.ndarray,
    prior: float,
    smoothness: float,
) -> np.ndarray:
    """Half the derivative of what `bounded_weights` minimises, written out plainly."""
    slope = seen[:, None] * ((weights @ design.T - targets) @ design) + prior * weights
    size = (design**2).sum(axis=0)
    for t in range(1, len(weights) - 1):
        second = weights[t - 1] - 2 * weights[t] + weights[t + 1]
        slope[t - 1] += smoothness * size * second
        slope[t] -= 2 * smoothness * size * second
        slope[t + 1] += smoothness * size * second
    return slope


@pytest.mark.parametrize("smoothness", [0.0, 0.3])
@pytest.mark.parametrize("prior", [0.0, 2.0])
def test_the_conditions_of_an_optimum_hold(smoothness: float, prior: float) -> None:
    rng = np.random.default_rng(0)
    design = rng.normal(0.0, 3.0, (40, 8))
    targets = rng.uniform(-0.5, 1.5, (12, 8)) @ design.T + rng.normal(0.0, 1.0, (12, 40))
    seen = np.ones(12)
    seen[4] = 0.5
    found = bounded_weights(
        design, targets, seen, prior=prior, smoothness=smoothness, tolerance=1e-10, max_steps=50000
    )
    slope = objective_slope(design, targets, seen, found, prior, smoothness)
    inside = (found > 1e-8) & (found < 1 - 1e-8)
    assert inside.any()
    assert (found <= 1e-8).any()
    assert (found >= 1 - 1e-8).any()
    assert np.abs(slope[inside]).max() < 1e-5
    assert slope[found <= 1e-8].min() > -1e-5
    assert slope[found >= 1 - 1e-8].max() < 1e-5


def test_one_weight_by_hand() -> None:
    # |2 w - 1|^2 + 4 w^2 has its least value at w = 2 / (4 + 4).
    found = bounded_weights(
        np.array([[2.0]]), np.array([[1.0]]), np.ones(1), prior=4.0, smoothness=0.0, tolerance=1e-9
    )
    assert found[0, 0] == pytest.approx(0.25, abs=1e-6)


def test_frames_that_are_not_seen_lie_between_their_neighbours() -> None:
    design = np.eye(3, 2) * 5.0
    targets = np.linspace(0.2, 0.8, 7)[:, None] * design.sum(axis=1)
    targets[3] = np.nan
    seen = np.array([1.0, 1, 1, 0, 1, 1, 1])
    found = bounded_weights(design, targets, seen, prior=0.0, smoothness=1.0, tolerance=1e-9)
    np.testing.assert_allclose(found[3], 0.5, atol=1e-3)


def test_a_shape_that_no_landmark_shows_stays_at_rest() -> None:
    design = np.array([[4.0, 0.0], [3.0, 0.1]])
    found = bounded_weights(design, np.array([[4.0, 5.0]]), np.ones(1), prior=0.0, smoothness=0.0)
    assert found[0, 1] == 0.0
    assert found[0, 0] > 0.9
    nothing = bounded_weights(0.01 * design, np.ones((4, 2)), np.ones(4), prior=0.0, smoothness=0.0)
    np.testing.assert_array_equal(nothing, np.zeros((4, 2)))


def test_a_good_beginning_needs_no_steps() -> None:
    rng = np.random.default_rng(1)
    design = rng.normal(0.0, 3.0, (30, 5))
    weights = rng.uniform(0.1, 0.9, (6, 5))
    found = bounded_weights(
        design,
        weights @ design.T,
        np.ones(6),
        prior=0.0,
        smoothness=0.0,
        start=weights,
        max_steps=1,
    )
    np.testing.assert_allclose(found, weights, atol=1e-9)
