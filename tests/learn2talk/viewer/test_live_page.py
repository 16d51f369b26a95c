"""What `learn2talk live` serves: the face, the checks before the socket, the command to its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.files import read_jsonl, write_wav
from learn2talk.avatar.avatar_files import Avatar, save_avatar
from learn2talk.avatar.splats import BoundSplats, Splats
from learn2talk.data.motion import animated_ids
from learn2talk.files import TrainedStudent
from learn2talk.models.student import Student, StudentConfig
from learn2talk.schema import FaceTemplate
from learn2talk.viewer.live_page import (
    LIVE_LOOK_AHEAD_FRAMES,
    SOCKET,
    live_look_ahead,
    live_result,
)
from learn2talk.viewer.live_service import LiveService
from learn2talk.viewer.live_socket import LiveSocket
from learn2talk.viewer.scene import Scene
from learn2talk.viewer.server import build_app

from ..conftest import tiny_template

pytest.importorskip("aiohttp", reason="the extra viewer is not installed")


def student_of(look_ahead_frames: int = 6) -> TrainedStudent:
    template = tiny_template()
    ids = animated_ids(template)
    torch.manual_seed(0)
    config = StudentConfig(
        width=16, layers=2, heads=2, feedforward=16, look_ahead_frames=look_ahead_frames
    )
    return TrainedStudent(Student(config, len(ids)).eval(), template, ids, {})


def avatar_of(template: FaceTemplate, path: Path) -> Path:
    """An avatar of three grey splats on a face."""
    splats = Splats(
        torch.from_numpy(template.vertices[:3]),
        torch.zeros(3, 3),
        torch.tensor([1.0, 0, 0, 0]).repeat(3, 1),
        torch.zeros(3),
        torch.zeros(3, 1, 3),
    )
    save_avatar(path, Avatar(BoundSplats(splats, torch.arange(3)), template))
    return path


def test_the_look_ahead_is_short_where_nobody_asked_for_another() -> None:
    assert live_look_ahead(student_of(6), None) == LIVE_LOOK_AHEAD_FRAMES == 4
    assert live_look_ahead(student_of(2), None) == 2
    assert live_look_ahead(student_of(6), 6) == 6
    # A wrong one is for the student to refuse.
    assert live_look_ahead(student_of(6), 0) == 0


def test_an_avatar_of_the_students_topology_is_moved_and_no_other(tmp_path: Path) -> None:
    trained = student_of()
    own = live_result(trained, None)
    assert own.motion is not None and own.splats is None
    np.testing.assert_array_equal(own.motion.vertices[0], trained.template.vertices)
    face = trained.template
    wider = FaceTemplate(face.topology, face.vertices * 1.1, face.triangles, face.regions)
    shown = live_result(trained, avatar_of(wider, tmp_path / "head.ply"))
    assert shown.motion is not None and shown.splats is not None and len(shown.splats) == 3
    np.testing.assert_allclose(shown.motion.vertices[0], wider.vertices, atol=1e-4)
    other = FaceTemplate("other", face.vertices, face.triangles, face.regions)
    with pytest.raises(ValueError, match="topology 'other'"):
        live_result(trained, avatar_of(other, tmp_path / "other.ply"))
    header = "ply\nformat ascii 1.0\nelement vertex 3\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz")
    header += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    (tmp_path / "mesh.ply").write_text(header + "0 0 0\n9 0 0\n0 9 0\n3 0 1 2\n")
    with pytest.raises(ValueError, match=r"mesh\.ply: is no avatar"):
        live_result(trained, tmp_path / "mesh.ply")


def visited(talk: Callable[[Any], Awaitable[None]]) -> None:
    """Run `talk` with a client of the whole application."""
    from aiohttp.test_utils import TestClient, TestServer

    trained = student_of()
    service = LiveService(trained)

    async def run() -> None:
        app = build_app(
            Scene((live_result(trained, None),)),
            routes={SOCKET: LiveSocket(service).handle},
            start_page="/live.html",
        )
        async with TestClient(TestServer(app, host="127.0.0.1")) as client:
            await talk(client)

    try:
        asyncio.run(asyncio.wait_for(run(), 20))
    finally:
        service.close()


def test_a_page_of_another_origin_or_name_gets_no_socket() -> None:
    from aiohttp import WSServerHandshakeError

    async def talk(client: Any) -> None:
        own = f"http://127.0.0.1:{client.port}"
        for refused in (
            {"Origin": "http://evil.example"},
            {"Origin": f"https://127.0.0.1:{client.port}"},
            {"Origin": f"http://127.0.0.1:{client.port + 1}"},
            {"Origin": "null"},
            {"Host": f"evil.example:{client.port}", "Origin": f"http://evil.example:{client.port}"},
        ):
            with pytest.raises(WSServerHandshakeError) as error:
                await client.ws_connect(SOCKET, headers=refused)
            assert error.value.status == 403
        socket = await client.ws_connect(SOCKET, headers={"Origin": own})
        assert (await socket.receive_json())["kind"] == "ready"
        # Asked for without an upgrade it is no page either.
        assert (await client.get(SOCKET)).status == 400

    visited(talk)


def test_the_page_is_the_start_and_may_use_the_microphone() -> None:
    async def talk(client: Any) -> None:
        answer = await client.get("/")
        assert answer.status == 200 and "Start microphone" in await answer.text()
        assert "microphone=(self)" in answer.headers["Permissions-Policy"]
        scene = await (await client.get("/scene.json")).json()
        assert len(scene["results"]) == 1 and scene["sound"] is None

    visited(talk)


@pytest.mark.slow
def test_the_command_serves_until_ctrl_c_and_says_what_was_measured(tmp_path: Path) -> None:
    sound = tmp_path / "speech.wav"
    write_wav(sound, np.random.default_rng(0).uniform(-0.1, 0.1, 16000).astype(np.float32))
    words = ["live", str(sound), "--no-browser", "--look-ahead-frames", "2"]
    words += ["--log", str(tmp_path / "log.jsonl")]
    running = subprocess.Popen(
        [sys.executable, "-c", "from learn2talk.cli import main; main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )
    try:
        assert running.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", running.stdout.readline())
        assert found is not None

        async def talk() -> int:
            from aiohttp import ClientSession

            async with ClientSession() as client, client.ws_connect(found[0] + SOCKET[1:]) as ws:
                await ws.receive_json()
                await ws.send_json({"kind": "start", "source": "microphone", "format": "int16"})
                for _ in range(10):
                    await ws.send_bytes(struct.pack("<d", 0) + bytes(2 * 640))
                await ws.send_json({"kind": "stop"})
                report = {"kind": "report", "shown": 1, "skipped": 0, "late": 0}
                await ws.send_json(report | {"latency_ms": [99.5], "interval_ms": []})
                frames = 0
                while '"finished"' not in (data := str((await ws.receive()).data)):
                    frames += "started" not in data
                return frames

        assert asyncio.run(asyncio.wait_for(talk(), 30)) == 10
    finally:
        running.send_signal(signal.SIGINT)
        text, _ = running.communicate(timeout=30)
    assert running.returncode == 0, text
    assert "the algorithm alone waits 87.5 ms" in text
    assert "latency, sound to screen: median 99.5 ms" in text and "10 made, 1 shown" in text
    assert next(iter(read_jsonl(tmp_path / "log.jsonl")))["latency_ms"] == [99.5]
