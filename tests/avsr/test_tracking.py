"""Choosing a face, the mesh, the model file; MediaPipe itself on real clips."""

from __future__ import annotations

import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from avsr import tracking
from avsr.files import read_video
from avsr.tracking import (
    HEAD,
    LIPS_INNER,
    LIPS_OUTER,
    NUM_LANDMARKS,
    FaceTracker,
    TrackingError,
    check_landmarker,
    choose_face,
    face_regions,
    face_triangles,
    fetch_face_landmarker,
    find_face_landmarker,
    landmarker_cache,
)


def face(x: float, y: float, size: float) -> np.ndarray:
    """A face with its centre at x, y and its outer eye corners ``size`` apart, pixels."""
    landmarks = np.zeros((NUM_LANDMARKS, 3), np.float32)
    left, right = HEAD.outer_eyes
    landmarks[left, 0], landmarks[right, 0] = -size / 2, size / 2
    return landmarks + np.array([x, y, 0], np.float32)


def test_one_face_is_followed_over_gaps_and_jumps() -> None:
    track = choose_face([[face(100, 100, 60)], [], [face(250, 100, 60)]], 288, 360)
    np.testing.assert_array_equal(track.tracked, [True, False, True])
    assert np.isnan(track.landmarks[1]).all() and track.max_faces == 1 and track.note == ""


def test_no_face_anywhere() -> None:
    track = choose_face([[], []], 288, 360)
    assert not track.tracked.any() and track.max_faces == 0


def test_of_several_the_largest_most_central_is_kept_throughout_and_said() -> None:
    frames = [[face(60, 60, 40), face(180, 140, 60)] for _ in range(5)]
    frames[2] = [face(60, 60, 70)]  # the talker is lost in one frame: no jump to the other face
    frames[3].reverse()
    track = choose_face(frames, 288, 360)
    np.testing.assert_array_equal(track.tracked, [True, True, False, True, True])
    assert np.nanmax(np.abs(track.landmarks[:, 5, 0] - 180)) == 0
    assert track.max_faces == 2
    assert (
        "up to 2 faces in a frame; kept the largest" in track.note and "x 180 y 140" in track.note
    )


def test_triangles_are_one_outward_surface() -> None:
    pytest.importorskip("mediapipe")
    triangles = face_triangles()
    assert triangles.dtype == np.int32 and triangles.max() == 467
    edges = [tuple(edge) for t in triangles.tolist() for edge in zip(t, t[1:] + t[:1], strict=True)]
    assert len(set(edges)) == len(edges)  # a directed edge once: orientation is consistent


def test_regions_are_consistent() -> None:
    pytest.importorskip("mediapipe")
    regions = face_regions(face_triangles())
    assert regions["lips_outer"].tolist() == list(LIPS_OUTER)
    assert regions["lips_inner"].tolist() == list(LIPS_INNER)
    lips = set(regions["lips"].tolist())
    assert lips >= set(LIPS_OUTER) | set(LIPS_INNER) and len(lips) == 80
    lower, upper = set(regions["lower_face"].tolist()), set(regions["upper_face"].tolist())
    assert lips <= lower and lower | upper == set(range(NUM_LANDMARKS)) and not lower & upper
    assert not lower & set(HEAD.stable)


def test_missing_and_wrong_model_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="no such face landmarker; run 'avsr fetch"):
        check_landmarker(tmp_path / "none.task")
    (tmp_path / "wrong.task").write_bytes(b"not it")
    with pytest.raises(TrackingError, match=r"wrong.task: sha256 is \w{64}, expected 64184e2"):
        FaceTracker(tmp_path / "wrong.task")


def test_missing_mediapipe_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(TrackingError, match=r"pip install 'avsr-learn2talk\[tracking\]'"):
        face_triangles()


def test_fetch_without_network_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(TrackingError, match="not reachable .*copy it to"):
        fetch_face_landmarker(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_fetch_keeps_no_wrong_bytes(tmp_path: Path) -> None:
    (tmp_path / "data/mediapipe_face").mkdir(parents=True)
    (tmp_path / "data/mediapipe_face/face_landmarker.task").write_bytes(b"truncated")
    with pytest.raises(TrackingError, match="sha256 is"):
        fetch_face_landmarker(tmp_path / "models", tmp_path / "data")
    assert not (tmp_path / "models/face_landmarker.task").exists()


def test_model_is_found_here_then_in_the_cache_then_in_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert find_face_landmarker(tmp_path / "data") is None and find_face_landmarker(None) is None
    places = ("data/mediapipe_face", "cache/avsr", "here")
    for place in places:
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        path = tmp_path / place / "face_landmarker.task"
        path.touch()
        found = find_face_landmarker(tmp_path / "data")
        assert found is not None and found.resolve() == path.resolve()
    assert landmarker_cache() == tmp_path / "cache/avsr/face_landmarker.task"


@pytest.mark.real_data
def test_fetch_copies_the_local_file_and_leaves_a_good_one(avsr_data: Path, tmp_path: Path) -> None:
    path = fetch_face_landmarker(tmp_path / "models", avsr_data)
    check_landmarker(path)
    before = path.stat().st_mtime_ns
    assert fetch_face_landmarker(path, None) == path and path.stat().st_mtime_ns == before


@pytest.mark.real_data
def test_real_frames(avsr_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mediapipe")
    frames = read_video(avsr_data / "grid/s1/video/bbaf3s.mp4")[:3]
    with FaceTracker(avsr_data / "mediapipe_face/face_landmarker.task") as tracker:
        track = tracker.track(frames)
        mirrored = tracker.track(frames[:1, :, ::-1])  # not contiguous
        nothing = tracker.track(np.full((2, 288, 360, 3), 128, np.uint8))
        both = tracker.track(np.concatenate([frames[:1], frames[:1, 40:]], axis=1)[:, :520])
    assert track.tracked.all() and track.landmarks.shape == (3, 478, 3)
    assert 50 < np.linalg.norm(track.landmarks[0, 263] - track.landmarks[0, 33]) < 80
    assert mirrored.tracked.all()
    assert not nothing.tracked.any() and nothing.max_faces == 0
    assert both.max_faces == 2 and "up to 2 faces" in both.note
    assert capfd.readouterr().err == ""  # MediaPipe's chatter is not the user's


def test_import_loads_no_mediapipe() -> None:
    assert tracking.TOPOLOGY == "mediapipe-478"
    import subprocess

    code = "import sys, avsr.tracking; sys.exit('mediapipe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
