"""A speaking face whose head moves and whose eyes blink: arrays, files, the command."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import learn2talk
from avsr.files import read_audio, read_video, write_wav
from learn2talk.animate import animate
from learn2talk.animation_files import animate_file
from learn2talk.blinks import BlinkConfig, eyelid_closure
from learn2talk.cli import main
from learn2talk.data.motion import animated_ids
from learn2talk.export.arkit import solve_arkit
from learn2talk.export.retarget import retarget
from learn2talk.export.shapes import ARKIT_NAMES
from learn2talk.files import load_motion, save_student
from learn2talk.head import build_head
from learn2talk.head.eyelids import close_eyelids
from learn2talk.head_motion_files import load_head_motion, save_head_motion
from learn2talk.head_pose import with_head_pose, without_head_pose, yaw_pitch_roll
from learn2talk.liveliness import head_poses_for, with_blinks
from learn2talk.models.head_motion import HeadMotionConfig, PoseVAE
from learn2talk.models.student import Student, StudentConfig
from learn2talk.schema import FaceTemplate, Motion

from .conftest import tiny_template

OFTEN = BlinkConfig(per_minute=60.0)
SOUND = np.random.default_rng(0).uniform(-0.3, 0.3, 640 * 60).astype(np.float32)


def save_untrained(folder: Path, template: FaceTemplate) -> Path:
    ids = animated_ids(template)
    torch.manual_seed(0)
    config = StudentConfig(width=16, layers=1, heads=2, feedforward=16)
    save_student(folder, Student(config, len(ids)), template, ids, {"corpus": "tests"})
    return folder


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained student of the procedural head."""
    return save_untrained(tmp_path_factory.mktemp("student"), build_head().template)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained student of a face without eyes."""
    return save_untrained(tmp_path_factory.mktemp("tiny"), tiny_template())


@pytest.fixture(scope="module")
def mover(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained head motion."""
    folder = tmp_path_factory.mktemp("head_motion")
    torch.manual_seed(0)
    model = PoseVAE(HeadMotionConfig(width=16, layers=1, heads=2, feedforward=16, latent=2))
    model.pose_spread = torch.tensor([0.05, 0.05, 0.03, 3.0, 3.0])
    save_head_motion(folder, model, {"corpus": "tests"})
    return folder


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    write_wav(tmp_path / "speech.wav", SOUND[: 640 * 30])
    return tmp_path / "speech.wav"


def test_off_by_default(student: Path) -> None:
    plain = animate(SOUND, student)
    assert plain.head_pose is None
    np.testing.assert_array_equal(plain.vertices, animate(SOUND, student, seed=7).vertices)
    eyes = np.concatenate([plain.template.region(name) for name in ("lid", "lash")])
    assert (plain.vertices[:, eyes] == plain.template.vertices[eyes]).all()


def test_the_head_moves_rigidly_after_the_lips_are_made(student: Path, mover: Path) -> None:
    plain = animate(SOUND, student)
    moved = learn2talk.animate(SOUND, student, head_motion=mover, seed=3)
    assert moved.head_pose is not None and np.abs(moved.head_pose).max() > 0.01
    np.testing.assert_array_equal(moved.head_pose[0], 0)  # it begins looking straight ahead
    np.testing.assert_array_equal(moved.head_pose, head_poses_for(mover, SOUND, 3))
    np.testing.assert_allclose(without_head_pose(moved).vertices, plain.vertices, atol=1e-4)
    np.testing.assert_allclose(
        moved.vertices, with_head_pose(plain, moved.head_pose).vertices, atol=1e-6
    )


def test_seeds_choose_the_motion(student: Path, mover: Path) -> None:
    options = {"head_motion": load_head_motion(mover), "blinks": True}
    one, again, other = (
        animate(SOUND, student, **options, seed=seed)  # type: ignore[arg-type]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.vertices, again.vertices)
    assert one.head_pose is not None and other.head_pose is not None
    assert np.abs(one.head_pose - other.head_pose).max() > 0.01


def test_a_long_sound_in_pieces_has_one_smooth_motion(mover: Path) -> None:
    long = np.random.default_rng(1).uniform(-0.3, 0.3, 640 * 903 + 100).astype(np.float32)
    poses = head_poses_for(mover, long, 0)
    assert poses.shape == (904, 6) and poses.dtype == np.float32
    speed = np.linalg.norm(np.diff(poses / [0.05, 0.05, 0.03, 3.0, 3.0, 1.0], axis=0), axis=1)
    assert speed[[399, 799]].max() <= np.quantile(speed, 0.99)  # pieces end there


def test_a_given_start_is_where_it_begins(mover: Path) -> None:
    start = np.array([0.1, 0.0, -0.05, 2.0, 1.0, 0.0])
    np.testing.assert_allclose(head_poses_for(mover, SOUND, 0, start)[0], start, atol=1e-6)
    for wrong in (np.zeros(5), np.full(6, np.nan)):
        with pytest.raises(ValueError, match=r"start pose is .*; give 6 finite numbers"):
            head_poses_for(mover, SOUND, 0, wrong)


def test_blinks_move_the_lids_alone(student: Path) -> None:
    plain = animate(SOUND, student)
    blinking = with_blinks(plain, 0, OFTEN)
    moved = np.flatnonzero(np.abs(blinking.vertices - plain.vertices).max(axis=(0, 2)) > 0)
    lids = np.union1d(plain.template.region("lid"), plain.template.region("lash"))
    assert 50 < len(moved) and np.isin(moved, lids).all()
    posed = with_head_pose(plain, np.zeros((60, 6)))
    with pytest.raises(ValueError, match="let it blink first"):
        with_blinks(posed)


def test_arkit_curves_are_those_of_the_still_head_with_blinks(student: Path, mover: Path) -> None:
    plain = animate(SOUND, student)
    blinking = with_blinks(plain, 0, OFTEN)
    still = solve_arkit(plain)
    moved = solve_arkit(with_head_pose(blinking, head_poses_for(mover, SOUND)))
    eyes = [ARKIT_NAMES.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
    others = [k for k in range(52) if k not in eyes]
    assert (still.weights[:, eyes] == 0).all() and still.head_rotation is None
    assert {"eyeBlinkLeft", "eyeBlinkRight"} <= set(moved.driven)
    np.testing.assert_allclose(moved.weights[:, others], still.weights[:, others], atol=0.01)
    closure = eyelid_closure(60, np.random.default_rng(0), OFTEN)
    assert closure.max() == pytest.approx(1)
    for eye in eyes:
        np.testing.assert_allclose(moved.weights[:, eye], closure, atol=0.08)
    assert moved.head_rotation is not None
    np.testing.assert_allclose(
        moved.head_rotation, yaw_pitch_roll(head_poses_for(mover, SOUND)), atol=1e-6
    )


def test_one_eye_is_one_curve(student: Path) -> None:
    plain = animate(SOUND[: 640 * 5], student)
    left = np.array([[0.0, c] for c in (0, 0.5, 1, 0.5, 0)])  # the face's own left: image right
    winking = Motion(close_eyelids(plain.vertices, plain.template, left), 25.0, plain.template)
    curves = solve_arkit(winking)
    np.testing.assert_allclose(
        curves.weights[:, ARKIT_NAMES.index("eyeBlinkLeft")], left[:, 1], atol=0.1
    )
    assert curves.weights[:, ARKIT_NAMES.index("eyeBlinkRight")].max() == 0


def test_a_posed_motion_goes_on_another_face(student: Path, mover: Path) -> None:
    plain = animate(SOUND[: 640 * 4], student)
    pose = head_poses_for(mover, SOUND[: 640 * 4], 1)
    free, report = retarget(plain, tiny_template())
    posed, again = retarget(with_head_pose(plain, pose), tiny_template())
    np.testing.assert_array_equal(posed.head_pose, pose)
    np.testing.assert_allclose(without_head_pose(posed).vertices, free.vertices, atol=1e-3)
    assert again.lip_error_max_mm == pytest.approx(report.lip_error_max_mm, abs=1e-3)


def glb_parts(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[20 + size + 8 :]


def floats(document: dict, binary: bytes, accessor: int) -> np.ndarray:
    view = document["bufferViews"][document["accessors"][accessor]["bufferView"]]
    part = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    return np.frombuffer(part, "<f4").reshape(document["accessors"][accessor]["count"], -1)


def test_every_file_holds_it(student: Path, mover: Path, speech: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"a.{ending}" for ending in ("npz", "mp4", "glb", "csv", "json")]
    options = {"head_motion": mover, "blinks": True, "seed": 5}
    animate_file(speech, student, outs, size=64, progress=False, **options)  # type: ignore[arg-type]
    motion, origin = load_motion(outs[0])
    assert origin["blinks"] is True and origin["seed"] == 5
    assert origin["head_motion_sha256"] == load_head_motion(mover).provenance["weights_sha256"]
    pose = motion.head_pose
    assert pose is not None
    np.testing.assert_array_equal(
        motion.vertices,
        animate(speech, student, **options).vertices,  # type: ignore[arg-type]
    )
    frames = read_video(outs[1]).astype(int)
    hair = frames[:, 8:16, 20:44]
    assert np.abs(hair - hair[0]).max() > 20  # the whole head moves in the film
    document, binary = glb_parts(outs[2])
    animation = document["animations"][0]
    paths = {
        c["target"]["path"]: animation["samplers"][c["sampler"]] for c in animation["channels"]
    }
    assert set(paths) == {"weights", "rotation", "translation"}
    moved = floats(document, binary, paths["translation"]["output"])
    np.testing.assert_allclose(moved, pose[:, 3:] / 1000, atol=1e-7)
    turns = floats(document, binary, paths["rotation"]["output"])
    assert turns.shape == (30, 4)
    np.testing.assert_allclose(2 * turns[:, :3], pose[:, :3], atol=2e-3)
    assert document["asset"]["extras"]["reconstruction_error"]["error_max_mm"] < 0.5
    with open(outs[3], newline="") as stream:
        rows = list(csv.DictReader(stream))
    angles = yaw_pitch_roll(pose)
    for place, name in enumerate(("HeadYaw", "HeadPitch", "HeadRoll")):
        column = [float(row[name]) for row in rows]
        at_25 = np.interp(np.arange(30) * 60 / 25, np.arange(len(column)), column)
        np.testing.assert_allclose(at_25[:-1], angles[:-1, place], atol=5e-3)
    curves = json.loads(outs[4].read_text())
    assert curves["head_rotation_names"] == ["headYaw", "headPitch", "headRoll"]
    np.testing.assert_allclose(curves["head_rotation_rad"], angles, atol=1e-5)


def test_command_line(
    student: Path, mover: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.npz"
    words = ["animate", str(speech), "--student", str(student), "--out", str(out)]
    main([*words, "--head-motion", str(mover), "--blinks", "--seed", "2"])
    motion, _ = load_motion(out)
    np.testing.assert_array_equal(motion.head_pose, head_poses_for(mover, read_audio(speech), 2))
    main([*words, "--blinks"])
    assert load_motion(out)[0].head_pose is None
    main(words)
    motion, origin = load_motion(out)
    assert "seed" not in origin and "blinks" not in origin and motion.head_pose is None
    capsys.readouterr()


@pytest.mark.parametrize(
    ("face", "options", "said"),
    [
        (
            "tiny",
            ["--blinks"],
            "topology 'tiny' has no eyelids that can close; only the procedural",
        ),
        (
            "student",
            ["--head-motion", "nowhere"],
            "nowhere: has no head_motion.json; give the fold",
        ),
        ("student", ["--blinks", "--seed", "-1"], "seed is -1; give a whole number from 0"),
    ],
)
def test_what_cannot_be_is_one_line(
    request: pytest.FixtureRequest,
    speech: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    face: str,
    options: list[str],
    said: str,
) -> None:
    words = ["animate", str(speech), "--student", str(request.getfixturevalue(face))]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--out", str(tmp_path / "a.npz"), *options])
    assert stop.value.code == 1
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1
    assert not (tmp_path / "a.npz").exists()
