"""Numba and torch decide alike, and as a slow obvious search does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from learn2talk.articulation import CONTROLS, animate_head
from learn2talk.head import build_head
from learn2talk.mesh import triangle_neighbours
from learn2talk.models.visibility import by_torch, find_visibility


def both_ways(
    screen: np.ndarray, triangles: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Seen and outlines; asserts that numba and torch agree to the last pixel."""
    places, corners = torch.from_numpy(screen), torch.from_numpy(triangles.astype(np.int32))
    beyond = torch.from_numpy(triangle_neighbours(triangles))
    by_numba = find_visibility(places, corners, beyond, size)
    other = by_torch(places, corners, beyond, size)
    assert torch.equal(by_numba.seen, other.seen)
    assert torch.equal(by_numba.outlines, other.outlines)
    return by_numba.seen.numpy(), by_numba.outlines.numpy()


def slow_seen(screen: np.ndarray, triangles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Every pixel against every triangle."""
    seen = np.full(size, -1)
    for row, column in np.ndindex(size):
        nearest = -np.inf
        for number, corners in enumerate(screen[triangles]):
            first, second = corners[1] - corners[0], corners[2] - corners[0]
            if first[0] * second[1] - first[1] * second[0] >= 0:
                continue
            frame = np.vstack([corners[:, :2].T, np.ones(3)])
            weights = np.linalg.solve(frame, [column + 0.5, row + 0.5, 1.0])
            if weights.min() >= 0 and weights @ corners[:, 2] > nearest:
                nearest, seen[row, column] = weights @ corners[:, 2], number
    return seen


@pytest.mark.parametrize("seed", [0, 1])
def test_random_triangles_as_a_slow_search_sees_them(seed: int) -> None:
    generator = np.random.default_rng(seed)
    screen = generator.uniform(-5, 21, (2, 24, 3))  # some reach outside the picture
    triangles = np.arange(24).reshape(8, 3)
    triangles = np.concatenate([triangles, triangles[:, ::-1]])  # one of each pair faces us
    seen, _ = both_ways(screen, triangles, (15, 17))
    assert (seen >= 0).mean() > 0.3
    for frame in range(2):
        np.testing.assert_array_equal(seen[frame], slow_seen(screen[frame], triangles, (15, 17)))


def a_square_before_a_wall() -> tuple[np.ndarray, np.ndarray]:
    """A tilted square of four triangles (0-3) in front of a wall of two (4, 5), 12 x 12 pixels."""
    rim = 6.0 + 3.7 * np.array([[0.9, 0.5], [0.5, -0.9], [-0.9, -0.5], [-0.5, 0.9]])
    front = np.c_[np.concatenate([[[6.1, 5.9]], rim]), np.full(5, 5.0)]
    wall = np.array([[-1, -1, 0], [-1, 13, 0], [13, 13, 0], [13, -1, 0]], dtype=float)
    fan = [[0, 1 + i, 1 + (i + 1) % 4] for i in range(4)]
    return np.concatenate([front, wall])[None], np.array([*fan, [5, 6, 7], [5, 7, 8]])


def test_outlines_run_where_the_square_ends_and_nowhere_else() -> None:
    screen, triangles = a_square_before_a_wall()
    seen, outlines = both_ways(screen, triangles, (12, 12))
    in_front = seen[0] < 4
    assert 20 < in_front.sum() < 60
    across = in_front[:, :-1] != in_front[:, 1:]
    down = in_front[:-1] != in_front[1:]
    np.testing.assert_array_equal(outlines[0, 0, :, :-1] >= 0, across)
    np.testing.assert_array_equal(outlines[0, 1, :-1] >= 0, down)
    for axis, row, column in np.argwhere(outlines[0] >= 0):
        code = outlines[0, axis, row, column]
        corner = triangles[code // 3, [code % 3, (code + 1) % 3]]
        assert 0 not in corner and corner.max() < 5  # an edge of the rim
        one, other = screen[0, corner, :2]
        centre = np.array([column + 0.5, row + 0.5])
        step = np.array([1.0, 0.0]) if axis == 0 else np.array([0.0, 1.0])
        share, along = np.linalg.solve(np.c_[step, one - other], one - centre)
        assert -1e-6 <= share <= 1 + 1e-6 and -1e-6 <= along <= 1 + 1e-6


def test_a_smooth_surface_has_no_outline_inside_and_a_fold_has_one() -> None:
    across, down = np.meshgrid(np.linspace(-1, 11, 7), np.linspace(-1, 11, 7))
    sheet = np.stack([across, down, 0.1 * across], axis=-1).reshape(1, -1, 3)
    corner = np.arange(49).reshape(7, 7)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    triangles = np.concatenate(
        [np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))]
    )
    seen, outlines = both_ways(sheet, triangles, (10, 10))
    assert len(np.unique(seen)) > 20 and (outlines == -1).all()
    folded = sheet.copy().reshape(7, 7, 3)
    folded[:, 3:, 0] -= 4.0  # columns 2-3 turn away, the right part slides over the left one
    folded[:, 3:, 2] += 3.0
    _, outlines = both_ways(folded.reshape(1, -1, 3), triangles, (10, 10))
    columns = np.unique(np.argwhere(outlines[0, 0] >= 0)[:, 1])
    assert columns.tolist() == [0, 6]  # the fold lies at x = 1.0, the end of the sheet at 7.0
    assert (outlines[0, 1] == -1).all()


def test_the_head_and_several_threads() -> None:
    curves = np.zeros((3, len(CONTROLS)), dtype=np.float32)
    curves[1, 0], curves[2, 2] = 0.8, 1.0
    template = build_head().template
    moved = animate_head(build_head(), curves).astype(np.float64)
    screen = moved * [0.6, -0.6, 1.0] + [22.0, -20.0, 0.0]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        seen, outlines = both_ways(screen, template.triangles, (44, 44))
        torch.set_num_threads(2)
        again, _ = both_ways(screen, template.triangles, (44, 44))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(seen, again)
    lips = np.isin(template.triangles, template.region("lips")).all(1)
    inside = np.isin(template.triangles, template.region("mouth_inside")).any(1)
    assert lips[seen].sum() > 50 and inside[seen[1]].sum() > 10 and (outlines[1] >= 0).sum() > 20


def test_neighbours_lie_beyond_the_edge() -> None:
    triangles = np.array([[0, 1, 2], [2, 1, 3], [1, 0, 4], [0, 1, 5]])
    assert triangle_neighbours(triangles[:2]).tolist() == [[-1, 1, -1], [0, -1, -1]]
    # Three triangles share the edge 0-1: none of them has another side there.
    assert triangle_neighbours(triangles).tolist()[0] == [-1, 1, -1]
