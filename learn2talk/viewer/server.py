"""The viewer's server: a page and named buffers, to this machine alone.

What can be asked for is a table of addresses made at the start. A request's path is a key of it and
never becomes a path of the disk, so that no `..`, encoded slash or link leads anywhere.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import webbrowser
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learn2talk.viewer.buffers import Buffer, scene_buffers
from learn2talk.viewer.scene import Scene

if TYPE_CHECKING:
    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE = Path(__file__).with_name("page")
MANIFEST = "manifest.json"
LOOPBACK = "127.0.0.1"
OWN_NAMES = frozenset({"127.0.0.1", "localhost"})
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# `connect-src 'self'` covers a WebSocket to this server, `blob:` the sound, which the page fetches.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Served:
    """A running viewer: its port and its address for a browser."""

    port: int

    @property
    def address(self) -> str:
        """What a browser on this machine opens."""
        return f"http://{LOOPBACK}:{self.port}/"


def page_files(folder: Path = PAGE) -> dict[str, tuple[bytes, str]]:
    """Address -> bytes and content type of every file that the page's manifest lists.

    Raises:
        ValueError: the page is not built, or a file that the manifest names is missing or a link.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise ValueError(
            f"{folder}: the viewer's page is not there; install the package again, or build it "
            "with scripts/build_viewer.sh"
        )
    table: dict[str, tuple[bytes, str]] = {}
    for name in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
        path = folder / name
        kind = _CONTENT_TYPES.get(path.suffix)
        if kind is None or path.parent != folder or path.is_symlink() or not path.is_file():
            raise ValueError(
                f"{path}: is no plain file of the viewer's page; build it again with "
                "scripts/build_viewer.sh"
            )
        table[f"/{name}"] = (path.read_bytes(), kind)
    return table


def build_app(
    scene: Scene,
    *,
    routes: Mapping[str, Handler] | None = None,
    start_page: str = "/index.html",
    page_folder: Path = PAGE,
) -> web.Application:
    """The application that shows a scene.

    Args:
        scene: what is shown.
        routes: further GET handlers by address (a WebSocket for live faces); they come behind the
            same checks of Host and Origin.
        start_page: the file of the page that `/` gives.
        page_folder: where the built page lies.

    Raises:
        ValueError: aiohttp is not installed, or the page is not built.
    """
    http = _aiohttp_web()
    description, buffers = scene_buffers(scene)
    files = page_files(page_folder)
    files["/"] = files[start_page]
    said = json.dumps(description, ensure_ascii=False, allow_nan=False).encode("utf-8")
    files["/scene.json"] = (said, "application/json")
    extra = dict(routes or {})

    async def answer(request: web.Request) -> web.StreamResponse:
        address = request.raw_path  # as it was sent: nothing is decoded, joined or shortened
        if request.method not in ("GET", "HEAD"):
            raise http.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"])
        if address in extra:
            return await extra[address](request)
        if address in files:
            data, kind = files[address]
            return http.Response(body=data, headers={"Content-Type": kind})
        if address in buffers:
            return await _streamed(http, request, buffers[address])
        raise http.HTTPNotFound(text="nothing here\n")

    app: web.Application = http.Application(middlewares=[_guard(http)])
    app.router.add_route("*", "/{anything:.*}", answer)
    return app


async def _streamed(http: Any, request: web.Request, buffer: Buffer) -> web.StreamResponse:
    response: web.StreamResponse = http.StreamResponse(
        headers={"Content-Type": buffer.content_type, "Content-Length": str(buffer.num_bytes)}
    )
    response.headers.update(_HEADERS)
    await response.prepare(request)
    if request.method == "GET":
        for block in buffer.blocks():
            await response.write(block)
    await response.write_eof()
    return response


def _guard(http: Any) -> Any:
    """Refuse what another site's page sends: by a name of its own (DNS rebinding), or across."""

    @http.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        origin = request.headers.get("Origin")
        if _name_of(host) not in OWN_NAMES:
            refused: web.StreamResponse = http.Response(
                status=403, text=f"this viewer answers to {LOOPBACK} and localhost only\n"
            )
        elif origin is not None and origin != f"http://{host}":
            refused = http.Response(status=403, text="this viewer answers its own page only\n")
        else:
            try:
                refused = await handler(request)
            except http.HTTPException as error:
                error.headers.update(_HEADERS)
                raise
        if not refused.prepared:
            refused.headers.update(_HEADERS)
        return refused

    return guard


def _name_of(host: str) -> str:
    """The name in a Host header, without its port: a tunnel (ssh -L) may have another."""
    name, colon, port = host.partition(":")
    return name.lower() if not colon or port.isdigit() else ""


def serve(
    scene: Scene,
    *,
    port: int = 0,
    started: Callable[[Served], None],
    routes: Mapping[str, Handler] | None = None,
    start_page: str = "/index.html",
    ending: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve a scene on 127.0.0.1 until Ctrl-C or SIGTERM.

    Args:
        scene: what is shown.
        port: 0 takes a free one.
        started: called once, when the page can be opened.
        routes, start_page: as `build_app`.
        ending: called once at the end, while pages can still be told.

    Raises:
        ValueError: the port is out of range, in use or not allowed, aiohttp or the page is missing.
    """
    app = build_app(scene, routes=routes, start_page=start_page)
    if ending is not None:
        tell = ending

        async def told(_: web.Application) -> None:
            await tell()

        app.on_shutdown.append(told)
    with bound_socket(port) as listening:
        asyncio.run(_run(app, listening, started))


def bound_socket(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1. Raises ValueError that names the port and what to do."""
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} is not 0 to 65535; --port 0 takes a free one")
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A viewer that ended a moment ago leaves its port waiting; that is not in use.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        why = {errno.EADDRINUSE: "in use", errno.EACCES: "reserved for the system"}
        raise ValueError(
            f"port {port} of {LOOPBACK} is {why.get(error.errno or 0, str(error))}; give another, "
            "or --port 0 for a free one"
        ) from error
    return listening


def open_in_browser(address: str) -> None:
    """Open an address in the user's browser, or say that it is to be opened by hand.

    Without a screen nothing is started: a browser of the terminal would take the terminal away.
    """
    there = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if not there or not webbrowser.open(address):
        print("no browser opened; open the address yourself", flush=True)


async def _run(
    app: web.Application, listening: socket.socket, started: Callable[[Served], None]
) -> None:
    http = _aiohttp_web()
    runner = http.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await http.SockSite(runner, listening).start()
        started(Served(int(listening.getsockname()[1])))
        await stop.wait()
    finally:
        await runner.cleanup()


def _aiohttp_web() -> Any:
    try:
        from aiohttp import web
    except ImportError as error:
        raise ValueError(
            "the viewer needs aiohttp; install the extra: pip install 'avsr-learn2talk[viewer]'"
        ) from error
    return web
