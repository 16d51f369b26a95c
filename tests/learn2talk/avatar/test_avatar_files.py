"""An avatar in one file: whole, readable by others, refused where it does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from learn2talk.avatar.avatar_files import Avatar, load_avatar, save_avatar
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.splat_files import read_splats, write_splats
from learn2talk.avatar.splats import BoundSplats
from tests.learn2talk.avatar.made_up_splats import made_up_avatar, made_up_splats, pyramid

CAMERA = PinholeCamera(np.diag([1.0, -1, -1]), np.array([0, 0, 700.0]), 600, 600, 4, 3, 8, 6)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_everything_comes_back(tmp_path: Path) -> None:
    avatar = made_up_avatar(camera=CAMERA, background=picture(), provenance={"clip": "ä.mp4"})
    save_avatar(tmp_path / "head.ply", avatar)
    found = load_avatar(tmp_path / "head.ply")
    assert torch.equal(found.splats.triangle_ids, avatar.splats.triangle_ids)
    assert torch.equal(found.splats.local.sh, avatar.splats.local.sh)
    assert found.template.topology == "pyramid"
    assert np.array_equal(found.template.vertices, avatar.template.vertices)
    assert np.array_equal(found.template.triangles, avatar.template.triangles)
    assert list(found.template.regions) == ["tip", "base", "none"]
    assert found.template.regions["base"].tolist() == [3, 0, 1, 2]
    assert found.camera is not None
    assert np.array_equal(found.camera.rotation, CAMERA.rotation)
    assert (found.camera.width, found.camera.fx) == (8, 600)
    assert found.background is not None
    assert np.array_equal(found.background, picture())
    assert found.provenance == {"clip": "ä.mp4"}


def test_a_reader_of_splats_sees_only_splats(tmp_path: Path) -> None:
    avatar = made_up_avatar(camera=CAMERA, background=picture())
    save_avatar(tmp_path / "head.ply", avatar)
    found = read_splats(tmp_path / "head.ply")
    assert isinstance(found, BoundSplats)
    assert torch.equal(found.local.positions, avatar.splats.local.positions)


def test_gaussian_avatars_form_needs_a_template(tmp_path: Path) -> None:
    write_splats(tmp_path / "head.ply", made_up_avatar().splats)
    with pytest.raises(ValueError, match="the file does not hold"):
        load_avatar(tmp_path / "head.ply")
    found = load_avatar(tmp_path / "head.ply", pyramid())
    assert found.camera is None
    assert found.background is None
    few = replace(pyramid(), triangles=pyramid().triangles[:2])
    with pytest.raises(ValueError, match="head.ply: splat .* is bound to triangle"):
        load_avatar(tmp_path / "head.ply", few)


def test_a_template_of_another_topology_is_refused(tmp_path: Path) -> None:
    save_avatar(tmp_path / "head.ply", made_up_avatar())
    other = replace(pyramid(), topology="tower")
    with pytest.raises(ValueError, match="was made on 'pyramid' .* template is 'tower'"):
        load_avatar(tmp_path / "head.ply", other)


def test_unbound_splats_are_no_avatar(tmp_path: Path) -> None:
    write_splats(tmp_path / "head.ply", made_up_splats(5))
    with pytest.raises(ValueError, match="learn2talk avatar bind"):
        load_avatar(tmp_path / "head.ply")


def test_a_motion_of_another_topology_cannot_drive_it() -> None:
    with pytest.raises(ValueError, match="mesh 'pyramid' has \\(5, 3\\)"):
        made_up_avatar().posed(np.zeros((6, 3), np.float32))


def test_posed_at_rest_follows_the_mesh() -> None:
    avatar = made_up_avatar()
    rest = avatar.posed(avatar.template.vertices)
    moved = avatar.posed(avatar.template.vertices + np.array([1, 2, 3], np.float32))
    shift = torch.tensor([1.0, 2, 3]).expand_as(rest.positions)
    torch.testing.assert_close(moved.positions - rest.positions, shift, atol=1e-5, rtol=0)


def test_a_background_needs_its_camera() -> None:
    with pytest.raises(ValueError, match="without the camera"):
        made_up_avatar(background=picture())
    with pytest.raises(ValueError, match="its camera needs uint8"):
        made_up_avatar(background=picture()[1:], camera=CAMERA)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format": 1', '"format": 2', "is of format 2"),
        ('"unit": "mm"', '"unit": "cm"', "in cm"),
        ('"topology"', '"topologie"', "lacks topology"),
        ('{"', '{{"', "comment is damaged"),
        ('"fx": 600', '"fx": -60', "camera cannot be read"),
        ("element mesh_vertex", "element mesh_corner", "has no mesh_vertex"),
        (
            "property float x\nproperty float y\nproperty float z\nelement mesh_tri",
            "property float x\nproperty float z\nproperty float y\nelement mesh_tri",
            "has x, z, y",
        ),
    ],
)
def test_a_damaged_header_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "head.ply"
    save_avatar(path, made_up_avatar(camera=CAMERA))
    data = path.read_bytes()
    assert old.encode() in data
    path.write_bytes(data.replace(old.encode(), new.encode(), 1))
    with pytest.raises(ValueError, match=message):
        load_avatar(path)


def test_a_background_of_another_size_than_the_camera(tmp_path: Path) -> None:
    path = tmp_path / "head.ply"
    save_avatar(path, made_up_avatar(camera=CAMERA, background=picture()))
    data = path.read_bytes()
    said = json.dumps({"width": 8})[1:-1]
    path.write_bytes(data.replace(said.encode(), said.replace("8", "9").encode(), 1))
    with pytest.raises(ValueError, match="48 pixels, its camera 9 x 6"):
        load_avatar(path)


def test_an_avatar_refuses_a_triangle_out_of_range() -> None:
    bound = BoundSplats(made_up_splats(2), torch.tensor([0, 6]))
    with pytest.raises(ValueError, match="splat 1 is bound to triangle 6"):
        Avatar(bound, pyramid())
