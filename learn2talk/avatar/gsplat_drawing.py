"""Splats drawn on CUDA by gsplat (Apache-2.0, nerfstudio-project/gsplat), where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.ellipses import LOW_PASS
from learn2talk.avatar.projection import check_finite
from learn2talk.avatar.splats import Splats


def draw_with_gsplat(splats: Splats, camera: PinholeCamera) -> tuple[Tensor, Tensor]:
    """Composite splats over nothing, differentiable.

    Returns:
        colour (H, W, 3), as far as the splats cover the pixel, and transmittance (H, W), the share
        of the background that is still seen, 0 to 1.

    Raises:
        ValueError: the splats are not on CUDA or not float32, a number is not finite (the first
            such splat is named), or gsplat is not installed or cannot be compiled.
    """
    device, dtype = splats.positions.device, splats.positions.dtype
    if device.type != "cuda":
        raise ValueError(
            f"backend gsplat: the splats are on {device}, and gsplat draws on CUDA only; move them "
            "there or give backend cpu"
        )
    if dtype != torch.float32:
        raise ValueError(f"backend gsplat: the splats are {dtype}; gsplat draws float32")
    return draw_by(load_gsplat(), splats, camera)


def load_gsplat() -> Callable[..., Any]:
    """gsplat's ``rasterization``, compiled by the CUDA toolkit where it never was before (minutes).

    Raises:
        ValueError: gsplat is not installed, or it found no CUDA toolkit, or that failed.
    """
    try:
        from gsplat import rasterization
        from gsplat.cuda import _backend as compiled
    except ImportError as error:
        raise ValueError(
            f"backend gsplat: {error}; `pip install gsplat==1.5.3` (the extra `avatar`), or move "
            "the splats to the CPU"
        ) from error
    except RuntimeError as error:  # of torch's compiler of extensions; the rest is its log
        raise ValueError(
            f"backend gsplat: its kernels cannot be compiled ({str(error).splitlines()[0]}); see "
            "its log above, or move the splats to the CPU"
        ) from error
    if compiled._C is None:
        raise ValueError(
            "backend gsplat: it found no CUDA toolkit to compile its kernels with; put nvcc on "
            "PATH, or move the splats to the CPU"
        )
    found: Callable[..., Any] = rasterization
    return found


def draw_by(
    rasterization: Callable[..., Any], splats: Splats, camera: PinholeCamera
) -> tuple[Tensor, Tensor]:
    """What :func:`draw_with_gsplat` does, with a ``rasterization`` of gsplat's arguments."""
    check_finite(splats)
    size = camera.height, camera.width
    if not len(splats):
        empty = splats.positions.sum()  # 0, and differentiable
        return empty.expand(*size, 3), 1.0 + empty.expand(size)
    view = torch.eye(4).to(splats.positions)
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
        Ks=view.new_tensor([matrix]),
        width=camera.width,
        height=camera.height,
        near_plane=camera.near,
        eps2d=LOW_PASS,
        sh_degree=splats.sh_degree,
        packed=False,
        rasterize_mode="classic",
    )
    return colour[0], 1.0 - alpha[0, ..., 0]
