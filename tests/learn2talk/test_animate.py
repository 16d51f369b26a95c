from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import learn2talk
from avsr.files import read_audio, read_video, write_wav
from learn2talk.animate import animate, displacement_of, generate_lips
from learn2talk.animation_files import animate_file
from learn2talk.cli import main
from learn2talk.data.motion import animated_ids
from learn2talk.files import (
    TrainedStudent,
    load_motion,
    load_student,
    load_template,
    save_motion,
    save_student,
    save_template,
)
from learn2talk.models.student import Student, StudentConfig
from learn2talk.schema import FaceTemplate, Motion

from .conftest import tiny_template


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained student of the tiny face."""
    path = tmp_path_factory.mktemp("student")
    template = tiny_template()
    ids = animated_ids(template)
    torch.manual_seed(0)
    config = StudentConfig(width=16, layers=1, heads=2, feedforward=16)
    save_student(path, Student(config, len(ids)), template, ids, {"corpus": "tests"})
    return path


@pytest.fixture(scope="module")
def trained(folder: Path) -> TrainedStudent:
    return load_student(folder)


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two known speakers."""
    path = tmp_path_factory.mktemp("styled")
    template = tiny_template()
    ids = animated_ids(template)
    torch.manual_seed(0)
    config = StudentConfig(width=16, layers=1, heads=2, feedforward=16, num_styles=2)
    student = Student(config, len(ids))
    torch.nn.init.normal_(student.styles.table)  # type: ignore[union-attr]
    save_student(path, student, template, ids, {"corpus": "tests"}, ("s1", "s2"))
    return path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    rng = np.random.default_rng(0)
    write_wav(path, 0.1 * rng.standard_normal(7000).clip(-3, 3))
    return path


def test_only_the_animated_vertices_move(trained: TrainedStudent) -> None:
    motion = animate(np.random.default_rng(0).uniform(-1, 1, 6400), trained)
    assert motion.vertices.shape == (10, 46, 3) and motion.vertices.dtype == np.float32
    assert motion.fps == 25 and motion.duration_s == 0.4
    away = np.abs(motion.vertices - trained.template.vertices).max(axis=(0, 2))
    assert (away[44:] == 0).all() and (away[:44] > 0).all()


def test_the_package_itself_animates(trained: TrainedStudent, speech: Path, folder: Path) -> None:
    motion = learn2talk.animate(speech, folder)
    np.testing.assert_allclose(motion.vertices, animate(read_audio(speech), trained).vertices)
    code = "import learn2talk, sys; learn2talk.Motion; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        learn2talk.nothing  # noqa: B018


def test_long_speech_in_pieces_equals_the_whole(trained: TrainedStudent) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, 640 * 1003 + 17).astype(np.float32)
    from avsr.audio import log_mel

    with torch.no_grad():
        whole = trained.model(log_mel(torch.from_numpy(sound)[None]))[0].numpy()
    np.testing.assert_allclose(displacement_of(trained, sound), whole, atol=1e-4)


def test_generated_lips_are_those_of_the_animated_face(trained: TrainedStudent) -> None:
    sounds = [np.random.default_rng(i).uniform(-1, 1, 640 * n) for i, n in enumerate((5, 9))]
    lips = generate_lips(trained, sounds)
    assert [one.shape for one in lips] == [(5, 40, 3), (9, 40, 3)] and lips[0].dtype == np.float32
    np.testing.assert_allclose(lips[1], animate(sounds[1], trained).lips, atol=1e-5)


@pytest.mark.parametrize(
    ("sound", "said"),
    [
        (np.zeros(0), "has 0 samples"),
        (np.zeros(1), "has 1 samples at 16 kHz; one frame of the face lasts 640"),
        (np.zeros((2, 16000)), r"shape \(2, 16000\); give mono"),
        (np.full(1000, np.nan), "NaN"),
    ],
)
def test_bad_sound_is_refused(trained: TrainedStudent, sound: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        animate(sound, trained)


def test_motion_file_round_trip(folder: Path, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "face.npz"
    assert animate_file(speech, folder, [out], progress=False) == [out]
    motion, origin = load_motion(out)
    assert motion.vertices.shape == (11, 46, 3) and motion.template.topology == "tiny"
    assert origin["generated"] is True and origin["audio"] == "speech.wav"
    assert origin["student"]["student_sha256"] and origin["student"]["corpus"] == "tests"
    np.testing.assert_array_equal(motion.template.region("lips"), np.arange(40))
    with np.load(out) as stored:
        assert str(stored["unit"]) == "mm" and stored["vertices"].dtype == np.float32


def test_film_has_every_frame_and_sound(folder: Path, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "face.mp4"
    animate_file(speech, folder, [out], size=64, progress=False)
    frames = read_video(out)
    assert frames.shape == (11, 64, 64, 3) and frames.std() > 1
    assert abs(len(read_audio(out)) - 7000) < 2100  # AAC pads to its own frames


def test_another_template_of_the_same_topology(
    trained: TrainedStudent, folder: Path, tmp_path: Path
) -> None:
    own = trained.template
    wide = FaceTemplate(own.topology, own.vertices * 1.1, own.triangles, own.regions)
    save_template(tmp_path / "wide.npz", wide)
    sound = np.random.default_rng(0).uniform(-1, 1, 640)
    moved = animate(sound, trained, load_template(tmp_path / "wide.npz"))
    expected = animate(sound, trained).vertices - own.vertices + wide.vertices
    np.testing.assert_allclose(moved.vertices, expected, atol=1e-4)
    other = FaceTemplate("other", own.vertices, own.triangles, own.regions)
    with pytest.raises(ValueError, match="topology 'other'"):
        animate(sound, trained, other)


def test_command_line(
    folder: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = [str(tmp_path / f"a.{ending}") for ending in ("npz", "mp4", "glb", "csv", "json")]
    main(["animate", str(speech), "--student", str(folder), "--out", *outs, "--size", "32"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{outs[1]}: too short for the sync judge, which looks 15 frames either way"
    assert said[1:] == [f"written {out}" for out in outs]
    assert (tmp_path / "a.glb").read_bytes()[:4] == b"glTF"
    curves = json.loads((tmp_path / "a.json").read_text())
    assert curves["num_frames"] == 11 and curves["fps"] == 25
    assert curves["provenance"]["audio"] == "speech.wav"
    # 11 frames at 25 are 26 at Live Link Face's 60, after one line of names
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 26


def test_style_by_name_by_average_and_by_a_clip(
    styled: Path, trained: TrainedStudent, speech: Path, tmp_path: Path
) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, 640 * 30).astype(np.float32)
    faces = {name: animate(sound, styled, style=name).vertices for name in ("s1", "s2", "average")}
    assert np.abs(faces["s1"] - faces["s2"]).max() > 1e-3
    np.testing.assert_array_equal(faces["average"], learn2talk.animate(sound, styled).vertices)
    reference = animate(sound, trained)
    by_clip = animate(sound, styled, style=reference)
    assert np.abs(by_clip.vertices - faces["average"]).max() > 1e-3
    # A clip of any rate and any topology that has the canonical lips.
    slower = Motion(reference.vertices, 12.5, reference.template)
    assert np.abs(animate(sound, styled, style=slower).vertices - by_clip.vertices).max() > 1e-6
    save_motion(tmp_path / "reference.npz", reference, {})
    out = tmp_path / "face.npz"
    words = ["animate", str(speech), "--student", str(styled), "--out", str(out), "--style"]
    for style in ("s2", str(tmp_path / "reference.npz")):
        main([*words, style])
        _, origin = load_motion(out)
        assert origin["style"] == Path(style).name


def test_styles_that_cannot_be_had(styled: Path, trained: TrainedStudent) -> None:
    sound = np.zeros(6400)
    with pytest.raises(ValueError, match="style 's3' is not known; .* knows s1, s2 and average"):
        animate(sound, styled, style="s3")
    for style in ("s1", "average"):
        with pytest.raises(ValueError, match="this student has no styles; leave the style out"):
            animate(sound, trained, style=style)
    short = animate(np.zeros(640 * 20), trained)
    with pytest.raises(ValueError, match="lasts 0.80 s; give at least 1 s"):
        animate(sound, styled, style=short)
    broken = animate(np.zeros(640 * 30), trained)
    broken.vertices[3, 0] = np.nan
    with pytest.raises(ValueError, match="lips that are not finite"):
        animate(sound, styled, style=broken)


def test_silence_and_stereo_of_any_rate(trained: TrainedStudent, tmp_path: Path) -> None:
    assert np.isfinite(animate(np.zeros(16000), trained).vertices).all()
    both = np.random.default_rng(0).uniform(-0.5, 0.5, (44100, 2)).astype(np.float32)
    soundfile.write(tmp_path / "stereo.wav", both, 44100)
    motion = animate(tmp_path / "stereo.wav", trained)
    assert motion.vertices.shape == (25, 46, 3) and np.isfinite(motion.vertices).all()
    with pytest.raises(ValueError, match="has 320 samples at 16 kHz"):  # 20 ms
        animate(np.zeros(320), trained)


@pytest.mark.parametrize(
    ("audio", "student", "out", "said"),
    [
        ("none.wav", "student", "a.npz", "none.wav: no such file"),
        ("speech.wav", "nowhere", "a.npz", "has no student.json; give the folder"),
        ("speech.wav", "student", "a.gif", "unknown ending '.gif'; give .mp4 (film with sound), "),
        ("speech.wav", "student", "a", "unknown ending ''; give .mp4"),
        ("short.wav", "student", "a.npz", "short.wav has 1 samples"),
    ],
)
def test_errors_are_one_line(
    folder: Path,
    speech: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    audio: str,
    student: str,
    out: str,
    said: str,
) -> None:
    write_wav(tmp_path / "short.wav", np.zeros(1))
    chosen = folder if student == "student" else tmp_path / student
    words = ["animate", str(tmp_path / audio), "--student", str(chosen)]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--out", str(tmp_path / out)])
    assert stop.value.code == 1
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1 and "Traceback" not in shown
    with pytest.raises(SystemExit):
        main([*words, "--out", str(tmp_path / out), "--debug"])
    assert "Traceback" in capsys.readouterr().err
    assert not list(tmp_path.glob("a.*"))


def test_broken_files_are_named(tmp_path: Path, folder: Path) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes((folder / "template.npz").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"broken\.npz: not a complete \.npz"):
        load_template(broken)
    with pytest.raises(ValueError, match=r"template\.npz: has no vertices, fps, provenance"):
        load_motion(folder / "template.npz")
    with pytest.raises(ValueError, match="no such file"):
        load_motion(tmp_path / "none.npz")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_motions_that_are_not_finite_are_refused(
    trained: TrainedStudent, tmp_path: Path, bad: float
) -> None:
    motion = animate(np.zeros(6400), trained)
    motion.vertices[3, 7, 1] = bad
    save_motion(tmp_path / "face.npz", motion, {})
    with pytest.raises(ValueError, match=r"face\.npz: vertex 7 of frame 3 is .*, and 0 others"):
        load_motion(tmp_path / "face.npz")


def test_a_neutral_face_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    face = tiny_template()
    vertices = face.vertices.copy()
    vertices[5, 2] = np.nan
    save_template(
        tmp_path / "face.npz", FaceTemplate("tiny", vertices, face.triangles, face.regions)
    )
    with pytest.raises(ValueError, match=r"face\.npz: vertex 5 of the neutral face is"):
        load_template(tmp_path / "face.npz")


def _tone(kind: str, rate: int) -> np.ndarray:
    """Two seconds that are no speech."""
    time, rng = np.arange(2 * rate) / rate, np.random.default_rng(0)
    chord = sum(np.sin(2 * np.pi * f * time) for f in (261.6, 329.6, 392.0)) / 3
    return {
        "noise": 0.5 * rng.standard_normal(len(time)).clip(-2, 2),
        "music": 0.6 * np.asarray(chord) * (1 + np.sign(np.sin(2 * np.pi * 2 * time))) / 2,
        "clipped": (20 * np.asarray(chord)).clip(-1, 1),
        "quiet": 1e-4 * np.asarray(chord),
    }[kind]


@pytest.mark.parametrize("kind", ["noise", "music", "clipped", "quiet"])
def test_sound_that_is_no_speech_moves_a_finite_face(trained: TrainedStudent, kind: str) -> None:
    motion = animate(_tone(kind, 16000), trained)
    assert len(motion.vertices) == 50 and np.isfinite(motion.vertices).all()


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_sound_of_any_rate_has_the_same_length(
    trained: TrainedStudent, tmp_path: Path, rate: int
) -> None:
    soundfile.write(tmp_path / "a.wav", _tone("music", rate).astype(np.float32), rate)
    assert len(animate(tmp_path / "a.wav", trained).vertices) == 50


@pytest.mark.parametrize("ending", ["mp3", "ogg", "flac"])
def test_other_kinds_of_sound_files(trained: TrainedStudent, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, 0.3 * _tone("music", 16000).astype(np.float32), 16000)
    assert abs(len(animate(path, trained).vertices) - 50) <= 2  # mp3 pads its ends


def test_files_without_sound_are_named(trained: TrainedStudent, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound at all")
    with pytest.raises(ValueError, match=r"text\.wav"):
        animate(tmp_path / "text.wav", trained)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), 16000)
    with pytest.raises(ValueError, match=r"empty\.wav"):
        animate(tmp_path / "empty.wav", trained)
    with pytest.raises(ValueError, match="NaN or infinite samples"):
        animate(np.full(16000, np.nan), trained)


def test_templates_and_motions_check_their_shapes() -> None:
    template = tiny_template()
    with pytest.raises(ValueError, match="names vertices 0 to 46"):
        FaceTemplate("t", template.vertices, np.array([[0, 1, 46]]))
    with pytest.raises(ValueError, match="no region 'nose'; it has lips,"):
        template.region("nose")
    with pytest.raises(ValueError, match=r"shape \(3, 45, 3\)"):
        Motion(np.zeros((3, 45, 3)), 25.0, template)
    with pytest.raises(ValueError, match="fps 0"):
        Motion(np.zeros((3, 46, 3)), 0.0, template)
    short = FaceTemplate("t", template.vertices, template.triangles, {"lips_outer": np.arange(3)})
    with pytest.raises(ValueError, match="no region 'lips_inner'"):
        _ = short.lips
