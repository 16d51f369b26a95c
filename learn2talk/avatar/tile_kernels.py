"""The inner loops of the tile rasteriser, compiled by numba when first called (cached on disk).

Import it inside the function that draws. The kernels hold no lock, and write only what belongs to
their own tiles or pairs, so threads run side by side and the result does not depend on how many.

Tiles, pairs and ``packed`` are those of `learn2talk.avatar.tile_pairs`. All floating-point arrays
have one dtype, float32 or float64, which is also that of the arithmetic.

A tile is worked through in blocks of 4 x 4 pixels, each without branches and its numbers one after
the other: that is what the compiler makes vector instructions of. Blocks that a splat does not
reach, and those whose pixels have all ended, are passed over.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from learn2talk.avatar.reference_rasterizer import MAX_ALPHA, MIN_TRANSMITTANCE
from learn2talk.avatar.tile_pairs import (
    BLUE,
    GREEN,
    OPACITY,
    REACH,
    RED,
    TILE,
    A,
    B,
    C,
    X,
    Y,
)

BLOCK = 4
BLOCKS, PIXELS = TILE // BLOCK, BLOCK * BLOCK

# Unsigned: an index that might be negative could count from the end, and would stop the compiler
# from vectorising. So would a division that may raise: hence error_model="numpy" below.
SIDE, PLANE = np.uint64(BLOCK), np.uint64(PIXELS)
PLANE_1, PLANE_2, PLANE_3, PLANE_4 = (np.uint64(k * PIXELS) for k in range(1, 5))

# exp(-d) for d from 0 to ln 255 as the 16th power of a polynomial around the middle: a relative
# error of 3e-10, and no call that would keep the loop from being vectorised.
MIDDLE = float(np.log(255.0)) / 2
POWER = 16
FADED = float(np.exp(-MIDDLE))


@njit(cache=True, nogil=True, inline="always")
def _blocks(centre: float, extent: float, start: int) -> tuple[int, int]:
    """First and past the last of a tile's blocks, in one direction, that a splat's box touches."""
    first = max(centre - extent - start, 0.0)
    last = min(centre + extent - start, float(TILE))
    if not last > first:
        return 0, 0
    return int(first) // BLOCK, (int(np.ceil(last)) + BLOCK - 1) // BLOCK


@njit(cache=True, nogil=True, inline="always")
def _block_reach(a: float, b: float, c: float, reach: float) -> float:
    """A distance that the middle of a block has at most where one of its pixels is in reach.

    The root of the distance is a norm, so that a pixel is at most its own step from the middle
    nearer; the largest such steps are those to the corners.
    """
    far = BLOCK / 2 - 0.5
    step = np.sqrt(max((a + c + abs(b)) * far * far, 0.0))
    return (np.sqrt(reach) + step) ** 2 * 1.001  # a rounding must not lose a pixel


@njit(cache=True, nogil=True, fastmath={"contract"})
def _fading(distance: float) -> float:
    """exp(MIDDLE - distance), of the dtype of ``distance``, which is 0 to ln 255."""
    number = type(distance)
    one = number(1.0)
    u = (number(MIDDLE) - distance) * number(1.0 / POWER)
    value = (number(1.0 / 5040) * u + number(1.0 / 720)) * u + number(1.0 / 120)
    value = ((value * u + number(1.0 / 24)) * u + number(1.0 / 6)) * u + number(1.0 / 2)
    value = (value * u + one) * u + one
    value *= value
    value *= value
    value *= value
    return value * value


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def draw_tiles(
    first_tile: int,
    last_tile: int,
    starts: np.ndarray,
    splat_of_pair: np.ndarray,
    packed: np.ndarray,
    extents: np.ndarray,
    colour: np.ndarray,
    transmittance: np.ndarray,
) -> None:
    """Composite the splats of some tiles.

    Args:
        first_tile, last_tile: which tiles, the last not included.
        starts: int64 (tiles + 1,), where each tile's pairs begin.
        splat_of_pair: int32 (P,).
        packed, extents: (M, 10) and (M, 2).
        colour: (H, W, 3), written.
        transmittance: (H, W), written.
    """
    height, width = transmittance.shape
    across = (width + TILE - 1) // TILE
    number = packed.dtype.type
    zero, half, one, faded = number(0.0), number(0.5), number(1.0), number(FADED)
    max_alpha, min_through = number(MAX_ALPHA), number(MIN_TRANSMITTANCE)
    middle = number(BLOCK / 2 - 0.5)
    work = np.empty(4 * TILE * TILE, dtype=packed.dtype)
    block_is_open = np.empty(BLOCKS * BLOCKS, dtype=np.bool_)
    for tile in range(first_tile, last_tile):
        top, left = (tile // across) * TILE, (tile % across) * TILE
        work[:] = zero
        for block in range(BLOCKS * BLOCKS):
            work[block * 4 * PIXELS : (block * 4 + 1) * PIXELS] = one
        block_is_open[:] = True
        open_blocks = BLOCKS * BLOCKS
        for pair in range(starts[tile], starts[tile + 1]):
            m = splat_of_pair[pair]
            first_row, last_row = _blocks(packed[m, Y], extents[m, 1], top)
            first_column, last_column = _blocks(packed[m, X], extents[m, 0], left)
            a, b, c = half * packed[m, A], packed[m, B], half * packed[m, C]
            red, green, blue = packed[m, RED], packed[m, GREEN], packed[m, BLUE]
            peak, reach = packed[m, OPACITY] * faded, packed[m, REACH]
            block_reach = number(_block_reach(a, b, c, reach))
            for row in range(first_row, last_row):
                for column in range(first_column, last_column):
                    block = row * BLOCKS + column
                    if not block_is_open[block]:
                        continue
                    x = number(left + column * BLOCK) + half - packed[m, X]
                    y = number(top + row * BLOCK) + half - packed[m, Y]
                    mx, my = x + middle, y + middle
                    if a * mx * mx + b * mx * my + c * my * my > block_reach:
                        continue
                    still_open = zero
                    at = np.uint64(block) * (PLANE * np.uint64(4))
                    for j in range(PLANE):
                        dx, dy = x + number(j % SIDE), y + number(j // SIDE)
                        distance = (a * dx + b * dy) * dx + c * dy * dy
                        inside = (distance <= reach) & (distance >= zero)
                        alpha = min(peak * _fading(min(max(distance, zero), reach)), max_alpha)
                        before = work[at + j]
                        after = before * (one - alpha)
                        drawn = inside & (after > min_through)
                        weight = alpha * before if drawn else zero
                        # A pixel that has ended keeps what was let through, its sign turned.
                        ended = -abs(before) if inside else before
                        now = after if drawn else ended
                        work[at + j] = now
                        work[at + j + PLANE_1] += weight * red
                        work[at + j + PLANE_2] += weight * green
                        work[at + j + PLANE_3] += weight * blue
                        still_open += max(now, zero)
                    if not still_open > zero:
                        block_is_open[block] = False
                        open_blocks -= 1
            if open_blocks == 0:
                break
        for row in range(min(TILE, height - top)):
            for column in range(min(TILE, width - left)):
                place = _place(row, column, 4)
                transmittance[top + row, left + column] = abs(work[place])
                for channel in range(3):
                    value = work[place + (1 + channel) * PIXELS]
                    colour[top + row, left + column, channel] = value


@njit(cache=True, nogil=True, inline="always")
def _place(row: int, column: int, planes: int) -> int:
    """Where a tile's pixel stands in an array of blocks of so many planes of 16 numbers each."""
    block = (row // BLOCK) * BLOCKS + column // BLOCK
    return block * planes * PIXELS + (row % BLOCK) * BLOCK + column % BLOCK


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def draw_tiles_backward(
    first_tile: int,
    last_tile: int,
    starts: np.ndarray,
    splat_of_pair: np.ndarray,
    packed: np.ndarray,
    extents: np.ndarray,
    colour: np.ndarray,
    transmittance: np.ndarray,
    colour_gradient: np.ndarray,
    transmittance_gradient: np.ndarray,
    pair_gradients: np.ndarray,
) -> None:
    """Gradients of some tiles' pairs, the pixels drawn once more from front to back.

    With g the gradient of the colour and h that of the transmittance T, the loss changes with a
    splat's alpha by t (g . c) - rest / (1 - alpha): t is what reaches the splat, c its colour, and
    rest what g and h get from behind it, h T and the g . c of farther splats. At the front, rest is
    g . colour + h T; each splat that is passed takes its own share off.

    Args:
        first_tile, last_tile, starts, splat_of_pair, packed, extents: as :func:`draw_tiles`.
        colour, transmittance: what that wrote.
        colour_gradient: (H, W, 3).
        transmittance_gradient: (H, W).
        pair_gradients: (P, 9), by the columns of ``packed``, written where a pair counts; 0 before.
    """
    height, width = transmittance.shape
    across = (width + TILE - 1) // TILE
    number = packed.dtype.type
    zero, half, one, faded = number(0.0), number(0.5), number(1.0), number(FADED)
    max_alpha, min_through = number(MAX_ALPHA), number(MIN_TRANSMITTANCE)
    middle = number(BLOCK / 2 - 0.5)
    work = np.empty(5 * TILE * TILE, dtype=packed.dtype)
    block_is_open = np.empty(BLOCKS * BLOCKS, dtype=np.bool_)
    for tile in range(first_tile, last_tile):
        if starts[tile] == starts[tile + 1]:
            continue
        top, left = (tile // across) * TILE, (tile % across) * TILE
        work[:] = zero
        for block in range(BLOCKS * BLOCKS):
            work[block * 5 * PIXELS : (block * 5 + 1) * PIXELS] = one
        for row in range(min(TILE, height - top)):
            for column in range(min(TILE, width - left)):
                place, line, along = _place(row, column, 5), top + row, left + column
                total = transmittance_gradient[line, along] * transmittance[line, along]
                for channel in range(3):
                    g = colour_gradient[line, along, channel]
                    work[place + (2 + channel) * PIXELS] = g
                    total += g * colour[line, along, channel]
                work[place + PIXELS] = total
        block_is_open[:] = True
        open_blocks = BLOCKS * BLOCKS
        for pair in range(starts[tile], starts[tile + 1]):
            m = splat_of_pair[pair]
            first_row, last_row = _blocks(packed[m, Y], extents[m, 1], top)
            first_column, last_column = _blocks(packed[m, X], extents[m, 0], left)
            a, b, c = half * packed[m, A], packed[m, B], half * packed[m, C]
            red, green, blue = packed[m, RED], packed[m, GREEN], packed[m, BLUE]
            peak, reach = packed[m, OPACITY] * faded, packed[m, REACH]
            block_reach = number(_block_reach(a, b, c, reach))
            to_red, to_green, to_blue = zero, zero, zero
            # Of the gradient by distance: sums with 1, dx, dy, dx dx, dx dy, dy dy.
            s1, sx, sy, sxx, sxy, syy = zero, zero, zero, zero, zero, zero
            for row in range(first_row, last_row):
                for column in range(first_column, last_column):
                    block = row * BLOCKS + column
                    if not block_is_open[block]:
                        continue
                    x = number(left + column * BLOCK) + half - packed[m, X]
                    y = number(top + row * BLOCK) + half - packed[m, Y]
                    mx, my = x + middle, y + middle
                    if a * mx * mx + b * mx * my + c * my * my > block_reach:
                        continue
                    still_open = zero
                    at = np.uint64(block) * (PLANE * np.uint64(5))
                    for j in range(PLANE):
                        dx, dy = x + number(j % SIDE), y + number(j // SIDE)
                        distance = (a * dx + b * dy) * dx + c * dy * dy
                        inside = (distance <= reach) & (distance >= zero)
                        full = peak * _fading(min(max(distance, zero), reach))
                        alpha = min(full, max_alpha)
                        before = work[at + j]
                        clear = one - alpha
                        after = before * clear
                        drawn = inside & (after > min_through)
                        weight = alpha * before if drawn else zero
                        ended = -abs(before) if inside else before
                        now = after if drawn else ended
                        work[at + j] = now
                        still_open += max(now, zero)
                        g_red = work[at + j + PLANE_2]
                        g_green = work[at + j + PLANE_3]
                        g_blue = work[at + j + PLANE_4]
                        to_red += weight * g_red
                        to_green += weight * g_green
                        to_blue += weight * g_blue
                        share = red * g_red + green * g_green + blue * g_blue
                        rest = work[at + j + PLANE_1] - weight * share
                        work[at + j + PLANE_1] = rest
                        by_alpha = before * share - rest / clear
                        # d alpha / d distance is -alpha, or 0 where alpha is cut.
                        moves = drawn & (full < max_alpha)
                        s = -alpha * by_alpha if moves else zero
                        s1 += s
                        sx += s * dx
                        sy += s * dy
                        sxx += s * dx * dx
                        sxy += s * dx * dy
                        syy += s * dy * dy
                    if not still_open > zero:
                        block_is_open[block] = False
                        open_blocks -= 1
            pair_gradients[pair, X] = -(packed[m, A] * sx + b * sy)
            pair_gradients[pair, Y] = -(b * sx + packed[m, C] * sy)
            pair_gradients[pair, A] = half * sxx
            pair_gradients[pair, B] = sxy
            pair_gradients[pair, C] = half * syy
            pair_gradients[pair, RED] = to_red
            pair_gradients[pair, GREEN] = to_green
            pair_gradients[pair, BLUE] = to_blue
            pair_gradients[pair, OPACITY] = -s1 / packed[m, OPACITY]
            if open_blocks == 0:
                break
