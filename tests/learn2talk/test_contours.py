"""Lip contours from landmarks: order, evenness, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from learn2talk.contours import MeshEdges, check_contours, lip_contours
from learn2talk.head import build_head
from tests.learn2talk.sheet_face import INNER, MOUTH_Y, OUTER, Sheet

SHEET = Sheet(5023)


def test_the_shortest_way_over_edges() -> None:
    edges = MeshEdges(SHEET.vertices, SHEET.triangles)
    way, length = edges.path(0, 5)
    assert way == [0, 1, 2, 3, 4, 5]
    steps = np.linalg.norm(np.diff(SHEET.vertices[way], axis=0), axis=1)
    assert length == pytest.approx(steps.sum())
    apart = np.concatenate([SHEET.vertices, SHEET.vertices[:3]])
    joined = np.concatenate([SHEET.triangles, [[5023, 5024, 5025]]])
    with pytest.raises(ValueError, match="not connected"):
        MeshEdges(apart, joined).path(0, 5024)


def test_contours_begin_at_the_left_corner_and_run_along_the_lower_lip() -> None:
    found = lip_contours(SHEET.vertices, SHEET.triangles, SHEET.landmarks)
    for name, half_width, height in (("lips_outer", *OUTER), ("lips_inner", *INNER)):
        places = SHEET.vertices[found[name]]
        assert len(set(found[name].tolist())) == 20
        assert places[0, 0] == pytest.approx(-half_width, abs=1.5)
        assert places[10, 0] == pytest.approx(half_width, abs=1.5)
        assert (places[1:10, 1] < MOUTH_Y - 0.5).all() and (places[11:, 1] > MOUTH_Y + 0.5).all()
        assert places[5, 1] == pytest.approx(MOUTH_Y - height, abs=2.0)
        assert places[15, 1] == pytest.approx(MOUTH_Y + height, abs=2.0)
        assert (np.diff(places[:11, 0]) > -1e-6).all() and (np.diff(places[10:, 0]) < 1e-6).all()
        steps = np.linalg.norm(np.diff(places[:11], axis=0), axis=1)
        assert steps.max() < 2.5 * steps.mean()  # vertices are 2 mm apart, points 5 mm
    lips = SHEET.vertices[found["lips"]]
    assert {*found["lips_outer"].tolist(), *found["lips_inner"].tolist()} <= set(found["lips"])
    inside = np.hypot(lips[:, 0] / INNER[0], (lips[:, 1] - MOUTH_Y) / INNER[1])
    assert inside.min() > 0.7  # the mouth's inside is no lip
    assert np.abs(lips[:, 0]).max() < 27 and np.abs(lips[:, 1] - MOUTH_Y).max() < 15
    assert len(lips) > 100


def test_landmarks_that_give_no_contour() -> None:
    vertices, triangles = SHEET.vertices, SHEET.triangles
    with pytest.raises(ValueError, match="there are 19"):
        lip_contours(vertices, triangles, SHEET.landmarks[:19])
    with pytest.raises(ValueError, match="0 to 6000, but the mesh has 5023"):
        lip_contours(vertices, triangles, [*range(19), 6000])
    coarse = Sheet(170)
    with pytest.raises(ValueError, match="landmarks|fewer than 11"):
        lip_contours(coarse.vertices, coarse.triangles, coarse.landmarks)
    mirrored = vertices * (-1, 1, 1)
    with pytest.raises(ValueError, match="image-left corner, lower lip"):
        lip_contours(mirrored, triangles, SHEET.landmarks)
    upside_down = vertices * (1, -1, 1)
    with pytest.raises(ValueError, match="first half above its second"):
        lip_contours(upside_down, triangles, SHEET.landmarks)
    swapped = np.concatenate([SHEET.landmarks[:7][::-1], SHEET.landmarks[7:]])
    with pytest.raises(ValueError, match="lips_outer"):
        lip_contours(vertices, triangles, swapped)


def test_contours_in_another_order_are_refused() -> None:
    head = build_head().template
    outer, inner = head.region("lips_outer"), head.region("lips_inner")
    check_contours(head.vertices, head.triangles, outer, inner)
    for name, wrong in (
        ("runs back", np.roll(outer, -4)),
        ("right of its point 10", np.roll(outer, 10)),
        ("first half above", np.concatenate([outer[:1], outer[:0:-1]])),
        ("19 of them different", np.concatenate([outer[:19], outer[:1]])),
    ):
        with pytest.raises(ValueError, match=name):
            check_contours(head.vertices, head.triangles, wrong, inner)
    turned = np.concatenate([inner[:1], inner[:0:-1]])  # a closed mouth: x and y do not tell
    with pytest.raises(ValueError, match="on the wrong lips"):
        check_contours(head.vertices, head.triangles, outer, turned)
