"""The report page in a real browser, opened from disk as a reader opens it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.files import write_video, write_wav
from avsr.report import ReportSample, write_report
from avsr.schema import Hypothesis
from avsr.score import Bootstrap, ExpectedUtterance, Protocol, Provenance, score

pytestmark = pytest.mark.browser

LOCAL = ("file:", "data:", "blob:")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small report with two films; its numbers are made up."""
    folder = tmp_path_factory.mktemp("page")
    utterances = [ExpectedUtterance(f"u{i}", "s1", "bin blue at f two now") for i in range(4)]
    rows = [
        Hypothesis(
            *(one.utterance_id, "s1", "tiny", modality, source, *condition),  # type: ignore[arg-type]
            one.reference,
            "bin blue",
        )
        for one in utterances
        for modality, source in (("audio", "none"), ("audio_visual", "mouth_crops"))
        for condition in (("none", None, None), ("babble", -5.0, 0), ("babble", 0.0, 0))
    ]
    hypotheses = folder / "hypotheses.jsonl"
    hypotheses.write_text("".join(json.dumps(row.to_row()) + "\n" for row in rows))
    protocol = Protocol(
        corpus="made-up",
        split="test",
        synthetic=True,
        speaker_dependent=True,
        snrs_db=(-5.0, 0.0),
        seeds=(0,),
        test_noises={"babble": ()},
        training_noises={},
    )
    results = score(
        hypotheses,
        expected=utterances,
        protocol=protocol,
        provenance=Provenance("test", "0", "2026-01-01T00:00:00Z", "CPU", None, {}, None),
        bootstrap=Bootstrap(num_resamples=50),
    )
    tone = 0.1 * np.sin(np.arange(32000) / 20).astype(np.float32)
    frames = [np.full((96, 96, 3), 4 * t, np.uint8) for t in range(50)]
    write_video(folder / "a.mp4", frames, 25, tone)
    write_video(folder / "b.mp4", frames, 25, tone)
    write_wav(folder / "a.wav", tone)
    shown = ReportSample(
        title="u0",
        reference="bin blue at f two now",
        transcripts={"A": "bin <img src=x onerror=alert(1)> blue"},
        generated_video=folder / "a.mp4",
        real_video=folder / "b.mp4",
        audio=folder / "a.wav",
    )
    return write_report(folder / "report.html", results, [shown])


class Watched:
    """A page with everything that it asked for and complained about."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("console", self._hear)
        page.goto(address)
        self.wait_for("[...document.querySelectorAll('video')].every(one => one.readyState >= 2)")

    def wait_for(self, condition: str) -> None:
        """Poll from here: the page's own security policy forbids to evaluate text inside it."""
        end = time.monotonic() + 10
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            self.page.wait_for_timeout(20)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="browser: no playwright package")
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
    )
    if not path:
        pytest.skip("browser: no chromium on PATH; run scripts/install_browser.sh")
    with playwright.sync_playwright() as running:
        # Containers run as root, where Chromium's sandbox refuses to start.
        arguments = ["--no-sandbox", "--autoplay-policy=user-gesture-required"]
        opened = running.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(params=[(390, "light"), (1280, "light"), (1280, "dark")], ids=str)
def watched(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Watched]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    yield Watched(context.new_page(), report.as_uri())
    context.close()


def test_it_opens_from_disk_asks_nobody_and_fits_the_screen(watched):
    page = watched.page
    assert watched.requests and all(url.startswith(LOCAL) for url in watched.requests)
    assert watched.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    shot = page.screenshot()
    assert len(shot) > 10_000  # an empty page of this size is under 5 kB
    # The words stand out from the paper by at least 7:1 (WCAG AAA).
    assert page.evaluate(CONTRAST) >= 7


CONTRAST = """(() => {
  const style = getComputedStyle(document.body);
  const light = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number)
    .map((one) => one / 255)
    .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, i) => sum + one * [0.2126, 0.7152, 0.0722][i], 0);
  const pair = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
})()"""


def test_one_button_plays_both_faces_together(watched):
    page = watched.page
    state = "[...document.querySelectorAll('video')].map(one => [one.currentTime, one.paused])"
    assert [paused for _, paused in page.evaluate(state)] == [True, True]
    page.click(".play")
    watched.wait_for("[...document.querySelectorAll('video')].every(one => one.currentTime > 0.5)")
    (first, first_paused), (second, second_paused) = page.evaluate(state)
    assert not first_paused and not second_paused
    assert abs(first - second) < 0.25
    assert (
        page.evaluate("[...document.querySelectorAll('video')].filter(v => !v.muted).length") == 1
    )
    page.click(".play")
    assert [paused for _, paused in page.evaluate(state)] == [True, True]
    assert watched.complaints == []


def test_curves_tell_their_numbers_and_can_be_hidden(watched):
    page = watched.page
    page.focus("svg.panel")
    page.keyboard.press("ArrowLeft")
    tip = page.inner_text("#tip")
    assert "WER % at 0 dB" in tip and "66.7" in tip
    page.keyboard.press("Escape")
    assert page.is_hidden("#tip")
    page.click(".legend button >> nth=0")
    assert page.get_attribute(".legend button >> nth=0", "aria-pressed") == "false"
    assert not page.is_visible(".panel .s0") and page.is_visible(".panel .s1")
