"""Motions on other meshes: exact on the same one, exact at the lips of others, at any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learn2talk.export.alignment import align, path_along_edges, upper_share
from learn2talk.export.retarget import retarget
from learn2talk.export.transfer import make_transfer
from learn2talk.head import HeadIdentity, build_head
from learn2talk.schema import FaceTemplate, Motion

from ..conftest import tiny_template
from .faces import changed, coarse_face, moved, spoken


def test_the_same_mesh_gets_the_same_motion_exactly() -> None:
    motion = spoken()
    result, report = retarget(motion, motion.template)
    np.testing.assert_array_equal(result.vertices, motion.vertices)
    assert (report.scale, report.rotation_degrees, report.lip_error_max_mm) == (1.0, 0.0, 0.0)
    assert report.gap_error_max_mm == 0.0 and report.jaw_regions == ()
    assert {"hair", "iris", "teeth_upper"} <= set(report.still_regions)
    assert "teeth_lower" not in report.still_regions


def test_another_identity_of_the_same_topology_moves_vertex_by_vertex() -> None:
    motion = spoken()
    other = build_head(HeadIdentity(mouth_width=1.12, chin=1.2)).template
    result, report = retarget(motion, other)
    expected = report.scale * (motion.vertices - motion.template.vertices)
    cosine = np.cos(np.radians(report.rotation_degrees))
    assert 1.05 < report.scale < 1.2 and cosine > 0.99
    np.testing.assert_allclose(result.vertices - other.vertices, expected, atol=2.0)
    assert report.lip_error_max_mm < 1e-4


def test_another_topology_follows_with_exact_lips_and_a_still_forehead() -> None:
    motion, target = spoken(), coarse_face()
    result, report = retarget(motion, target)
    assert result.fps == 25 and result.template is target
    assert result.vertices.shape == (40, len(target.vertices), 3)
    assert report.lip_error_max_mm < 1e-4 and 0.2 < report.moving_share < 0.9
    assert np.abs(result.vertices - target.vertices)[:, target.region("forehead")].max() < 0.2
    assert report.jaw_regions == ("tongue",)
    # coarse_face takes its rows from the head's rings: the truth is known up to the scale
    head = motion.template.vertices
    there = target.vertices[:-3] / np.float32([1.1, 1.0, 1.0])
    same = np.linalg.norm(head[None, :1200] - there[:, None], axis=2).argmin(axis=1)
    truth = report.scale * (motion.vertices - motion.template.vertices)[:, same]
    off = np.linalg.norm((result.vertices - target.vertices)[:, :-3] - truth, axis=2)
    moves = np.linalg.norm(truth, axis=2)
    assert off.mean() < 0.12 * moves.mean()


def test_a_transfer_that_is_there_is_taken() -> None:
    target = coarse_face()
    ready = make_transfer(spoken().template, target)
    again, report = retarget(spoken(), target, ready)
    made, told = retarget(spoken(), target)
    np.testing.assert_array_equal(again.vertices, made.vertices)
    assert report == told


def test_the_tongue_turns_rigidly_with_the_jaw() -> None:
    motion, target = spoken(), coarse_face()
    result, report = retarget(motion, target)
    tongue = target.region("tongue")
    for one, other in ((0, 1), (1, 2), (2, 0)):
        between = result.vertices[:, tongue[one]] - result.vertices[:, tongue[other]]
        rest = np.linalg.norm(target.vertices[tongue[one]] - target.vertices[tongue[other]])
        np.testing.assert_allclose(np.linalg.norm(between, axis=1), rest, atol=1e-3)
    teeth = motion.template.region("teeth_lower")
    drop = (motion.vertices - motion.template.vertices)[:, teeth, 1].mean(axis=1)
    down = (result.vertices - target.vertices)[:, tongue, 1].mean(axis=1)
    assert np.corrcoef(drop, down)[0, 1] > 0.98 and down.min() < -2


def test_upper_and_lower_lip_do_not_stick_together() -> None:
    motion, target = spoken(), coarse_face()
    result, _ = retarget(motion, target)
    opening = result.lips[:, 35, 1] - result.lips[:, 25, 1]
    own = motion.lips[:, 35, 1] - motion.lips[:, 25, 1]
    assert opening.max() > 8 and np.abs(opening - own).max() < 0.15 * own.max()


@pytest.mark.parametrize(
    ("scale", "shift"), [(1.0, (30.0, -5.0, 200.0)), (2.5, (0, 0, 0)), (0.1, (5.0, 5.0, -5.0))]
)
def test_size_and_place_of_the_source_do_not_matter(
    scale: float, shift: tuple[float, float, float]
) -> None:
    motion, target = spoken(), coarse_face()
    expected, _ = retarget(motion, target)
    result, report = retarget(moved(motion, scale, shift), target)
    assert report.scale * scale == pytest.approx(retarget(motion, target)[1].scale, rel=1e-4)
    np.testing.assert_allclose(result.vertices, expected.vertices, atol=0.02)


def test_size_and_place_of_the_target_scale_and_shift_the_result() -> None:
    motion, target = spoken(), coarse_face()
    expected, _ = retarget(motion, target)
    shift = np.float32([7.0, -20.0, 40.0])
    result, _ = retarget(motion, changed(target, 3.0 * target.vertices + shift))
    np.testing.assert_allclose(result.vertices, 3.0 * expected.vertices + shift, atol=0.05)


def test_a_turned_target_moves_in_its_own_frame() -> None:
    motion, target = spoken(), coarse_face()
    angle = np.radians(20.0)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    expected, _ = retarget(motion, target)
    result, _ = retarget(motion, changed(target, target.vertices @ turn.T))
    np.testing.assert_allclose(result.vertices, expected.vertices @ turn.T, atol=0.02)


def test_similarity_recovers_a_known_one_and_the_identity() -> None:
    points = np.random.default_rng(0).normal(size=(40, 3))
    angle = 0.3
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    found = align(points, 2.0 * points @ turn.T + 5.0)
    assert found.scale == pytest.approx(2.0) and found.degrees == pytest.approx(np.degrees(0.3))
    np.testing.assert_allclose(found.points(points), 2.0 * points @ turn.T + 5.0, atol=1e-12)
    assert np.linalg.det(align(points, points * [1, 1, -1]).rotation) == pytest.approx(1)


def test_the_sides_of_the_mouth() -> None:
    face = build_head().template
    share = upper_share(face)
    lips = share[face.lip_ids]
    assert (lips[1:10] == 0).all() and (lips[11:20] == 1).all() and (lips[[0, 10]] == 0.5).all()
    assert np.isnan(share[face.region("iris")]).all()
    assert np.isfinite(share[face.region("skin")]).all()


def test_a_way_along_edges() -> None:
    square = np.float32([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (9, 9, 9)])
    triangles = np.int32([(0, 1, 2), (0, 2, 3)])
    assert path_along_edges(square, triangles, [1, 3]) in ([1, 0, 3], [1, 2, 3])
    assert path_along_edges(square, triangles, [1, 2, 0]) == [1, 2, 0]
    with pytest.raises(ValueError, match="no edges join vertices 0 and 4"):
        path_along_edges(square, triangles, [0, 4])


def test_what_cannot_be_retargeted_is_named() -> None:
    motion = spoken()
    bare = FaceTemplate("bare", np.eye(3), np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="topology 'bare' has no region 'lips_outer'"):
        retarget(motion, bare)
    flat = changed(tiny_template(), tiny_template().vertices * np.float32([1, 0, 0]))
    with pytest.raises(ValueError, match="the target's lip points lie on a line"):
        retarget(motion, flat)
    broken = tiny_template().vertices.copy()
    broken[45, 0] = np.nan
    with pytest.raises(ValueError, match="target 'tiny' is not finite at vertex 45"):
        retarget(motion, changed(tiny_template(), broken))
    empty = Motion(motion.vertices[:0], 25.0, motion.template)
    with pytest.raises(ValueError, match="has 0 frames"):
        retarget(empty, tiny_template())


@pytest.mark.real_data
@pytest.mark.slow
def test_a_scanned_face_follows_with_teeth_and_closed_lips(avsr_data: Path) -> None:
    from learn2talk.export.ict import load_ict_shapes

    target = load_ict_shapes(avsr_data / "ict_facekit").template
    motion = spoken()
    result, report = retarget(motion, target)
    assert report.lip_error_max_mm < 1e-4 and report.gap_error_max_mm < 1.5
    assert 0.8 < report.scale < 1.2 and report.rotation_degrees < 10
    assert "teeth_upper" in report.still_regions
    assert report.jaw_regions == ("teeth_lower", "tongue")
    shift = np.linalg.norm(result.vertices - target.vertices, axis=2)
    # no vertex runs away, and neighbours stay together: edges keep their lengths nearly everywhere
    own = np.linalg.norm(motion.vertices - motion.template.vertices, axis=2)
    assert shift.max() < 1.2 * own.max()
    edges = np.unique(np.sort(target.triangles[:, :2], axis=1), axis=0)
    edges = edges[(edges < 9409).all(axis=1)]
    rest = np.linalg.norm(np.diff(target.vertices[edges], axis=1)[:, 0], axis=1)
    open_frame = int(np.argmax(result.lips[:, 35, 1] - result.lips[:, 25, 1]))
    now = np.linalg.norm(np.diff(result.vertices[open_frame][edges], axis=1)[:, 0], axis=1)
    assert np.quantile(np.abs(now - rest), 0.99) < 1.5
