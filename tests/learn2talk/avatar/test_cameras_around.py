"""Cameras in front of and around a head, and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learn2talk.avatar.camera_files import read_cameras, write_cameras
from learn2talk.avatar.camera_paths import front_camera, look_at, orbit_cameras
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.head import build_head
from learn2talk.schema import FaceTemplate
from tests.learn2talk.avatar.made_up_splats import pyramid


def seen(camera: PinholeCamera, points: np.ndarray) -> np.ndarray:
    x, y, z = camera.rotation @ np.asarray(points, dtype=np.float64).T + camera.translation[:, None]
    assert z.min() > camera.near
    return np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=1)


def test_a_camera_that_looks_at_a_point() -> None:
    rotation, translation = look_at((100.0, 50.0, 300.0), (0.0, 10.0, 0.0))
    camera = PinholeCamera(rotation, translation, 200.0, 200.0, 32.0, 24.0, 64, 48)
    np.testing.assert_allclose(camera.centre, [100, 50, 300])
    np.testing.assert_allclose(seen(camera, [(0.0, 10.0, 0.0)]), [[32, 24]], atol=1e-9)
    above, below = seen(camera, [(0.0, 20.0, 0.0), (0.0, 0.0, 0.0)])
    assert above[1] < 24 < below[1]
    assert above[0] == pytest.approx(32)


@pytest.mark.parametrize(
    ("eye", "up", "message"),
    [
        ((0, 0, 0), (0, 1, 0), "eye and target are one point"),
        ((0, 9, 0), (0, 1, 0), "up is along the view"),
        ((0, np.nan, 5), (0, 1, 0), "is not finite"),
    ],
)
def test_where_no_camera_can_look(eye: Any, up: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        look_at(eye, (0, 0, 0), up)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 48), (30, 90)])
def test_the_whole_head_is_in_the_picture_and_fills_it(width: int, height: int) -> None:
    face = build_head().template
    camera = front_camera(face, width, height)
    places = seen(camera, face.vertices)
    size = np.array([width, height])
    assert (places > 0).all()
    assert (places < size).all()
    assert ((places.max(0) - places.min(0)) / size).max() > 0.8
    left, right = places[np.argmin(face.vertices[:, 0])], places[np.argmax(face.vertices[:, 0])]
    assert left[0] < right[0]  # not a mirror


@pytest.mark.parametrize("options", [{}, {"full_circle": True, "height_degrees": 20.0}])
def test_an_orbit_keeps_the_head_in_the_picture(options: dict[str, Any]) -> None:
    face = build_head().template
    cameras = orbit_cameras(face, 40, 80, 60, frames_per_turn=40, **options)
    assert len(cameras) == 40
    for camera in cameras:
        places = seen(camera, face.vertices)
        assert (places > 0).all()
        assert (places < (80, 60)).all()
    middle = (face.vertices.min(0) + face.vertices.max(0)) / 2
    away = np.array([camera.centre for camera in cameras]) - middle
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), np.linalg.norm(away[0]))


def test_an_orbit_swings_to_both_sides() -> None:
    cameras = orbit_cameras(pyramid(), 100, swing_degrees=25.0, frames_per_turn=100)
    away = np.array([camera.centre for camera in cameras]) - np.array([5.0, 5.0, 4.0])
    degrees = np.rad2deg(np.arctan2(away[:, 0], away[:, 2]))
    assert degrees[0] == pytest.approx(0, abs=1e-9)
    assert degrees[25] == pytest.approx(25)
    assert degrees[75] == pytest.approx(-25)
    circle = orbit_cameras(pyramid(), 100, frames_per_turn=100, full_circle=True)
    behind = circle[50].centre - np.array([5.0, 5.0, 4.0])
    assert behind[2] < 0
    assert orbit_cameras(pyramid(), 0) == []


@pytest.mark.parametrize(
    "options",
    [{"num_frames": -1}, {"frames_per_turn": 0}, {"swing_degrees": 200.0}, {"height_degrees": 90}],
)
def test_orbits_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="orbit: .*; give"):
        orbit_cameras(pyramid(), **({"num_frames": 3} | options))


def test_a_face_without_vertices() -> None:
    nothing = FaceTemplate("none", np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="'none' has no vertices"):
        front_camera(nothing)


def test_cameras_come_back_from_their_file(tmp_path: Path) -> None:
    cameras = orbit_cameras(pyramid(), 5, 70, 50)
    write_cameras(tmp_path / "path.json", cameras)
    for before, after in zip(cameras, read_cameras(tmp_path / "path.json"), strict=True):
        assert np.array_equal(before.rotation, after.rotation)
        assert np.array_equal(before.translation, after.translation)
        names = ("fx", "fy", "cx", "cy", "width", "height", "near")
        assert [getattr(before, n) for n in names] == [getattr(after, n) for n in names]


def transforms(**more: Any) -> dict[str, Any]:
    """One camera half a metre in front of the origin and a little to the right, as NeRF says it."""
    matrix = np.eye(4)
    matrix[:3, 3] = 0.1, 0.0, 0.5
    return {"camera_angle_x": 0.6, "frames": [{"transform_matrix": matrix.tolist(), **more}]}


def save(folder: Path, content: Any) -> Path:
    path = folder / "transforms.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_camera_of_nerf(tmp_path: Path) -> None:
    (camera,) = read_cameras(save(tmp_path, transforms()), size=(80, 60), scale=1000.0)
    np.testing.assert_allclose(camera.centre, [100, 0, 500])
    assert camera.fx == camera.fy == pytest.approx(40 / np.tan(0.3))
    assert (camera.cx, camera.cy, camera.width, camera.height) == (40, 30, 80, 60)
    places = seen(camera, np.array([(100.0, 0.0, 0.0), (100.0, 20.0, 0.0), (120.0, 0.0, 0.0)]))
    np.testing.assert_allclose(places[0], [40, 30])
    assert places[1][1] < 30  # up is up
    assert places[2][0] > 40  # right is right


def test_a_camera_of_gaussian_avatars(tmp_path: Path) -> None:
    of_frame = {"fl_x": 900.0, "fl_y": 910.0, "cx": 270.5, "cy": 400.0, "w": 550.0, "h": 802}
    said = transforms(**of_frame, timestep_index=0, camera_index=3, file_path="images/0.png")
    said["frames"].append(dict(said["frames"][0], fl_x=905.0))
    first, second = read_cameras(save(tmp_path, said))
    assert (first.fx, first.fy, first.cx, first.cy) == (900, 910, 270.5, 400)
    assert (first.width, first.height) == (550, 802)
    assert second.fx == 905


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ([1], "neither a file of cameras"),
        ({"frames": []}, "holds no camera"),
        ({"schema": "learn2talk.cameras", "cameras": 3}, "holds no camera"),
        ({"schema": "learn2talk.cameras", "cameras": [{"fx": 1}]}, "camera cannot be read"),
        ({"frames": [{}]}, "frame 0: has no transform_matrix"),
        (transforms(), r"frame 0: names no size \(w, h\)"),
        (transforms(w=8, h=8) | {"camera_angle_x": 4.0}, "camera_angle_x is 4.0; give radians"),
        (transforms(w=8, h=8) | {"camera_angle_x": "wide"}, "camera_angle_x is 'wide'"),
        (transforms(w=8, h=8) | {"camera_angle_x": None}, "frame 0: names no focal length"),
        (transforms(w=8, h=8, fl_x=0), "fx 0"),
        (transforms(w=8.5, h=8), "8.5 x 8 pixels"),
        (transforms(w=8, h=8, k1=0.1), "a lens that distorts"),
        (transforms(w=8, h=8, transform_matrix=[[1, 0], [0, 1]]), "transform_matrix has shape"),
        (transforms(w=8, h=8, transform_matrix="no"), "frame 0: "),
        (transforms(w=8, h=8, transform_matrix=[[2.0] * 4] * 4), "no rotation matrix"),
    ],
)
def test_broken_files_are_refused_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    path = save(tmp_path, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_cameras(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_scale_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a scale of -1.0"):
        read_cameras(save(tmp_path, transforms(w=8, h=8)), scale=-1.0)
