"""Splats that ride on the triangles of a mesh: the driving contract of GaussianAvatars.

Qian et al., "GaussianAvatars: Photorealistic Head Avatars with Rigged 3D Gaussians", CVPR 2024,
section 3.2, with the triangle's size and signs of its released files: with corners v0, v1, v2,

    a0 = norm(v1 - v0),  a1 = norm(a0 x (v2 - v0)),  a2 = -norm(a1 x a0),  R = [a0 a1 a2] (columns)
    s = (|v1 - v0| + |a2 . (v2 - v0)|) / 2,  c = (v0 + v1 + v2) / 3

and a splat's centre is s R x + c, its axes' standard deviations s exp(log_scale), its rotation
q_R q. Spherical harmonics are read in the space of the mesh and do not turn with the triangle.
Axis letters: N splats, V vertices, F triangles; "..." any leading axes, such as frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from learn2talk.avatar.splats import BoundSplats, Splats

_FLAT = 1e-12  # shares of a length below which a direction is none


@dataclass(frozen=True, eq=False)
class TriangleFrames:
    """centre (..., F, 3); rotation (..., F, 3, 3), columns a0 a1 a2; size (..., F), above 0."""

    centre: Tensor
    rotation: Tensor
    size: Tensor


def triangle_frames(vertices: Tensor, triangles: Tensor) -> TriangleFrames:
    """The frame of each triangle.

    Args:
        vertices: float (..., V, 3), any unit.
        triangles: int64 (F, 3), ids of vertices.

    Returns:
        The frames, in the unit of the vertices. A triangle without area keeps an orthonormal
        frame: of what its corners leave open, an arbitrary direction is taken.
    """
    v0, v1, v2 = (vertices[..., triangles[:, corner], :] for corner in range(3))
    edge, other = v1 - v0, v2 - v0
    length = edge.norm(dim=-1)
    a0 = _unit(edge, torch.tensor([1.0, 0.0, 0.0], dtype=edge.dtype, device=edge.device))
    normal = torch.linalg.cross(a0, other)
    # Where the corners lie on a line: the axis least along a0, made perpendicular to it.
    aside = torch.nn.functional.one_hot(a0.abs().argmin(dim=-1), 3).to(a0.dtype)
    upright = torch.linalg.cross(a0, aside)
    a1 = _unit(normal, upright)
    # Round-off tilts the normal of a thin triangle towards a0.
    a1 = _unit(a1 - (a1 * a0).sum(dim=-1, keepdim=True) * a0, upright)
    a2 = -torch.linalg.cross(a1, a0)
    height = (a2 * other).sum(dim=-1).abs()
    size = ((length + height) / 2).clamp_min(torch.finfo(edge.dtype).tiny)
    return TriangleFrames((v0 + v1 + v2) / 3, torch.stack([a0, a1, a2], dim=-1), size)


def _unit(vector: Tensor, instead: Tensor) -> Tensor:
    """The vector at length 1, or ``instead`` at length 1 where it has none."""
    length = vector.norm(dim=-1, keepdim=True)
    flat = length <= _FLAT
    chosen = torch.where(flat, instead.expand_as(vector), vector)
    return chosen / chosen.norm(dim=-1, keepdim=True).clamp_min(_FLAT)


def pose_splats(bound: BoundSplats, vertices: Tensor, triangles: Tensor) -> Splats:
    """Where bound splats are when the mesh is as ``vertices`` say.

    Args:
        bound: N splats.
        vertices: float (V, 3). triangles: int64 (F, 3).

    Returns:
        N splats in the space of the mesh; differentiable in the splats and the vertices.

    Raises:
        ValueError: a splat names a triangle that is not there.
    """
    check_binding(bound, len(triangles))
    # Only triangles that carry a splat: a head has many that carry none.
    used, place = bound.triangle_ids.unique(return_inverse=True)
    return posed_in(bound.local, triangle_frames(vertices, triangles[used]), place)


def posed_in(local: Splats, frames: TriangleFrames, place: Tensor) -> Splats:
    """N splats in the frames (F,) that ``place`` (N,) names for each."""
    rotation, size = frames.rotation[place], frames.size[place]
    turned = (rotation @ local.positions[:, :, None])[..., 0]
    turns = quaternions_of(frames.rotation)[place]
    return replace(
        local,
        positions=size[:, None] * turned + frames.centre[place],
        log_scales=local.log_scales + size.log()[:, None],
        rotations=quaternion_product(turns, local.rotations),
    )


def check_binding(bound: BoundSplats, num_triangles: int) -> None:
    """Refuse ids that a mesh does not have. Raises ValueError that names the first."""
    if len(bound) and int(bound.triangle_ids.max()) >= num_triangles:
        splat = int((bound.triangle_ids >= num_triangles).nonzero()[0, 0])
        raise ValueError(
            f"splat {splat} is bound to triangle {int(bound.triangle_ids[splat])}, but the mesh "
            f"has {num_triangles}, 0 to {num_triangles - 1}; give the mesh that the avatar was "
            "made on"
        )


def bind_to_nearest(splats: Splats, vertices: Tensor, triangles: Tensor) -> BoundSplats:
    """Bind splats to the nearest triangles; posed on the same mesh, they are where they were.

    Args:
        splats: N splats in the space and unit of the mesh.
        vertices: float (V, 3), where the splats are. triangles: int64 (F, 3); those without area
            are not bound to.

    Raises:
        ValueError: no triangle has an area, or a splat's position is not finite.
    """
    wrong = ~torch.isfinite(splats.positions).all(dim=1)
    if wrong.any():
        splat = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"splat {splat} is at {splats.positions[splat].tolist()}; give finite positions"
        )
    corners = vertices.detach().double()[triangles]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    scale = (corners[:, 1:] - corners[:, :1]).norm(dim=-1).amax(dim=1)
    usable = (area.norm(dim=-1) > 1e-9 * scale**2).nonzero()[:, 0]
    if not len(usable):
        raise ValueError("no triangle of the mesh has an area; there is nothing to bind to")
    from learn2talk.avatar import nearest_triangles

    found = nearest_triangles.nearest(
        np.ascontiguousarray(splats.positions.detach().double().cpu().numpy()),
        np.ascontiguousarray(corners[usable].cpu().numpy()),
    )
    ids = usable.cpu()[torch.from_numpy(found)].to(splats.positions.device)
    return bind_to(splats, ids, vertices, triangles)


def bind_to(
    splats: Splats, triangle_ids: Tensor, vertices: Tensor, triangles: Tensor
) -> BoundSplats:
    """Splats of the mesh's space in the frames of given triangles, the inverse of `pose_splats`.

    Args:
        splats: N splats. triangle_ids: int64 (N,).
        vertices: float (V, 3). triangles: int64 (F, 3).

    Raises:
        ValueError: a triangle that is not there.
    """
    bound = BoundSplats(splats, triangle_ids)
    check_binding(bound, len(triangles))
    frames = triangle_frames(vertices.to(splats.positions.dtype), triangles[triangle_ids])
    away = splats.positions - frames.centre
    inverse = quaternions_of(frames.rotation) * torch.tensor(
        [1.0, -1.0, -1.0, -1.0], dtype=away.dtype, device=away.device
    )
    local = replace(
        splats,
        positions=(frames.rotation.mT @ away[:, :, None])[..., 0] / frames.size[:, None],
        log_scales=splats.log_scales - frames.size.log()[:, None],
        rotations=quaternion_product(inverse, splats.rotations),
    )
    return BoundSplats(local, triangle_ids)


def quaternion_product(first: Tensor, second: Tensor) -> Tensor:
    """Hamilton's product (..., 4) of quaternions w x y z: the turn ``second``, then ``first``."""
    w, x, y, z = first.unbind(-1)
    a, b, c, d = second.unbind(-1)
    return torch.stack(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ],
        dim=-1,
    )


def quaternions_of(rotations: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) as unit quaternions w x y z (..., 4), w not negative.

    The largest of the four components is found from the diagonal and the others from it (Shepperd,
    "Quaternion from rotation matrix", 1978), so that no division is by a small number.
    """
    r = rotations
    trace = r[..., 0, 0] + r[..., 1, 1] + r[..., 2, 2]
    twice = torch.stack(
        [trace, *(2.0 * r[..., i, i] - trace for i in range(3))], dim=-1
    )  # 4 q_i^2 - 1 of each component
    above = [r[..., 2, 1], r[..., 0, 2], r[..., 1, 0]]
    below = [r[..., 1, 2], r[..., 2, 0], r[..., 0, 1]]
    real = [one - other for one, other in zip(above, below, strict=True)]  # 4 w x, 4 w y, 4 w z
    x, y, z = (one + other for one, other in zip(above, below, strict=True))  # 4 yz, 4 xz, 4 xy
    products = torch.stack(
        [
            torch.stack([1.0 + twice[..., 0], *real], dim=-1),
            torch.stack([real[0], 1.0 + twice[..., 1], z, y], dim=-1),
            torch.stack([real[1], z, 1.0 + twice[..., 2], x], dim=-1),
            torch.stack([real[2], y, x, 1.0 + twice[..., 3]], dim=-1),
        ],
        dim=-2,
    )  # row i: 4 q_i times (w, x, y, z)
    best = twice.argmax(dim=-1)
    row = products.gather(-2, best[..., None, None].expand(*best.shape, 1, 4))[..., 0, :]
    unit = row / row.norm(dim=-1, keepdim=True)
    return torch.where(unit[..., :1] < 0, -unit, unit)
