"""Known topologies: the face of each from a folder as its users have it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from avsr.tracking import LIPS_INNER, LIPS_OUTER
from learn2talk.contours import lip_contours
from learn2talk.data.motion import animated_ids
from learn2talk.head import build_head
from learn2talk.topologies import TOPOLOGIES, known_face, topology
from tests.learn2talk.sheet_face import (
    MOUTH_Y,
    Sheet,
    flame_folder,
    landmark_embedding,
    write_obj,
    write_ply,
)

FLAME = Sheet(5023)


def test_the_procedural_head_needs_no_folder() -> None:
    face = known_face("procedural_head").template
    assert topology("procedural_head").num_vertices == len(face.vertices)
    np.testing.assert_array_equal(face.vertices, build_head().template.vertices)


def test_flame_from_masks_and_static_landmarks(tmp_path: Path) -> None:
    face = known_face("flame_5023", flame_folder(tmp_path, FLAME))
    template = face.template
    np.testing.assert_allclose(template.vertices, FLAME.vertices, atol=1e-3)
    expected = lip_contours(FLAME.vertices, FLAME.triangles, FLAME.landmarks)
    ids = np.concatenate([expected["lips_outer"], expected["lips_inner"]])
    apart = np.linalg.norm(template.lips - FLAME.vertices[ids], axis=1)
    assert apart.max() < 4.0  # on a sheet of squares several ways are equally short
    lower, upper = template.region("lower_face"), template.region("upper_face")
    assert not set(lower.tolist()) & set(upper.tolist())
    assert template.vertices[lower, 1].max() < -22.0 < template.vertices[upper, 1].min() + 3.0
    assert set(template.region("lips").tolist()) <= set(lower.tolist())
    assert set(animated_ids(template)) >= set(template.lip_ids)
    assert "FLAME masks" in face.facts["regions_source"]


def test_flame_from_mediapipe_landmarks(tmp_path: Path) -> None:
    folder = flame_folder(tmp_path, FLAME)
    ring = lip_contours(FLAME.vertices, FLAME.triangles, FLAME.landmarks)
    ids = np.concatenate([ring["lips_outer"], ring["lips_inner"], [7]])
    rows, weights = landmark_embedding(FLAME, ids)
    path = folder / "mediapipe_landmark_embedding.npz"
    markup = np.array([*LIPS_OUTER, *LIPS_INNER, 4])
    np.savez(path, lmk_face_idx=rows, lmk_b_coords=weights, landmark_indices=markup)
    face = known_face("flame_5023", folder).template
    apart = np.linalg.norm(face.lips - FLAME.vertices[ids[:40]], axis=1)
    assert np.median(apart) < 0.1 and apart.max() < 5.0  # through them, evenly spread again
    np.savez(path, lmk_face_idx=rows, lmk_b_coords=weights, landmark_indices=markup + 1)
    with pytest.raises(ValueError, match="lacks the mouth's corners"):
        known_face("flame_5023", folder)


def test_flame_without_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the folder"):
        known_face("flame_5023")
    with pytest.raises(ValueError, match=r"has none of FLAME_sample\.ply"):
        known_face("flame_5023", tmp_path)
    folder = flame_folder(tmp_path, FLAME)
    (folder / "flame_static_embedding.npz").unlink()
    with pytest.raises(ValueError, match="has no landmarks"):
        known_face("flame_5023", folder)
    rows, weights = landmark_embedding(FLAME, np.arange(51))
    np.savez(folder / "flame_static_embedding.npz", lmk_face_idx=rows[:50], lmk_b_coords=weights)
    with pytest.raises(ValueError, match="do not belong together"):
        known_face("flame_5023", folder)
    rows[3] = 10**6
    np.savez(folder / "flame_static_embedding.npz", lmk_face_idx=rows, lmk_b_coords=weights)
    with pytest.raises(ValueError, match="names triangle 1000000"):
        known_face("flame_5023", folder)
    (folder / "FLAME_masks.pkl").unlink()
    with pytest.raises(ValueError, match="has no FLAME masks"):
        known_face("flame_5023", folder)
    np.savez(folder / "FLAME_masks.npz", face=[1, 2], lips=[3])
    with pytest.raises(ValueError, match="has no mask nose"):
        known_face("flame_5023", folder)
    np.savez(folder / "FLAME_masks.npz", face=[1, 2], lips=[5023], nose=[4])
    with pytest.raises(ValueError, match="lips names 1 vertices, the last 5023"):
        known_face("flame_5023", folder)
    other = Sheet(4000)
    write_ply(folder / "FLAME_sample.ply", other.vertices / 1000, other.triangles)
    with pytest.raises(ValueError, match="has 4000 vertices, the topology 5023"):
        known_face("flame_5023", folder)


def test_own_regions_take_the_place_of_the_known_ones(tmp_path: Path) -> None:
    write_ply(tmp_path / "FLAME_sample.ply", FLAME.vertices / 1000.0, FLAME.triangles)
    content = {
        "topology": "flame_5023",
        "unit": "m",
        "source": "mine",
        "mouth_landmarks": FLAME.landmarks.tolist(),
        "regions": {"lower_face": [1, 2, 3]},
    }
    (tmp_path / "regions.json").write_text(json.dumps(content))
    face = known_face("flame_5023", tmp_path)
    np.testing.assert_array_equal(face.template.region("lower_face"), [1, 2, 3])
    (tmp_path / "regions.json").write_text(json.dumps(content | {"topology": "biwi_23370"}))
    with pytest.raises(ValueError, match="is of topology 'biwi_23370'"):
        known_face("flame_5023", tmp_path)


def test_biwi_from_the_lists_of_the_field(tmp_path: Path) -> None:
    sheet = Sheet(23370)
    write_ply(tmp_path / "templates" / "BIWI.ply", sheet.vertices / 185.0, sheet.triangles)
    high = sheet.vertices[:, 1]
    lve = np.flatnonzero((np.abs(sheet.vertices[:, 0]) < 40) & (high < MOUTH_Y + 20))
    for name, ids in (("lve", lve), ("fdd", np.flatnonzero(high > 0))):
        (tmp_path / f"{name}.txt").write_text(", ".join(map(str, ids.tolist())))
    (tmp_path / "mouth_landmarks.txt").write_text(" ".join(map(str, sheet.landmarks.tolist())))
    with pytest.raises(ValueError, match="say how many millimetres"):
        known_face("biwi_23370", tmp_path)
    with pytest.raises(ValueError, match="no known unit fits"):
        known_face("biwi_23370", tmp_path, mm_per_unit=1.0)
    face = known_face("biwi_23370", tmp_path, mm_per_unit=185.0).template
    np.testing.assert_allclose(face.vertices, sheet.vertices, atol=1e-3)
    np.testing.assert_array_equal(face.region("lve"), lve)
    assert face.vertices[face.region("lower_face"), 1].max() == face.vertices[lve, 1].max()
    assert face.vertices[face.region("upper_face"), 1].min() > 0
    (tmp_path / "fdd.txt").write_text("1, 23370")
    with pytest.raises(ValueError, match=r"fdd\.txt: upper_face names 2 vertices, the last 23370"):
        known_face("biwi_23370", tmp_path, mm_per_unit=185.0)
    (tmp_path / "lve.txt").unlink()
    with pytest.raises(ValueError, match="has no list of lve"):
        known_face("biwi_23370", tmp_path, mm_per_unit=185.0)


def test_mediapipe_478_from_a_mesh_of_the_user(tmp_path: Path) -> None:
    """Its ids are the tracker's: on a sheet they are no mouth, which the order of x tells."""
    sheet = Sheet(478)
    write_obj(tmp_path / "face.obj", sheet.vertices, sheet.triangles)
    with pytest.raises(ValueError, match="lips_outer"):
        known_face("mediapipe-478", tmp_path)


@pytest.mark.real_data
def test_mediapipes_canonical_face(avsr_data: Path) -> None:
    face = known_face("mediapipe-468", avsr_data / "mediapipe_face").template
    np.testing.assert_array_equal(face.region("lips_outer"), LIPS_OUTER)
    assert {name: len(ids) for name, ids in face.regions.items()} == {
        "lips_outer": 20,
        "lips_inner": 20,
        "lips": 80,
        "lower_face": 168,
        "upper_face": 300,
    }
    assert np.ptp(face.vertices[:, 0]) == pytest.approx(154.9, abs=0.1)


@pytest.mark.real_data
def test_ict_facekit(avsr_data: Path) -> None:
    face = known_face("ict_facekit_26719", avsr_data / "ict_facekit").template
    lips = face.lips
    for ring, half_width in ((lips[:20], 25.3), (lips[20:], 22.1)):
        assert ring[0, 0] == pytest.approx(-half_width, abs=0.1)
        assert ring[10, 0] == pytest.approx(half_width, abs=0.1)
        mirrored = ring[[10 - k if k <= 10 else 30 - k for k in range(20)]] * (-1, 1, 1)
        np.testing.assert_allclose(ring, mirrored, atol=0.3)  # the face is symmetric, so are they
    assert (lips[1:10, 1] < lips[19:10:-1, 1]).all()
    expressions = np.load(avsr_data / "ict_facekit" / "ict_light_21451v.npz")
    opened = expressions["expr"][expressions["expr_names"].tolist().index("jawOpen")] * 10.0
    moved = opened.astype(np.float32)[face.lip_ids, 1]
    assert moved[25] < -10 and moved[5] < -10 and abs(moved[35]) < 3 and abs(moved[15]) < 3
    lower = set(face.region("lower_face").tolist())
    far = np.flatnonzero(np.abs(opened[:9409]).max(axis=1) > 5.0)
    assert set(far.tolist()) <= lower  # what an opening jaw moves is the lower face


def test_names() -> None:
    with pytest.raises(ValueError, match=re.escape(", ".join(TOPOLOGIES))):
        known_face("bfm")


def test_no_network_or_loss_knows_a_topology_or_a_corpus(repository: Path) -> None:
    names = [name.split("_")[0].split("-")[0] for name in TOPOLOGIES]
    names += ["vocaset", "5023", "23370", "26719"]
    folder = repository / "learn2talk"
    sources = [*(folder / "models").glob("*.py"), folder / "losses.py", folder / "balance.py"]
    assert len(sources) > 4
    found = [
        f"{path.name}: {name}"
        for path in sources
        for name in names
        if re.search(rf"\b{name}", path.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert not found
