"""The procedural head: proportions, regions, topology, and that it holds together."""

from __future__ import annotations

import numpy as np
import pytest

from learn2talk.head import INSIDE_RINGS, SPOKES, HeadIdentity, build_head, random_identity
from learn2talk.mesh import edge_uses

HEAD = build_head()
FACE = HEAD.template


def test_proportions_are_human() -> None:
    skin = FACE.vertices[FACE.region("skin")]
    width = skin[:, 0].max() - skin[:, 0].min()
    assert 135 < width < 165
    lips = FACE.lips
    assert np.linalg.norm(lips[10] - lips[0]) == pytest.approx(50.0, abs=1.0)
    assert lips[:, 1].mean() == pytest.approx(-70.0, abs=2.0)
    assert 1000 <= len(FACE.vertices) <= 2500


def test_lip_contours_run_from_the_left_corner_below_to_the_right_and_back_above() -> None:
    for contour in (FACE.lips[:20], FACE.lips[20:]):
        assert contour[0, 0] == contour[:, 0].min()
        assert contour[10, 0] == contour[:, 0].max()
        assert (np.diff(contour[:11, 0]) > 0).all()
        assert (np.diff(contour[10:, 0]) < 0).all()
    outer = FACE.lips[:20]
    assert outer[1:10, 1].max() < outer[11:, 1].min()
    lower_middle, upper_middle = FACE.lips[25], FACE.lips[35]
    assert abs(lower_middle[0]) < 0.1
    assert 0 < upper_middle[1] - lower_middle[1] < 0.5  # closed at rest


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_no_triangle_is_degenerate(seed: int | None) -> None:
    identity = HeadIdentity() if seed is None else random_identity(np.random.default_rng(seed))
    face = build_head(identity).template
    corners = face.vertices[face.triangles].astype(np.float64)
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    assert np.isfinite(face.vertices).all()
    assert area.min() > 1e-4


def test_skin_and_mouth_are_one_manifold_with_one_open_rim() -> None:
    body = set(FACE.region("skin")) | set(FACE.region("mouth_inside"))
    triangles = FACE.triangles[np.isin(FACE.triangles[:, 0], list(body))]
    uses = edge_uses(triangles)
    assert set(uses) == {1, 2}
    assert (uses == 1).sum() == SPOKES  # the rim behind the ears


def test_every_identity_shares_the_topology_and_differs_in_shape() -> None:
    other = build_head(random_identity(np.random.default_rng(7))).template
    np.testing.assert_array_equal(other.triangles, FACE.triangles)
    assert other.regions.keys() == FACE.regions.keys()
    for name, ids in FACE.regions.items():
        np.testing.assert_array_equal(other.regions[name], ids)
    assert np.abs(other.vertices - FACE.vertices).max() > 1.0


def test_jaw_moves_the_lower_face_only() -> None:
    assert HEAD.jaw[FACE.region("teeth_lower")].min() == 1.0
    assert HEAD.jaw[FACE.region("teeth_upper")].max() == 0.0
    assert HEAD.jaw[FACE.lip_ids[25]] == pytest.approx(1.0)
    assert HEAD.jaw[FACE.lip_ids[35]] == pytest.approx(0.0)
    assert HEAD.jaw[FACE.region("upper_face")].max() < 0.05
    assert HEAD.ring.min() == -INSIDE_RINGS


def test_regions_of_the_face_do_not_overlap() -> None:
    assert not set(FACE.region("lower_face")) & set(FACE.region("upper_face"))
    assert set(FACE.region("lips")) <= set(FACE.region("lower_face"))
