"""Grids, fans, normals: small meshes whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from learn2talk.mesh import edge_uses, fan_triangles, grid_triangles, vertex_normals


def test_a_sheet_has_two_triangles_a_cell_and_faces_the_viewer() -> None:
    triangles = grid_triangles(3, 4, closed=False)
    assert triangles.shape == (2 * 2 * 3, 3)
    # Columns to the right, rows downwards: counter-clockwise to the viewer.
    row, column = np.divmod(np.arange(12), 4)
    sheet = np.stack([column, -row, np.zeros(12)], axis=1).astype(float)
    np.testing.assert_allclose(vertex_normals(sheet, triangles), np.tile([0, 0, 1], (12, 1)))


def test_a_tube_closed_by_two_fans_is_a_manifold() -> None:
    ring = np.arange(6)
    tube = grid_triangles(3, 6, closed=True)
    closed = np.concatenate([tube, fan_triangles(18, ring[::-1]), fan_triangles(19, 12 + ring)])
    assert set(edge_uses(tube)) == {1, 2}
    assert set(edge_uses(closed)) == {2}


def test_normals_of_a_batch_are_those_of_its_members() -> None:
    generator = np.random.default_rng(0)
    batch = generator.standard_normal((3, 12, 3))
    triangles = grid_triangles(3, 4, closed=False)
    each = np.stack([vertex_normals(one, triangles) for one in batch])
    np.testing.assert_array_equal(vertex_normals(batch, triangles), each)
    np.testing.assert_allclose(np.linalg.norm(each, axis=-1), 1.0, rtol=1e-6)


def test_a_vertex_without_area_gets_a_normal_all_the_same() -> None:
    flat = np.zeros((3, 3))
    np.testing.assert_array_equal(
        vertex_normals(flat, np.array([[0, 1, 2]])), np.tile([0, 0, 1], (3, 1))
    )


def test_a_grid_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="1 rows x 4 columns"):
        grid_triangles(1, 4, closed=False)
