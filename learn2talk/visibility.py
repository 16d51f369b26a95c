"""What a picture shows of a mesh, on the CPU: each pixel's triangle, and outlines between pixels.

These are the decisions of a picture, which have no gradient; :mod:`learn2talk.models.renderer`
computes from them all that has one. Compiled by numba when first called (cached on disk), so import
it inside the function that calls it. Pure, and without a lock: threads run side by side.
Axis letters: N frames, V vertices, F triangles, H W image. Pixel (row, column) has its centre at
(column + 0.5, row + 0.5); x runs to the right, y down, and a larger depth is nearer to the viewer.
"""

from __future__ import annotations

import numpy as np
from numba import njit

CONNECTED, HIDDEN = -1, -2  # of a line from pixel to pixel: one surface; it goes on unseen
MAX_STEPS = 16  # triangles that a line from one pixel to the next is followed over


@njit(cache=True, nogil=True)
def find_visible(
    screen: np.ndarray, triangles: np.ndarray, seen: np.ndarray, depth: np.ndarray
) -> None:
    """Which triangle the centre of each pixel sees, as ``rasterize.draw`` decides it.

    Args:
        screen: float64 (N, V, 3): x, y in pixels and depth.
        triangles: int32 (F, 3), counter-clockwise to the viewer.
        seen: int32 (N, H, W), written; -1 where none is seen, the first of those equally near.
        depth: float64 (N, H, W), written; ``-inf`` where none is seen.
    """
    frames, height, width = seen.shape
    seen[:] = -1
    depth[:] = -np.inf
    for n in range(frames):
        for f in range(triangles.shape[0]):
            a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            ax, ay, bx, by = screen[n, a, 0], screen[n, a, 1], screen[n, b, 0], screen[n, b, 1]
            cx, cy = screen[n, c, 0], screen[n, c, 1]
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if not area < 0.0:
                continue
            left = max(int(np.floor(min(ax, bx, cx) - 0.5)), 0)
            right = min(int(np.ceil(max(ax, bx, cx) - 0.5)), width - 1)
            top = max(int(np.floor(min(ay, by, cy) - 0.5)), 0)
            bottom = min(int(np.ceil(max(ay, by, cy) - 0.5)), height - 1)
            inverse = 1.0 / area
            za, zb, zc = screen[n, a, 2], screen[n, b, 2], screen[n, c, 2]
            for row in range(top, bottom + 1):
                y = row + 0.5 - cy
                for column in range(left, right + 1):
                    x = column + 0.5 - cx
                    wa = ((by - cy) * x + (cx - bx) * y) * inverse
                    wb = ((cy - ay) * x + (ax - cx) * y) * inverse
                    wc = 1.0 - wa - wb
                    if wa < -1e-6 or wb < -1e-6 or wc < -1e-6:
                        continue
                    z = wa * za + wb * zb + wc * zc
                    if z > depth[n, row, column]:
                        depth[n, row, column] = z
                        seen[n, row, column] = f


@njit(cache=True, nogil=True)
def _follow(
    screen: np.ndarray,
    triangles: np.ndarray,
    neighbours: np.ndarray,
    start: int,
    goal: int,
    x: float,
    y: float,
    goal_x: float,
    goal_y: float,
) -> int:
    """The outline edge on the way from a point that ``start`` covers to one that sees ``goal``."""
    if start < 0:
        return HIDDEN
    at, entry_a, entry_b = start, -1, -1
    for _ in range(MAX_STEPS):
        way_out, nearest = -1, 2.0
        for k in range(3):
            a, b = triangles[at, k], triangles[at, (k + 1) % 3]
            if (a == entry_a and b == entry_b) or (a == entry_b and b == entry_a):
                continue
            ax, ay = screen[a, 0], screen[a, 1]
            along_x, along_y = screen[b, 0] - ax, screen[b, 1] - ay
            behind = along_y * (goal_x - ax) - along_x * (goal_y - ay)  # 0 or more: inside
            if behind >= 0.0:
                continue
            before = along_y * (x - ax) - along_x * (y - ay)
            share = before / (before - behind)
            if share < nearest:
                way_out, nearest = k, share
        if way_out < 0:
            return HIDDEN
        entry_a, entry_b = triangles[at, way_out], triangles[at, (way_out + 1) % 3]
        beyond = neighbours[at, way_out]
        if beyond < 0 or not _faces_viewer(screen, triangles, beyond):
            return 3 * at + way_out
        if beyond == goal:
            return CONNECTED
        at = beyond
    return CONNECTED


@njit(cache=True, nogil=True)
def _faces_viewer(screen: np.ndarray, triangles: np.ndarray, f: int) -> bool:
    a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
    ax, ay = screen[a, 0], screen[a, 1]
    turn = (screen[b, 0] - ax) * (screen[c, 1] - ay) - (screen[b, 1] - ay) * (screen[c, 0] - ax)
    return bool(turn < 0.0)


@njit(cache=True, nogil=True)
def find_outlines(
    screen: np.ndarray,
    triangles: np.ndarray,
    neighbours: np.ndarray,
    seen: np.ndarray,
    depth: np.ndarray,
    outlines: np.ndarray,
) -> None:
    """The silhouette edge that runs between two pixels side by side, where there is one.

    From the nearer of two pixels the line to the other is followed over the surface, triangle by
    triangle. Where it comes to an edge beyond which the surface ends or turns away from the viewer,
    that edge is the outline.

    Args:
        screen, triangles, seen, depth: as :func:`find_visible` left them.
        neighbours: int32 (F, 3), the triangle beyond the edge from corner k to the next, or -1.
        outlines: int32 (N, 2, H, W), written: 3 * triangle + corner of the edge between a pixel and
            the next one to the right (0) or below (1), -1 where there is none.
    """
    frames, height, width = seen.shape
    outlines[:] = -1
    for n in range(frames):
        for row in range(height):
            for column in range(width):
                for axis in range(2):
                    row2, column2 = row + axis, column + 1 - axis
                    if row2 >= height or column2 >= width:
                        continue
                    here, there = seen[n, row, column], seen[n, row2, column2]
                    if here == there:
                        continue
                    x, y, x2, y2 = column + 0.5, row + 0.5, column2 + 0.5, row2 + 0.5
                    ours = depth[n, row, column] >= depth[n, row2, column2]
                    for turn in range(2):
                        if (turn == 0) == ours:
                            edge = _follow(
                                screen[n], triangles, neighbours, here, there, x, y, x2, y2
                            )
                        else:
                            edge = _follow(
                                screen[n], triangles, neighbours, there, here, x2, y2, x, y
                            )
                        if edge != HIDDEN:
                            break
                    outlines[n, axis, row, column] = max(edge, -1)
