"""Films as a moving mesh: the camera shows it where the film does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.files import read_video, write_video
from avsr.tracking import FaceTracker, find_face_landmarker
from learn2talk.avatar.backdrop import outline_of
from learn2talk.avatar.drawn_person import pinhole_of
from learn2talk.avatar.films import FilmConfig, eyelid_closure, shrunk, track_person
from learn2talk.avatar.seeding import in_picture
from learn2talk.drawing import Camera
from learn2talk.fitting.procedural import head_model
from tests.learn2talk.avatar.small_person import SIZE, small_person


def open_eyes(frames: int) -> np.ndarray:
    """Landmarks with both eyes 30 wide and 10 high."""
    landmarks = np.zeros((frames, 478, 3))
    for (first, last), x in (((33, 133), 0.0), ((263, 362), 100.0)):
        landmarks[:, first, 0], landmarks[:, last, 0] = x, x + 30.0
    for up, low in ((159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373)):
        landmarks[:, up, 1], landmarks[:, low, 1] = 10.0, 0.0
    return landmarks


def test_lids_come_down_with_the_opening_of_their_own_eye() -> None:
    landmarks = open_eyes(10)
    for up in (159, 158, 160):
        landmarks[4, up, 1] = 3.0  # 0.3 of its opening: below what a closed eye has
        landmarks[5, up, 1] = 5.65  # half way between 0.78 and 0.35
    closure = eyelid_closure(landmarks, np.ones(10, bool))
    assert closure[4].tolist() == [1.0, 0.0]
    assert closure[5, 0] == pytest.approx(0.5)
    assert not closure[[0, 1, 2, 3, 6, 7, 8, 9]].any()


def test_a_frame_without_a_face_keeps_its_eyes_open() -> None:
    landmarks = open_eyes(5)
    landmarks[2] = np.nan
    tracked = np.array([True, True, False, True, True])
    assert not eyelid_closure(landmarks, tracked).any()


def test_pictures_are_made_smaller_with_even_sides_and_never_larger() -> None:
    picture = np.full((101, 201, 3), 77, np.uint8)
    small = shrunk(picture, 51)
    assert small.shape == (50, 102, 3)
    assert (small == 77).all()
    assert shrunk(picture, 101) is picture


@pytest.mark.parametrize("field", ["height", "max_frames", "camera_distance_mm"])
def test_limits_that_cannot_be_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0; give more than 0"):
        FilmConfig(**{field: 0})


def test_a_drawing_and_its_pinhole_camera_agree() -> None:
    """The far pinhole camera puts a point where the orthographic drawing does."""
    view = Camera((3.0, -20.0), 260.0, yaw=0.3, pitch=-0.2)
    camera = pinhole_of(view, 100)
    points = np.array([[0.0, 0, 0], [40, -60, 0], [-30, 20, 50]])
    x, y, _ = in_picture(points, camera)
    cosine, sine = np.cos(0.3), np.sin(0.3)
    up, aside = np.cos(-0.2), np.sin(-0.2)
    turned = points @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]).T
    turned = turned @ np.array([[1, 0, 0], [0, up, aside], [0, -aside, up]]).T
    wanted_x = (turned[:, 0] - 3.0) * 100 / 260 + 50
    wanted_y = -(turned[:, 1] + 20.0) * 100 / 260 + 50
    # 4 m away, 60 mm nearer or farther is 1.5 % larger or smaller.
    np.testing.assert_allclose(x, wanted_x, atol=0.5)
    np.testing.assert_allclose(y, wanted_y, atol=0.5)


def test_a_drawn_head_is_where_its_camera_says() -> None:
    person = small_person()
    for number, film in enumerate(person.films):
        x, y, z = in_picture(film.vertices[0], person.camera_of(number, 0))
        screen = np.stack([x, y, -z], axis=1)
        mesh = outline_of(screen, person.template.triangles, (SIZE, SIZE))
        background = film.pictures[0, 0, 0].astype(int)
        seen = np.abs(film.pictures[0].astype(int) - background).sum(axis=2) > 30
        assert (mesh & seen).sum() / (mesh | seen).sum() > 0.9  # a pixel of outline


def test_no_film_is_refused() -> None:
    with pytest.raises(ValueError, match="no film to make an avatar of"):
        track_person([], Path("none.task"), head_model())


@pytest.mark.real_data
def test_the_mesh_lies_on_the_film(avsr_data: Path) -> None:
    clip = avsr_data / "grid/s1/video/bbaf3s.mp4"
    landmarker = find_face_landmarker(avsr_data)
    assert landmarker is not None
    said: list[str] = []
    person = track_person([clip], landmarker, head_model(), FilmConfig(max_frames=40), said.append)
    film = person.films[0]
    kept = "one picture in 2 is kept"
    assert said == [f"{clip}: 75 frames of 360 x 288, a face in 75; {kept}"]
    assert film.pictures.shape == (38, 288, 360, 3)
    with FaceTracker(landmarker) as tracker:
        track = tracker.track(read_video(clip)[::2])
    lips = list(head_model().anchors)[-40:]  # the lip points come last
    for frame in (0, 20, 37):
        vertices = film.vertices[frame][person.template.lip_ids]
        x, y, _ = in_picture(vertices, person.camera_of(0, frame))
        away = np.hypot(*(np.stack([x, y]) - track.landmarks[frame, lips, :2].T))
        assert away.mean() < 2.0  # pixels; a millimetre is 0.75


@pytest.mark.real_data
def test_what_cannot_become_an_avatar_is_refused(avsr_data: Path, tmp_path: Path) -> None:
    landmarker = find_face_landmarker(avsr_data)
    assert landmarker is not None
    grey = np.full((64, 64, 3), 128, np.uint8)
    write_video(tmp_path / "grey.mp4", [grey] * 5)
    with pytest.raises(ValueError, match="grey.mp4: no face was found in any of 5 frames"):
        track_person([tmp_path / "grey.mp4"], landmarker, head_model(), say=lambda _: None)
    clip = avsr_data / "grid/s1/video/bbaf3s.mp4"
    frames = [np.ascontiguousarray(frame[:, 20:340]) for frame in read_video(clip)[:12]]
    write_video(tmp_path / "narrow.mp4", frames)
    with pytest.raises(ValueError, match="320 x 288, those of .* have 360 x 288"):
        track_person([clip, tmp_path / "narrow.mp4"], landmarker, head_model(), say=lambda _: None)
