"""Which splats touch which tiles of a picture; compiled by numba when first called.

A *pair* is a splat that touches a tile of 16 x 16 pixels; the pairs of a tile are in order of
depth. ``packed`` (M, 10) holds the splats nearest first: centre x, y; conic a, b, c; red, green,
blue; opacity; and the distance at which alpha falls below 1/255.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TILE = 16
X, Y, A, B, C, RED, GREEN, BLUE, OPACITY, REACH = range(10)
GRADIENTS = 9  # of all but REACH


@njit(cache=True, nogil=True)
def count_pairs(
    packed: np.ndarray, extents: np.ndarray, width: int, height: int, counts: np.ndarray
) -> None:
    """How many splats touch each tile.

    Args:
        packed: (M, 10).
        extents: (M, 2), half width and half height of the splats' boxes, pixels.
        width, height: of the picture, pixels.
        counts: int64 (tiles,), row by row, written.
    """
    across = (width + TILE - 1) // TILE
    counts[:] = 0
    for m in range(packed.shape[0]):
        left, right, top, bottom = _tile_box(packed, extents, m, width, height)
        for row in range(top, bottom):
            for column in range(left, right):
                counts[row * across + column] += 1


@njit(cache=True, nogil=True)
def list_pairs(
    packed: np.ndarray,
    extents: np.ndarray,
    width: int,
    height: int,
    ends: np.ndarray,
    splat_of_pair: np.ndarray,
) -> None:
    """Write the splats of each tile, nearest first.

    Args:
        packed, extents, width, height: as :func:`count_pairs`.
        ends: int64 (tiles,), where each tile's pairs begin; moved to where they end.
        splat_of_pair: int32 (P,), rows of ``packed``, written.
    """
    across = (width + TILE - 1) // TILE
    for m in range(packed.shape[0]):
        left, right, top, bottom = _tile_box(packed, extents, m, width, height)
        for row in range(top, bottom):
            for column in range(left, right):
                tile = row * across + column
                splat_of_pair[ends[tile]] = m
                ends[tile] += 1


@njit(cache=True, nogil=True)
def _tile_box(
    packed: np.ndarray, extents: np.ndarray, m: int, width: int, height: int
) -> tuple[int, int, int, int]:
    """Tiles that a splat's box touches: first column, past the last, first row, past the last."""
    x, y = packed[m, X], packed[m, Y]
    # Cut to the picture before they become whole numbers: a box may be larger than those hold.
    left = min(max(x - extents[m, 0], 0.0), float(width))
    right = min(max(x + extents[m, 0], 0.0), float(width))
    top = min(max(y - extents[m, 1], 0.0), float(height))
    bottom = min(max(y + extents[m, 1], 0.0), float(height))
    return (
        int(left) // TILE,
        (int(np.ceil(right)) + TILE - 1) // TILE,
        int(top) // TILE,
        (int(np.ceil(bottom)) + TILE - 1) // TILE,
    )


@njit(cache=True, nogil=True)
def sum_pairs(splat_of_pair: np.ndarray, pair_gradients: np.ndarray, gradients: np.ndarray) -> None:
    """Add up the gradients of each splat's pairs, always in the same order.

    Args:
        splat_of_pair: int32 (P,).
        pair_gradients: (P, 9).
        gradients: (M, 9), changed.
    """
    for pair in range(splat_of_pair.shape[0]):
        m = splat_of_pair[pair]
        for k in range(GRADIENTS):
            gradients[m, k] += pair_gradients[pair, k]
