"""A viewer's application served to tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from learn2talk.viewer.server import bound_socket


@contextmanager
def running(app: Any) -> Iterator[int]:
    """The application on a free port of this machine, in a thread of its own."""
    from aiohttp import web

    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), []

    async def start() -> Any:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        listening = bound_socket(0)
        await web.SockSite(runner, listening).start()
        ports.append(listening.getsockname()[1])
        ready.set()
        return runner

    def work() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield ports[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
