"""Gaussians in space as ellipses in a picture; on a CPU compiled, elsewhere by torch, one formula.

Zwicker et al. 2001, "EWA Volume Splatting": near a splat's centre the perspective is replaced by
its derivative J, so that the Gaussian with covariance S is seen as the Gaussian with covariance
J R S R' J'. Kerbl et al. 2023, "3D Gaussian Splatting", add 0.3 square pixels to the diagonal, so
that no splat is smaller than a pixel. Constants are those of gsplat 1.5.3, "classic" mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.splat_threads import compiled_for, over_splats, thread_count
from learn2talk.avatar.splats import Splats

LOW_PASS = 0.3  # square pixels, added to the variances in the picture
BEYOND_PICTURE = 0.3  # J is that of this share of half the picture beyond its edge, at most


def ellipses_of(
    splats: Splats, camera: PinholeCamera, num_threads: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Ellipses of splats in front of a camera, low pass included.

    Returns:
        centres (N, 2), x and y in pixels; conics (N, 3), a, b, c of the inverse covariance
        [[a, b], [b, c]]; and, without gradients, standard deviations in x and y (N, 2), pixels.
    """
    if compiled_for(splats.positions):
        found: tuple[Tensor, Tensor, Tensor] = _Ellipses.apply(
            splats.positions,
            splats.log_scales,
            splats.rotations,
            camera_numbers(camera),
            thread_count(num_threads),
        )
        return found
    return ellipses_by_torch(splats, camera)


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """Quaternions w x y z of any length but 0, (..., 4), as rotation matrices (..., 3, 3)."""
    w, x, y, z = (quaternions / quaternions.norm(dim=-1, keepdim=True)).unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    xy, xz, yz = x * y, x * z, y * z
    wx, wy, wz = w * x, w * y, w * z
    entries = [
        *(1 - 2 * (yy + zz), 2 * (xy - wz), 2 * (xz + wy)),
        *(2 * (xy + wz), 1 - 2 * (xx + zz), 2 * (yz - wx)),
        *(2 * (xz - wy), 2 * (yz + wx), 1 - 2 * (xx + yy)),
    ]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def covariances(log_scales: Tensor, quaternions: Tensor) -> Tensor:
    """R diag(exp(2 log_scales)) R', (N, 3, 3), in square units of the space."""
    axes = rotation_matrices(quaternions) * log_scales.exp()[..., None, :]
    return axes @ axes.mT


def ellipses_by_torch(splats: Splats, camera: PinholeCamera) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`ellipses_of` for any device."""
    rotation = torch.as_tensor(camera.rotation).to(splats.positions)
    place = splats.positions @ rotation.mT + torch.as_tensor(camera.translation).to(rotation)
    focal = rotation.new_tensor([camera.fx, camera.fy])
    slopes = place[:, :2] / place[:, 2:]
    centres = slopes * focal + rotation.new_tensor([camera.cx, camera.cy])
    # Far outside the picture the derivative would stretch a splat without bound.
    least, most = rotation.new_tensor(_slopes(camera)).unbind(-1)
    held = slopes.clamp(least, most)
    to_picture = rotation[:2] - held[:, :, None] * rotation[2]
    to_picture = to_picture * (focal / place[:, 2:])[:, :, None]  # J R
    axes = rotation_matrices(splats.rotations) * splats.log_scales.exp()[:, None, :]
    p, q = (to_picture @ axes).unbind(1)
    xx, xy, yy = (p * p).sum(-1), (p * q).sum(-1), (q * q).sum(-1)
    # xx yy - xy xy as the square of a cross product: never negative, whatever the rounding.
    flat = torch.linalg.cross(p, q).square().sum(-1)
    determinant = flat + LOW_PASS * (xx + yy + LOW_PASS)
    conics = torch.stack([yy + LOW_PASS, -xy, xx + LOW_PASS], -1) / determinant[:, None]
    deviations = (torch.stack([xx, yy], -1) + LOW_PASS).sqrt()
    return centres, conics, deviations.detach()


def camera_numbers(camera: PinholeCamera) -> NDArray[np.float64]:
    """A camera as the compiled loops take it, (20,)."""
    inside = (camera.fx, camera.fy, camera.cx, camera.cy)
    parts = (camera.rotation.ravel(), camera.translation, inside, np.ravel(_slopes(camera)))
    return np.concatenate(parts)


def _slopes(camera: PinholeCamera) -> list[tuple[float, float]]:
    """The least and the largest x / z at which J is taken, and those of y / z."""
    limits = []
    for focal, centre, size in (
        (camera.fx, camera.cx, camera.width),
        (camera.fy, camera.cy, camera.height),
    ):
        margin = BEYOND_PICTURE * 0.5 * size / focal
        limits.append((-centre / focal - margin, (size - centre) / focal + margin))
    return limits


class _Ellipses(torch.autograd.Function):
    """One pass over the splats."""

    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        log_scales: Tensor,
        rotations: Tensor,
        camera: NDArray[np.float64],
        threads: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        from learn2talk.avatar.ellipse_kernels import ellipses

        count = len(positions)
        centres, conics = positions.new_empty(count, 2), positions.new_empty(count, 3)
        deviations = positions.new_empty(count, 2)
        kept = tuple(one.contiguous() for one in (positions, log_scales, rotations))
        taken = tuple(one.numpy() for one in kept)
        written = (centres.numpy(), conics.numpy(), deviations.numpy())
        over_splats(lambda a, b: ellipses(a, b, *taken, camera, LOW_PASS, *written), count, threads)
        ctx.save_for_backward(*kept)
        ctx.mark_non_differentiable(deviations)
        ctx.camera, ctx.threads = camera, threads
        return centres, conics, deviations

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, to_centres: Tensor, to_conics: Tensor, to_deviations: Tensor
    ) -> tuple[Tensor | None, ...]:
        from learn2talk.avatar.ellipse_kernels import ellipses_backward

        taken = tuple(one.numpy() for one in ctx.saved_tensors)
        given = (to_centres.contiguous().numpy(), to_conics.contiguous().numpy())
        found = tuple(torch.empty_like(one) for one in ctx.saved_tensors)
        written = tuple(one.numpy() for one in found)
        over_splats(
            lambda a, b: ellipses_backward(a, b, *taken, ctx.camera, LOW_PASS, *given, *written),
            len(taken[0]),
            ctx.threads,
        )
        return *found, None, None
