"""The fast rasteriser for a CPU: tiles of 16 x 16 pixels, compiled loops, gradients by hand.

What it draws is :func:`learn2talk.avatar.reference_rasterizer.draw_reference`, exactly but for
rounding. With any number of threads it draws the same picture and the same gradients, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learn2talk.avatar.projection import MIN_ALPHA, ProjectedSplats
from learn2talk.avatar.splat_threads import compiled_for, over_ranges, thread_count

CHUNKS_PER_THREAD = 4  # pieces of work, so that a thread with easy tiles takes another piece


@dataclass(frozen=True, eq=False)
class _Tiles:
    """The splats, nearest first, and which of them touch which tile; see `tile_pairs`."""

    packed: NDArray[Any]
    extents: NDArray[Any]
    starts: NDArray[np.int64]
    splat_of_pair: NDArray[np.int32]


def draw_tiled(
    splats: ProjectedSplats, width: int, height: int, num_threads: int | None = None
) -> tuple[Tensor, Tensor]:
    """Composite projected splats over nothing, differentiable.

    Args:
        splats: on the CPU, float32 or float64. Gradients flow to centres, conics, colours and
            opacities.
        width, height: of the picture, pixels.
        num_threads: 1 or more; None for torch's own number.

    Returns:
        colour (H, W, 3), as far as the splats cover the pixel, and transmittance (H, W), the share
        of the background that is still seen, 0 to 1.

    Raises:
        ValueError: another device or dtype, or fewer than one thread.
    """
    if not compiled_for(splats.centres):
        raise ValueError(
            f"tile rasteriser: splats are {splats.centres.dtype} on {splats.centres.device}; give "
            "float32 or float64 on the CPU"
        )
    threads = thread_count(num_threads)
    order = torch.argsort(splats.depths, stable=True)  # where equally deep, by number
    colour, transmittance = _TileRasterizer.apply(
        splats.centres,
        splats.conics,
        splats.colours,
        splats.opacities,
        splats.extents,
        order,
        (height, width),
        threads,
    )
    return colour, transmittance


class _TileRasterizer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        centres: Tensor,
        conics: Tensor,
        colours: Tensor,
        opacities: Tensor,
        extents: Tensor,
        order: Tensor,
        size: tuple[int, int],
        threads: int,
    ) -> tuple[Tensor, Tensor]:
        from learn2talk.avatar.tile_kernels import draw_tiles

        reach = (opacities / MIN_ALPHA).log()
        columns = (centres, conics, colours, opacities[:, None], reach[:, None])
        tiles = _cut(torch.cat(columns, dim=1)[order].numpy(), extents[order].numpy(), *size)
        colour, transmittance = centres.new_empty(*size, 3), centres.new_empty(size)
        pictures = colour.numpy(), transmittance.numpy()

        def draw(first: int, last: int) -> None:
            draw_tiles(
                first, last, tiles.starts, tiles.splat_of_pair, tiles.packed, tiles.extents,
                *pictures,
            )  # fmt: skip

        _over_tiles(draw, tiles.starts, threads)
        ctx.save_for_backward(colour, transmittance, order)
        ctx.tiles, ctx.threads = tiles, threads
        return colour, transmittance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from learn2talk.avatar.tile_kernels import draw_tiles_backward
        from learn2talk.avatar.tile_pairs import GRADIENTS, sum_pairs

        colour, transmittance, order = ctx.saved_tensors
        tiles: _Tiles = ctx.tiles
        pair_gradients = np.zeros((len(tiles.splat_of_pair), GRADIENTS), tiles.packed.dtype)
        pictures = [one.contiguous().numpy() for one in (colour, transmittance, *gradients)]

        def draw(first: int, last: int) -> None:
            draw_tiles_backward(
                first, last, tiles.starts, tiles.splat_of_pair, tiles.packed, tiles.extents,
                *pictures, pair_gradients,
            )  # fmt: skip

        _over_tiles(draw, tiles.starts, ctx.threads)
        sums = np.zeros((len(tiles.packed), GRADIENTS), tiles.packed.dtype)
        sum_pairs(tiles.splat_of_pair, pair_gradients, sums)
        by_splat = colour.new_empty(sums.shape)
        by_splat[order] = torch.from_numpy(sums)
        centres, conics, colours, opacities = by_splat.split((2, 3, 3, 1), dim=1)
        return centres, conics, colours, opacities[:, 0], None, None, None, None


def _cut(packed: NDArray[Any], extents: NDArray[Any], height: int, width: int) -> _Tiles:
    """Find the splats of every tile; ``packed`` and ``extents`` come nearest first."""
    from learn2talk.avatar.tile_pairs import TILE, count_pairs, list_pairs

    counts = np.empty(-(-width // TILE) * -(-height // TILE), dtype=np.int64)
    count_pairs(packed, extents, width, height, counts)
    starts = np.concatenate([[0], counts.cumsum()])
    splat_of_pair = np.empty(starts[-1], dtype=np.int32)
    list_pairs(packed, extents, width, height, starts[:-1].copy(), splat_of_pair)
    return _Tiles(packed, extents, starts, splat_of_pair)


def _over_tiles(draw: Callable[[int, int], None], starts: NDArray[np.int64], threads: int) -> None:
    """Call ``draw`` on ranges of tiles with about equally many pairs, on so many threads."""
    tiles = len(starts) - 1
    parts = 1 if threads == 1 else threads * CHUNKS_PER_THREAD
    work = starts + np.arange(tiles + 1)  # an empty tile must be written too
    edges = np.unique(np.searchsorted(work, np.linspace(0, work[-1], parts + 1)))
    over_ranges(draw, edges.tolist(), threads)
