"""Films of avatars: cameras, backgrounds, sound and lips together, and the commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.files import read_audio, read_json, read_video, write_wav
from learn2talk.animate import animate
from learn2talk.animation_files import animate_file
from learn2talk.avatar.avatar_files import Avatar, load_avatar, save_avatar
from learn2talk.avatar.avatar_film import (
    cameras_for,
    draw_avatar,
    motion_on_avatar,
    scaled,
)
from learn2talk.avatar.camera_files import write_cameras
from learn2talk.avatar.camera_paths import front_camera
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.contact_sheet import sheet_of, write_png
from learn2talk.avatar.even_choice import evenly
from learn2talk.avatar.films import Shot
from learn2talk.avatar.lip_sync import lip_sync
from learn2talk.avatar.seeding import SeedConfig, seed_splats
from learn2talk.avatar.splat_files import write_splats
from learn2talk.cli import main
from learn2talk.files import load_motion, save_template
from learn2talk.schema import Motion
from tests.learn2talk.avatar.made_up_splats import made_up_avatar, made_up_splats, pyramid
from tests.learn2talk.avatar.small_person import SIZE, small_person
from tests.learn2talk.conftest import tiny_template


@pytest.fixture(scope="module")
def head() -> Avatar:
    """The procedural head, not fitted, with a camera and a red background."""
    person = small_person()
    seeds = SeedConfig(count=900, shell_share=0.0, body=True)
    splats = seed_splats(person, seeds, [Shot(1, 0), Shot(1, 10)])
    red = np.zeros((SIZE, SIZE, 3), np.uint8)
    red[..., 0] = 200
    return Avatar(splats, person.template, person.camera, red)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from avsr.corpora.espeak import Voice, speak

    words = ["bob", "may", "put", "five", "mops", "by", "me", "we", "saw", "a", "fat", "bee"]
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    write_wav(path, speak(words, Voice("en-us")).waveform)
    return path


def test_cameras_by_word_and_by_file(head: Avatar, tmp_path: Path) -> None:
    front = cameras_for(head, 3)
    assert len(front) == 3
    assert (front[0].width, front[0].height) == (SIZE, SIZE)
    assert len({tuple(one.centre) for one in cameras_for(head, 9, "orbit", 64)}) > 4
    plain = replace(head, camera=None, background=None)
    assert cameras_for(plain, 1)[0].height == 512
    path = tmp_path / "cameras.json"
    write_cameras(path, [front_camera(head.template, 40, 30)])
    assert [one.width for one in cameras_for(head, 2, str(path))] == [40, 40]
    write_cameras(path, [front[0]] * 2)
    with pytest.raises(ValueError, match="has 2 cameras, the motion 3 frames"):
        cameras_for(head, 3, str(path))
    with pytest.raises(ValueError, match="camera 'above' is neither 'front' nor 'orbit'"):
        cameras_for(head, 3, "above")
    with pytest.raises(ValueError, match="film size is 33"):
        cameras_for(head, 3, size=33)


def test_a_view_in_another_size_is_the_same_view() -> None:
    camera = PinholeCamera(np.eye(3), np.array([0, 0, 9.0]), 50, 60, 11, 7, 21, 15)
    larger = scaled(camera, 30)
    assert (larger.width, larger.height) == (42, 30)
    assert (larger.fx, larger.fy, larger.cx, larger.cy) == (100, 120, 22, 14)
    even = scaled(camera, None)
    assert (even.width % 2, even.height) == (0, 14)


def test_the_background_is_the_films_in_its_own_view_only(head: Avatar) -> None:
    rest = head.template.vertices[None]
    own = next(draw_avatar(head, rest, cameras_for(head, 1)))
    assert own[0, 0].tolist() == [200, 0, 0]
    larger = next(draw_avatar(head, rest, cameras_for(head, 1, size=2 * SIZE)))
    assert larger[0, 0].tolist() == [200, 0, 0]
    aside = next(draw_avatar(head, rest, cameras_for(head, 9, "orbit", 64)[3:4]))
    assert aside[0, 0].tolist() == [226, 230, 234]
    chosen = next(draw_avatar(head, rest, cameras_for(head, 1), background=(0, 9, 0)))
    assert chosen[0, 0].tolist() == [0, 9, 0]
    assert own.flags.c_contiguous


def test_one_camera_a_frame_and_vertices_of_its_mesh(head: Avatar) -> None:
    rest = np.repeat(head.template.vertices[None], 2, axis=0)
    with pytest.raises(ValueError, match="1 cameras for 2 frames"):
        next(draw_avatar(head, rest, cameras_for(head, 1)))
    with pytest.raises(ValueError, match="mesh 'procedural_head' has"):
        next(draw_avatar(head, rest[:, :100], cameras_for(head, 2)))


def test_a_motion_of_the_same_topology_keeps_its_displacements(head: Avatar, speech: Path) -> None:
    motion = animate(read_audio(speech)[:16000])
    found, report = motion_on_avatar(motion, head)
    assert found.template is head.template
    moved = found.vertices - head.template.vertices
    wanted = motion.vertices - motion.template.vertices
    # One face is another person's: sizes differ, directions hardly.
    lips = motion.template.lip_ids
    correlation = np.corrcoef(moved[:, lips].ravel(), wanted[:, lips].ravel())[0, 1]
    assert correlation > 0.98
    assert report.scale == pytest.approx(1.0, abs=0.2)


def test_a_motion_of_another_topology_is_carried_over(head: Avatar) -> None:
    face = tiny_template()
    vertices = np.repeat(face.vertices[None], 4, axis=0)
    vertices[2, 20:30, 1] -= 6.0  # the inner lower lip
    found, _ = motion_on_avatar(Motion(vertices, 25.0, face), head)
    lips = head.template.lip_ids
    assert float(np.abs(found.vertices[2][lips] - head.template.lips).max()) > 2.0
    np.testing.assert_allclose(found.vertices[0], head.template.vertices, atol=1e-4)
    with pytest.raises(ValueError, match="no region 'lips_outer'"):
        motion_on_avatar(Motion(pyramid().vertices[None], 25.0, pyramid()), head)


def test_the_judge_finds_how_far_sound_and_lips_are_apart(speech: Path) -> None:
    sound = np.tile(read_audio(speech), 2)
    motion = animate(sound)
    together = lip_sync(sound, motion.lips, motion.template.lips)
    late = lip_sync(sound, np.roll(motion.lips, -4, axis=0), motion.template.lips)
    assert together is not None and late is not None
    assert abs(together.offset_frames) <= 1
    assert late.offset_frames - together.offset_frames == 4  # lips 4 frames early: audio late
    assert lip_sync(sound[: 640 * 8], motion.lips[:8], motion.template.lips) is None
    assert lip_sync(sound[: 640 * 2], motion.lips[:2], motion.template.lips) is None


def test_an_avatar_speaks_in_a_film(head: Avatar, speech: Path, tmp_path: Path) -> None:
    save_avatar(tmp_path / "head.ply", head)
    outs = [tmp_path / "talk.mp4", tmp_path / "talk.npz"]
    said: list[str] = []
    written = animate_file(
        speech, None, outs, avatar=tmp_path / "head.ply", progress=False, say=said.append
    )
    assert written == outs
    film, sound = read_video(outs[0]), read_audio(speech)
    assert len(film) == -(-len(sound) // 640)
    assert film.shape[1:3] == (SIZE, SIZE)
    assert np.abs(film[0, 1, 1].astype(int) - (200, 0, 0)).max() < 40  # H.264 is not exact
    assert abs(len(read_audio(outs[0])) - len(sound)) < 2048  # whole blocks of AAC
    assert len(said) == 1
    assert "ms apart" in said[0] and "bundled judge" in said[0]
    motion, provenance = load_motion(outs[1])
    assert np.array_equal(motion.template.vertices, head.template.vertices)
    assert len(provenance["avatar_sha256"]) == 64


def test_a_camera_without_an_avatar_looks_at_nothing(speech: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="camera 'orbit' looks at an avatar"):
        animate_file(speech, None, [tmp_path / "a.mp4"], camera="orbit")
    with pytest.raises(ValueError, match="none.ply: no such file"):
        animate_file(speech, None, [tmp_path / "a.mp4"], avatar=tmp_path / "none.ply")
    assert not list(tmp_path.iterdir())


def test_splats_are_bound_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_splats(tmp_path / "scan.ply", made_up_splats(30))
    save_template(tmp_path / "face.npz", pyramid())
    asked = ["--template", str(tmp_path / "face.npz"), "--out", str(tmp_path / "head.ply")]
    main(["avatar", "bind", str(tmp_path / "scan.ply"), *asked])
    assert "30 splats on" in capsys.readouterr().out
    avatar = load_avatar(tmp_path / "head.ply")
    posed = avatar.posed(avatar.template.vertices)
    torch.testing.assert_close(posed.positions, made_up_splats(30).positions, atol=1e-3, rtol=0)
    with pytest.raises(SystemExit):
        main(["avatar", "bind", str(tmp_path / "head.ply"), *asked])
    assert "is bound to a mesh already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["avatar", "build", "--out", "head.obj", "--video", "a.mp4"], "an avatar is a .ply file"),
        (["avatar", "procedural", "--out", "head.glb"], "an avatar is a .ply file"),
    ],
)
def test_commands_refuse_other_endings(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_procedural_avatar_by_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, sheet = tmp_path / "head.ply", tmp_path / "sheet.png"
    main(
        ["avatar", "procedural", "--out", str(out), "--sheet", str(sheet), "--size", "48"]
        + ["--config.seeds.count", "400", "--config.training.steps", "3"]
    )
    assert "PSNR" in capsys.readouterr().out
    assert read_json(tmp_path / "head.json")["splats"] == 400
    assert sheet.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_sheet_is_rows_of_pictures(tmp_path: Path) -> None:
    one, other = np.full((4, 6, 3), 10, np.uint8), np.full((4, 6, 3), 90, np.uint8)
    sheet = sheet_of([[one, other], [other, one]])
    assert sheet.shape == (12, 16, 3)
    assert sheet[0, 0, 0] == 10 and sheet[11, 15, 0] == 10 and sheet[5, 0, 0] == 255
    with pytest.raises(ValueError, match="pictures of one size"):
        sheet_of([[one], [one[:3]]])
    write_png(tmp_path / "a.png", sheet)
    assert np.array_equal(read_video(tmp_path / "a.png")[0], sheet)
    assert evenly(101, 3) == [0, 50, 100]
    assert evenly(2, 5) == [0, 1]
    assert evenly(0, 5) == []


def test_an_avatar_of_another_mesh_is_not_animated(speech: Path, tmp_path: Path) -> None:
    save_avatar(tmp_path / "odd.ply", made_up_avatar())
    with pytest.raises(ValueError, match="has no region 'lips_outer'"):
        animate_file(speech, None, [tmp_path / "a.mp4"], avatar=tmp_path / "odd.ply")
