"""The slow and obvious rasteriser: what the fast ones are held against.

Kerbl et al. 2023: a pixel's colour is the sum, from the nearest splat to the farthest, of
colour x alpha x what the splats before let through. Pure torch, any dtype and device; memory is
splats x pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from learn2talk.avatar.projection import MIN_ALPHA, ProjectedSplats

MAX_ALPHA = 0.999  # of one splat in one pixel, as gsplat 1.5.3
MIN_TRANSMITTANCE = 1e-4  # a splat that would let less than this through ends the pixel, undrawn


def draw_reference(splats: ProjectedSplats, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Composite projected splats over nothing, differentiable.

    Returns:
        colour (H, W, 3), as far as the splats cover the pixel, and transmittance (H, W), the share
        of the background that is still seen, 0 to 1.
    """
    order = torch.argsort(splats.depths, stable=True)  # where equally deep, by number
    centres, conics = splats.centres[order], splats.conics[order]
    dtype, device = centres.dtype, centres.device
    rows = torch.arange(height, dtype=dtype, device=device) + 0.5
    columns = torch.arange(width, dtype=dtype, device=device) + 0.5
    dx = columns[None, None, :] - centres[:, 0, None, None]
    dy = rows[None, :, None] - centres[:, 1, None, None]
    a, b, c = conics[:, :, None, None].unbind(1)
    distance = 0.5 * (a * dx**2 + c * dy**2) + b * dx * dy
    alpha = (splats.opacities[order, None, None] * (-distance).exp()).clamp_max(MAX_ALPHA)
    alpha = torch.where((alpha >= MIN_ALPHA) & (distance >= 0), alpha, 0)
    behind = (1 - alpha).cumprod(dim=0)
    drawn = behind > MIN_TRANSMITTANCE
    alpha = torch.where(drawn, alpha, 0)
    through = torch.cat([centres.new_ones(1, height, width), (1 - alpha).cumprod(dim=0)])
    colour = torch.einsum("nhw,nc->hwc", alpha * through[:-1], splats.colours[order])
    return colour, through[-1]
