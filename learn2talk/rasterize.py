"""A z-buffer rasteriser for triangle meshes on the CPU: smooth shading, colours by vertex.

Compiled by numba when it is first called (cached on disk), so import it inside the function that
draws. Pure: arrays in, arrays out; it holds no lock while it draws, so threads run side by side.
Axis letters: V vertices, F triangles, H W image. Pixel (row, column) has its centre at
(column + 0.5, row + 0.5); x runs to the right, y down, and a larger depth is nearer to the viewer.
"""

from __future__ import annotations

import numpy as np
from numba import njit

AMBIENT, DIFFUSE, FILL = 0.34, 0.62, 0.16
WRAP, GLOSS_POWER = 0.25, 24


@njit(cache=True, nogil=True)
def shade(
    positions: np.ndarray,
    triangles: np.ndarray,
    colours: np.ndarray,
    gloss: np.ndarray,
    light: np.ndarray,
    shaded: np.ndarray,
) -> None:
    """Light each vertex: wrapped diffuse from ``light``, a weak fill from the viewer, a highlight.

    Args:
        positions: float32 (V, 3), right-handed with z to the viewer, any unit.
        triangles: int32 (F, 3), counter-clockwise from outside.
        colours: float32 (V, 3), 0-255.
        gloss: float32 (V,), strength of the highlight, 0 or more.
        light: float32 (3,), unit vector towards the light.
        shaded: float32 (V, 3), 0-255, written.
    """
    num = positions.shape[0]
    normals = np.zeros((num, 3), dtype=np.float32)
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux, uy, uz = (
            positions[b, 0] - positions[a, 0],
            positions[b, 1] - positions[a, 1],
            positions[b, 2] - positions[a, 2],
        )
        vx, vy, vz = (
            positions[c, 0] - positions[a, 0],
            positions[c, 1] - positions[a, 1],
            positions[c, 2] - positions[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    hx, hy, hz = light[0], light[1], light[2] + 1.0
    half = max(np.sqrt(hx * hx + hy * hy + hz * hz), 1e-6)  # 0 where lit from behind
    hx, hy, hz = hx / half, hy / half, hz / half
    for v in range(num):
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length < 1e-12:
            nx, ny, nz, length = 0.0, 0.0, 1.0, 1.0
        nx, ny, nz = nx / length, ny / length, nz / length
        lambert = max((nx * light[0] + ny * light[1] + nz * light[2] + WRAP) / (1.0 + WRAP), 0.0)
        brightness = AMBIENT + DIFFUSE * lambert + FILL * max(nz, 0.0)
        highlight = max(nx * hx + ny * hy + nz * hz, 0.0) ** GLOSS_POWER * gloss[v] * 255.0
        for channel in range(3):
            shaded[v, channel] = min(colours[v, channel] * brightness + highlight, 255.0)


@njit(cache=True, nogil=True)
def draw(
    screen: np.ndarray,
    triangles: np.ndarray,
    shaded: np.ndarray,
    image: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Draw the triangles that face the viewer over ``image``; the nearest one wins.

    A pixel belongs to a triangle when its centre lies inside or within 1e-6 of an edge, so that two
    neighbours leave no crack. Drawn fastest when near triangles come first.

    Args:
        screen: float32 (V, 3): x, y in pixels and depth.
        triangles: int32 (F, 3), counter-clockwise to the viewer.
        shaded: float32 (V, 3), 0-255, interpolated linearly inside each triangle.
        image: uint8 (H, W, 3), changed; shaded + 0.5, cut to a whole number.
        depth: float32 (H, W), changed; ``-inf`` where nothing was drawn yet.
    """
    height, width = depth.shape
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, bx, by = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        cx, cy = screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if not area < 0.0:  # turned away, or no area, or not a number (y runs down)
            continue
        left = max(int(np.floor(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.ceil(max(ax, bx, cx) - 0.5)), width - 1)
        top = max(int(np.floor(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.ceil(max(ay, by, cy) - 0.5)), height - 1)
        if left > right or top > bottom:
            continue
        inverse = 1.0 / area
        # Weights of a and b are linear over the screen: value at the first pixel, step in x, step
        # in y.
        step_a, step_b = (by - cy) * inverse, (cy - ay) * inverse
        down_a, down_b = (cx - bx) * inverse, (ax - cx) * inverse
        x, y = left + 0.5 - cx, top + 0.5 - cy
        row_a, row_b = step_a * x + down_a * y, step_b * x + down_b * y
        step_c = -step_a - step_b
        za, zb, zc = screen[a, 2], screen[b, 2], screen[c, 2]
        step_z = np.float32(step_a * za + step_b * zb + step_c * zc)
        for row in range(top, bottom + 1):
            first, last = 0.0, float(right - left)
            row_c = 1.0 - row_a - row_b
            for value, step in ((row_a, step_a), (row_b, step_b), (row_c, step_c)):
                if step > 1e-12:
                    first = max(first, (-1e-6 - value) / step)
                elif step < -1e-12:
                    last = min(last, (-1e-6 - value) / step)
                elif value < -1e-6:
                    last = -1.0
            if first <= last:
                start = int(np.ceil(first))
                stop = int(np.floor(last))
                wa, wb = row_a + start * step_a, row_b + start * step_b
                z = np.float32(wa * za + wb * zb + (1.0 - wa - wb) * zc)
                for column in range(left + start, left + stop + 1):
                    if z > depth[row, column]:
                        depth[row, column] = z
                        wc = 1.0 - wa - wb
                        for channel in range(3):
                            image[row, column, channel] = np.uint8(
                                wa * shaded[a, channel]
                                + wb * shaded[b, channel]
                                + wc * shaded[c, channel]
                                + 0.5
                            )
                    z += step_z
                    wa += step_a
                    wb += step_b
            row_a += down_a
            row_b += down_b


@njit(cache=True, nogil=True)
def reduce(image: np.ndarray, factor: int, out: np.ndarray) -> None:
    """Mean of ``factor`` x ``factor`` pixels: uint8 (H f, W f, 3) -> uint8 (H, W, 3), rounded."""
    pixels = factor * factor
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            for channel in range(3):
                total = pixels // 2
                for i in range(factor):
                    for j in range(factor):
                        total += image[row * factor + i, column * factor + j, channel]
                out[row, column, channel] = total // pixels
