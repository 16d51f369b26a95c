"""Which triangle each pixel sees and where outlines run: one answer on the CPU and on a GPU.

On the CPU numba decides (:mod:`learn2talk.visibility`), elsewhere torch does, by the same formulas
in float64. Axis letters: N frames, V vertices, F triangles, H W image, M candidates.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

EDGE_TOLERANCE = 1e-6  # of a weight: two neighbours leave no crack
FRAMES_AT_ONCE = 64  # candidates of this many frames are in memory together


class Visibility(NamedTuple):
    """What pictures show of a mesh."""

    seen: Tensor  # int64 (N, H, W): the triangle that a pixel's centre sees, -1 where none
    outlines: Tensor  # int64 (N, 2, H, W): 3 * triangle + corner of the edge between a pixel and
    # the next one to the right (0) or below (1), -1 where there is none


@torch.no_grad()
def find_visibility(
    screen: Tensor, triangles: Tensor, neighbours: Tensor, size: tuple[int, int]
) -> Visibility:
    """Decide what is seen.

    Args:
        screen: float (N, V, 3): x, y in pixels, y down, and depth, larger = nearer.
        triangles: int32 (F, 3), counter-clockwise to the viewer; others are not seen.
        neighbours: int32 (F, 3), the triangle beyond the edge from corner k to the next, or -1.
        size: H and W.
    """
    exact = screen.double()
    if screen.device.type == "cpu":
        return _by_numba(exact, triangles, neighbours, size)
    return by_torch(exact, triangles, neighbours, size)


def _by_numba(
    screen: Tensor, triangles: Tensor, neighbours: Tensor, size: tuple[int, int]
) -> Visibility:
    from learn2talk.visibility import find_outlines, find_visible

    frames = len(screen)
    places, corners, beyond = screen.numpy(), triangles.numpy(), neighbours.numpy()
    seen = torch.empty((frames, *size), dtype=torch.int32)
    outlines = torch.empty((frames, 2, *size), dtype=torch.int32)

    def decide(part: slice) -> None:
        depth = torch.empty(seen[part].shape, dtype=torch.float64).numpy()
        found = seen[part].numpy()
        find_visible(places[part], corners, found, depth)
        find_outlines(places[part], corners, beyond, found, depth, outlines[part].numpy())

    threads = max(1, min(torch.get_num_threads(), frames))
    if threads == 1:
        decide(slice(None))
    else:
        bounds = [round(i * frames / threads) for i in range(threads + 1)]
        parts = [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(decide, parts))
    return Visibility(seen.long(), outlines.long())


@torch.no_grad()
def by_torch(
    screen: Tensor, triangles: Tensor, neighbours: Tensor, size: tuple[int, int]
) -> Visibility:
    """:func:`find_visibility` in torch, for any device; ``screen`` is float64."""
    parts = []
    for some in screen.split(FRAMES_AT_ONCE):
        seen, depth = _visible(some, triangles.long(), size)
        outlines = _outlines(some, triangles.long(), neighbours.long(), seen, depth)
        parts.append(Visibility(seen, outlines))
    return Visibility(
        torch.cat([part.seen for part in parts]), torch.cat([part.outlines for part in parts])
    )


def _turn(corners: Tensor) -> Tensor:
    """Twice the signed area (...) of triangles (..., 3 corners, 3), negative towards the viewer."""
    (ax, ay), (bx, by), (cx, cy) = (corners[..., k, :2].unbind(-1) for k in range(3))
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


def _visible(screen: Tensor, triangles: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Triangle (N, H, W) and depth (N, H, W) of each pixel."""
    height, width = size
    corners = screen[:, triangles]  # (N, F, 3, 3)
    low = corners[..., :2].amin(2)
    high = corners[..., :2].amax(2)
    limit = torch.tensor([width, height], device=screen.device)
    first = (low - 0.5).floor().long().clamp_min(0)
    last = torch.minimum((high - 0.5).ceil().long(), limit - 1)
    extent = (last - first + 1).clamp_min(0)
    area = _turn(corners)
    counts = torch.where(area < 0, extent[..., 0] * extent[..., 1], 0).flatten()
    pair = torch.arange(len(counts), device=screen.device).repeat_interleave(counts)
    inside_box = torch.arange(len(pair), device=screen.device)
    inside_box -= (counts.cumsum(0) - counts)[pair]
    box_width = extent[..., 0].flatten()[pair]
    column = first[..., 0].flatten()[pair] + inside_box % box_width
    row = first[..., 1].flatten()[pair] + inside_box // box_width
    a, b, c = corners.flatten(0, 1)[pair].unbind(1)
    inverse = 1.0 / area.flatten()[pair]
    x, y = column + 0.5 - c[:, 0], row + 0.5 - c[:, 1]
    wa = ((b[:, 1] - c[:, 1]) * x + (c[:, 0] - b[:, 0]) * y) * inverse
    wb = ((c[:, 1] - a[:, 1]) * x + (a[:, 0] - c[:, 0]) * y) * inverse
    wc = 1.0 - wa - wb
    covered = torch.stack([wa, wb, wc]).amin(0) >= -EDGE_TOLERANCE
    z = (wa * a[:, 2] + wb * b[:, 2] + wc * c[:, 2])[covered]
    pair, row, column = pair[covered], row[covered], column[covered]
    frame, triangle = pair // len(triangles), pair % len(triangles)
    pixel = (frame * height + row) * width + column
    count = len(screen) * height * width
    depth = screen.new_full((count,), float("-inf")).scatter_reduce(0, pixel, z, "amax")
    nearest = z == depth[pixel]
    none = len(triangles)
    seen = torch.full((count,), none, device=screen.device)
    seen = seen.scatter_reduce(0, pixel[nearest], triangle[nearest], "amin")
    shape = (len(screen), height, width)
    return torch.where(seen == none, -1, seen).view(shape), depth.view(shape)


def _outlines(
    screen: Tensor, triangles: Tensor, neighbours: Tensor, seen: Tensor, depth: Tensor
) -> Tensor:
    """Outline edges (N, 2, H, W) between neighbouring pixels."""
    frames, height, width = seen.shape
    towards_viewer = _turn(screen[:, triangles]) < 0
    outlines = torch.full((frames, 2, height, width), -1, device=screen.device)
    for axis, (down, right) in enumerate(((0, 1), (1, 0))):
        here = seen[:, : height - down, : width - right]
        there = seen[:, down:, right:]
        frame, row, column = (here != there).nonzero(as_tuple=True)
        at = torch.stack([column + 0.5, row + 0.5], dim=-1).to(screen.dtype)
        step = torch.tensor([right, down], dtype=screen.dtype, device=screen.device)
        near = depth[frame, row, column] >= depth[frame, row + down, column + right]
        pair = torch.stack([seen[frame, row, column], seen[frame, row + down, column + right]])
        edge, hidden = torch.full_like(row, -1), torch.ones_like(near)
        for turn in (0, 1):  # from the nearer pixel; where its surface goes on, from the other
            forth = near if turn == 0 else ~near
            start, goal = torch.where(forth, pair, pair.flip(0))
            source = torch.where(forth[:, None], at, at + step)
            target = torch.where(forth[:, None], at + step, at)
            found, unseen = _follow(
                screen, triangles, neighbours, towards_viewer, frame, start, goal, source, target
            )
            edge, hidden = torch.where(hidden, found, edge), hidden & unseen
        outlines[frame, axis, row, column] = edge
    return outlines


def _follow(
    screen: Tensor,
    triangles: Tensor,
    neighbours: Tensor,
    towards_viewer: Tensor,
    frame: Tensor,
    start: Tensor,
    goal: Tensor,
    source: Tensor,
    target: Tensor,
) -> tuple[Tensor, Tensor]:
    """Outline edge (M,) on each way, -1 where there is none, and whether it goes on unseen (M,)."""
    from learn2talk.visibility import MAX_STEPS

    edge = torch.full_like(start, -1)
    hidden = start < 0
    left = torch.arange(len(start), device=start.device)[~hidden]  # ways that go on
    at, entry = start[left], torch.full((len(left), 2), -1, device=start.device)
    for _ in range(MAX_STEPS):
        if not len(left):
            break
        ids = triangles[at]
        ends = torch.stack([ids, ids.roll(-1, 1)], dim=-1)  # (M, 3 edges, 2)
        first, second = screen[frame[left, None, None], ends].unbind(2)
        along = second - first

        def side(
            point: Tensor, along: Tensor = along, first: Tensor = first, left: Tensor = left
        ) -> Tensor:
            away = point[left, None] - first[..., :2]
            return along[..., 1] * away[..., 0] - along[..., 0] * away[..., 1]

        before, behind = side(source), side(target)
        came_in = (ends.sort(-1).values == entry.sort(-1).values[:, None]).all(-1)
        leaves = (behind < 0) & ~came_in
        share = torch.where(leaves, before / (before - behind), float("inf"))
        nearest, way_out = share.min(dim=1)
        stays = nearest >= 2.0
        hidden[left[stays]] = True
        choice = torch.arange(len(left), device=left.device)
        beyond = neighbours[at, way_out]
        ends_here = (beyond < 0) | ~towards_viewer[frame[left], beyond.clamp_min(0)]
        outline = ~stays & ends_here
        edge[left[outline]] = (3 * at + way_out)[outline]
        on = ~stays & ~ends_here & (beyond != goal[left])
        entry, at, left = ends[choice, way_out][on], beyond[on], left[on]
    return edge, hidden
