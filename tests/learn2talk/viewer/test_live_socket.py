"""The WebSocket of live faces with a client in the same process: what it serves and refuses."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.files import read_jsonl
from learn2talk.animate import animate
from learn2talk.data.motion import animated_ids
from learn2talk.files import TrainedStudent
from learn2talk.models.student import Student, StudentConfig
from learn2talk.viewer import live_socket
from learn2talk.viewer.live_service import LiveService
from learn2talk.viewer.live_session import FRAME_HEADER, MAX_MESSAGE_BYTES
from learn2talk.viewer.live_socket import LiveSocket

from ..conftest import tiny_template

pytest.importorskip("aiohttp", reason="the extra viewer is not installed")

START = {"kind": "start", "source": "microphone", "format": "float32"}
REPORT = {"kind": "report", "shown": 2, "skipped": 0, "late": 0, "latency_ms": [180.5, 190.0]}
REPORT |= {"interval_ms": [40.0, 40.0]}


@pytest.fixture(scope="module")
def trained() -> TrainedStudent:
    template = tiny_template()
    ids = animated_ids(template)
    torch.manual_seed(0)
    config = StudentConfig(width=16, layers=2, heads=2, feedforward=16, look_ahead_frames=4)
    return TrainedStudent(Student(config, len(ids)).eval(), template, ids, {})


def speech(frames: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, 640 * frames).astype(np.float32)


def served(service: LiveService, talk: Callable[[Any], Awaitable[None]]) -> LiveSocket:
    """Run `talk` with a client of an application that has the socket at /live/socket."""
    socket = LiveSocket(service)

    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/live/socket", socket.handle)
        async with TestClient(TestServer(app)) as client:
            client.live = socket
            await talk(client)

    try:
        asyncio.run(asyncio.wait_for(run(), 20))
    finally:
        service.close()
    return socket


async def opened(client: Any) -> Any:
    socket = await client.ws_connect("/live/socket")
    ready = await socket.receive_json()
    assert ready["kind"] == "ready"
    return socket


async def said_until(socket: Any, kind: str) -> tuple[list[bytes], dict[str, Any]]:
    """The frames that come before a text of that kind, and the text."""
    frames: list[bytes] = []
    while True:
        message = await socket.receive()
        if isinstance(message.data, bytes):
            frames.append(message.data)
            continue
        assert isinstance(message.data, str), message
        said = json.loads(message.data)
        if said["kind"] == kind:
            return frames, said


async def speak(socket: Any, sound: np.ndarray, size: int = 160) -> list[bytes]:
    """One utterance in pieces of `size` samples; returns its frames."""
    await socket.send_json(START)
    for start in range(0, len(sound), size):
        piece = sound[start : start + size]
        await socket.send_bytes(struct.pack("<d", 100 + start / 16) + piece.tobytes())
    await socket.send_json({"kind": "stop"})
    frames, said = await said_until(socket, "finished")
    assert said["figures"]["unsent"] == 0
    return frames


def positions_of(frames: list[bytes]) -> np.ndarray:
    return np.stack(
        [np.frombuffer(one[FRAME_HEADER.size :], "<f4").reshape(-1, 3) for one in frames]
    )


def test_a_voice_moves_the_face_as_animate_would_and_starts_again_from_rest(trained) -> None:
    sound = speech(12)
    wanted = animate(sound, trained).vertices[:, trained.animated_ids]

    async def talk(client: Any) -> None:
        socket = await client.ws_connect("/live/socket")
        ready = await socket.receive_json()
        assert ready == {
            "kind": "ready",
            "fps": 25,
            "sample_rate_hz": 16000,
            "algorithmic_ms": 167.5,
            "animated_ids": trained.animated_ids.tolist(),
            "file": None,
        }
        for _ in range(2):  # the second utterance knows nothing of the first
            frames = await speak(socket, sound)
            np.testing.assert_allclose(positions_of(frames), wanted, atol=2e-5)
            headers = [FRAME_HEADER.unpack_from(one) for one in frames]
            assert [one[0] for one in headers] == list(range(12))
            np.testing.assert_allclose([one[3] for one in headers], 100 + 40 * np.arange(12))
            sent_ms = [one[4] for one in headers]
            assert sent_ms == sorted(sent_ms) and headers[-1][6] == 0

    served(LiveService(trained), talk)


def test_two_pages_at_once_hear_their_own_voice(trained) -> None:
    sounds = [speech(10), speech(10)[::-1].copy()]
    service = LiveService(trained)

    async def talk(client: Any) -> None:
        sockets = [await opened(client) for _ in sounds]
        both = await asyncio.gather(*map(speak, sockets, sounds))
        for sound, frames in zip(sounds, both, strict=True):
            wanted = animate(sound, trained).vertices[:, trained.animated_ids]
            np.testing.assert_allclose(positions_of(frames), wanted, atol=2e-5)
        for socket in sockets:
            await socket.close()

    assert not served(service, talk).open
    assert service.figures.made == 20


def test_a_file_is_played_at_its_pace(trained) -> None:
    sound = speech(15)
    service = LiveService(trained, look_ahead_frames=2, sound=sound, sound_name="a.wav")

    async def talk(client: Any) -> None:
        socket = await client.ws_connect("/live/socket")
        ready = await socket.receive_json()
        assert ready["file"] == {"name": "a.wav", "duration_s": 0.6}
        await socket.send_json({"kind": "start", "source": "file"})
        started = await socket.receive_json()
        assert started["kind"] == "started"
        frames, _ = await said_until(socket, "finished")
        headers = [FRAME_HEADER.unpack_from(one) for one in frames]
        captured = [one[3] - started["begins_ms"] for one in headers]
        np.testing.assert_allclose(captured, 40.0 * np.arange(15), atol=1e-6)
        # No frame before its look-ahead was heard: 40 ms of its own, 40 more, and the window.
        waited = [one[4] - one[3] for one in headers]
        assert min(waited[:13]) >= 87.5

    served(service, talk)


def test_a_file_can_be_stopped_and_played_again(trained) -> None:
    service = LiveService(trained, sound=speech(250))

    async def talk(client: Any) -> None:
        socket = await opened(client)
        for _ in range(2):
            await socket.send_json({"kind": "start", "source": "file"})
            await asyncio.sleep(0.3)
            await socket.send_json({"kind": "stop"})
            frames, _ = await said_until(socket, "finished")
            assert 5 <= len(frames) <= 25  # of 250

    served(service, talk)


def test_the_clock_answers_and_reports_are_logged(trained, tmp_path: Path) -> None:
    service = LiveService(trained, log=tmp_path / "log.jsonl")

    async def talk(client: Any) -> None:
        socket = await opened(client)
        await socket.send_json({"kind": "clock", "sent_ms": 12.5})
        first = await socket.receive_json()
        await socket.send_json({"kind": "clock", "sent_ms": 13})
        second = await socket.receive_json()
        assert first["sent_ms"] == 12.5 and first["server_ms"] <= second["server_ms"]
        await socket.send_json(REPORT)
        await socket.send_json(REPORT)
        await socket.close()

    served(service, talk)
    assert service.figures.as_json()["latency_ms"] == {"p50": 185.25, "p95": 190.0}
    rows = list(read_jsonl(tmp_path / "log.jsonl"))
    assert len(rows) == 2 and rows[0]["latency_ms"] == [180.5, 190.0]
    assert rows[0]["connection"] == 1 and rows[0]["at_s"] > 0


BAD = [
    ([b"abc"], 1008, "send start first"),
    (["{"], 1007, "no JSON"),
    (["[" * 5000], 1007, "no JSON"),
    (["[1]"], 1007, "no JSON object"),
    (['{"kind": "dance"}'], 1007, "'dance'; give one of start, stop"),
    (['{"kind": ["start"]}'], 1007, "give one of start, stop"),
    ([{"kind": "start", "source": "radio"}], 1007, "'radio'; give microphone or file"),
    ([{"kind": "start", "source": "file"}], 1008, "no file was given"),
    ([{"kind": "start", "source": "microphone"}], 1007, "give int16 or float32"),
    ([START, START], 1008, "stop it, wait for finished"),
    ([START, bytes(8 + 3)], 1007, "not whole float32 samples"),
    ([START, struct.pack("<df", 0, float("nan"))], 1007, "not finite"),
    ([START, struct.pack("<df", 0, 1e20)], 1007, "beyond 16"),
    ([START, struct.pack("<df", float("nan"), 0)], 1007, "capture is nan"),
    ([START, bytes(MAX_MESSAGE_BYTES + 2)], 1009, ""),
    ([START, "x" * (MAX_MESSAGE_BYTES + 2)], 1009, ""),
    ([START, {"kind": "stop"}, bytes(12)], 1008, "send start first"),
    ([{"kind": "clock"}], 1007, "sent_ms is None"),
    (['{"kind": "clock", "sent_ms": NaN}'], 1007, "sent_ms is nan"),
    ([REPORT | {"shown": -1}], 1007, "shown is -1"),
]


@pytest.mark.parametrize(("messages", "code", "reason"), BAD)
def test_what_is_no_message_closes_with_a_code_and_a_reason(
    trained, messages: list[Any], code: int, reason: str
) -> None:
    service = LiveService(trained)

    async def talk(client: Any) -> None:
        socket = await opened(client)
        for one in messages:
            if isinstance(one, bytes):
                await socket.send_bytes(one)
            else:
                await socket.send_str(one if isinstance(one, str) else json.dumps(one))
        closing = None
        while not socket.closed:
            message = await socket.receive()
            closing = message if isinstance(message.data, int) else closing
        assert socket.close_code == code
        assert closing is not None and reason in (closing.extra or "")
        # The server goes on for others.
        other = await opened(client)
        assert len(await speak(other, speech(6))) == 6

    assert not served(service, talk).open


def test_a_client_that_vanishes_in_the_middle_leaves_nothing_behind(trained) -> None:
    service = LiveService(trained)

    async def talk(client: Any) -> None:
        socket = await opened(client)
        await socket.send_json(START)
        await socket.send_bytes(struct.pack("<d", 0) + speech(20).tobytes())
        socket._response.connection.transport.abort()  # no closing handshake
        for _ in range(100):
            if not client.live.open:
                break
            await asyncio.sleep(0.02)
        assert not client.live.open
        assert len(asyncio.all_tasks()) < 8  # the server's own: none of the connection
        assert len(await speak(await opened(client), speech(6))) == 6

    served(service, talk)


def test_the_event_loop_goes_on_while_a_face_is_computed(trained, monkeypatch) -> None:
    held, computing = threading.Event(), threading.Event()
    real = live_socket.LiveSession.compute

    def slow(self: Any) -> Any:
        computing.set()
        assert held.wait(10)
        return real(self)

    monkeypatch.setattr(live_socket.LiveSession, "compute", slow)
    service = LiveService(trained)

    async def talk(client: Any) -> None:
        socket = await opened(client)
        await socket.send_json(START)
        # 2 s of sound while nothing is computed: what is older than 1 s goes, and is counted.
        for start in range(50):
            await socket.send_bytes(struct.pack("<d", 40.0 * start) + speech(1).tobytes())
        while not computing.is_set():
            await asyncio.sleep(0.01)
        await socket.send_json({"kind": "clock", "sent_ms": 1})
        _, said = await said_until(socket, "clock")
        assert said["sent_ms"] == 1 and not held.is_set()
        held.set()
        await socket.send_json({"kind": "stop"})
        frames, finished = await said_until(socket, "finished")
        assert len(frames) == finished["figures"]["made"] == 25
        assert finished["figures"]["dropped"] == 25
        assert FRAME_HEADER.unpack_from(frames[0])[0] == 25

    served(service, talk)


def test_frames_for_a_page_that_does_not_read_are_dropped_and_counted(trained, monkeypatch) -> None:
    monkeypatch.setattr(live_socket, "UNSENT_LIMIT", 5)
    service = LiveService(trained)

    async def talk(client: Any) -> None:
        socket = await opened(client)
        await socket.send_json(START)
        await socket.send_bytes(struct.pack("<d", 0) + speech(25).tobytes())
        await socket.send_json({"kind": "stop"})
        frames, said = await said_until(socket, "finished")
        assert said["figures"]["unsent"] > 0
        assert len(frames) + said["figures"]["unsent"] == said["figures"]["made"] == 25

    served(service, talk)


def test_a_mistake_of_ours_closes_with_its_code_and_is_told(trained, monkeypatch) -> None:
    def broken(self: Any) -> Any:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(live_socket.LiveSession, "compute", broken)
    told: list[dict[str, Any]] = []

    async def talk(client: Any) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, said: told.append(said))
        socket = await opened(client)
        await socket.send_json(START)
        await socket.send_bytes(bytes(8 + 640 * 4))
        while not socket.closed:
            await socket.receive()
        assert socket.close_code == 1011

    served(LiveService(trained), talk)
    assert [str(one["exception"]) for one in told] == ["made to fail"]


def test_pages_are_told_that_the_server_ends(trained) -> None:
    service = LiveService(trained)

    async def talk(client: Any) -> None:
        sockets = [await opened(client) for _ in range(2)]
        await sockets[0].send_json(START)
        goodbye = asyncio.create_task(client.live.say_goodbye())
        for socket in sockets:
            message = await socket.receive()
            while not isinstance(message.data, int):
                message = await socket.receive()
            assert (message.data, message.extra) == (1001, "it was ended")
        await goodbye

    served(service, talk)


def test_too_many_pages_are_asked_to_come_later(trained, monkeypatch) -> None:
    monkeypatch.setattr(live_socket, "MAX_CONNECTIONS", 1)
    service = LiveService(trained)

    async def talk(client: Any) -> None:
        await opened(client)
        second = await client.ws_connect("/live/socket")
        message = await second.receive()
        assert second.close_code == 1013 and "1 pages are open already" in message.extra

    served(service, talk)


def test_a_look_ahead_that_the_student_has_not_is_refused_before_anyone_comes(trained) -> None:
    with pytest.raises(ValueError, match="look-ahead is 9 frames"):
        LiveService(trained, look_ahead_frames=9)
