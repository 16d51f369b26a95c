"""The fast rasteriser against a slow obvious one."""

from __future__ import annotations

import numpy as np
import pytest

from learn2talk.mesh import vertex_normals
from learn2talk.rasterize import draw, reduce, shade


def slow_draw(
    screen: np.ndarray, triangles: np.ndarray, colours: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every pixel against every triangle; also says which pixels lie on an edge."""
    image = np.zeros((size, size, 3))
    depth = np.full((size, size), -np.inf)
    unsure = np.zeros((size, size), dtype=bool)
    for row in range(size):
        for column in range(size):
            point = np.array([column + 0.5, row + 0.5, 1.0])
            for triangle in triangles:
                corners = screen[triangle].astype(np.float64)
                frame = np.vstack([corners[:, :2].T, np.ones(3)])
                first, second = corners[1] - corners[0], corners[2] - corners[0]
                if first[0] * second[1] - first[1] * second[0] >= 0:
                    continue
                weights = np.linalg.solve(frame, point)
                unsure[row, column] |= bool(np.abs(weights).min() < 1e-3)
                z = weights @ corners[:, 2]
                if weights.min() >= 0 and z > depth[row, column]:
                    depth[row, column] = z
                    image[row, column] = weights @ colours[triangle]
    return image, unsure


def fast_draw(
    screen: np.ndarray, triangles: np.ndarray, colours: np.ndarray, size: int
) -> np.ndarray:
    image = np.zeros((size, size, 3), dtype=np.uint8)
    depth = np.full((size, size), -np.inf, dtype=np.float32)
    draw(
        screen.astype(np.float32),
        triangles.astype(np.int32),
        colours.astype(np.float32),
        image,
        depth,
    )
    return image


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_overlapping_triangles_agree_with_the_slow_one(seed: int) -> None:
    generator = np.random.default_rng(seed)
    size = 20
    screen = generator.uniform(-5, 25, (18, 3))  # some reach outside the picture
    triangles = np.arange(18).reshape(6, 3)
    triangles = np.concatenate([triangles, triangles[:, ::-1]])  # one of each pair faces us
    colours = generator.uniform(0, 255, (18, 3))
    expected, unsure = slow_draw(screen, triangles, colours, size)
    drawn = fast_draw(screen, triangles, colours, size)
    sure = ~unsure
    assert sure.mean() > 0.8
    assert expected[sure].max() > 50
    np.testing.assert_allclose(drawn[sure].astype(float), expected[sure], atol=1.0)


def test_the_nearer_of_two_wins_in_either_order() -> None:
    square = np.array([[0, 0], [0, 9], [9, 9], [9, 0]], dtype=float)
    screen = np.concatenate([np.c_[square, np.full(4, 1.0)], np.c_[square, np.full(4, 2.0)]])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    colours = np.repeat([[10.0, 0, 0], [0, 20.0, 0]], 4, axis=0)
    for order in (triangles, triangles[::-1]):
        image = fast_draw(screen, order, colours, 8)
        assert (image == [0, 20, 0]).all()


def test_neighbours_leave_no_crack_and_turned_triangles_are_not_drawn() -> None:
    angle = np.linspace(0, 2 * np.pi, 17)[:-1]
    rim = np.c_[8 + 20 * np.cos(angle), 8 - 20 * np.sin(angle), np.zeros(16)]
    screen = np.concatenate([[[8.13, 7.77, 0.0]], rim])
    fan = np.array([[0, 1 + i, 1 + (i + 1) % 16] for i in range(16)])
    white = np.full((17, 3), 255.0)
    assert (fast_draw(screen, fan, white, 16) == 255).all()
    assert (fast_draw(screen, fan[:, ::-1], white, 16) == 0).all()


def test_what_is_not_a_number_or_has_no_area_is_left_out() -> None:
    screen = np.array([[0, 0, 0], [0, 9, 0], [np.nan, 9, 0], [0, 5, 0]], dtype=float)
    image = fast_draw(screen, np.array([[0, 1, 2], [0, 1, 3]]), np.full((4, 3), 255.0), 8)
    assert (image == 0).all()


def test_shade_is_brightest_towards_the_light() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
    triangles = np.array([[0, 1, 2]], dtype=np.int32)
    assert vertex_normals(vertices, triangles)[0, 2] == 1.0
    colours, gloss = np.full((3, 3), 100, np.float32), np.zeros(3, np.float32)
    levels = []
    for light in ([0, 0, 1], [0.8, 0, 0.6], [0, 0, -1]):
        shaded = np.empty((3, 3), dtype=np.float32)
        shade(vertices, triangles, colours, gloss, np.array(light, np.float32), shaded)
        levels.append(float(shaded[0, 0]))
    assert levels[0] > levels[1] > levels[2] > 0


def test_reduce_is_the_rounded_mean() -> None:
    image = np.array([[0, 1], [1, 1]], dtype=np.uint8)[:, :, None].repeat(3, axis=2) * 4
    out = np.empty((1, 1, 3), dtype=np.uint8)
    reduce(image, 2, out)
    assert out.ravel().tolist() == [3, 3, 3]
