"""Small made-up scenes of splats before a camera."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.splats import SH_C0, Splats

FACING = np.diag([1.0, -1.0, -1.0])  # from space (y up, z to the viewer) to a camera in front


def front_camera(width: int = 37, height: int = 22) -> PinholeCamera:
    """600 mm before the origin; a picture about 150 mm wide there; no multiple of 16 pixels."""
    fx = 600.0 * width / 150.0
    return PinholeCamera(
        FACING, np.array([3.0, -2.0, 600.0]), fx, 1.1 * fx, width / 2 + 0.7, height / 2 - 0.4,
        width, height,
    )  # fmt: skip


def cloud(
    count: int = 40, seed: int = 0, degree: int = 3, dtype: torch.dtype = torch.float64
) -> Splats:
    """Splats of many shapes, colours and opacities around the origin, 3 to 30 mm large."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return Splats(
        positions=draw(count, 3) * 40.0,
        log_scales=1.8 + 0.7 * draw(count, 3),
        rotations=draw(count, 4),
        opacity_logits=0.5 + 1.5 * draw(count),
        sh=0.4 * draw(count, (degree + 1) ** 2, 3),
    )


def one_splat(
    position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    sigma: float = 5.0,
    opacity: float = 0.9,
    colour: tuple[float, float, float] = (1.0, 0.5, 0.0),
) -> Splats:
    """A round splat of one colour, float64."""
    return Splats(
        positions=torch.tensor([position], dtype=torch.float64),
        log_scales=torch.full((1, 3), math.log(sigma), dtype=torch.float64),
        rotations=torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64),
        opacity_logits=torch.tensor([math.log(opacity / (1 - opacity))], dtype=torch.float64),
        sh=(torch.tensor([[colour]], dtype=torch.float64) - 0.5) / SH_C0,
    )


def together(*parts: Splats) -> Splats:
    """One set of all splats, in this order."""
    names = ("positions", "log_scales", "rotations", "opacity_logits", "sh")
    return Splats(**{name: torch.cat([getattr(p, name) for p in parts]) for name in names})
