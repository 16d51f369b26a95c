"""Whatever the mesh and the splats: bound splats go where the mesh goes, and nowhere else.

Turns and covariances are worked out here from their definitions, not with the functions tested.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from learn2talk.avatar.binding import (
    bind_to,
    bind_to_nearest,
    pose_splats,
    quaternion_product,
    quaternions_of,
    triangle_frames,
)
from learn2talk.avatar.splat_files import read_splats, write_splats
from learn2talk.avatar.splats import SH_COEFFICIENTS, BoundSplats, Splats

F64 = torch.float64
seeds = st.integers(0, 2**31)
angles = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 1e-2)
shifts = st.tuples(*[st.floats(-1e3, 1e3)] * 3)


def drawn_splats(seed: int, count: int, degree: int = 1, dtype: torch.dtype = F64) -> Splats:
    made = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=made, dtype=dtype)

    return Splats(
        positions=30.0 * draw(count, 3),
        log_scales=draw(count, 3),
        rotations=draw(count, 4),
        opacity_logits=draw(count),
        sh=draw(count, SH_COEFFICIENTS[degree], 3),
    )


def drawn_mesh(seed: int, triangles: int = 7, corners: int = 9) -> tuple[Tensor, Tensor]:
    """Vertices in a box of 100 mm, and triangles of three different ones of them."""
    made = torch.Generator().manual_seed(seed)
    vertices = 100.0 * torch.rand(corners, 3, generator=made, dtype=F64)
    rows = [torch.randperm(corners, generator=made)[:3] for _ in range(triangles)]
    return vertices, torch.stack(rows)


def matrix_of(quaternions: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions w x y z of any length: v -> q v q* / |q|^2."""
    w, vector = quaternions[..., :1, None], quaternions[..., 1:]
    x, y, z = vector.unbind(-1)
    none = torch.zeros_like(x)
    rows = [none, -z, y, z, none, -x, -y, x, none]
    cross = torch.stack(rows, -1).unflatten(-1, (3, 3))
    length = (quaternions**2).sum(-1)[..., None, None]
    outer = vector[..., :, None] * vector[..., None, :]
    turned = (w**2 - (vector**2).sum(-1)[..., None, None]) * torch.eye(3, dtype=F64)
    return (turned + 2 * outer + 2 * w * cross) / length


def covariances(splats: Splats) -> Tensor:
    """(N, 3, 3): axes turned and stretched."""
    axes = matrix_of(splats.rotations) * splats.log_scales.exp()[:, None]
    return axes @ axes.mT


def assert_moved(found: Splats, before: Splats, scale: float, turn: Tensor, shift: Tensor) -> None:
    """``found`` is ``before`` under x -> scale * turn @ x + shift, colours and opacities as
    before."""
    wanted = scale * before.positions @ turn.T + shift
    reach = float(wanted.abs().max()) + 1.0
    torch.testing.assert_close(found.positions, wanted, rtol=0, atol=1e-9 * reach)
    there = scale**2 * turn @ covariances(before) @ turn.T
    torch.testing.assert_close(
        covariances(found), there, rtol=1e-8, atol=1e-9 * float(there.abs().max())
    )
    assert torch.equal(found.opacity_logits, before.opacity_logits)
    assert torch.equal(found.sh, before.sh)


def bound_to_chance(seed: int, triangles: int) -> BoundSplats:
    made = torch.Generator().manual_seed(seed + 1)
    return BoundSplats(drawn_splats(seed, 12), torch.randint(triangles, (12,), generator=made))


@settings(max_examples=80, deadline=None)
@given(seed=seeds, turn=angles, shift=shifts, scale=st.floats(1e-3, 1e3))
def test_a_moved_turned_and_scaled_mesh_takes_its_splats_along(
    seed: int, turn: tuple[float, ...], shift: tuple[float, ...], scale: float
) -> None:
    vertices, triangles = drawn_mesh(seed)
    bound = bound_to_chance(seed, len(triangles))
    rotation, offset = matrix_of(torch.tensor(turn, dtype=F64)), torch.tensor(shift, dtype=F64)
    moved = pose_splats(bound, scale * vertices @ rotation.T + offset, triangles)
    assert_moved(moved, pose_splats(bound, vertices, triangles), scale, rotation, offset)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, nearest=st.booleans())
def test_bound_and_posed_on_the_same_mesh_nothing_moves(seed: int, nearest: bool) -> None:
    vertices, triangles = drawn_mesh(seed)
    splats = drawn_splats(seed + 2, 12)
    ids = bound_to_chance(seed, len(triangles)).triangle_ids
    if nearest:
        bound = bind_to_nearest(splats, vertices, triangles)
    else:
        bound = bind_to(splats, ids, vertices, triangles)
    found = pose_splats(bound, vertices, triangles)
    assert_moved(found, splats, 1.0, torch.eye(3, dtype=F64), torch.zeros(3, dtype=F64))


@settings(max_examples=60, deadline=None)
@given(seed=seeds, vertex=st.integers(0, 8), shift=shifts)
def test_a_splat_follows_its_own_triangle_alone(
    seed: int, vertex: int, shift: tuple[float, ...]
) -> None:
    vertices, triangles = drawn_mesh(seed)
    bound = bound_to_chance(seed, len(triangles))
    moved = vertices.clone()
    moved[vertex] += torch.tensor(shift, dtype=F64)
    before, after = (pose_splats(bound, there, triangles) for there in (vertices, moved))
    others = ~(triangles[bound.triangle_ids] == vertex).any(dim=1)
    for name in ("positions", "log_scales", "rotations"):
        assert torch.equal(getattr(before, name)[others], getattr(after, name)[others])
    if max(map(abs, shift)) > 1.0 and not others.all():
        assert not torch.equal(before.positions[~others], after.positions[~others])


coordinate = st.sampled_from([0.0, 1e-7, 1e-3, 1.0, 1.0 + 1e-6, 50.0]) | st.floats(-100, 100)


@settings(max_examples=200, deadline=None)
@given(
    corners=st.lists(st.tuples(*[coordinate] * 3), min_size=3, max_size=3),
    dtype=st.sampled_from([torch.float32, F64]),
)
@example(corners=[(50.0, 0.0, 50.0), (0.0, 50.0, 0.0), (0.0, 50.0, 1e-07)], dtype=F64)
def test_every_triangle_has_a_right_handed_frame(
    corners: list[tuple[float, ...]], dtype: torch.dtype
) -> None:
    vertices = torch.tensor(corners, dtype=dtype)
    frames = triangle_frames(vertices, torch.tensor([[0, 1, 2]]))
    rotation, slack = frames.rotation[0], 100 * torch.finfo(dtype).eps
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=dtype), rtol=0, atol=slack)
    assert abs(float(torch.linalg.det(rotation)) - 1.0) < slack
    assert float(frames.size) > 0.0
    edge = vertices[1] - vertices[0]
    assume(float(edge.norm()) > 1e-3)
    torch.testing.assert_close(rotation[:, 0], edge / edge.norm(), rtol=0, atol=slack)


@settings(max_examples=80, deadline=None)
@given(first=angles, second=angles)
def test_quaternions_multiply_as_their_matrices(
    first: tuple[float, ...], second: tuple[float, ...]
) -> None:
    one, two = (torch.tensor(q, dtype=F64) for q in (first, second))
    product = matrix_of(quaternion_product(one, two))
    torch.testing.assert_close(product, matrix_of(one) @ matrix_of(two), rtol=0, atol=1e-12)
    back = quaternions_of(matrix_of(one))
    assert abs(float(back.norm()) - 1.0) < 1e-12
    torch.testing.assert_close(matrix_of(back), matrix_of(one), rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, count=st.integers(0, 9), degree=st.integers(0, 3), bound=st.booleans())
def test_files_give_back_every_bit(seed: int, count: int, degree: int, bound: bool) -> None:
    splats = drawn_splats(seed, count, degree, torch.float32)
    ids = torch.randint(1 << 24, (count,), generator=torch.Generator().manual_seed(seed))
    given_splats = BoundSplats(splats, ids) if bound else splats
    with tempfile.TemporaryDirectory() as folder:
        write_splats(Path(folder) / "a.ply", given_splats)
        found = read_splats(Path(folder) / "a.ply")
    assert isinstance(found, BoundSplats) == bound
    if isinstance(found, BoundSplats):
        assert torch.equal(found.triangle_ids, ids)
        found = found.local
    for name in ("positions", "log_scales", "rotations", "opacity_logits", "sh"):
        assert torch.equal(getattr(found, name), getattr(splats, name))
