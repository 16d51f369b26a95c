"""The binary buffers hold what the description says, to the error that it states."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from avsr.files import write_wav
from learn2talk.avatar.splat_files import write_splats
from learn2talk.viewer.buffers import Buffer, packed, quantisation, scene_buffers
from learn2talk.viewer.scene import SOUND_RATE_HZ, load_scene
from tests.learn2talk.viewer.small_scene import moving, saved, some_splats


def read(buffers: dict[str, Buffer], address: str, dtype: str) -> Any:
    buffer = buffers[address]
    data = b"".join(buffer.blocks())
    assert len(data) == buffer.num_bytes
    assert b"".join(buffer.blocks()) == data  # a second tab gets the same
    return np.frombuffer(data, dtype)


def test_frames_come_back_within_the_stated_error(tmp_path: Path) -> None:
    motion = moving(130)  # more than two blocks
    description, buffers = scene_buffers(load_scene([saved(tmp_path / "a.npz", motion)]))
    mesh = description["results"][0]["mesh"]
    values = read(buffers, mesh["frames"], "<i2").reshape(130, 49, 3)
    found = np.array(mesh["centre"]) + mesh["step"] * values.astype(np.float64)
    worst = np.abs(found - motion.vertices).max()
    assert worst <= mesh["error_mm"] * 1.001 < 0.002
    assert worst > 0  # something was rounded: the error is not a formality
    json.dumps(description, allow_nan=False)


def test_a_motionless_point_has_a_step(tmp_path: Path) -> None:
    still = np.full((2, 1, 3), 7.0, np.float32)
    steps = quantisation(still)
    assert steps.step > 0 and (packed(still, steps) == 0).all()


def test_the_topology_is_complete(tmp_path: Path) -> None:
    motion = moving()
    description, buffers = scene_buffers(load_scene([saved(tmp_path / "a.npz", motion)]))
    mesh = description["results"][0]["mesh"]
    triangles = read(buffers, mesh["triangles"], "<u4").reshape(-1, 3)
    np.testing.assert_array_equal(triangles, motion.template.triangles)
    drawn = len(read(buffers, mesh["surface_source"], "<u4"))
    assert drawn == 49 + 20  # and a dark mouth, which the sheet has not
    assert len(read(buffers, mesh["surface_colours"], "u1")) == 3 * drawn
    assert read(buffers, mesh["surface_triangles"], "<u4").max() < drawn
    ids = read(buffers, mesh["landmark_ids"], "<u4")
    assert [one["name"] for one in mesh["landmarks"]] == ["lips_inner", "lips_outer"]
    inner = mesh["landmarks"][0]
    np.testing.assert_array_equal(
        ids[inner["first"] : inner["first"] + inner["count"]], np.arange(20, 40)
    )
    assert inner["closed"]


def test_curves_are_the_metrics_of_the_package(tmp_path: Path) -> None:
    motion = moving()
    real = saved(tmp_path / "real.npz", moving(8))
    scene = load_scene([saved(tmp_path / "a.npz", motion)], truth=real)
    description, buffers = scene_buffers(scene)
    curves = description["results"][0]["curves"]
    assert read(buffers, curves["lip_error_mm"], "<f4").tolist() == [0.0] * 8
    gap = read(buffers, curves["lip_gap_mm"], "<f4")
    lower, upper = motion.template.vertices[[25, 35]]
    np.testing.assert_allclose(gap, np.linalg.norm(upper - lower), rtol=1e-6)
    assert description["truth"]["num_frames"] == 8


def test_splats_keep_their_numbers(tmp_path: Path) -> None:
    splats = some_splats(70_000, degree=3)  # more than one block
    write_splats(tmp_path / "a.ply", splats)
    description, buffers = scene_buffers(load_scene([tmp_path / "a.ply"]))
    said = description["results"][0]["splats"]
    assert (said["count"], said["degree"], said["bound"]) == (70_000, 3, False)
    shapes = read(buffers, said["shapes"], "<f4").reshape(-1, 12)
    harmonics = read(buffers, said["harmonics"], "<f2").reshape(-1, 48)
    assert said["bytes"] == shapes.nbytes + harmonics.nbytes
    np.testing.assert_array_equal(shapes[:, :3], splats.positions.numpy())
    np.testing.assert_allclose(shapes[:, 3], splats.opacity_logits.sigmoid().numpy(), rtol=1e-6)
    assert (shapes[:, 10] == -1).all()
    np.testing.assert_allclose(harmonics, splats.sh.reshape(-1, 48).numpy(), atol=2e-3)
    # A covariance has the squared scales as eigenvalues, whatever the rotation.
    xx, xy, xz, yy, yz, zz = shapes[123, 4:10].astype(np.float64)
    values = np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    wanted = np.sort(np.exp(2.0 * splats.log_scales[123].double().numpy()))
    np.testing.assert_allclose(values, wanted, rtol=1e-4)


def test_the_sound_is_a_wav_at_its_rate(tmp_path: Path) -> None:
    wave = 0.5 * np.sin(np.arange(16000) * 0.1).astype(np.float32)
    write_wav(tmp_path / "a.wav", wave)
    scene = load_scene([saved(tmp_path / "a.npz", moving(25))], audio=tmp_path / "a.wav")
    description, buffers = scene_buffers(scene)
    sound = buffers[description["sound"]["address"]]
    data, rate = soundfile.read(io.BytesIO(b"".join(sound.blocks())))
    assert (rate, sound.content_type) == (SOUND_RATE_HZ, "audio/wav")
    assert len(data) == 32000 and abs(np.abs(data).max() - 0.5) < 0.01
