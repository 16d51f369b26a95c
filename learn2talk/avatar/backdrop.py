"""What stands behind a head that moves in front of a camera that does not.

Axis letters: T frames, H W picture, V vertices, F triangles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from learn2talk.avatar.even_choice import evenly

# Grey levels within which the median is taken for the wall that goes on, and how far it may have
# come in one round, pixels: near what is known a guess is good, farther in it is not.
_WALL_LEVELS, _STEP = 12.0, 3
_MEDIAN_OF = 120  # more pictures change it by less than the camera's noise


@dataclass(frozen=True, eq=False)
class Backdrop:
    """picture uint8 (H, W, 3) behind the head. hull bool (H, W): where the head, its hair and what
    hangs on it may ever be; there the picture is the film's own median where that goes on from the
    outside, and a guess elsewhere."""

    picture: NDArray[np.uint8]
    hull: NDArray[np.bool_]

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the smallest box around the hull."""
        rows, columns = np.flatnonzero(self.hull.any(1)), np.flatnonzero(self.hull.any(0))
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def backdrop_of(
    pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    head: NDArray[np.bool_],
    close: NDArray[np.bool_],
    reach_share: float = 0.22,
) -> Backdrop:
    """The backdrop of a film.

    Args:
        pictures: uint8 (T, H, W, 3), T 1 or more.
        head: bool (H, W), where the part of the mesh that hair hangs about is seen in any frame;
            somewhere True.
        close: bool (H, W), the same of the rest, jaw and neck.
        reach_share: how far hair may reach beyond the mesh, as a share of the head's width.

    Returns:
        Inside the hull what is around it, carried inwards smoothly; as far as the film's median is
        nearly that, from the outside in and up to the mesh, the median itself, so that a wall
        beside the head is the wall and no work for splats.
    """
    columns = np.flatnonzero(head.any(axis=0))
    reach = max(1, round(reach_share * (columns[-1] - columns[0] + 1)))
    hull = _grown(head, reach) | _grown(close, max(1, reach // 8))
    still = torch.from_numpy(median_picture(pictures).astype(np.float32)).permute(2, 0, 1)
    filled = _behind(still, hull, torch.from_numpy(head | close))
    picture = filled.permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    return Backdrop(np.ascontiguousarray(picture), hull.numpy())


def median_picture(pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The median (H, W, 3) of pictures (T, H, W, 3), of up to 120 of them, evenly taken."""
    taken = evenly(len(pictures), _MEDIAN_OF)
    median: NDArray[np.uint8] = np.median(np.stack([pictures[i] for i in taken]), axis=0).astype(
        np.uint8
    )
    return median


def _grown(seen: NDArray[np.bool_], reach: int) -> Tensor:
    """The pixels (H, W) within ``reach`` rows and columns of those that are seen."""
    grown = torch.from_numpy(seen)[None, None].float()
    while reach > 0:  # in steps: a wide window is slow
        step = min(reach, 8)
        grown = max_pool2d(grown, 2 * step + 1, stride=1, padding=step)
        reach -= step
    return grown[0, 0] > 0


def _behind(still: Tensor, hull: Tensor, mesh: Tensor) -> Tensor:
    """The backdrop (3, H, W) of a median picture, which is known outside the hull (H, W)."""
    known = ~hull
    if not bool(known.any()):
        return still
    while True:
        guess = _carried_inwards(still, known)
        like = (still - guess).abs().amax(dim=0) < _WALL_LEVELS
        near = max_pool2d(known[None, None].float(), 2 * _STEP + 1, stride=1, padding=_STEP)[0, 0]
        more = known | (like & ~mesh & (near > 0))
        if torch.equal(more, known):
            return guess
        known = more


def _carried_inwards(picture: Tensor, known: Tensor) -> Tensor:
    """A picture (3, H, W) whose unknown pixels follow the known ones around them.

    Known pixels are averaged into ever smaller pictures, and what is unknown is taken from the next
    smaller one (pull-push: Grossman and Dally, "Point sample rendering", 1998).
    """
    weight = known[None, None].float()
    colour = picture[None] * weight
    if min(picture.shape[1:]) < 2 or bool(known.all()):
        return (colour / weight.clamp_min(1e-6))[0]
    smaller_weight = avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
    smaller = avg_pool2d(colour, 2, ceil_mode=True, count_include_pad=False)
    mean = smaller / smaller_weight.clamp_min(1e-6)
    coarse = _carried_inwards(mean[0], smaller_weight[0, 0] > 0)
    size = picture.shape[1:]
    back = interpolate(coarse[None], size, mode="bilinear", align_corners=False)[0]
    return torch.where(known, picture, back)


def outline_of(screen: NDArray, triangles: NDArray[np.int32], size: tuple[int, int]) -> NDArray:
    """Where a mesh is seen, bool (H, W).

    Args:
        screen: (V, 3): x and y in pixels, and a depth that is larger when nearer.
        triangles: int32 (F, 3); both sides are seen.
        size: H, W.
    """
    from learn2talk import rasterize

    image = np.zeros((*size, 3), np.uint8)
    depth = np.full(size, -np.inf, np.float32)
    white = np.full((len(screen), 3), 255.0, np.float32)
    both = np.concatenate([triangles, triangles[:, ::-1]]).astype(np.int32)
    rasterize.draw(np.ascontiguousarray(screen, np.float32), both, white, image, depth)
    seen: NDArray[np.bool_] = image[..., 0] > 0
    return seen
