"""The inner loops of the tile rasteriser, compiled by numba when first called (cached on disk).

Import it inside the function that draws. The kernels hold no lock, and write only what belongs to
their own tiles or pairs, so threads run side by side and the result does not depend on how many.

A picture is cut into tiles of 16 x 16 pixels. A *pair* is a splat that touches a tile; the pairs of
a tile are in order of depth. ``packed`` (M, 10) holds the splats nearest first: centre x, y;
conic a, b, c; red, green, blue; opacity; and the distance at which alpha falls below 1/255. All
floating-point arrays have one dtype, float32 or float64, which is also that of the arithmetic.

Every row of a tile is worked through whole, 16 pixels at a time and without branches: that is what
the compiler makes vector instructions of.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from learn2talk.avatar.reference_rasterizer import MAX_ALPHA, MIN_TRANSMITTANCE

TILE = 16
PIXELS = TILE * TILE
X, Y, A, B, C, RED, GREEN, BLUE, OPACITY, REACH = range(10)
GRADIENTS = 9  # of all but REACH

# Unsigned: an index that might be negative could count from the end, and would stop the compiler
# from vectorising. So would a division that may raise: hence error_model="numpy" below.
LANES = np.uint64(TILE)
PLANE_1, PLANE_2, PLANE_3, PLANE_4, PLANE_5 = (np.uint64(k * PIXELS) for k in range(1, 6))

# exp(-d) for d from 0 to ln 255 as the 16th power of a polynomial around the middle: a relative
# error of 3e-10, and no call that would keep the loop from being vectorised.
MIDDLE = float(np.log(255.0)) / 2
POWER = 16
FADED = float(np.exp(-MIDDLE))


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


@njit(cache=True, nogil=True, inline="always")
def _rows(y: float, extent: float, top: int) -> tuple[int, int]:
    """First and past the last of a tile's rows whose centres a splat's box holds."""
    first = max(y - extent - top - 0.5, 0.0)
    last = min(y + extent - top + 0.5, float(TILE))
    if not last > first:
        return 0, 0
    return int(np.floor(first)), int(np.ceil(last))


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
    # One array, so that the compiler sees that its parts do not overlap.
    work = np.empty(4 * PIXELS + TILE, dtype=packed.dtype)
    lanes = PLANE_4
    for j in range(TILE):
        work[lanes + np.uint64(j)] = number(j)
    row_is_open = np.empty(TILE, dtype=np.bool_)
    for tile in range(first_tile, last_tile):
        top, left = (tile // across) * TILE, (tile % across) * TILE
        work[:PIXELS] = one
        work[PIXELS : 4 * PIXELS] = zero
        row_is_open[:] = True
        open_rows = TILE
        for pair in range(starts[tile], starts[tile + 1]):
            m = splat_of_pair[pair]
            first_row, last_row = _rows(packed[m, Y], extents[m, 1], top)
            a, b, c = half * packed[m, A], packed[m, B], half * packed[m, C]
            red, green, blue = packed[m, RED], packed[m, GREEN], packed[m, BLUE]
            peak, reach = packed[m, OPACITY] * faded, packed[m, REACH]
            x = number(left) + half - packed[m, X]
            for row in range(first_row, last_row):
                if not row_is_open[row]:
                    continue
                dy = number(top + row) + half - packed[m, Y]
                linear, constant = b * dy, c * dy * dy
                still_open = zero
                at = np.uint64(row) * LANES
                for j in range(LANES):
                    dx = x + work[lanes + j]
                    distance = (a * dx + linear) * dx + constant
                    inside = (distance <= reach) & (distance >= zero)
                    near = min(max(distance, zero), reach)
                    full = peak * _fading(near)
                    alpha = min(full, max_alpha)
                    before = work[at + j]
                    after = before * (one - alpha)
                    drawn = inside & (after > min_through)
                    weight = alpha * before if drawn else zero
                    # A pixel that has ended keeps what was let through, with its sign turned.
                    ended = -abs(before) if inside else before
                    now = after if drawn else ended
                    work[at + j] = now
                    work[at + j + PLANE_1] += weight * red
                    work[at + j + PLANE_2] += weight * green
                    work[at + j + PLANE_3] += weight * blue
                    still_open += max(now, zero)
                if not still_open > zero:
                    row_is_open[row] = False
                    open_rows -= 1
            if open_rows == 0:
                break
        for row in range(min(TILE, height - top)):
            for j in range(min(TILE, width - left)):
                pixel = row * TILE + j
                transmittance[top + row, left + j] = abs(work[pixel])
                for channel in range(3):
                    colour[top + row, left + j, channel] = work[pixel + (1 + channel) * PIXELS]


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
    work = np.empty(5 * PIXELS + TILE, dtype=packed.dtype)
    lanes = PLANE_5
    for j in range(TILE):
        work[lanes + np.uint64(j)] = number(j)
    row_is_open = np.empty(TILE, dtype=np.bool_)
    for tile in range(first_tile, last_tile):
        if starts[tile] == starts[tile + 1]:
            continue
        top, left = (tile // across) * TILE, (tile % across) * TILE
        work[:PIXELS] = one
        work[PIXELS : 5 * PIXELS] = zero
        for row in range(min(TILE, height - top)):
            for j in range(min(TILE, width - left)):
                pixel = row * TILE + j
                line, column = top + row, left + j
                total = transmittance_gradient[line, column] * transmittance[line, column]
                for channel in range(3):
                    g = colour_gradient[line, column, channel]
                    work[pixel + (2 + channel) * PIXELS] = g
                    total += g * colour[line, column, channel]
                work[pixel + PIXELS] = total
        row_is_open[:] = True
        open_rows = TILE
        for pair in range(starts[tile], starts[tile + 1]):
            m = splat_of_pair[pair]
            first_row, last_row = _rows(packed[m, Y], extents[m, 1], top)
            a, b, c = half * packed[m, A], packed[m, B], half * packed[m, C]
            red, green, blue = packed[m, RED], packed[m, GREEN], packed[m, BLUE]
            peak, reach = packed[m, OPACITY] * faded, packed[m, REACH]
            x = number(left) + half - packed[m, X]
            to_red, to_green, to_blue = zero, zero, zero
            # Of the gradient by distance: sums with 1, dx, dy, dx dx, dx dy, dy dy.
            s1, sx, sy, sxx, sxy, syy = zero, zero, zero, zero, zero, zero
            for row in range(first_row, last_row):
                if not row_is_open[row]:
                    continue
                dy = number(top + row) + half - packed[m, Y]
                linear, constant = b * dy, c * dy * dy
                still_open = zero
                at = np.uint64(row) * LANES
                r1, rx, rxx = zero, zero, zero
                for j in range(LANES):
                    dx = x + work[lanes + j]
                    distance = (a * dx + linear) * dx + constant
                    inside = (distance <= reach) & (distance >= zero)
                    near = min(max(distance, zero), reach)
                    full = peak * _fading(near)
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
                    # d alpha / d distance is -alpha, or 0 where alpha is cut to its largest.
                    moves = drawn & (full < max_alpha)
                    s = -alpha * by_alpha if moves else zero
                    r1 += s
                    rx += s * dx
                    rxx += s * dx * dx
                if not still_open > zero:
                    row_is_open[row] = False
                    open_rows -= 1
                s1 += r1
                sx += rx
                sy += r1 * dy
                sxx += rxx
                sxy += rx * dy
                syy += r1 * dy * dy
            pair_gradients[pair, X] = -(packed[m, A] * sx + b * sy)
            pair_gradients[pair, Y] = -(b * sx + packed[m, C] * sy)
            pair_gradients[pair, A] = half * sxx
            pair_gradients[pair, B] = sxy
            pair_gradients[pair, C] = half * syy
            pair_gradients[pair, RED] = to_red
            pair_gradients[pair, GREEN] = to_green
            pair_gradients[pair, BLUE] = to_blue
            pair_gradients[pair, OPACITY] = -s1 / packed[m, OPACITY]
            if open_rows == 0:
                break


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
