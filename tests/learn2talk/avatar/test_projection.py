"""The projection of splats: by hand, against a camera's own formula, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from learn2talk.avatar.ellipses import LOW_PASS, covariances, rotation_matrices
from learn2talk.avatar.projection import project_splats
from learn2talk.avatar.spherical_harmonics import harmonics, view_colours
from tests.learn2talk.avatar.splat_scenes import cloud, front_camera, one_splat, together


def test_a_round_splat_straight_ahead() -> None:
    camera = replace(front_camera(), translation=np.array([0.0, 0.0, 600.0]))
    found = project_splats(one_splat(sigma=5.0, opacity=0.5), camera)
    torch.testing.assert_close(
        found.centres, torch.tensor([[camera.cx, camera.cy]], dtype=torch.float64)
    )
    x, y = (5.0 * camera.fx / 600) ** 2 + LOW_PASS, (5.0 * camera.fy / 600) ** 2 + LOW_PASS
    torch.testing.assert_close(
        found.conics, torch.tensor([[1 / x, 0.0, 1 / y]], dtype=torch.float64)
    )
    reach = np.sqrt(2 * np.log(255 * 0.5))  # in standard deviations
    expected = torch.tensor([[reach * x**0.5, reach * y**0.5]], dtype=torch.float64)
    torch.testing.assert_close(found.extents, expected)
    torch.testing.assert_close(found.depths, torch.tensor([600.0], dtype=torch.float64))
    torch.testing.assert_close(found.colours, torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64))


def test_the_derivative_of_the_camera() -> None:
    """J, by differences of the camera's formula, around splats that stand in the picture."""
    scene, camera = cloud(30, 1), front_camera(60, 60)
    found = project_splats(scene, camera)
    space = covariances(scene.log_scales, scene.rotations).numpy()

    def seen(point: np.ndarray) -> np.ndarray:
        x, y, z = camera.rotation @ point + camera.translation
        return np.array([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy])

    compared = 0
    for row, splat in enumerate(found.ids.tolist()):
        position = scene.positions[splat].numpy()
        np.testing.assert_allclose(found.centres[row], seen(position), atol=1e-9)
        if not ((seen(position) > 0) & (seen(position) < 60)).all():
            continue
        steps = 1e-3 * np.eye(3)
        derivative = np.stack(
            [(seen(position + s) - seen(position - s)) / 2e-3 for s in steps], axis=1
        )
        covariance = derivative @ space[splat] @ derivative.T + LOW_PASS * np.eye(2)
        a, b, c = found.conics[row].tolist()
        np.testing.assert_allclose(np.array([[a, b], [b, c]]) @ covariance, np.eye(2), atol=1e-5)
        compared += 1
    assert compared > 10


def test_rotations_are_those_of_quaternions_of_any_length() -> None:
    quaternions = cloud(20, 2).rotations
    matrices = rotation_matrices(quaternions)
    torch.testing.assert_close(matrices, rotation_matrices(-3.0 * quaternions))
    torch.testing.assert_close(
        matrices @ matrices.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    )
    quarter = torch.tensor([[0.5**0.5, 0.0, 0.0, 0.5**0.5]], dtype=torch.float64)  # about z
    expected = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]], dtype=torch.float64)
    torch.testing.assert_close(rotation_matrices(quarter), expected)


def test_harmonics_are_orthonormal() -> None:
    """Integrals over the sphere of products of two, by Gauss's and the midpoint rule: exact."""
    heights, weights = np.polynomial.legendre.leggauss(8)
    angles = (np.arange(16) + 0.5) * np.pi / 8
    z, angle = np.meshgrid(heights, angles, indexing="ij")
    around = np.sqrt(1 - z**2)
    directions = np.stack([around * np.cos(angle), around * np.sin(angle), z], -1).reshape(-1, 3)
    basis = harmonics(torch.from_numpy(directions), 16).numpy()
    area = np.repeat(weights * np.pi / 8, 16)
    np.testing.assert_allclose(basis.T @ (area[:, None] * basis), np.eye(16), atol=1e-12)


def test_a_colour_depends_on_the_side_it_is_seen_from() -> None:
    sh = torch.zeros(2, 4, 3, dtype=torch.float64)
    sh[:, 2, 0] = 0.5  # red along z
    sh[:, 0, 1] = -9.0  # green below 0
    eye = torch.zeros(3, dtype=torch.float64)
    positions = torch.tensor([[0.0, 0.0, 7.0], [0.0, 0.0, -7.0]], dtype=torch.float64)
    colours = view_colours(sh, positions, eye)
    shift = 0.5 * (3 / (4 * np.pi)) ** 0.5
    expected = [[0.5 + shift, 0.0, 0.5], [0.5 - shift, 0.0, 0.5]]
    torch.testing.assert_close(colours, torch.tensor(expected, dtype=torch.float64))


def test_what_cannot_be_seen_is_left_out() -> None:
    camera = front_camera()
    scene = together(
        one_splat((0.0, 0.0, 700.0)),  # behind the camera
        one_splat((0.0, 0.0, 599.5)),  # nearer than `near`
        one_splat((0.0, 0.0, 10.0)),
        one_splat((500.0, 0.0, 0.0)),  # beside the picture
        one_splat((0.0, 500.0, 0.0)),
        one_splat((0.0, 0.0, 0.0), opacity=0.003),  # fainter than 1/255
    )
    assert project_splats(scene, camera).ids.tolist() == [2]
    assert project_splats(scene.map(lambda values: values[:2]), camera).ids.tolist() == []


def test_gradients_of_splats_that_are_left_out_are_zero() -> None:
    scene = together(one_splat((0.0, 0.0, 600.0)), one_splat())  # the first at the camera's centre
    scene = scene.map(lambda values: values.requires_grad_())
    found = project_splats(scene, front_camera())
    (found.centres.sum() + found.conics.sum()).backward()
    assert scene.positions.grad is not None
    assert float(scene.positions.grad[0].abs().max()) == 0.0
    assert float(scene.positions.grad[1].abs().max()) > 0.0


def test_a_splat_far_beside_the_picture_is_not_stretched_without_bound() -> None:
    camera = front_camera()
    beside = one_splat((-60.0, 0.0, 500.0), sigma=400.0)  # five half pictures to the left
    (conic,) = project_splats(beside, camera).conics
    width = (conic[2] / (conic[0] * conic[2] - conic[1] ** 2)) ** 0.5
    limit = (camera.cx + 0.15 * camera.width) / camera.fx  # slope where the derivative stays
    expected = 400.0 * camera.fx / 100.0 * (1 + limit**2) ** 0.5  # depth is 600 - 500
    assert float(width) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [("positions", np.nan), ("log_scales", np.inf), ("rotations", np.nan), ("sh", -np.inf)],
)
def test_the_first_splat_that_is_no_number_is_named(name: str, value: float) -> None:
    scene = cloud(9)
    broken = getattr(scene, name).clone()
    broken[4], broken[7] = value, value
    with pytest.raises(ValueError, match=f"{name} of splat 4 of 9 is not finite \\(2 such"):
        project_splats(replace(scene, **{name: broken}), front_camera())


@pytest.mark.parametrize(("name", "value"), [("log_scales", 500.0), ("rotations", 0.0)])
def test_a_splat_without_an_ellipse_is_named(name: str, value: float) -> None:
    scene = cloud(9)
    broken = getattr(scene, name).clone()
    broken[3] = value
    with pytest.raises(ValueError, match="splat 3 has no finite ellipse"):
        project_splats(replace(scene, **{name: broken}), front_camera())


def test_numbers_whose_sum_overflows_are_numbers() -> None:
    scene = cloud(2).map(lambda values: values.float())
    large = torch.full_like(scene.sh, 3e38)
    found = project_splats(replace(scene, sh=large), front_camera())
    assert len(found) == 2
