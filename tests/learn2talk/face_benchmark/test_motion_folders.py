"""Motions of other topologies, units and rates come in as the same movement; others are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learn2talk.face_benchmark.carrying import carried, drawn_face, lips_of
from learn2talk.face_benchmark.motion_folders import (
    MotionSettings,
    at_video_rate,
    read_motion,
    settings_of,
)
from learn2talk.files import load_motion, save_motion, save_template
from learn2talk.head_pose import with_head_pose
from learn2talk.metrics import lip_gap_mm
from learn2talk.region_files import RegionFile, write_regions
from learn2talk.resampling import resample_motion
from learn2talk.schema import FaceTemplate, Motion
from tests.learn2talk.export.faces import coarse_face
from tests.learn2talk.face_benchmark.talkers import spoken
from tests.learn2talk.sheet_face import Sheet, flame_folder, write_obj, write_ply

FLAME = Sheet(5023)


def gap(moved: np.ndarray) -> np.ndarray:
    """Opening of the lips over rest, mm."""
    lips = lips_of(moved)
    return lip_gap_mm(lips) - lip_gap_mm(drawn_face().lips[None])


def test_a_motion_of_the_built_in_head_is_drawn_as_it_is() -> None:
    motion = spoken("bin now", 0)
    wanted = lip_gap_mm(motion.lips) - lip_gap_mm(motion.template.lips[None])
    np.testing.assert_allclose(gap(carried(motion)), wanted, atol=0.6)


def test_flame_in_metres_without_its_neutral_face_inside(tmp_path: Path) -> None:
    folder = flame_folder(tmp_path / "flame", FLAME)
    frames = FLAME.motion(40, 25.0)
    np.save(tmp_path / "u.npy", frames / 1000.0)
    np.save(tmp_path / "flat.npy", (frames / 1000.0).reshape(40, -1))
    settings = MotionSettings(unit="m", fps=25.0, template=folder)
    motion, losses = read_motion(tmp_path / "u.npy", settings)
    assert losses == () and motion.template.topology == "flame_5023"
    opened = gap(carried(motion))
    assert np.corrcoef(opened, lip_gap_mm(motion.lips))[0, 1] > 0.98
    flat, _ = read_motion(tmp_path / "flat.npy", settings)
    np.testing.assert_array_equal(flat.vertices, motion.vertices)


def test_any_mesh_with_its_regions(tmp_path: Path) -> None:
    """A neutral face of ours, and a mesh with a region file beside it: the same motion."""
    sheet = Sheet(1600)
    np.save(tmp_path / "u.npy", sheet.motion(30, 30.0) / 10.0)
    write_obj(tmp_path / "mesh.obj", sheet.vertices / 10.0, sheet.triangles)
    regions = {"lower_face": sheet.below(-20.0).astype(np.int32)}
    described = RegionFile("my_face", "cm", "a test", regions, sheet.landmarks)
    settings = MotionSettings(unit="cm", fps=30.0, template=tmp_path / "mesh.obj")
    with pytest.raises(ValueError, match=r"has no region file beside it \(mesh\.regions\.json"):
        read_motion(tmp_path / "u.npy", settings)
    write_regions(tmp_path / "mesh.regions.json", described)
    motion, _ = read_motion(tmp_path / "u.npy", settings)
    save_template(tmp_path / "mesh.npz", motion.template)
    again = MotionSettings(unit="cm", fps=30.0, template=tmp_path / "mesh.npz")
    other, _ = read_motion(tmp_path / "u.npy", again)
    np.testing.assert_array_equal(motion.vertices, other.vertices)
    assert gap(carried(at_video_rate(motion))).max() > 2.0


def test_another_rate_is_resampled_by_time() -> None:
    fast = spoken("bin now lay", 0)
    slow = at_video_rate(Motion(fast.vertices, 50.0, fast.template))
    assert slow.fps == 25.0 and len(slow.vertices) == 15
    np.testing.assert_allclose(slow.vertices, resample_motion(fast.vertices, 50.0, 25.0), atol=1e-4)


def test_the_head_pose_is_taken_out(tmp_path: Path) -> None:
    motion = spoken("bin now", 0)
    pose = np.zeros((len(motion.vertices), 6))
    pose[:, 1] = np.linspace(-0.4, 0.4, len(pose))
    save_motion(tmp_path / "u.npz", with_head_pose(motion, pose), {})
    free, _ = read_motion(tmp_path / "u.npz", MotionSettings())
    np.testing.assert_allclose(carried(free), carried(motion), atol=1e-2)


def test_other_topologies_keep_the_opening() -> None:
    """A coarse mesh is carried over: its lips move as they did."""
    head = spoken("bin now lay", 1)
    coarse = coarse_face()
    ids = np.array([40 * ring + spoke for ring in (0, 3) for spoke in range(0, 40, 2)])
    moved = head.vertices[:, ids] - head.template.vertices[ids]
    vertices = np.repeat(coarse.vertices[None], len(moved), axis=0)
    vertices[:, [*range(20), *range(40, 60)]] += moved
    opened = gap(carried(Motion(vertices, 25.0, coarse)))
    assert np.corrcoef(opened, gap(carried(head)))[0, 1] > 0.99


def test_motion_json_speaks_for_its_folder(tmp_path: Path) -> None:
    about = {
        "unit": "cm",
        "fps": 30,
        "loss_sha256": ["c" * 64],
        "source": "a method",
        "template": "t.npz",
    }
    (tmp_path / "motion.json").write_text(json.dumps(about))
    found = settings_of(tmp_path, MotionSettings(unit="cm"))
    assert (found.unit, found.fps, found.losses) == ("cm", 30, ("c" * 64,))
    assert found.source == "a method" and found.template == tmp_path / "t.npz"
    with pytest.raises(ValueError, match="unit is cm, and the option says mm"):
        settings_of(tmp_path, MotionSettings(unit="mm"))
    (tmp_path / "motion.json").write_text(json.dumps({"fpss": 30}))
    with pytest.raises(ValueError, match="fpss unknown or of a wrong type; it may have unit, fps"):
        settings_of(tmp_path, MotionSettings())
    (tmp_path / "motion.json").write_text("[]")
    with pytest.raises(ValueError, match="is a list, not a JSON object"):
        settings_of(tmp_path, MotionSettings())


Change = Callable[[np.ndarray], Any]


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (lambda v: v, {"unit": "mm"}, "its frame rate is not said; give --fps"),
        (lambda v: v, {"fps": 25.0}, "its unit is not said; give --unit mm, cm or m"),
        (lambda v: v, {"unit": "furlong", "fps": 25.0}, "unit 'furlong' is not one of"),
        (lambda v: v, {"unit": "normalised", "fps": 25.0}, "a normalised unit needs mm_per_unit"),
        (lambda v: v / 1000, {"unit": "mm", "fps": 25.0}, r"is its unit m\?"),
        (lambda v: v, {"unit": "m", "fps": 25.0}, r"is its unit mm\?"),
        (lambda v: v[:, :2000], {"unit": "mm", "fps": 25.0}, "topology unknown, no known one has"),
        (lambda v: v[..., :2], {"unit": "mm", "fps": 25.0}, r"a motion is \(T, V, 3\) numbers"),
        (lambda v: v[:0], {"unit": "mm", "fps": 25.0}, "has no frame"),
        (lambda v: v + 30.0, {"unit": "mm", "fps": 25.0}, "is 51.1 mm from its neutral face"),
        (lambda v: v, {"unit": "mm", "fps": 25.0, "topology": "bfm"}, "is not one of flame_5023"),
        (
            lambda v: v,
            {"unit": "mm", "fps": 25.0, "topology": "flame_5023"},
            "has 2500 vertices, topology 'flame_5023' has 5023",
        ),
    ],
)
def test_what_is_ambiguous_or_impossible_is_refused(
    tmp_path: Path, change: Change, settings: dict[str, Any], said: str
) -> None:
    np.save(tmp_path / "u.npy", change(spoken("bin", 0).vertices))
    with pytest.raises(ValueError, match=said) as caught:
        read_motion(tmp_path / "u.npy", MotionSettings(**settings))
    assert "\n" not in str(caught.value)
    assert "u.npy" in str(caught.value) or "bfm" in str(caught.value)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    frames = spoken("bin", 0).vertices.copy()
    frames[3, 7] = np.nan
    np.save(tmp_path / "u.npy", frames)
    with pytest.raises(ValueError, match="vertex 7 of frame 3 is"):
        read_motion(tmp_path / "u.npy", MotionSettings(unit="mm", fps=25.0))
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"not a complete \.npy of numbers"):
        read_motion(tmp_path / "o.npy", MotionSettings(unit="mm", fps=25.0))


def test_a_file_of_another_rate_than_was_said_is_refused(tmp_path: Path) -> None:
    save_motion(tmp_path / "u.npz", spoken("bin", 0), {})
    with pytest.raises(ValueError, match="has 25 fps, 30 were said"):
        read_motion(tmp_path / "u.npz", MotionSettings(fps=30.0))


def test_a_face_without_lips_or_in_metres_is_refused(tmp_path: Path) -> None:
    motion = spoken("bin", 0)
    face = motion.template
    bare = FaceTemplate("bare", face.vertices, face.triangles, {})
    save_motion(tmp_path / "u.npz", Motion(motion.vertices, 25.0, bare), {})
    with pytest.raises(ValueError, match="has no region 'lips_outer'"):
        read_motion(tmp_path / "u.npz", MotionSettings())
    small = FaceTemplate("small", face.vertices / 1000, face.triangles, face.regions)
    save_motion(tmp_path / "u.npz", Motion(motion.vertices / 1000, 25.0, small), {})
    with pytest.raises(ValueError, match=r"its mouth at rest is 0\.\d+ mm wide.*is its unit m\?"):
        read_motion(tmp_path / "u.npz", MotionSettings())


def test_templates_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "u.npy", spoken("bin", 0).vertices)
    save_template(tmp_path / "t.npz", coarse_face())
    told = {"unit": "mm", "fps": 25.0}
    with pytest.raises(ValueError, match=r"its template t\.npz has 223"):
        read_motion(tmp_path / "u.npy", MotionSettings(template=tmp_path / "t.npz", **told))
    with pytest.raises(ValueError, match="no such template"):
        read_motion(tmp_path / "u.npy", MotionSettings(template=tmp_path / "gone.npz", **told))


def test_hashes_of_losses_are_found_wherever_they_are(tmp_path: Path) -> None:
    told = {"student": {"lip_reader_sha256": "a" * 64, "sync_expert_sha256": None}}
    save_motion(tmp_path / "u.npz", spoken("bin", 0), told)
    _, losses = read_motion(tmp_path / "u.npz", MotionSettings(losses=("d" * 64,)))
    assert losses == ("d" * 64, "a" * 64)
    assert load_motion(tmp_path / "u.npz")[1] == told


def test_biwi_has_a_unit_of_its_own(tmp_path: Path) -> None:
    sheet = Sheet(23370)
    folder = tmp_path / "biwi"
    write_ply(folder / "templates" / "BIWI.ply", sheet.vertices / 185.0, sheet.triangles)
    lists = {"lve": sheet.below(-20.0), "fdd": np.flatnonzero(sheet.vertices[:, 1] > 0)}
    for name, ids in lists.items():
        (folder / f"{name}.txt").write_text(" ".join(map(str, ids.tolist())))
    (folder / "mouth_landmarks.txt").write_text(" ".join(map(str, sheet.landmarks.tolist())))
    np.save(tmp_path / "u.npy", sheet.motion(5, 25.0).astype(np.float32) / 185.0)
    about = {"mm_per_unit": 185.0, "fps": 25, "template": "biwi"}
    (tmp_path / "motion.json").write_text(json.dumps(about))
    motion, _ = read_motion(tmp_path / "u.npy", settings_of(tmp_path, MotionSettings()))
    assert motion.template.topology == "biwi_23370"
    np.testing.assert_allclose(motion.vertices, sheet.motion(5, 25.0), atol=1e-2)
