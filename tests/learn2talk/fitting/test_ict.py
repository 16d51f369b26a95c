"""ICT-FaceKit from its folder: whole, in millimetres, with the canonical lip contours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learn2talk.fitting.face_model import FaceModel, at_shares, mesh_path
from learn2talk.fitting.ict import ICT_FILE, read_ict
from learn2talk.fitting.procedural import FITTED_CONTROLS, head_model
from learn2talk.mesh import grid_triangles


def published_shapes() -> dict[str, np.ndarray]:
    """Arrays of the published file's shapes, all zero."""
    return {
        "neutral": np.zeros((21451, 3), np.float32),
        "quads": np.zeros((4, 4), np.int32),
        "expr": np.zeros((53, 21451, 3), np.float16),
        "expr_names": np.array([f"shape{i}" for i in range(53)]),
        "lmk68": np.arange(68, dtype=np.int32),
        "identity10_face9409": np.zeros((10, 9409, 3), np.float16),
    }


def written(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(folder / ICT_FILE, allow_pickle=False, **arrays)
    return folder


def test_a_missing_folder_or_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{ICT_FILE}: no such file; give the folder"):
        read_ict(tmp_path)
    (tmp_path / ICT_FILE).write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(ValueError, match="not a complete .npz file"):
        read_ict(tmp_path)


@pytest.mark.parametrize("name", ["neutral", "quads", "expr", "lmk68", "identity10_face9409"])
def test_a_missing_array_is_named(tmp_path: Path, name: str) -> None:
    arrays = published_shapes()
    del arrays[name]
    with pytest.raises(ValueError, match=f"has no {name}"):
        read_ict(written(tmp_path, arrays))


@pytest.mark.parametrize("name", ["neutral", "expr", "identity10_face9409", "lmk68"])
def test_another_number_of_vertices_is_refused(tmp_path: Path, name: str) -> None:
    arrays = published_shapes()
    arrays[name] = arrays[name][..., :-1] if name == "lmk68" else arrays[name][..., :9000, :]
    with pytest.raises(ValueError, match=f"{name} has shape .* expected"):
        read_ict(written(tmp_path, arrays))


@pytest.mark.parametrize("name", ["neutral", "expr", "identity10_face9409"])
def test_nan_is_refused(tmp_path: Path, name: str) -> None:
    arrays = published_shapes()
    arrays[name][..., 5, 1] = np.nan
    with pytest.raises(ValueError, match=f"{name} holds NaN"):
        read_ict(written(tmp_path, arrays))


def test_ids_outside_the_mesh_and_other_units_are_refused(tmp_path: Path) -> None:
    arrays = published_shapes()
    with pytest.raises(ValueError, match="outer eye corners are 0 apart"):
        read_ict(written(tmp_path, arrays))
    arrays["quads"][0] = 21451
    with pytest.raises(ValueError, match="quads have shape"):
        read_ict(written(tmp_path, arrays))
    arrays = published_shapes()
    arrays["lmk68"][3] = 12000
    with pytest.raises(ValueError, match="lmk68 names vertices outside"):
        read_ict(written(tmp_path, arrays))


def test_a_path_follows_the_edges_and_its_points_lie_at_shares() -> None:
    rows, columns = 4, 6
    y, x = np.divmod(np.arange(rows * columns), columns)
    vertices = np.stack([x, y, 0 * x], axis=1).astype(np.float64)
    faces = grid_triangles(rows, columns, closed=False)
    path = mesh_path(vertices, faces, [0, 5, 23])
    assert path == [0, 1, 2, 3, 4, 5, 11, 17, 23]
    assert at_shares(vertices, path, (0.0, 0.24, 0.5, 1.0)) == [0, 2, 4, 23]
    with pytest.raises(ValueError, match="too coarse"):
        at_shares(vertices, path, (0.0, 0.01))
    with pytest.raises(ValueError, match="vertices 0 and 23 are not connected"):
        mesh_path(vertices, faces[:4], [0, 23])


def test_a_face_model_is_checked() -> None:
    good = head_model()
    parts = {
        "template": good.template,
        "identities": good.identities,
        "expressions": good.expressions,
        "names": good.names,
        "anchors": {},
    }
    broken = good.expressions.copy()
    broken[0, 0, 0] = np.inf
    for change, said in (
        ({"expressions": good.expressions[:, :9]}, "expressions have shape"),
        ({"identities": good.identities[..., :2]}, "identities have shape"),
        ({"expressions": broken}, "expressions hold NaN"),
        ({"names": good.names[:2]}, "2 names for 7"),
        ({"anchors": {1: 0}}, "anchor 1: 0 is not one"),
        ({"anchors": {33: 2500}}, "anchor 33: 2500"),
    ):
        with pytest.raises(ValueError, match=said):
            FaceModel(**{**parts, **change})  # type: ignore[arg-type]


def test_half_a_control_of_the_head_is_nearly_half_its_shape() -> None:
    from learn2talk.articulation import CONTROLS, animate_head
    from learn2talk.head import build_head

    model, head = head_model(), build_head()
    assert model.names == FITTED_CONTROLS
    for row, name in enumerate(FITTED_CONTROLS):
        curves = np.zeros((1, len(CONTROLS)))
        curves[0, CONTROLS.index(name)] = 0.5
        bent = animate_head(head, curves)[0]
        straight = model.template.vertices + 0.5 * model.expressions[row]
        lips = model.template.lip_ids
        assert np.linalg.norm(bent[lips] - straight[lips], axis=1).max() < 0.8


@pytest.mark.real_data
def test_the_published_face_has_symmetric_canonical_contours(avsr_data: Path) -> None:
    model = read_ict(avsr_data / "ict_facekit")
    template = model.template
    assert template.vertices.shape == (9409, 3)
    assert model.expressions.shape == (53, 9409, 3)
    assert len(model.identities) == 10
    assert len(model.anchors) == 71
    assert len(set(template.lip_ids.tolist())) == 40
    mirror = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 19, 18, 17, 16, 15, 14, 13, 12, 11]
    for ring in (template.lips[:20], template.lips[20:]):
        np.testing.assert_allclose(ring[mirror] * [-1, 1, 1], ring, atol=0.05)
        assert ring[0, 0] < -20 < 20 < ring[10, 0]  # image-left corner first
        # Lower lip before upper lip; next to the corners the closed inner contours lie together.
        assert (ring[2:9, 1] < ring[18:11:-1, 1]).all()
        steps = np.linalg.norm(np.diff(ring, axis=0), axis=1)
        assert steps.max() < 4 * steps.min()
    lower, upper = template.region("lower_face"), template.region("upper_face")
    assert not set(lower) & set(upper)
    assert set(template.region("lips")) <= set(lower)
    assert set(template.lip_ids.tolist()) <= set(template.region("lips").tolist())
    jaw = np.linalg.norm(model.expressions[model.names.index("jawOpen")], axis=-1)
    assert 30.0 < jaw.max() < 60.0  # millimetres
    assert jaw[lower].mean() > 10 * jaw[upper].mean()
