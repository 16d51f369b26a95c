"""Draws splats: gsplat on CUDA, our own on the CPU; the same equations, differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.ellipses import LOW_PASS
from learn2talk.avatar.projection import check_finite, project_splats
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
            another shape, the backend is unknown, cannot draw these tensors or is not installed.
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
        colour, transmittance = _draw_with_gsplat(splats, camera)
    return Drawing(colour + transmittance[..., None] * behind, 1.0 - transmittance)


def _background(
    splats: Splats, camera: PinholeCamera, background: Sequence[float] | Tensor
) -> Tensor:
    behind = torch.as_tensor(
        background, dtype=splats.positions.dtype, device=splats.positions.device
    )
    if tuple(behind.shape) not in ((3,), (camera.height, camera.width, 3)):
        raise ValueError(
            f"background has shape {tuple(behind.shape)}; give red, green and blue (3,) or a "
            f"picture ({camera.height}, {camera.width}, 3)"
        )
    return behind


def _draw_with_gsplat(splats: Splats, camera: PinholeCamera) -> tuple[Tensor, Tensor]:
    """Colour (H, W, 3) over nothing and transmittance (H, W), by gsplat's compiled kernels."""
    device = splats.positions.device
    if device.type != "cuda":
        raise ValueError(
            f"backend gsplat: the splats are on {device}, and gsplat draws on CUDA only; move them "
            "there or give backend cpu"
        )
    if splats.positions.dtype != torch.float32:
        raise ValueError(
            f"backend gsplat: the splats are {splats.positions.dtype}; gsplat draws float32"
        )
    try:
        from gsplat import rasterization
    except ImportError as error:
        raise ValueError(
            f"backend gsplat: {error}; `pip install gsplat` (it compiles its kernels with the CUDA "
            "toolkit when first used), or move the splats to the CPU"
        ) from error
    check_finite(splats)
    size = camera.height, camera.width
    if not len(splats):
        empty = splats.positions.sum()  # 0, and differentiable
        return empty.expand(*size, 3), 1.0 + empty.expand(size)
    view = torch.eye(4, device=device)
    view[:3, :3] = torch.from_numpy(camera.rotation)
    view[:3, 3] = torch.from_numpy(camera.translation)
    matrix = [[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]]
    colour, alpha, _ = rasterization(
        means=splats.positions,
        quats=splats.rotations,
        scales=splats.log_scales.exp(),
        opacities=splats.opacity_logits.sigmoid(),
        colors=splats.sh,
        viewmats=view[None],
        Ks=torch.tensor([matrix], device=device),
        width=camera.width,
        height=camera.height,
        near_plane=camera.near,
        eps2d=LOW_PASS,
        sh_degree=splats.sh_degree,
        packed=False,
        rasterize_mode="classic",
    )
    return colour[0], 1.0 - alpha[0, ..., 0]
