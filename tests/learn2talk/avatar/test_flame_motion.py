"""Motions to FLAME's parameters and back, through identities, topologies and head poses.

We hold no FLAME: the model here is a stand-in made by code (`made_up_flame`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import learn2talk
from avsr.video import rotation_matrices
from learn2talk.avatar.avatar_files import load_avatar
from learn2talk.avatar.binding import pose_splats
from learn2talk.avatar.flame_motion import (
    flame_face,
    flame_params_of,
    motion_of_flame,
    placed_as,
)
from learn2talk.avatar.flame_params import (
    FlameParams,
    flame_vertices,
    read_flame_params,
    write_flame_params,
)
from learn2talk.avatar.splat_files import write_splats
from learn2talk.avatar.splats import BoundSplats
from learn2talk.cli import main
from learn2talk.files import save_motion
from learn2talk.head_pose import with_head_pose, without_head_pose
from learn2talk.region_files import RegionFile, write_regions
from learn2talk.schema import FaceTemplate, Motion
from tests.learn2talk.avatar.made_up_flame import (
    flame_arrays,
    flame_of_ict,
    made_up_flame,
    random_params,
    sheet_of,
)
from tests.learn2talk.avatar.made_up_splats import made_up_splats
from tests.learn2talk.avatar.test_flame_fit import spoken
from tests.learn2talk.export import faces
from tests.learn2talk.sheet_face import flame_folder

MODEL = made_up_flame()
HEAD_POSE = np.random.default_rng(5).normal(0.0, 1.0, (6, 6)) * [0.3, 0.3, 0.3, 40, 40, 40]


def test_a_motion_of_the_model_is_found_again_on_the_same_head() -> None:
    params = spoken(6)
    motion = motion_of_flame(MODEL, params, 25.0)
    found, report = flame_params_of(motion, MODEL, avatar=params)
    assert report.mean_mm < 0.05 and report.retarget is None and report.lips_mean_mm is None
    np.testing.assert_array_equal(found.shape, params.shape)
    np.testing.assert_array_equal(found.static_offset, params.static_offset)
    away = 1000.0 * (flame_vertices(MODEL, found) - flame_vertices(MODEL, params))
    assert np.linalg.norm(away, axis=2).mean() < 0.05
    assert report.mean_mm == pytest.approx(np.linalg.norm(away, axis=2).mean(), abs=2e-3)
    assert report.mean_mm < report.p95_mm < report.max_mm
    assert report.jaw_max_degrees == pytest.approx(
        np.degrees(np.linalg.norm(params.jaw_pose, axis=1)).max(), abs=0.5
    )


def test_a_motion_in_mm_has_the_head_at_rest_as_template() -> None:
    params = random_params(6)
    motion = motion_of_flame(MODEL, params, 30.0, {"lips": np.arange(4, dtype=np.int32)})
    assert motion.fps == 30.0 and motion.template.topology == "flame_401"
    np.testing.assert_array_equal(motion.template.region("lips"), [0, 1, 2, 3])
    rest = flame_vertices(MODEL, FlameParams.at_rest(1, params.shape, params.static_offset))[0]
    np.testing.assert_allclose(motion.template.vertices, 1000.0 * rest, atol=1e-4)
    np.testing.assert_allclose(motion.vertices, 1000.0 * flame_vertices(MODEL, params), atol=1e-4)


def test_the_whole_heads_turn_is_the_head_pose() -> None:
    params = random_params(6)
    still = replace(params, rotation=0 * params.rotation, translation=0 * params.translation)
    free = without_head_pose(motion_of_flame(MODEL, params, 25.0))
    wanted = motion_of_flame(MODEL, still, 25.0)
    np.testing.assert_allclose(free.vertices, wanted.vertices, atol=1e-3)
    assert wanted.head_pose is None


def test_a_head_pose_becomes_rotation_and_translation() -> None:
    params = spoken(6)
    free = without_head_pose(motion_of_flame(MODEL, params, 25.0))
    motion = with_head_pose(free, HEAD_POSE)
    found, report = flame_params_of(motion, MODEL, avatar=params)
    assert report.mean_mm < 0.05  # of the face without its pose
    posed = 1000.0 * flame_vertices(MODEL, found)
    assert np.linalg.norm(posed - motion.vertices, axis=2).mean() < 0.05
    without, _ = flame_params_of(free, MODEL, avatar=params)
    np.testing.assert_allclose(found.expr, without.expr, atol=1e-3)
    assert not without.rotation.any() and not without.translation.any()


def test_a_head_stands_as_the_avatars_in_its_first_frame() -> None:
    """The first frame's turn about the root joint and its translation, after the motion's own."""
    params, avatar = spoken(6), random_params(3, seed=4)
    params = replace(params, rotation=HEAD_POSE[:, :3], translation=HEAD_POSE[:, 3:] / 1000.0)
    placed = placed_as(params, avatar)
    free = replace(params, neck_pose=placed.neck_pose, eyes_pose=placed.eyes_pose)
    np.testing.assert_array_equal(placed.neck_pose, np.repeat(avatar.neck_pose[:1], 6, axis=0))
    np.testing.assert_array_equal(placed.eyes_pose[5], avatar.eyes_pose[0])
    own = MODEL.vertices + MODEL.shapes @ params.shape + params.static_offset
    root = MODEL.joint_regressor[0] @ (own + np.moveaxis(MODEL.expressions @ params.expr.T, 2, 0))
    turn = rotation_matrices(avatar.rotation[0].astype(np.float64))
    wanted = (flame_vertices(MODEL, free) - root[:, None]) @ turn.T + root[:, None]
    wanted = wanted + avatar.translation[0]
    np.testing.assert_allclose(flame_vertices(MODEL, placed), wanted, atol=1e-6)


def test_another_identity_keeps_its_own_face() -> None:
    """The movement is carried over; the avatar's neutral face is not the motion's."""
    params, other = spoken(6), random_params(1, seed=9)
    motion = motion_of_flame(MODEL, params, 25.0)
    found, report = flame_params_of(motion, MODEL, avatar=other)
    np.testing.assert_array_equal(found.shape, other.shape)
    carried = motion_of_flame(MODEL, found, 25.0)
    moved = carried.vertices - carried.template.vertices
    wanted = motion.vertices - motion.template.vertices
    away = np.linalg.norm(moved - wanted, axis=2)
    assert away.mean() == pytest.approx(report.mean_mm, abs=2e-3)
    assert report.mean_mm < 0.2  # the other jaw turns about another joint
    assert np.abs(carried.template.vertices - motion.template.vertices).max() > 5.0
    rest = replace(motion, vertices=np.repeat(motion.template.vertices[None], 2, axis=0))
    still, _ = flame_params_of(rest, MODEL, avatar=other)
    np.testing.assert_allclose(still.expr, 0.0, atol=1e-3)
    np.testing.assert_allclose(still.jaw_pose, 0.0, atol=1e-5)


def test_lips_of_the_motion_are_measured_and_favoured() -> None:
    params = spoken(4)
    motion = motion_of_flame(MODEL, params, 25.0)
    rough = motion.vertices + np.random.default_rng(0).normal(0, 0.5, motion.vertices.shape)
    lips = {"lips": np.arange(100, 130, dtype=np.int32)}
    named = Motion(rough, 25.0, replace(motion.template, regions=lips))
    plain, plain_report = flame_params_of(Motion(rough, 25.0, motion.template), MODEL)
    _, report = flame_params_of(named, MODEL)
    assert plain_report.lips_mean_mm is None and report.lips_mean_mm is not None
    assert "no lips known" in plain_report.lines()[0]
    assert f"lips {report.lips_mean_mm:.3f}" in report.lines()[0]
    assert report.lips_mean_mm < report.mean_mm


@pytest.fixture(scope="module")
def flame_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user of FLAME has: model, masks and landmarks, here of the stand-in."""
    folder = flame_folder(tmp_path_factory.mktemp("flame"), sheet_of(5023))
    np.savez(folder / "flame.npz", **flame_arrays(5023))
    return folder


def test_the_face_has_its_regions_from_the_users_files(flame_files: Path, tmp_path: Path) -> None:
    model, params = made_up_flame(5023), random_params(1, num_vertices=5023)
    face = flame_face(model, params, flame_files)
    assert face.topology == "flame_5023" and len(face.lip_ids) == 40
    assert {"lips", "lower_face", "upper_face"} <= set(face.regions)
    rest = replace(FlameParams.at_rest(), shape=params.shape, static_offset=params.static_offset)
    np.testing.assert_allclose(face.vertices, 1000.0 * flame_vertices(model, rest)[0], atol=1e-4)
    assert flame_face(model, params).regions == {}
    with pytest.raises(ValueError, match="has no FLAME masks"):
        flame_face(model, params, tmp_path)


def test_a_motion_of_another_topology_is_retargeted_first(flame_files: Path) -> None:
    motion = faces.spoken()
    short = replace(motion, vertices=motion.vertices[:8])
    model = made_up_flame(5023)
    found, report = flame_params_of(short, model, folder=flame_files)
    assert len(found) == 8 and report.retarget is not None
    assert report.retarget.lip_error_max_mm < 1e-3
    assert "before, from another topology" in report.lines()[-1]
    # The mouth opens with the source's: the bumps of the stand-in are no lips, so roughly.
    face = flame_face(model, found, flame_files)
    carried = motion_of_flame(model, found, 25.0, face.regions)

    def opening(what: Motion) -> np.ndarray:
        return np.asarray(what.lips[:, 25, 1] - what.lips[:, 35, 1])

    assert np.corrcoef(opening(short), opening(carried))[0, 1] > 0.9
    assert report.lips_mean_mm is not None and report.lips_mean_mm < 2.0
    with pytest.raises(ValueError, match=r"face is 'procedural_head' .*--flame-files"):
        flame_params_of(short, model)


@pytest.mark.slow
@pytest.mark.real_data
def test_speech_of_grid_on_a_real_heads_geometry(avsr_data: Path, tmp_path: Path) -> None:
    """The bundled student hears a GRID clip; the mouth that follows is off by half a millimetre."""
    motion = learn2talk.animate(avsr_data / "grid" / "others" / "lbax4n.mpg")
    model, face = flame_of_ict(avsr_data / "ict_facekit")
    described = RegionFile(model.topology, "m", "ICT-FaceKit", face.regions)
    write_regions(tmp_path / "regions.json", described)
    found, report = flame_params_of(motion, model, folder=tmp_path)
    print(*report.lines(), sep="\n")
    assert len(found) == 75
    assert report.mean_mm < 0.25 and report.p95_mm < 1.0
    assert report.lips_mean_mm is not None and report.lips_mean_mm < 0.5
    assert report.expression_max < 2.0


def test_motions_that_cannot_be_fitted() -> None:
    motion = motion_of_flame(MODEL, spoken(2), 25.0)
    with pytest.raises(ValueError, match="motion has 0 frames"):
        flame_params_of(replace(motion, vertices=motion.vertices[:0]), MODEL)
    vertices = motion.vertices.copy()
    vertices[1, 3, 0] = np.nan
    with pytest.raises(ValueError, match="not finite at frame 1, vertex 3"):
        flame_params_of(replace(motion, vertices=vertices), MODEL)
    few = FaceTemplate("flame_401", motion.template.vertices[:9], np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="with 9 vertices, FLAME's 'flame_401'"):
        flame_params_of(Motion(motion.vertices[:, :9], 25.0, few), MODEL)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "flame.npz", **flame_arrays())
    params = spoken(6)
    save_motion(tmp_path / "motion.npz", motion_of_flame(MODEL, params, 25.0), {"made": "here"})
    write_flame_params(tmp_path / "avatar.npz", params, 401)
    out = tmp_path / "flame_param.npz"
    words = ["avatar", "flame-params", str(tmp_path / "motion.npz"), "--out", str(out)]
    words += ["--flame", str(tmp_path / "flame.npz")]
    main([*words, "--avatar-params", str(tmp_path / "avatar.npz")])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("distance of FLAME's vertices from the motion's: mean 0.0")
    assert printed[-1] == f"written {out}: 6 frames, made at 25 a second"
    found = read_flame_params(out)
    np.testing.assert_array_equal(found.shape, params.shape)
    away = flame_vertices(MODEL, found) - flame_vertices(MODEL, params)
    assert 1000.0 * np.linalg.norm(away, axis=2).mean() < 0.05
    place = replace(params, translation=params.translation + 0.5, rotation=params.rotation + 0.1)
    write_flame_params(tmp_path / "there.npz", place, 401)
    main([*words, "--avatar-params", str(tmp_path / "there.npz"), "--as-first-frame"])
    np.testing.assert_allclose(read_flame_params(out).translation, 0.5)
    np.testing.assert_allclose(read_flame_params(out).rotation, 0.1, atol=1e-6)
    main(words)
    assert not read_flame_params(out).shape.any() and not read_flame_params(out).rotation.any()
    with pytest.raises(SystemExit):
        main([*words, "--as-first-frame"])
    assert "give --avatar-params" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--avatar-params", str(tmp_path / "none.npz")])
    assert "none.npz: no such file" in capsys.readouterr().err


def test_a_head_of_gaussian_avatars_is_driven(
    flame_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its splats, its parameters and FLAME: an avatar in mm, which moves as the parameters say."""
    model, params = made_up_flame(5023), random_params(2, num_vertices=5023)
    ids = torch.arange(0, len(model.triangles), 50)
    bound = BoundSplats(made_up_splats(len(ids)), ids)
    write_splats(tmp_path / "point_cloud.ply", bound)
    write_flame_params(tmp_path / "flame_param.npz", params, 5023)
    words = ["avatar", "from-flame", str(tmp_path / "point_cloud.ply"), "--out"]
    words += [str(tmp_path / "head.ply"), "--params", str(tmp_path / "flame_param.npz")]
    main([*words, "--flame", str(flame_files / "flame.npz")])
    assert f"{len(ids)} splats on flame_5023" in capsys.readouterr().out
    avatar = load_avatar(tmp_path / "head.ply")
    assert len(avatar.template.lip_ids) == 40
    motion = motion_of_flame(model, params, 25.0)
    np.testing.assert_array_equal(avatar.template.vertices, motion.template.vertices)
    posed = avatar.posed(motion.vertices[1])
    in_metres = pose_splats(
        bound,
        torch.from_numpy(flame_vertices(model, params)[1]),
        torch.from_numpy(model.triangles.astype(np.int64)),
    )
    torch.testing.assert_close(posed.positions, 1000 * in_metres.positions, rtol=1e-4, atol=0.01)
    torch.testing.assert_close(
        posed.log_scales, in_metres.log_scales + np.log(1000.0), rtol=0, atol=1e-3
    )
    more = BoundSplats(bound.local, ids + 200)  # triangles that FLAME without teeth has not
    write_splats(tmp_path / "point_cloud.ply", more)
    with pytest.raises(SystemExit):
        main([*words, "--flame", str(flame_files / "flame.npz")])
    assert "is bound to triangle" in capsys.readouterr().err
