"""Draws splats: gsplat on CUDA, our own on the CPU; the same equations, differentiable."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn picture: colour (H, W, 3) float, 0 to about 1, over the background; alpha (H, W)."""

    colour: Tensor
    alpha: Tensor
