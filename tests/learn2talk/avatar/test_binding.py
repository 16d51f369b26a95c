"""Splats on triangles: the contract's numbers, worked out by hand, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from learn2talk.avatar.binding import (
    bind_to,
    bind_to_nearest,
    pose_splats,
    quaternion_product,
    quaternions_of,
    triangle_frames,
)
from learn2talk.avatar.splats import BoundSplats, Splats
from tests.learn2talk.avatar.made_up_splats import made_up_splats, pyramid

TRIANGLE = torch.tensor([[0, 1, 2]])


def mesh() -> tuple[torch.Tensor, torch.Tensor]:
    face = pyramid()
    return torch.from_numpy(face.vertices), torch.from_numpy(face.triangles).long()


def one_splat(**changes: torch.Tensor) -> Splats:
    fields = {
        "positions": torch.tensor([[1.0, 2.0, 3.0]]),
        "log_scales": torch.zeros(1, 3),
        "rotations": torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        "opacity_logits": torch.zeros(1),
        "sh": torch.zeros(1, 1, 3),
    }
    return Splats(**{**fields, **changes})


def test_the_frame_of_a_triangle_by_hand() -> None:
    # v0 (0,0,0), v1 (4,0,0), v2 (1,2,0): a0 = x, a1 = norm(x cross (1,2,0)) = z,
    # a2 = -norm(z cross x) = -y; height = |(-y) . (1,2,0)| = 2; s = (4 + 2) / 2 = 3.
    vertices = torch.tensor([[0.0, 0, 0], [4, 0, 0], [1, 2, 0]])
    frames = triangle_frames(vertices, TRIANGLE)
    assert frames.centre.tolist() == [[pytest.approx(5 / 3), pytest.approx(2 / 3), 0.0]]
    columns = frames.rotation[0].T
    np.testing.assert_allclose(columns, [[1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-6)
    assert frames.size.tolist() == [pytest.approx(3.0)]
    posed = pose_splats(BoundSplats(one_splat(), torch.tensor([0])), vertices, TRIANGLE)
    # x = s R (1,2,3) + c = 3 (1 a0 + 2 a1 + 3 a2) + c = (3, -9, 6) + c.
    np.testing.assert_allclose(posed.positions, [[3 + 5 / 3, -9 + 2 / 3, 6]], atol=1e-5)
    np.testing.assert_allclose(posed.log_scales.exp(), [[3.0, 3.0, 3.0]], rtol=1e-6)


def test_the_rotation_turns_with_the_triangle() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [4, 0, 0], [1, 2, 0]])
    posed = pose_splats(BoundSplats(one_splat(), torch.tensor([0])), vertices, TRIANGLE)
    # R takes x to x, y to z, z to -y: a quarter turn about x.
    half = np.sqrt(0.5)
    np.testing.assert_allclose(posed.rotations, [[half, half, 0, 0]], atol=1e-6)


def test_size_is_the_contracts_with_a_negative_height_too() -> None:
    mirrored = torch.tensor([[0.0, 0, 0], [4, 0, 0], [1, -2, 0]])
    assert float(triangle_frames(mirrored, TRIANGLE).size) == pytest.approx(3.0)


@pytest.mark.parametrize(
    "corners",
    [
        [[0, 0, 0], [1, 0, 0], [3, 0, 0]],
        [[2, 2, 2], [2, 2, 2], [2, 2, 2]],
        [[0, 0, 0], [0, 0, 0], [0, 1, 0]],
    ],
)
def test_a_triangle_without_area_keeps_an_orthonormal_frame(corners: list[list[float]]) -> None:
    frames = triangle_frames(torch.tensor(corners, dtype=torch.float32), TRIANGLE)
    rotation = frames.rotation[0]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-5)
    assert float(frames.size) > 0
    assert torch.isfinite(frames.centre).all()


def test_frames_of_many_frames_at_once_are_those_of_each() -> None:
    vertices, triangles = mesh()
    moved = torch.stack([vertices, vertices * 2 + 1])
    together = triangle_frames(moved, triangles)
    apart = triangle_frames(moved[1], triangles)
    torch.testing.assert_close(together.rotation[1], apart.rotation)
    torch.testing.assert_close(together.size[1], apart.size)
    torch.testing.assert_close(together.centre[1], apart.centre)


def test_binding_and_posing_at_rest_is_the_identity() -> None:
    vertices, triangles = mesh()
    splats = made_up_splats(200)
    posed = pose_splats(bind_to_nearest(splats, vertices, triangles), vertices, triangles)
    torch.testing.assert_close(posed.positions, splats.positions, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(posed.log_scales, splats.log_scales)
    same = (posed.rotations * splats.rotations).sum(dim=1).abs()
    torch.testing.assert_close(same, torch.ones(200))
    assert torch.equal(posed.sh, splats.sh)


def test_nearest_is_what_trying_every_triangle_gives() -> None:
    vertices, triangles = mesh()
    splats = made_up_splats(300, degree=0)
    bound = bind_to_nearest(splats, vertices, triangles)
    fine = torch.linspace(0, 1, 41)
    u, v = (grid.reshape(-1) for grid in torch.meshgrid(fine, fine, indexing="ij"))
    inside = u + v <= 1
    weights = torch.stack([1 - u - v, u, v], dim=1)[inside]
    samples = torch.einsum("sc,fcx->fsx", weights, vertices[triangles])
    nearest = torch.cdist(splats.positions, samples.reshape(-1, 3)).reshape(300, len(triangles), -1)
    best = nearest.amin(dim=2)
    chosen = best.gather(1, bound.triangle_ids[:, None])[:, 0]
    assert (chosen <= best.amin(dim=1) + 0.05).all()  # samples are up to 0.25 mm apart
    assert len(bound.triangle_ids.unique()) > 3


def test_triangles_without_area_are_not_bound_to() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 50, 0], [50, 50, 0]])
    triangles = torch.tensor([[0, 1, 2], [0, 3, 4]])
    splats = one_splat(positions=torch.tensor([[1.0, 0.0, 0.0]]))
    assert bind_to_nearest(splats, vertices, triangles).triangle_ids.tolist() == [1]
    with pytest.raises(ValueError, match="no triangle of the mesh has an area"):
        bind_to_nearest(splats, vertices, triangles[:1])


def test_what_cannot_be_bound_is_refused() -> None:
    vertices, triangles = mesh()
    lost = one_splat(positions=torch.tensor([[1.0, float("nan"), 0.0]]))
    with pytest.raises(ValueError, match="splat 0 is at"):
        bind_to_nearest(lost, vertices, triangles)
    bound = BoundSplats(one_splat(), torch.tensor([6]))
    with pytest.raises(ValueError, match="splat 0 is bound to triangle 6, but the mesh has 6"):
        pose_splats(bound, vertices, triangles)
    with pytest.raises(ValueError, match="triangle id -1 is negative"):
        BoundSplats(one_splat(), torch.tensor([-1]))
    with pytest.raises(ValueError, match="give int64"):
        BoundSplats(one_splat(), torch.tensor([1], dtype=torch.int32))
    with pytest.raises(ValueError, match="2 triangle ids for 1 splats|\\(2,\\) triangle ids"):
        BoundSplats(one_splat(), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="bound to triangle 9"):
        bind_to(one_splat(), torch.tensor([9]), vertices, triangles)


def test_posing_is_differentiable_in_splats_and_vertices() -> None:
    vertices, triangles = mesh()
    # Away from half turns, where a quaternion and its negative are both right.
    vertices = vertices + torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    bound = bind_to_nearest(made_up_splats(5, degree=0), vertices, triangles)

    def posed(points: torch.Tensor, corners: torch.Tensor) -> tuple[torch.Tensor, ...]:
        local = bound.local.map(lambda values: values.double())
        local = Splats(points, local.log_scales, local.rotations, local.opacity_logits, local.sh)
        out = pose_splats(BoundSplats(local, bound.triangle_ids), corners, triangles)
        return out.positions, out.log_scales, out.rotations

    inputs = (bound.local.positions.double().requires_grad_(), vertices.double().requires_grad_())
    assert torch.autograd.gradcheck(posed, inputs)


def test_quaternions_of_turns_of_every_kind() -> None:
    # Half turns have no w; a turn by 0 has nothing else.
    turns = torch.tensor(
        [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0.5, -0.5, 0.5, 0.5]]
    )
    w, x, y, z = turns.unbind(1)
    matrices = torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], 1),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], 1),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1),
        ],
        dim=1,
    )
    found = quaternions_of(matrices)
    torch.testing.assert_close((found * turns).sum(dim=1).abs(), torch.ones(5))
    assert (found[:, 0] >= 0).all()


def test_the_product_of_quaternions_by_hand() -> None:
    i, j, k = torch.eye(4)[1:]
    assert quaternion_product(i, j).tolist() == k.tolist()
    assert quaternion_product(j, i).tolist() == (-k).tolist()
    assert quaternion_product(i, i).tolist() == [-1, 0, 0, 0]
