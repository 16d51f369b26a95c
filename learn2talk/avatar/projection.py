"""What a camera sees of splats: ellipses in its picture, with colours, opacities and depths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.ellipses import ellipses_of
from learn2talk.avatar.spherical_harmonics import view_colours
from learn2talk.avatar.splats import Splats

MIN_ALPHA = 1.0 / 255.0  # fainter is not drawn
MAX_EXTENT = 3.33  # standard deviations; at 3.329 a splat of opacity 1 falls below MIN_ALPHA


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


def project_splats(
    splats: Splats, camera: PinholeCamera, num_threads: int | None = None
) -> ProjectedSplats:
    """Where a camera sees splats, how large, and in which colour; differentiable, on any device.

    Left out are splats closer than ``camera.near``, fainter than 1/255, and those whose box lies
    outside the picture.

    Args:
        splats: in the space that the camera looks at.
        camera: where from.
        num_threads: on a CPU, 1 or more; None for torch's own number.

    Raises:
        ValueError: a number of a splat is not finite, a rotation is 0, or a splat is so large that
            its ellipse is not finite; the first such splat is named.
    """
    check_finite(splats)
    away = torch.as_tensor(camera.rotation[2]).to(splats.positions)
    depths = splats.positions.detach() @ away + float(camera.translation[2])
    opacities = splats.opacity_logits.sigmoid()
    ids = ((depths >= camera.near) & (opacities.detach() >= MIN_ALPHA)).nonzero()[:, 0]
    near, opacities = _rows(splats, ids, len(splats)), _rows_of(opacities, ids, len(splats))
    centres, conics, deviations = ellipses_of(near, camera, num_threads)
    _check_ellipses(ids, (centres, conics, deviations), near)
    with torch.no_grad():
        reach = (2.0 * (opacities / MIN_ALPHA).log()).clamp_min(0.0).sqrt().clamp_max(MAX_EXTENT)
        extents = reach[:, None] * deviations
        size = torch.tensor([camera.width, camera.height], device=centres.device)
        inside = ((centres + extents > 0) & (centres - extents < size)).all(dim=-1)
        kept, total = inside.nonzero()[:, 0], len(ids)
    near = _rows(near, kept, total)
    eye = torch.as_tensor(camera.centre).to(near.sh)
    return ProjectedSplats(
        ids=ids[kept],
        centres=_rows_of(centres, kept, total),
        conics=_rows_of(conics, kept, total),
        colours=view_colours(near.sh, near.positions, eye, num_threads),
        opacities=_rows_of(opacities, kept, total),
        depths=depths[ids][kept],
        extents=extents[kept],
    )


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


def _check_ellipses(ids: Tensor, found: tuple[Tensor, ...], splats: Splats) -> None:
    if math.isfinite(float(sum(one.detach().sum() for one in found))):
        return
    bad = (~torch.cat(found, dim=1).detach().isfinite().all(dim=1)).nonzero()
    if len(bad):
        row = int(bad[0])
        raise ValueError(
            f"splats: splat {int(ids[row])} has no finite ellipse in the picture (log_scales "
            f"{splats.log_scales[row].tolist()}, rotation {splats.rotations[row].tolist()}); give "
            "smaller scales and a rotation that is not 0"
        )
