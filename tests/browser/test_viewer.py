"""The viewer's page in a headless Chromium: plays, shows errors in mm, asks nobody else."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.files import write_wav
from learn2talk.articulation import CONTROLS, animate_head
from learn2talk.avatar.avatar_files import Avatar, save_avatar
from learn2talk.avatar.binding import bind_to_nearest
from learn2talk.avatar.splats import Splats
from learn2talk.drawing import Palette, vertex_colours
from learn2talk.files import save_motion
from learn2talk.head import build_head
from learn2talk.schema import FaceTemplate, Motion
from learn2talk.viewer.scene import load_scene
from learn2talk.viewer.server import build_app
from tests.browser.headless import chromium
from tests.learn2talk.viewer.serving import running

pytestmark = pytest.mark.browser

FRAMES, FPS = 50, 25.0
# WebGL on the processor; containers run as root, where Chromium's sandbox refuses to start.
ARGUMENTS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def jaw_opening(offset: float) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(np.arange(FRAMES) / 4 + offset)


def talking(offset: float) -> Motion:
    """A head whose jaw goes up and down; `offset` makes another motion of it."""
    head = build_head()
    curves = np.zeros((FRAMES, len(CONTROLS)))
    curves[:, CONTROLS.index("jaw")] = jaw_opening(offset)
    return Motion(animate_head(head, curves), FPS, head.template)


def splatted(template: FaceTemplate) -> Avatar:
    """One round splat on each triangle, in the colours of the regions."""
    corners = template.vertices[template.triangles].astype(np.float64)
    count = len(corners)
    colours = vertex_colours(template, Palette())[template.triangles].mean(axis=1) / 255.0
    splats = Splats(
        positions=torch.from_numpy(corners.mean(axis=1)).float(),
        log_scales=torch.full((count, 3), float(np.log(2.5))),
        rotations=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1),
        opacity_logits=torch.full((count,), 2.0),
        sh=torch.from_numpy((colours - 0.5) / 0.28209479).float()[:, None],
    )
    triangles = torch.from_numpy(template.triangles.astype(np.int64))
    bound = bind_to_nearest(splats, torch.from_numpy(template.vertices), triangles)
    return Avatar(bound, template)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A motion, its truth, an avatar, half a second more of sound than motion, words."""
    folder = tmp_path_factory.mktemp("faces")
    made, real = talking(0.0), talking(0.4)
    save_motion(folder / "made.npz", made, {})
    save_motion(folder / "real.npz", real, {})
    save_avatar(folder / "head.ply", splatted(made.template))
    tone = 0.3 * np.sin(2 * np.pi * 220 / 16000 * np.arange(int(16000 * 2.5)))
    write_wav(folder / "speech.wav", tone.astype(np.float32))
    words = [
        {"word": "bin", "start_s": 0.4, "end_s": 1.0},
        {"word": "blue", "start_s": 1.0, "end_s": 1.6},
    ]
    phones = [
        {"phone": "b", "start_s": 0.4, "end_s": 0.6},
        {"phone": "u", "start_s": 1.2, "end_s": 1.6},
    ]
    (folder / "words.json").write_text(json.dumps({"words": words, "phones": phones}))
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    pytest.importorskip("aiohttp", reason="the extra viewer is not installed")
    with chromium(ARGUMENTS) as opened:
        yield opened


class Watched:
    """A page of the viewer with everything that it asked for and complained about."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self.outside: list[str] = []
        page.route("**/*", self._stop_at_the_door)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)
        page.goto(address)
        self.wait_for("!!(window.viewer && window.viewer.ready)")

    def _stop_at_the_door(self, route: Any) -> None:
        url = route.request.url
        if url.startswith((self.address, "data:", f"blob:{self.address}")):
            route.continue_()
        else:
            self.outside.append(url)
            route.abort()

    def _hear(self, message: Any) -> None:
        # The software renderer says that reading pixels back is slow; that is its own matter.
        if message.type in ("error", "warning") and "GPU stall" not in message.text:
            self.complaints.append(message.text)

    def wait_for(self, condition: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"never true: {condition}; {self.complaints}"
            self.page.wait_for_timeout(20)

    def state(self) -> dict[str, Any]:
        return self.page.evaluate("viewer.state()")

    def frames(self) -> list[int]:
        return [one["frame"] for one in self.state()["results"]]

    def covered(self) -> float:
        return self.page.evaluate("viewer.coverage().covered")


@pytest.fixture(scope="module")
def address(files: dict[str, Path]) -> Iterator[str]:
    """The server of a scene with a motion, an avatar, truth, sound and words."""
    pytest.importorskip("aiohttp", reason="the extra viewer is not installed")
    scene = load_scene(
        [files["made.npz"], files["head.ply"]],
        audio=files["speech.wav"],
        truth=files["real.npz"],
        words=files["words.json"],
    )
    with running(build_app(scene)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def watched(browser: Any, address: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 900, "height": 700}, accept_downloads=True)
    page = Watched(context.new_page(), address)
    yield page
    assert page.outside == [] and page.complaints == []
    context.close()


def test_it_shows_what_was_named_and_says_what_is_odd(watched: Watched) -> None:
    state = watched.state()
    assert [one["name"] for one in state["results"]] == ["made.npz", "head.ply"]
    assert watched.frames() == [0, 0] and not state["playing"]
    assert state["results"][0]["mesh"] and not state["results"][0]["splats"]
    assert state["results"][1]["splats"] and not state["results"][1]["mesh"]
    notes = watched.page.inner_text("#notes")
    assert "head.ply is moved by made.npz" in notes and "the last pose is held" in notes
    assert "1 made.npz" in watched.page.inner_text("#labels")
    assert watched.covered() > 0.05
    assert len(watched.page.screenshot()) > 20_000


def test_play_moves_time_and_faces_with_the_sound_and_pause_stops(watched: Watched) -> None:
    before = watched.covered()
    watched.page.click("#play")
    watched.wait_for("viewer.state().time > 0.5 && viewer.state().soundPlaying")
    state = watched.state()
    assert state["playing"] and watched.page.get_attribute("#play", "aria-label") == "Pause"
    assert min(watched.frames()) >= 10
    watched.page.click("#play")
    paused = watched.state()
    watched.page.wait_for_timeout(200)
    assert watched.state()["time"] == paused["time"] and not watched.state()["soundPlaying"]
    # The frame is the one whose span holds the time, of every result.
    assert watched.frames() == [min(int(paused["time"] * FPS + 1e-6), FRAMES - 1)] * 2
    assert f"frame {watched.frames()[0]} of {FRAMES}" in watched.page.inner_text("#frame")
    assert before > 0


def test_the_last_pose_is_held_to_the_end_of_the_sound_and_then_it_stops(watched: Watched) -> None:
    assert watched.state()["duration"] == pytest.approx(2.5, abs=0.01)
    watched.page.evaluate("viewer.seek(2.3)")
    assert watched.frames() == [FRAMES - 1] * 2 and "held" in watched.page.inner_text("#frame")
    watched.page.evaluate("viewer.play()")
    watched.wait_for("!viewer.state().playing")
    assert watched.state()["time"] == pytest.approx(2.5, abs=0.01)
    watched.page.evaluate("viewer.setLoop(true); viewer.seek(2.4); viewer.play()")
    watched.wait_for("viewer.state().time < 1.0 && viewer.state().time > 0.05")
    watched.page.evaluate("viewer.pause()")


def test_a_click_on_the_timeline_goes_there(watched: Watched) -> None:
    box = watched.page.locator("#timeline").bounding_box()
    x = box["x"] + box["width"] * 0.5
    watched.page.mouse.click(x, box["y"] + 6)
    assert watched.state()["time"] == pytest.approx(1.25, abs=0.01)
    assert watched.page.inner_text("#said").startswith("blue")
    watched.page.mouse.click(x, box["y"] + 16 + 4 + 44 + 4 + 10)  # the row of the words
    assert watched.state()["time"] == pytest.approx(1.0, abs=0.001)
    watched.page.evaluate("viewer.seek(0.5)")
    assert watched.page.inner_text("#said") == "bin · /b/ viseme p"
    watched.page.mouse.move(x, box["y"] + 6)
    watched.page.mouse.down()
    watched.page.mouse.move(x + box["width"] * 0.2, box["y"] + 6, steps=5)
    watched.page.mouse.up()
    assert watched.state()["time"] == pytest.approx(1.75, abs=0.02)


def test_keys(watched: Watched) -> None:
    press = watched.page.keyboard.press
    press("ArrowRight")
    press("ArrowRight")
    assert watched.frames() == [2, 2]
    press("ArrowLeft")
    assert watched.frames() == [1, 1]
    press("End")
    assert watched.frames() == [FRAMES - 1] * 2
    press("Home")
    assert watched.frames() == [0, 0]
    press("Shift+ArrowRight")
    assert watched.state()["time"] == pytest.approx(1.0)
    for key, name in (("w", "wireframe"), ("l", "landmarks"), ("h", "heat"), ("s", "splats")):
        was = watched.state()["shown"][name]
        press(key)
        assert watched.state()["shown"][name] is not was
        pressed = watched.page.get_attribute(f"[data-toggle={name}]", "aria-pressed")
        assert pressed == str(not was).lower()
        press(key)
    press("2")
    assert watched.state()["solo"] == 1 and watched.page.locator("#labels > div").count() == 1
    press("2")
    assert watched.state()["solo"] is None
    press("9")  # there is no ninth
    assert watched.state()["solo"] is None
    far = watched.covered()
    press("m")  # close to the mouth the skin fills the picture
    assert watched.covered() > 1.5 * far
    press("f")
    assert watched.covered() == pytest.approx(far, rel=0.01)
    press("?")
    assert watched.page.is_visible("#help")
    press("Escape")
    assert watched.page.is_hidden("#help")
    press(" ")
    watched.wait_for("viewer.state().playing")
    press(" ")
    assert not watched.state()["playing"]
    press("t")
    assert watched.page.get_attribute("html", "data-theme") == "dark"


def test_the_wireframe_and_the_landmarks_change_the_picture(watched: Watched) -> None:
    watched.page.evaluate("viewer.solo(0)")
    plain = watched.page.evaluate("viewer.coverage()")
    for part in ("wireframe", "landmarks"):
        watched.page.evaluate(f"viewer.show({{{part}: true}})")
        assert watched.state()["results"][0][part]
        assert watched.page.evaluate("viewer.coverage()") != plain
        watched.page.evaluate(f"viewer.show({{{part}: false}})")
    assert watched.page.evaluate("viewer.coverage()") == plain


def test_the_heat_map_says_the_distance_in_millimetres(watched: Watched, files) -> None:
    made, real = talking(0.0).vertices, talking(0.4).vertices
    watched.page.evaluate("viewer.show({heat: true}); viewer.seek(0.4)")
    wanted = np.linalg.norm(made[10] - real[10], axis=1)
    for result in watched.state()["results"]:
        assert result["frame"] == 10
        assert result["error"]["mean"] == pytest.approx(wanted.mean(), abs=0.01)
        assert result["error"]["largest"] == pytest.approx(wanted.max(), abs=0.02)
        assert result["mesh"] and not result["splats"]  # errors are of the mesh
    assert f"mean {wanted.mean():.2f}" in watched.page.inner_text("#labels")
    assert watched.page.is_visible("#scale")
    before = watched.page.evaluate("viewer.coverage().colours")
    watched.page.fill("#heat-max", "0.2")
    assert watched.state()["heatMax"] == 0.2
    assert watched.page.inner_text("#scale .ticks").split()[0] == "0.2"
    assert watched.page.evaluate("viewer.coverage().colours") != before
    watched.page.evaluate("viewer.show({heat: false})")
    assert watched.page.is_hidden("#scale") and watched.state()["results"][0]["error"] is None


def test_splats_are_seen_and_move_with_the_mesh(watched: Watched) -> None:
    watched.page.evaluate("viewer.solo(1)")
    assert watched.state()["results"][1]["splats"]
    opening = jaw_opening(0.0)
    closed_frame, open_frame = int(opening.argmin()), int(opening.argmax())
    middle, pictures = stage_middle(watched), []
    for frame in (closed_frame, open_frame):
        watched.page.evaluate(f"viewer.seek({(frame + 0.5) / FPS})")
        pictures.append(column(watched, middle))
    changed = np.abs(pictures[0].astype(int) - pictures[1].astype(int)).max(axis=1)
    assert (changed > 25).sum() >= 3  # the lips and the chin moved
    # The mesh below has about the same outline.
    splats = watched.covered()
    watched.page.evaluate("viewer.show({splats: false})")
    assert not watched.state()["results"][1]["splats"] and watched.state()["results"][1]["mesh"]
    assert watched.covered() == pytest.approx(splats, rel=0.2)


def test_painted_splats_are_those_of_webgl(watched: Watched) -> None:
    """Without a graphics card the page paints splats itself: the same picture to a few levels."""
    watched.page.evaluate("viewer.solo(1); viewer.lookFrom(30, 10); viewer.seek(0.4)")
    middle, pictures = stage_middle(watched), []
    for painted in ("true", "false"):
        watched.page.evaluate(f"viewer.paintSplats({painted})")
        pictures.append(column(watched, middle).astype(int))
    differences = np.abs(pictures[0] - pictures[1])
    assert differences.max() <= 6 and differences.mean() < 1.0
    assert np.ptp(pictures[0], axis=0).min() > 60  # and it is a picture of something


def stage_middle(watched: Watched) -> tuple[int, int]:
    box = watched.page.locator("#stage").bounding_box()
    return int(box["width"] // 2), int(box["height"])


def column(watched: Watched, middle: tuple[int, int]) -> np.ndarray:
    """Colours down the middle of the stage, (height / 4, 3)."""
    x, height = middle
    ask = f"Array.from({{length: {height // 4}}}, (_, i) => viewer.pixel({x}, 4 * i))"
    return np.array(watched.page.evaluate(ask))


def test_the_picture_that_is_saved_is_not_blank(watched: Watched) -> None:
    from PIL import Image

    watched.page.evaluate("viewer.seek(0.4)")
    with watched.page.expect_download() as waiting:
        watched.page.click("#screenshot")
    download = waiting.value
    assert download.suggested_filename == "made_frame10.png"
    data = Path(download.path()).read_bytes()
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert pixels.shape[1] == watched.page.locator("#stage").bounding_box()["width"]
    skin = (pixels[:, :, 0].astype(int) - pixels[:, :, 2]) > 25
    assert 0.02 < skin.mean() < 0.9


def test_two_tabs_are_independent(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 700, "height": 600})
    first, second = (Watched(context.new_page(), address) for _ in range(2))
    first.page.evaluate("viewer.seek(1.0)")
    second.page.evaluate("viewer.seek(0.4)")
    assert (first.frames(), second.frames()) == ([25, 25], [10, 10])
    assert first.complaints == second.complaints == []
    context.close()


def test_one_result_without_sound_plays(browser: Any, files: dict[str, Path]) -> None:
    context = browser.new_context(viewport={"width": 600, "height": 500}, color_scheme="dark")
    with running(build_app(load_scene([files["made.npz"]]))) as port:
        watched = Watched(context.new_page(), f"http://127.0.0.1:{port}/")
        assert watched.page.get_attribute("html", "data-theme") == "dark"
        assert watched.page.is_hidden("[data-toggle=heat]")
        watched.page.keyboard.press(" ")
        watched.wait_for("viewer.state().time > 0.3")
        assert watched.frames()[0] >= 7 and watched.state()["soundPlaying"] is None
        watched.page.evaluate(
            "viewer.pause(); viewer.setSpeed(0.25); viewer.seek(0); viewer.play()"
        )
        watched.page.wait_for_timeout(400)
        assert 0.02 < watched.state()["time"] < 0.3
        assert watched.complaints == [] and watched.outside == []
    context.close()


def test_an_avatar_alone_is_shown_at_rest(browser: Any, files: dict[str, Path]) -> None:
    context = browser.new_context(viewport={"width": 600, "height": 500})
    with running(build_app(load_scene([files["head.ply"]]))) as port:
        watched = Watched(context.new_page(), f"http://127.0.0.1:{port}/")
        assert watched.covered() > 0.05 and watched.page.inner_text("#frame") == "at rest"
        assert watched.page.is_disabled("#play") and watched.page.is_hidden("#timeline")
        watched.page.keyboard.press(" ")
        assert not watched.state()["playing"] and watched.complaints == []
    context.close()


def test_a_request_to_elsewhere_would_have_been_seen(browser: Any, address: str) -> None:
    context = browser.new_context()
    watched = Watched(context.new_page(), address)
    watched.page.evaluate("void fetch('http://127.0.0.1:9/x').catch(() => {})")
    watched.page.wait_for_timeout(300)
    # The page's own policy stops it before the door; the console tells.
    assert watched.outside or any("127.0.0.1:9" in one for one in watched.complaints)
    context.close()
