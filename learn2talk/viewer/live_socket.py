"""The WebSocket of live faces: sound comes in, frames go out, one student serves everybody.

Binary messages are those of `learn2talk.viewer.live_session`. Text messages are JSON objects with a
"kind". From the page: "start" with "source" ("microphone" with "format", or "file"), "stop",
"clock" with "sent_ms", "report" (`learn2talk.viewer.live_figures`). From here: "ready", "started",
"finished", "clock". What is none of these closes the socket with a code (RFC 6455) and a reason.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.units import HOP_SAMPLES, SAMPLE_RATE_HZ, VIDEO_FPS
from learn2talk.viewer.live_figures import LiveFigures
from learn2talk.viewer.live_service import LiveService
from learn2talk.viewer.live_session import (
    MAX_MESSAGE_BYTES,
    LiveFrame,
    LiveSession,
    SoundFormat,
    SoundPiece,
    checked_format,
    read_sound,
)

MAX_CONNECTIONS = 8
UNSENT_LIMIT = VIDEO_FPS  # frames that wait for a page that reads too slowly
UNREAD_LIMIT = 1000  # frames and answers that wait to be sent
HEARTBEAT_S = 5.0  # a client that does not answer a ping in half of this is gone
REASON_BYTES = 123  # of a closing message
GOING, NOT_UNDERSTOOD, REFUSED, BROKEN, LATER = 1001, 1007, 1008, 1011, 1013  # closing codes


class MessageError(ValueError):
    """A message that ends the connection: its closing code, and the reason as its text."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class LiveSocket:
    """The address of the WebSocket: who is connected, and how the connections end."""

    def __init__(self, service: LiveService) -> None:
        self.service = service
        self.num_connections = 0  # so far
        self.open: set[Any] = set()  # aiohttp's WebSocketResponse, here and below

    async def handle(self, request: Any) -> Any:
        """Serve one page until it goes: a route of the viewer, behind its checks.

        Args:
            request: aiohttp's, of a WebSocket.

        Returns:
            aiohttp's response, when the page has gone.
        """
        from aiohttp import web

        # A message that is longer than a second of sound closes with code 1009.
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES + 1, timeout=2.0
        )
        await socket.prepare(request)
        if len(self.open) >= MAX_CONNECTIONS:
            full = f"{MAX_CONNECTIONS} pages are open already; close one"
            await socket.close(code=LATER, message=full.encode())
            return socket
        self.open.add(socket)
        self.num_connections += 1
        connection = _Connection(self.service, socket, self.num_connections)
        try:
            await connection.run()
        finally:
            self.open.discard(socket)
            self.service.figures.add(connection.figures)
            self.service.write_log()
        return socket

    async def say_goodbye(self) -> None:
        """Close every connection, with a reason; the server ends."""
        for socket in tuple(self.open):
            await socket.close(code=GOING, message=b"it was ended")


class _Connection:
    """One page: at most one utterance at a time, computed and sent by tasks of their own."""

    def __init__(self, service: LiveService, socket: Any, number: int) -> None:
        self.service, self.socket, self.number = service, socket, number
        self.figures = LiveFigures(service.algorithmic_ms)
        self.session: LiveSession | None = None
        self.sound_format: SoundFormat | None = None  # of a microphone; None: the file plays
        self.ended = False  # the sound of the utterance
        self.num_utterances = 0
        self.sound_came, self.something_to_send = asyncio.Event(), asyncio.Event()
        self.outgoing: deque[LiveFrame | dict[str, Any]] = deque()
        self.num_outgoing_frames = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.playing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the page goes, or says what is no message."""
        self._begin(self._send_all())
        self._say(self.service.ready())
        try:
            async for message in self.socket:
                if not isinstance(message.data, (str, bytes)):
                    break  # too long, or broken UTF-8: aiohttp has closed with its own code
                self._take(message.data)
                if len(self.outgoing) > UNREAD_LIMIT:
                    raise MessageError(REFUSED, "answers wait unread; read what is sent")
        except MessageError as error:
            await self._close(error.code, str(error).encode("ascii", "replace"))
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            if self.session is not None:
                self.figures.dropped += self.session.dropped_frames

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ends)
        return task

    def _ends(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        # A page that is gone is no mistake; the reading side hears of it too.
        if error is None or isinstance(error, ConnectionError):
            return
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "live face: a task failed", "exception": error})
        said = b"the server made a mistake; its terminal says which"
        closing = loop.create_task(self._close(BROKEN, said))
        self.tasks.add(closing)
        closing.add_done_callback(self.tasks.discard)

    async def _close(self, code: int, reason: bytes) -> None:
        await self.socket.close(code=code, message=reason[:REASON_BYTES])

    # What comes in

    def _take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            if self.session is None or self.sound_format is None or self.ended:
                raise MessageError(REFUSED, "sound without a started microphone; send start first")
            try:
                self.session.take(read_sound(data, self.sound_format))
            except ValueError as error:
                raise MessageError(NOT_UNDERSTOOD, str(error)) from error
            self.sound_came.set()
            return
        kinds: dict[str, Callable[[dict[str, Any]], None]] = {
            "start": self._start,
            "stop": self._stop,
            "clock": self._clock,
            "report": self._report,
        }
        said = _object(data)
        kind = said.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            known = ", ".join(kinds)
            raise MessageError(NOT_UNDERSTOOD, f"kind is {kind!r:.40}; give one of {known}")
        kinds[kind](said)

    def _start(self, said: dict[str, Any]) -> None:
        if self.session is not None:
            raise MessageError(REFUSED, "an utterance is going on; stop it, wait for finished")
        source = said.get("source")
        if source not in ("microphone", "file"):
            raise MessageError(NOT_UNDERSTOOD, f"source is {source!r:.40}; give microphone or file")
        sound = self.service.sound
        if source == "microphone":
            try:
                self.sound_format = checked_format(said.get("format"))
            except ValueError as error:
                raise MessageError(NOT_UNDERSTOOD, str(error)) from error
        elif sound is None:
            raise MessageError(REFUSED, "no file was given; start learn2talk live speech.wav")
        else:
            self.sound_format = None
        self.session, self.ended = LiveSession(self.service.new_face()), False
        self.num_utterances += 1
        begins_ms = _clock_ms()
        self._say({"kind": "started", "source": source, "begins_ms": begins_ms})
        self._begin(self._compute_all(self.session))
        if source == "file" and sound is not None:
            self.playing = self._begin(self._play(self.session, sound, begins_ms))

    def _stop(self, said: dict[str, Any]) -> None:
        """End the sound; a stop without an utterance is the one that the file's end overtook."""
        if self.playing is not None:
            self.playing.cancel()
        self._end_sound()

    def _end_sound(self) -> None:
        self.ended = True
        self.sound_came.set()

    def _clock(self, said: dict[str, Any]) -> None:
        sent_ms = said.get("sent_ms")
        if not isinstance(sent_ms, (int, float)) or not abs(sent_ms) < 1e15:
            raise MessageError(NOT_UNDERSTOOD, f"sent_ms is {sent_ms!r:.40}; give milliseconds")
        self._say({"kind": "clock", "sent_ms": sent_ms, "server_ms": _clock_ms()})

    def _report(self, said: dict[str, Any]) -> None:
        try:
            self.figures.take_report(said)
        except ValueError as error:
            raise MessageError(NOT_UNDERSTOOD, str(error)) from error
        names = ("shown", "skipped", "late", "latency_ms", "interval_ms")
        values = {name: said[name] for name in names}
        self.service.note("report", self.number, self.num_utterances, values)

    # What is computed

    async def _play(
        self, session: LiveSession, sound: NDArray[np.float32], begins_ms: float
    ) -> None:
        """The file as a microphone would hear it: each 10 ms when they are over."""
        for start in range(0, len(sound), HOP_SAMPLES):
            samples = sound[start : start + HOP_SAMPLES]
            first_ms = begins_ms + 1000 * start / SAMPLE_RATE_HZ
            over_ms = first_ms + 1000 * len(samples) / SAMPLE_RATE_HZ
            await asyncio.sleep(max(0.0, (over_ms - _clock_ms()) / 1000))
            session.take(SoundPiece(samples, first_ms))
            self.sound_came.set()
        self._end_sound()

    async def _compute_all(self, session: LiveSession) -> None:
        loop, pool = asyncio.get_running_loop(), self.service.pool
        while not self.ended or session.num_waiting:
            if not session.num_waiting:
                self.sound_came.clear()
                await self.sound_came.wait()
            self._give(await loop.run_in_executor(pool, session.compute))
        self._give(await loop.run_in_executor(pool, session.finish))
        self.figures.dropped += session.dropped_frames
        self.session = self.playing = None
        figures = self.figures.as_json()
        self.service.note("finished", self.number, self.num_utterances, figures)
        self._say({"kind": "finished", "figures": figures})

    def _give(self, frames: list[LiveFrame]) -> None:
        """Put frames in the queue; where a page reads too slowly, its oldest go and are counted."""
        if frames:
            self.figures.made += len(frames)
            self.figures.compute_ms.append(frames[-1].compute_ms)
        for frame in frames:
            self.outgoing.append(frame)
            self.num_outgoing_frames += 1
        while self.num_outgoing_frames > UNSENT_LIMIT:
            oldest = next(one for one in self.outgoing if isinstance(one, LiveFrame))
            self.outgoing.remove(oldest)
            self.num_outgoing_frames -= 1
            self.figures.unsent += 1
        self.something_to_send.set()

    # What goes out

    def _say(self, message: dict[str, Any]) -> None:
        self.outgoing.append(message)
        self.something_to_send.set()

    async def _send_all(self) -> None:
        while True:
            self.something_to_send.clear()
            while self.outgoing:
                item = self.outgoing.popleft()
                if isinstance(item, LiveFrame):
                    self.num_outgoing_frames -= 1
                    await self.socket.send_bytes(item.message(_clock_ms()))
                else:
                    await self.socket.send_str(json.dumps(item))
            await self.something_to_send.wait()


def _clock_ms() -> float:
    return 1000 * time.perf_counter()


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(NOT_UNDERSTOOD, f"{text!r:.40} is no JSON") from error
    if not isinstance(said, dict):
        raise MessageError(NOT_UNDERSTOOD, f"{text!r:.40} is no JSON object")
    return said
