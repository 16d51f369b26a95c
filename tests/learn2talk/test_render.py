"""Pictures of faces: size, framing, what opens when the mouth opens; any topology."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avsr.files import read_video
from avsr.schema import PhoneTime
from learn2talk.articulation import animate_head, control_curves
from learn2talk.drawing import (
    CROP_MOUTH_SHARE,
    Palette,
    face_camera,
    mouth_camera,
    render_frames,
    render_mouth_crops,
)
from learn2talk.head import build_head
from learn2talk.render import write_face_video
from learn2talk.schema import FaceTemplate, Motion

HEAD = build_head()
FACE = HEAD.template
OPEN = animate_head(HEAD, control_curves([PhoneTime("ɑ", 0.1, 0.5)], 8))


def face_without_a_mouth() -> FaceTemplate:
    """Outer and inner lip contour in a square sheet of skin, filled inside, as MediaPipe's is."""
    turn = np.pi + 2 * np.pi * np.arange(20) / 20
    rings = [
        np.c_[r * np.cos(turn), 0.5 * r * np.sin(turn), np.zeros(20)] for r in (70.0, 25.0, 20.0)
    ]
    vertices = np.concatenate([*rings, [[0.0, 0.0, 0.0]]])
    triangles = []
    for outer in (0, 20):
        for i in range(20):
            j = (i + 1) % 20
            a, b, c, d = outer + i, outer + j, outer + 20 + j, outer + 20 + i
            triangles += [(a, b, c), (a, c, d)]
    triangles += [(40, 40 + i, 41 + i) for i in range(1, 19)]
    regions = {
        "lips_outer": np.arange(20, 40, dtype=np.int32),
        "lips_inner": np.arange(40, 60, dtype=np.int32),
    }
    return FaceTemplate("sheet", vertices[:60], np.array(triangles), regions)


def test_frames_are_contiguous_rgb_of_the_size_asked() -> None:
    frames = list(render_frames(OPEN[:3], FACE, size=64))
    assert len(frames) == 3
    for frame in frames:
        assert frame.shape == (64, 64, 3)
        assert frame.dtype == np.uint8
        assert frame.flags["C_CONTIGUOUS"]
    background = np.array(Palette().background)
    assert (frames[0][0, 0] == background).all()
    assert (frames[0] != background).any(axis=2).mean() > 0.3


def test_threads_keep_the_order_and_the_numbers() -> None:
    one = list(render_frames(OPEN, FACE, size=48, num_threads=1))
    two = list(render_frames(OPEN, FACE, size=48, num_threads=2))
    np.testing.assert_array_equal(np.stack(one), np.stack(two))
    assert (one[0] != one[6]).any()


def test_crops_frame_the_mouth_as_the_real_ones() -> None:
    crops = render_mouth_crops(OPEN, FACE)
    assert crops.shape == (len(OPEN), 96, 96)
    assert crops.dtype == np.uint8
    camera = mouth_camera(FACE)
    width = np.linalg.norm(FACE.lips[10] - FACE.lips[0])
    assert width / camera.mm_per_picture == pytest.approx(CROP_MOUTH_SHARE)
    middle = crops[:, 40:70, 38:58].astype(float)
    assert middle[6].min() < 60 < middle[0].mean()  # the open mouth is dark inside


def test_the_camera_shifts_scales_and_rolls() -> None:
    camera = face_camera(FACE)
    straight = next(render_frames(OPEN[:1], FACE, size=64, camera=camera)).astype(int)
    upside_down = next(
        render_frames(OPEN[:1], FACE, size=64, camera=replace(camera, roll=np.pi))
    ).astype(int)
    assert np.abs(straight - upside_down[::-1, ::-1]).mean() < 1.0
    smaller = next(
        render_frames(OPEN[:1], FACE, size=64, camera=replace(camera, mm_per_picture=900.0))
    )
    background = np.array(Palette().background)
    assert (smaller != background).any(axis=2).sum() < (straight != background).any(axis=2).sum()


@pytest.mark.parametrize("winding", [1, -1])
def test_a_mesh_without_teeth_gets_lips_and_a_dark_mouth(winding: int) -> None:
    face = face_without_a_mouth()
    face = replace(face, triangles=face.triangles[:, ::winding])
    frame = next(render_frames(face.vertices[None], face, size=96, camera=mouth_camera(face)))
    assert frame[48, 48].max() < 70
    lip = frame[48, 48 - int(0.45 * 96 * CROP_MOUTH_SHARE)].astype(int)
    skin = frame[48, 4].astype(int)
    assert lip[0] - lip[1] > skin[0] - skin[1] + 20


def test_wrong_shapes_and_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 5, 3\).*procedural_head"):
        next(render_frames(np.zeros((1, 5, 3)), FACE))
    broken = OPEN[:3].copy()
    broken[2, 0, 0] = np.nan
    with pytest.raises(ValueError, match="frame 2"):
        render_mouth_crops(broken, FACE)


def test_a_video_with_sound_can_be_read_back(tmp_path: Path) -> None:
    sound = (0.1 * np.sin(np.arange(8 * 640) / 10)).astype(np.float32)
    path = tmp_path / "face.mp4"
    write_face_video(path, Motion(OPEN, 25.0, FACE), sound, size=64)
    frames = read_video(path)
    assert frames.shape == (8, 64, 64, 3)
