"""Draws splats: gsplat on CUDA, our own on the CPU; the same equations, differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.gsplat_drawing import draw_with_gsplat
from learn2talk.avatar.projection import project_splats
from learn2talk.avatar.splats import Splats
from learn2talk.avatar.tile_rasterizer import draw_tiled

BACKENDS = ("auto", "cpu", "gsplat")


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn picture: colour (H, W, 3) float, 0 to about 1, over the background; alpha (H, W)."""

    colour: Tensor
    alpha: Tensor


def render_splats(
    splats: Splats,
    camera: PinholeCamera,
    background: Sequence[float] | Tensor = (0.0, 0.0, 0.0),
    backend: str = "auto",
    num_threads: int | None = None,
) -> Drawing:
    """Draw splats through a camera; gradients flow to the splats and to the background.

    Args:
        splats: float32 or float64 (gsplat: float32), in the space that the camera looks at.
        camera: where from, and how large the picture is.
        background: red, green and blue (3,), or a picture (H, W, 3); 0 to 1.
        backend: "cpu" is ours, "gsplat" needs CUDA, "auto" is gsplat for splats on CUDA and ours
            otherwise.
        num_threads: of ours, 1 or more; None for torch's own number. Any number draws the same.

    Returns:
        the picture, of the splats' dtype and on their device.

    Raises:
        ValueError: a splat has a number that is not finite, a rotation is 0, the background has
            another shape or whole numbers, the backend is unknown, cannot draw these tensors or is
            not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is unknown; give one of {', '.join(BACKENDS)}")
    on_cuda = splats.positions.device.type == "cuda"
    chosen = ("gsplat" if on_cuda else "cpu") if backend == "auto" else backend
    behind = _background(splats, camera, background)
    if chosen == "cpu":
        projected = project_splats(splats, camera, num_threads)
        colour, transmittance = draw_tiled(projected, camera.width, camera.height, num_threads)
    else:
        colour, transmittance = draw_with_gsplat(splats, camera)
    return Drawing(colour + transmittance[..., None] * behind, 1.0 - transmittance)


def _background(
    splats: Splats, camera: PinholeCamera, background: Sequence[float] | Tensor
) -> Tensor:
    if isinstance(background, Tensor) and not background.is_floating_point():
        raise ValueError(f"background is {background.dtype}; give a float picture, 0 to 1")
    behind = torch.as_tensor(
        background, dtype=splats.positions.dtype, device=splats.positions.device
    )
    if tuple(behind.shape) not in ((3,), (camera.height, camera.width, 3)):
        raise ValueError(
            f"background has shape {tuple(behind.shape)}; give red, green and blue (3,) or a "
            f"picture ({camera.height}, {camera.width}, 3)"
        )
    return behind
