"""Named files as a scene: what is shown, what is said about it, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.files import write_wav
from learn2talk.avatar.avatar_files import Avatar, save_avatar
from learn2talk.avatar.binding import pose_splats
from learn2talk.avatar.splat_files import write_splats
from learn2talk.export.gltf import write_glb
from learn2talk.schema import Motion
from learn2talk.viewer.scene import load_scene
from tests.learn2talk.viewer.small_scene import bound_splats, moving, saved, sheet, some_splats


def avatar_file(path: Path, topology: str = "sheet") -> Path:
    save_avatar(path, Avatar(bound_splats(), sheet(topology)))
    return path


def test_one_motion(tmp_path: Path) -> None:
    scene = load_scene([saved(tmp_path / "a.npz", moving())])
    (result,) = scene.results
    assert (result.name, result.kind, result.moves) == ("a.npz", "motion", True)
    assert scene.duration_s == pytest.approx(0.4) and scene.notes == () and scene.sound is None


def test_every_kind_is_told_from_the_others(tmp_path: Path) -> None:
    write_splats(tmp_path / "plain.ply", some_splats())
    corners = "0 0 0\n1 0 0\n0 1 0\n"
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
    header += "property float z\nelement face 1\nproperty list uchar int vertex_indices\n"
    (tmp_path / "mesh.ply").write_text(f"{header}end_header\n{corners}3 0 1 2\n")
    write_glb(tmp_path / "moves.glb", moving())
    names = ["plain.ply", "mesh.ply", "moves.glb", "avatar.ply"]
    avatar_file(tmp_path / "avatar.ply")
    kinds = [load_scene([tmp_path / name]).results[0].kind for name in names]
    assert kinds == ["splats", "mesh", "motion", "avatar"]
    scene = load_scene([tmp_path / "plain.ply"])
    assert scene.duration_s == 0.0 and scene.results[0].motion is None


def test_an_avatar_is_moved_by_the_motion_beside_it(tmp_path: Path) -> None:
    avatar = avatar_file(tmp_path / "head.ply")
    alone = load_scene([avatar]).results[0]
    assert alone.motion is not None and len(alone.motion.vertices) == 1
    motion = moving()
    # Of another person: what is carried over is the movement, not the face.
    face = replace(motion.template, vertices=motion.template.vertices + np.float32(5.0))
    other = Motion(motion.vertices + np.float32(5.0), 25.0, face)
    scene = load_scene([avatar, saved(tmp_path / "talk.npz", other)])
    assert scene.notes == ("head.ply is moved by talk.npz",)
    moved = scene.results[0].motion
    assert moved is not None
    np.testing.assert_allclose(moved.vertices, motion.vertices, atol=1e-5)


def test_an_avatar_of_another_topology_is_an_error_that_names_both(tmp_path: Path) -> None:
    avatar = avatar_file(tmp_path / "head.ply", "other")
    motion = saved(tmp_path / "talk.npz", moving())
    with pytest.raises(ValueError, match=r"head\.ply.*'other'.*talk\.npz.*'sheet'"):
        load_scene([avatar, motion])


def test_bound_splats_without_a_mesh_take_that_of_the_motion(tmp_path: Path) -> None:
    write_splats(tmp_path / "bound.ply", bound_splats())
    with pytest.raises(ValueError, match="mesh that the file does not hold"):
        load_scene([tmp_path / "bound.ply"])
    scene = load_scene([tmp_path / "bound.ply", saved(tmp_path / "talk.npz", moving())])
    assert scene.results[0].kind == "avatar" and scene.results[0].moves


def test_a_motion_of_ours_comes_back_from_a_glb(tmp_path: Path) -> None:
    motion = moving(fps=30.0)
    write_glb(tmp_path / "a.glb", motion, tolerance_mm=1e-4)
    result = load_scene([tmp_path / "a.glb", saved(tmp_path / "a.npz", motion)]).results[0]
    assert result.motion is not None and result.motion.fps == 30.0
    np.testing.assert_allclose(result.motion.vertices, motion.vertices, atol=2e-3)
    assert result.colours is not None and result.colours.shape == (49, 3)
    assert "lips_outer" in result.motion.template.regions  # those of the other file


def test_a_head_pose_comes_back_from_a_glb(tmp_path: Path) -> None:
    from learn2talk.head_pose import with_head_pose

    pose = np.zeros((10, 6), np.float32)
    pose[:, 1], pose[:, 3] = np.linspace(0, 0.5, 10), np.arange(10)
    motion = with_head_pose(moving(), pose)
    write_glb(tmp_path / "a.glb", motion, tolerance_mm=1e-4)
    result = load_scene([tmp_path / "a.glb"]).results[0]
    assert result.motion is not None
    np.testing.assert_allclose(result.motion.vertices, motion.vertices, atol=5e-3)


def test_the_truth_must_fit_one_result(tmp_path: Path) -> None:
    made = saved(tmp_path / "made.npz", moving())
    real = saved(tmp_path / "real.npz", moving(8))
    scene = load_scene([made], truth=real)
    assert scene.compared(scene.results[0])
    assert scene.notes == (
        "made.npz has 10 frames, the truth real.npz 8: compared over the first 8",
    )
    other = saved(tmp_path / "other.npz", moving(topology="other"))
    with pytest.raises(ValueError, match=r"other\.npz has topology 'other'.*made\.npz.*'sheet'"):
        load_scene([made], truth=other)
    both = load_scene([made, other], truth=real)
    assert [both.compared(result) for result in both.results] == [True, False]
    assert "other.npz is not compared" in both.notes[1]
    slow = saved(tmp_path / "slow.npz", moving(fps=30.0))
    with pytest.raises(ValueError, match=r"25 frames a second.*30.*resampling"):
        load_scene([made], truth=slow)


def test_sound_of_another_length_is_said_and_the_longer_end_counts(tmp_path: Path) -> None:
    made = saved(tmp_path / "made.npz", moving(25))
    for seconds, said in ((1.5, "the last pose is held"), (0.5, "goes on after the sound")):
        write_wav(tmp_path / "a.wav", np.zeros(int(16000 * seconds), np.float32))
        scene = load_scene([made], audio=tmp_path / "a.wav")
        assert len(scene.notes) == 1 and said in scene.notes[0]
        assert f"{seconds:.2f} s" in scene.notes[0] and "1.00 s" in scene.notes[0]
        assert scene.duration_s == pytest.approx(max(1.0, seconds), abs=1e-3)
    write_wav(tmp_path / "a.wav", np.zeros(16000 + 640, np.float32))
    assert load_scene([made], audio=tmp_path / "a.wav").notes == ()  # a frame is no mismatch


def broken_npz(path: Path) -> None:
    saved(path, moving())
    path.write_bytes(path.read_bytes()[:300])


def not_a_number_npz(path: Path) -> None:
    motion = moving()
    vertices = motion.vertices.copy()
    vertices[3, 4, 1] = np.nan
    saved(path, replace(motion, vertices=vertices))


def broken_ply(path: Path) -> None:
    avatar_file(path)
    path.write_bytes(path.read_bytes()[:-40])


def not_a_number_ply(path: Path) -> None:
    splats = some_splats()
    positions = splats.positions.clone()
    positions[2, 0] = torch.nan
    write_splats(path, replace(splats, positions=positions))


def broken_glb(path: Path) -> None:
    write_glb(path, moving())
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.npz", broken_npz, "not a complete .npz"),
        ("a.npz", not_a_number_npz, "vertex 4 of frame 3 is"),
        ("a.npz", lambda path: saved(path, moving(0)), "has no frame"),
        ("a.ply", broken_ply, "truncated"),
        ("a.ply", not_a_number_ply, "splat 2 has positions"),
        ("a.ply", lambda path: path.write_text("no ply"), "no PLY file"),
        ("a.glb", broken_glb, "truncated"),
        ("a.glb", lambda path: path.write_bytes(b"glTF"), "no GLB file"),
        ("a.npz", lambda path: None, "no such file"),
        ("a.mp4", lambda path: path.touch(), "not one of .glb, .npz, .ply"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, name: str, make, said) -> None:
    make(tmp_path / name)
    with pytest.raises(ValueError, match=said) as error:
        load_scene([tmp_path / name])
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


def test_a_binding_outside_the_mesh_is_refused(tmp_path: Path) -> None:
    motion = saved(tmp_path / "talk.npz", moving())
    bound = bound_splats()
    write_splats(tmp_path / "a.ply", replace(bound, triangle_ids=bound.triangle_ids + 1000))
    with pytest.raises(ValueError, match=r"a\.ply.*triangle 1000"):
        load_scene([tmp_path / "a.ply", motion])


def test_no_file_or_too_many(tmp_path: Path) -> None:
    motion = saved(tmp_path / "a.npz", moving())
    for paths in ([], [motion] * 10):
        with pytest.raises(ValueError, match=f"{len(paths)} files.*1 to 9"):
            load_scene(paths)


def test_words_reach_the_scene(tmp_path: Path) -> None:
    words = {"words": [{"word": "bin", "start_s": 0.1, "end_s": 0.3}]}
    words["phones"] = [{"phone": "b", "start_s": 0.1, "end_s": 0.2}]
    (tmp_path / "w.json").write_text(json.dumps(words))
    scene = load_scene([saved(tmp_path / "a.npz", moving())], words=tmp_path / "w.json")
    assert scene.timeline.visemes == ("p",) and not scene.timeline.phones_estimated


def test_posed_splats_are_where_the_page_puts_them(tmp_path: Path) -> None:
    """The page's arithmetic on the buffers, in numpy: centre, axes and covariance of each splat."""
    from learn2talk.viewer.buffers import splat_shapes

    bound, face = bound_splats(), sheet()
    vertices = face.vertices * np.float32([1.2, 0.9, 1.0]) + face.vertices[:, ::-1] * 0.1
    triangles = face.triangles.astype(np.int64)
    posed = pose_splats(bound, torch.from_numpy(vertices), torch.from_numpy(triangles))
    wanted, local = splat_shapes(posed), splat_shapes(bound.local)
    for splat, triangle in enumerate(bound.triangle_ids.tolist()):
        v0, v1, v2 = vertices[triangles[triangle]].astype(np.float64)
        a0 = (v1 - v0) / np.linalg.norm(v1 - v0)
        a1 = np.cross(a0, v2 - v0) / np.linalg.norm(np.cross(a0, v2 - v0))
        a2 = -np.cross(a1, a0)
        size = (np.linalg.norm(v1 - v0) + abs(a2 @ (v2 - v0))) / 2
        axes = size * np.stack([a0, a1, a2], axis=1)
        centre = axes @ local[splat, :3] + (v0 + v1 + v2) / 3
        np.testing.assert_allclose(wanted[splat, :3], centre, rtol=1e-4, atol=1e-4)
        xx, xy, xz, yy, yz, zz = local[splat, 4:10]
        spread = axes @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ axes.T
        found = spread[np.triu_indices(3)]
        np.testing.assert_allclose(wanted[splat, 4:10], found, rtol=1e-3, atol=1e-4)
