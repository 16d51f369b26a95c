"""Expression and jaw found again from vertices; the normal equations against autograd.

We hold no FLAME: the model here is a stand-in made by code (`made_up_flame`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from avsr.video import rotation_matrices
from learn2talk.avatar import flame_fit
from learn2talk.avatar.flame_fit import FlameFitConfig, fit_expression_and_jaw
from learn2talk.avatar.flame_model import flame_posed
from learn2talk.avatar.flame_params import FlameParams, flame_vertices, neutral_of
from tests.learn2talk.avatar.made_up_flame import made_up_flame, random_params

COUNT = 401


def spoken(num_frames: int, seed: int = 1, num_vertices: int = COUNT) -> FlameParams:
    """A head of an own shape that says something: twenty expressions and a jaw that opens."""
    rng = np.random.default_rng(seed)
    given = random_params(num_frames, seed, num_vertices)
    expr = np.zeros((num_frames, 100), np.float32)
    expr[:, :20] = rng.normal(0.0, 1.0, (num_frames, 20))
    jaw = np.stack([rng.uniform(0.0, 0.35, num_frames), *rng.normal(0, 0.03, (2, num_frames))], 1)
    still = FlameParams.at_rest(num_frames, given.shape, given.static_offset)
    return replace(still, expr=expr, jaw_pose=jaw.astype(np.float32))


def in_mm(params: FlameParams) -> tuple[np.ndarray, np.ndarray]:
    """Neutral face and vertices of the stand-in, mm."""
    model = made_up_flame(COUNT)
    return 1000.0 * neutral_of(model, params), 1000.0 * flame_vertices(model, params)


def test_what_the_model_made_is_found_again() -> None:
    params = spoken(70)
    neutral, target = in_mm(params)
    weak = FlameFitConfig(expression_prior_mm2=1e-8, jaw_prior_mm2=1e-8)
    fit = fit_expression_and_jaw(made_up_flame(), neutral, target, config=weak)
    assert fit.distance_mm.max() < 0.001
    np.testing.assert_allclose(fit.jaw, params.jaw_pose, atol=1e-3)
    usual = fit_expression_and_jaw(made_up_flame(), neutral, target)
    assert usual.distance_mm.mean() < 0.05
    np.testing.assert_allclose(usual.jaw, params.jaw_pose, atol=0.01)
    assert np.abs(usual.expression).max() < np.abs(params.expr).max() + 0.1


def test_distances_are_those_of_the_fitted_head() -> None:
    params = spoken(3)
    neutral, target = in_mm(params)
    rough = target + np.random.default_rng(0).normal(0.0, 1.0, target.shape)
    fit = fit_expression_and_jaw(made_up_flame(), neutral, rough)
    found = replace(
        params, expr=fit.expression.astype(np.float32), jaw_pose=fit.jaw.astype(np.float32)
    )
    distance = np.linalg.norm(in_mm(found)[1] - rough, axis=2)
    np.testing.assert_allclose(fit.distance_mm, distance, atol=1e-3)
    # Noise of 1 mm an axis is no face: sqrt(8 / pi) mm on average, less what 103 numbers explain.
    assert 1.2 < fit.distance_mm.mean() < 1.6


def test_a_face_at_rest_gives_zeros() -> None:
    neutral, _ = in_mm(FlameParams.at_rest())
    fit = fit_expression_and_jaw(made_up_flame(), neutral, neutral[None])
    np.testing.assert_allclose(fit.expression, 0.0, atol=1e-5)  # weights sum to 1 in float32
    np.testing.assert_allclose(fit.jaw, 0.0, atol=1e-7)


def test_lips_count_more() -> None:
    neutral, target = in_mm(spoken(4))
    rough = target + np.random.default_rng(0).normal(0.0, 1.0, target.shape)
    lips = np.arange(100, 130)
    even = fit_expression_and_jaw(made_up_flame(), neutral, rough)
    favoured = fit_expression_and_jaw(
        made_up_flame(), neutral, rough, lip_ids=lips, config=FlameFitConfig(lip_weight=50.0)
    )
    assert favoured.distance_mm[:, lips].mean() < 0.9 * even.distance_mm[:, lips].mean()


def test_priors_keep_the_face_calm() -> None:
    neutral, target = in_mm(spoken(4))
    strong = FlameFitConfig(expression_prior_mm2=1.0, jaw_prior_mm2=1e-3)
    calm = fit_expression_and_jaw(made_up_flame(), neutral, target, config=strong)
    usual = fit_expression_and_jaw(made_up_flame(), neutral, target)
    assert np.abs(calm.expression).max() < 0.5 * np.abs(usual.expression).max()
    stiff = FlameFitConfig(jaw_prior_mm2=1e6)
    closed = fit_expression_and_jaw(made_up_flame(), neutral, target, config=stiff)
    assert np.abs(closed.jaw).max() < 1e-2
    one = fit_expression_and_jaw(
        made_up_flame(), neutral, target, config=FlameFitConfig(max_steps=1)
    )
    assert one.distance_mm.mean() > usual.distance_mm.mean()
    loose = FlameFitConfig(tolerance_mm2=1e9)  # the first step is enough
    np.testing.assert_array_equal(
        fit_expression_and_jaw(made_up_flame(), neutral, target, config=loose).expression,
        one.expression,
    )


def test_normal_equations_are_those_of_autograd() -> None:
    model, params = made_up_flame(), spoken(1)
    neutral, target = in_mm(replace(params, expr=0 * params.expr))
    rng = np.random.default_rng(3)
    importance = rng.uniform(0.1, 1.0, COUNT)
    system = flame_fit._System(model, neutral.astype(np.float64), importance)
    expression = rng.normal(0.0, 1.0, (1, 100))
    turn = rotation_matrices(rng.normal(0.0, 0.5, (1, 3)))

    def vertices(unknown: torch.Tensor) -> torch.Tensor:
        spins = torch.from_numpy(flame_fit._TURNS)
        spun = torch.matrix_exp((unknown[100:, None, None] * spins).sum(0))
        turned = spun @ torch.from_numpy(turn[0])
        shapes = 1000.0 * torch.from_numpy(model.expressions).double()
        shaped = torch.from_numpy(system.neutral) + shapes @ unknown[:100]
        joint = torch.from_numpy(model.joint_regressor[2]).double() @ shaped
        bent = (turned - torch.eye(3, dtype=torch.float64)).flatten()
        rest = shaped + torch.from_numpy(system.correctives) @ bent
        swung = (rest - joint) @ turned.T + joint
        jaw, others = torch.from_numpy(system.jaw), torch.from_numpy(system.others)
        return others[:, None] * rest + jaw[:, None] * swung

    at = torch.cat([torch.from_numpy(expression[0]), torch.zeros(3, dtype=torch.float64)])
    slopes = torch.autograd.functional.jacobian(vertices, at).numpy()  # (V, 3, 103)
    posed, turned = system.pose(expression, turn)
    np.testing.assert_allclose(posed[0], vertices(at).numpy(), atol=1e-9)
    missed = posed - target
    prior = np.zeros(103)
    matrix, slope = flame_fit._normal_equations(system, missed, turned, expression, turn, prior)
    wanted = np.einsum("v,vck,vcl->kl", importance, slopes, slopes, optimize=True)
    np.testing.assert_allclose(matrix[0], wanted, rtol=1e-9, atol=1e-7 * np.abs(wanted).max())
    wanted_slope = np.einsum("v,vck,vc->k", importance, slopes, missed[0], optimize=True)
    np.testing.assert_allclose(slope[0], wanted_slope, rtol=1e-9, atol=1e-9)


def test_the_head_of_the_fit_is_flames() -> None:
    model, params = made_up_flame(), spoken(2)
    neutral, _ = in_mm(params)
    system = flame_fit._System(model, neutral.astype(np.float64), np.ones(COUNT))
    turn = rotation_matrices(params.jaw_pose.astype(np.float64))
    found, _ = system.pose(params.expr.astype(np.float64), turn)
    posed = flame_posed(
        model,
        torch.from_numpy(neutral).double() / 1000.0,
        *(torch.from_numpy(a).double() for a in (params.expr, params.rotations)),
        torch.zeros(2, 3, dtype=torch.float64),
    )
    np.testing.assert_allclose(found, 1000.0 * posed.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("neutral", "target", "message"),
    [
        ((400, 3), (2, 401, 3), r"neutral \(400, 3\) and target \(2, 401, 3\) are not"),
        ((401, 3), (2, 400, 3), "the model's"),
        ((401, 3), (401, 3), "the model's"),
        ((401, 3), (0, 401, 3), "no frame"),
    ],
)
def test_other_shapes_are_refused(
    neutral: tuple[int, ...], target: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_expression_and_jaw(made_up_flame(), np.zeros(neutral), np.zeros(target))


def test_what_is_not_finite_is_refused() -> None:
    target = np.zeros((2, COUNT, 3))
    target[1, 7, 2] = np.nan
    with pytest.raises(ValueError, match=r"target is not finite at \(1, 7, 2\)"):
        fit_expression_and_jaw(made_up_flame(), np.zeros((COUNT, 3)), target)


@pytest.mark.parametrize(
    "config",
    [
        {"expression_prior_mm2": 0.0},
        {"jaw_prior_mm2": -1.0},
        {"lip_weight": 0.0},
        {"max_steps": 0},
        {"tolerance_mm2": 0.0},
    ],
)
def test_limits_that_cannot_be(config: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        FlameFitConfig(**config)  # type: ignore[arg-type]


@pytest.mark.slow
def test_three_seconds_of_a_head_as_large_as_flames() -> None:
    model, params = made_up_flame(5023), spoken(75, num_vertices=5023)
    neutral = 1000.0 * neutral_of(model, params)
    target = 1000.0 * flame_vertices(model, params)
    fit = fit_expression_and_jaw(model, neutral, target)
    assert fit.distance_mm.mean() < 0.05
