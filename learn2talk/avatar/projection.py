"""From Gaussians in space to ellipses in a picture, differentiable, on any device.

Zwicker et al. 2001, "EWA Volume Splatting": near a splat's centre the perspective is replaced by
its derivative J, so that the Gaussian with covariance S is seen as the Gaussian with covariance
J R S R' J'. Kerbl et al. 2023, "3D Gaussian Splatting", add 0.3 square pixels to the diagonal, so
that no splat is smaller than a pixel. Constants are those of gsplat 1.5.3, "classic" mode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.spherical_harmonics import view_colours
from learn2talk.avatar.splats import Splats

LOW_PASS = 0.3  # square pixels, added to the variances in the picture
MIN_ALPHA = 1.0 / 255.0  # fainter is not drawn
MAX_EXTENT = 3.33  # standard deviations; at 3.329 a splat of opacity 1 falls below MIN_ALPHA
BEYOND_PICTURE = 0.3  # J is that of this share of half the picture beyond its edge, at most


@dataclass(frozen=True, eq=False)
class ProjectedSplats:
    """The M of N splats that can be seen, as ellipses in the picture, in no order of depth.

    ids (M,) int64: which splats, rising. centres (M, 2): x, y in pixels. conics (M, 3): a, b, c of
    the inverse covariance [[a, b], [b, c]], 1 / square pixels. colours (M, 3): 0 or more.
    opacities (M,): 0 to 1. depths (M,): z in the camera's space. extents (M, 2): half width and
    half height, in pixels, of the box outside which the splat is fainter than 1/255.

    centres, conics, colours and opacities carry gradients; depths and extents do not.
    """

    ids: Tensor
    centres: Tensor
    conics: Tensor
    colours: Tensor
    opacities: Tensor
    depths: Tensor
    extents: Tensor

    def __len__(self) -> int:
        return len(self.ids)


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """Quaternions w x y z of any length but 0, (..., 4), as rotation matrices (..., 3, 3)."""
    return torch.stack(_rotation_entries(quaternions), dim=-1).unflatten(-1, (3, 3))


def covariances(log_scales: Tensor, quaternions: Tensor) -> Tensor:
    """R diag(exp(2 log_scales)) R', (N, 3, 3), in square units of the space."""
    axes = rotation_matrices(quaternions) * log_scales.exp()[..., None, :]
    return axes @ axes.mT


def project_splats(splats: Splats, camera: PinholeCamera) -> ProjectedSplats:
    """Where a camera sees splats, how large, and in which colour.

    Left out are splats closer than ``camera.near``, fainter than 1/255, and those whose box lies
    outside the picture.

    Raises:
        ValueError: a number of a splat is not finite, a rotation is 0, or a splat is so large that
            its ellipse is not finite; the first such splat is named.
    """
    check_finite(splats)
    depths = _camera_axis(splats.positions.detach(), camera, 2)
    opacities = splats.opacity_logits.sigmoid()
    seen = (depths >= camera.near) & (opacities.detach() >= MIN_ALPHA)
    ids = seen.nonzero()[:, 0]
    near, opacities = _rows(splats, ids, len(splats)), _rows_of(opacities, ids, len(splats))
    centres, variances, determinants = _ellipses(near, camera)
    _check_ellipses(ids, centres, variances, determinants, near)
    with torch.no_grad():
        reach = (2.0 * (opacities / MIN_ALPHA).log()).clamp_min(0.0).sqrt().clamp_max(MAX_EXTENT)
        extents = reach[:, None] * variances[:, [0, 2]].sqrt()
        size = torch.tensor([camera.width, camera.height], device=centres.device)
        inside = ((centres + extents > 0) & (centres - extents < size)).all(dim=-1)
        kept, total = inside.nonzero()[:, 0], len(ids)
    variances = _rows_of(variances, kept, total)
    conics = torch.stack([variances[:, 2], -variances[:, 1], variances[:, 0]], dim=-1)
    near = _rows(near, kept, total)
    eye = torch.as_tensor(camera.centre, dtype=near.sh.dtype, device=near.sh.device)
    return ProjectedSplats(
        ids=ids[kept],
        centres=_rows_of(centres, kept, total),
        conics=conics / _rows_of(determinants, kept, total)[:, None],
        colours=view_colours(near.sh, near.positions, eye),
        opacities=_rows_of(opacities, kept, total),
        depths=depths[ids][kept],
        extents=extents[kept],
    )


def _ellipses(splats: Splats, camera: PinholeCamera) -> tuple[Tensor, Tensor, Tensor]:
    """Centres (N, 2), variances xx, xy, yy (N, 3) and their determinants (N,), low pass included.

    Entry by entry: a batch of tiny matrix products takes many times as long on a CPU.
    """
    x, y, z = (_camera_axis(splats.positions, camera, axis) for axis in range(3))
    slope_x, slope_y = x / z, y / z
    centres = torch.stack([camera.fx * slope_x + camera.cx, camera.fy * slope_y + camera.cy], -1)
    # Far outside the picture the derivative would stretch a splat without bound.
    margin_x = BEYOND_PICTURE * 0.5 * camera.width / camera.fx
    margin_y = BEYOND_PICTURE * 0.5 * camera.height / camera.fy
    slope_x = slope_x.clamp(
        -camera.cx / camera.fx - margin_x, (camera.width - camera.cx) / camera.fx + margin_x
    )
    slope_y = slope_y.clamp(
        -camera.cy / camera.fy - margin_y, (camera.height - camera.cy) / camera.fy + margin_y
    )
    entries = _rotation_entries(splats.rotations)
    scales = splats.log_scales.exp().unbind(-1)
    (w00, w01, w02), (w10, w11, w12), (w20, w21, w22) = camera.rotation.tolist()
    across, down = camera.fx / z, camera.fy / z
    # Rows of J R, then their products with the splat's scaled axes.
    row_x = [across * (w0 - slope_x * w2) for w0, w2 in ((w00, w20), (w01, w21), (w02, w22))]
    row_y = [down * (w1 - slope_y * w2) for w1, w2 in ((w10, w20), (w11, w21), (w12, w22))]
    p0, p1, p2 = (_along_axis(row_x, entries, scales, axis) for axis in range(3))
    q0, q1, q2 = (_along_axis(row_y, entries, scales, axis) for axis in range(3))
    xx = p0 * p0 + p1 * p1 + p2 * p2
    xy = p0 * q0 + p1 * q1 + p2 * q2
    yy = q0 * q0 + q1 * q1 + q2 * q2
    # xx yy - xy xy as the square of a cross product: never negative, whatever the rounding.
    n0, n1, n2 = p1 * q2 - p2 * q1, p2 * q0 - p0 * q2, p0 * q1 - p1 * q0
    blurred = n0 * n0 + n1 * n1 + n2 * n2 + LOW_PASS * (xx + yy) + LOW_PASS**2
    return centres, torch.stack([xx + LOW_PASS, xy, yy + LOW_PASS], dim=-1), blurred


def _along_axis(
    row: list[Tensor], rotation: list[Tensor], scales: tuple[Tensor, ...], axis: int
) -> Tensor:
    """Product of a row vector with one axis of the splats, scaled, (N,)."""
    product = row[0] * rotation[axis] + row[1] * rotation[3 + axis] + row[2] * rotation[6 + axis]
    return product * scales[axis]


def _rotation_entries(quaternions: Tensor) -> list[Tensor]:
    """The nine entries of the rotation matrices, row by row, each of the batch's shape."""
    w, x, y, z = (quaternions / quaternions.norm(dim=-1, keepdim=True)).unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    xy, xz, yz = x * y, x * z, y * z
    wx, wy, wz = w * x, w * y, w * z
    return [
        1 - 2 * (yy + zz),
        2 * (xy - wz),
        2 * (xz + wy),
        2 * (xy + wz),
        1 - 2 * (xx + zz),
        2 * (yz - wx),
        2 * (xz - wy),
        2 * (yz + wx),
        1 - 2 * (xx + yy),
    ]


def _camera_axis(positions: Tensor, camera: PinholeCamera, axis: int) -> Tensor:
    """One coordinate of points in the camera's space, (N,)."""
    x, y, z = positions.unbind(-1)
    a, b, c = camera.rotation[axis].tolist()
    return a * x + b * y + c * z + float(camera.translation[axis])


def _rows_of(values: Tensor, ids: Tensor, total: int) -> Tensor:
    """The rows ``ids`` (rising, each once) of ``total``; no copy where these are all."""
    return values if len(ids) == total else values[ids]


def _rows(splats: Splats, ids: Tensor, total: int) -> Splats:
    return splats if len(ids) == total else splats.map(lambda values: values[ids])


def check_finite(splats: Splats) -> None:
    """Raise a ValueError that names the first splat with a number that is not finite."""
    for name in ("positions", "log_scales", "rotations", "opacity_logits", "sh"):
        values: Tensor = getattr(splats, name).detach()
        if math.isfinite(float(values.sum())):  # one pass; a sum that overflows is looked into
            continue
        bad = (~values.isfinite()).reshape(len(values), -1).any(dim=1).nonzero()
        if len(bad):
            raise ValueError(
                f"splats: {name} of splat {int(bad[0])} of {len(values)} is not finite "
                f"({len(bad)} such splats); give finite numbers"
            )


def _check_ellipses(
    ids: Tensor, centres: Tensor, variances: Tensor, determinants: Tensor, splats: Splats
) -> None:
    total = centres.detach().sum() + variances.detach().sum() + determinants.detach().sum()
    if math.isfinite(float(total)):
        return
    finite = centres.isfinite().all(-1) & variances.isfinite().all(-1) & determinants.isfinite()
    bad = (~finite).nonzero()
    if len(bad):
        row = int(bad[0])
        raise ValueError(
            f"splats: splat {int(ids[row])} has no finite ellipse in the picture (log_scales "
            f"{splats.log_scales[row].tolist()}, rotation {splats.rotations[row].tolist()}); give "
            "smaller scales and a rotation that is not 0"
        )
