"""The viewer's server: what it gives, and everything that it refuses."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from learn2talk.viewer.scene import Scene, load_scene
from learn2talk.viewer.server import bound_socket, build_app, open_in_browser, page_files
from tests.learn2talk.viewer.serving import running
from tests.learn2talk.viewer.small_scene import moving, saved

pytest.importorskip("aiohttp", reason="the extra viewer is not installed")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    return load_scene([saved(folder / "a.npz", moving())])


@pytest.fixture(scope="module")
def port(scene: Scene) -> Iterator[int]:
    with running(build_app(scene)) as number:
        yield number


def ask(
    port: int, target: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request whose target goes out exactly as it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    given = headers or {}
    connection.putrequest(method, target, skip_host="Host" in given)
    for name, value in given.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body


def raw(port: int, request: bytes) -> bytes:
    """The first line of the answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as talk:
        talk.sendall(request)
        return talk.recv(4096).split(b"\r\n")[0]


def test_the_page_the_scene_and_its_buffers_are_given(port: int) -> None:
    status, headers, body = ask(port, "/")
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert body == ask(port, "/index.html")[2] and b"<canvas" in body
    status, headers, body = ask(port, "/scene.json")
    assert status == 200 and headers["content-type"] == "application/json"
    mesh = json.loads(body)["results"][0]["mesh"]
    status, headers, body = ask(port, mesh["frames"])
    assert status == 200 and len(body) == 10 * 49 * 3 * 2 == int(headers["content-length"])
    status, headers, body = ask(port, mesh["frames"], method="HEAD")
    assert status == 200 and body == b""


def test_every_answer_carries_the_policy(port: int) -> None:
    for target in ("/", "/viewer.js", "/scene.json", "/results/0/frames", "/nothing"):
        _, headers, _ = ask(port, target)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy, target
        assert "unsafe" not in policy and "*" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff", target
        assert headers["cross-origin-resource-policy"] == "same-origin", target
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "target",
    [
        "/../server.py",
        "/page/../../server.py",
        "/%2e%2e/server.py",
        "/..%2fserver.py",
        "/%2e%2e%2fserver.py",
        "/..%5cserver.py",
        "/results/../scene.json",
        "/results/0/../0/frames",
        "/./scene.json",
        "//scene.json",
        "//etc/passwd",
        "/etc/passwd",
        "/%2fetc%2fpasswd",
        "/results/0/frames/",
        "/results/-1/frames",
        "/results/1/frames",
        "/results/00/frames",
        "/results/%30/frames",
        "/results/0/frames%00",
        "/manifest.json",
        "/viewer.js?x=1",
        "/VIEWER.JS",
        "http://127.0.0.1/scene.json",
        "file:///etc/passwd",
    ],
)
def test_a_path_is_a_key_and_nothing_else(port: int, target: str) -> None:
    status, _, body = ask(port, target)
    assert status in (400, 404), target
    assert b"root:" not in body and b"import" not in body


def test_other_methods_are_refused(port: int) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert ask(port, "/scene.json", method=method)[0] == 405, method


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("LOCALHOST:8000", 200),  # a tunnel has a port of its own
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1@evil.example", 403),
        ("127.0.0.1:80@evil.example", 403),
        ("0.0.0.0", 403),
        ("127.0.0.2", 403),
        ("", 403),
    ],
)
def test_only_its_own_names_are_answered(port: int, host: str, status: int) -> None:
    assert ask(port, "/scene.json", headers={"Host": host})[0] == status


def test_a_request_without_a_host_is_refused(port: int) -> None:
    assert raw(port, b"GET /scene.json HTTP/1.0\r\n\r\n").split()[1] in (b"400", b"403")


def test_another_sites_page_gets_nothing(port: int) -> None:
    own = {"Host": f"127.0.0.1:{port}", "Origin": f"http://127.0.0.1:{port}"}
    assert ask(port, "/scene.json", headers=own)[0] == 200
    for origin in (
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        f"https://127.0.0.1:{port}",
    ):
        assert ask(port, "/scene.json", headers=own | {"Origin": origin})[0] == 403, origin


def test_it_listens_on_loopback_only() -> None:
    with bound_socket(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with bound_socket(0) as first:
        number = first.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {number} .*in use.*--port 0"):
            bound_socket(number)
    bound_socket(number).close()  # and is free again at once
    with pytest.raises(ValueError, match="port 70000 is not 0 to 65535"):
        bound_socket(70000)


def test_two_viewers_at_once(scene: Scene, port: int, tmp_path: Path) -> None:
    other = load_scene([saved(tmp_path / "b.npz", moving(4))])
    with running(build_app(other)) as second:
        assert second != port
        frames = [
            json.loads(ask(p, "/scene.json")[2])["results"][0]["mesh"] for p in (port, second)
        ]
        assert [one["num_frames"] for one in frames] == [10, 4]


def test_a_route_can_be_added_and_stays_behind_the_guard(scene: Scene) -> None:
    from aiohttp import web

    async def live(request: Any) -> Any:
        talk = web.WebSocketResponse()
        await talk.prepare(request)
        await talk.send_str("hello")
        await talk.close()
        return talk

    upgrade = (
        "GET /live HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with running(build_app(scene, routes={"/live": live})) as number:
        host = f"127.0.0.1:{number}"
        good = upgrade.format(host=host, origin=f"http://{host}").encode()
        bad = upgrade.format(host=host, origin="http://evil.example").encode()
        assert raw(number, good).split()[1] == b"101"
        assert raw(number, bad).split()[1] == b"403"


def test_a_link_or_a_missing_file_in_the_page_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.js"
    secret.write_text("secret")
    page = tmp_path / "page"
    page.mkdir()
    with pytest.raises(ValueError, match=r"not there.*build_viewer\.sh"):
        page_files(page)
    for name in ("linked.js", "gone.js", "../secret.js", "notes.txt"):
        (page / "manifest.json").write_text(json.dumps({"files": [name]}))
        if name == "linked.js":
            (page / name).symlink_to(secret)
        with pytest.raises(ValueError, match="no plain file"):
            page_files(page)
    (page / "own.js").write_text("own")
    (page / "manifest.json").write_text(json.dumps({"files": ["own.js"]}))
    assert page_files(page) == {"/own.js": (b"own", "text/javascript; charset=utf-8")}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_cleanly(tmp_path: Path, repository: Path, number: int) -> None:
    motion = saved(tmp_path / "a.npz", moving())
    command = "from learn2talk.cli import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", command, "view", str(motion), "--no-browser"],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line.startswith("http://127.0.0.1:") and "1 result" in line
    taken = int(line.split(":")[2].split("/")[0])
    with pytest.raises(ValueError, match="in use"):
        bound_socket(taken)
    child.send_signal(number)
    out, errors = child.communicate(timeout=20)
    assert (child.returncode, out, errors) == (0, "viewer ended\n", "")


def test_without_aiohttp_the_extra_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ValueError, match=r"avsr-learn2talk\[viewer\]"):
        build_app(scene)


def test_a_browser_is_started_only_where_there_is_a_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: not opened.append(address))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    open_in_browser("http://127.0.0.1:1/")
    assert opened == [] and "open the address yourself" in capsys.readouterr().out
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    open_in_browser("http://127.0.0.1:1/")
    assert opened == ["http://127.0.0.1:1/"] and capsys.readouterr().out == ""
