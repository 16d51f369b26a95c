"""`learn2talk live` with pages of a headless Chromium whose microphone plays a file."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from avsr.corpora.espeak import Voice, speak
from avsr.files import read_jsonl, write_wav
from learn2talk.viewer.live_figures import spread

Source = Literal["microphone", "file"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARRIVALS_S = 2.0  # of frames that a page remembers
SENTENCE = (
    "my mama and papa bought a map of the big blue bay and a small boat with five white sails "
    "for the baby who would rather have a puppy than go fishing before breakfast every morning "
    "while the people of the village pack their bags and move up to the mountain farms"
)


class NoBrowserError(ValueError):
    """There is no browser to measure in."""


@dataclass(frozen=True)
class Setting:
    """One thing to measure: where the sound comes from, into how many pages, how far ahead."""

    source: Source
    pages: int
    look_ahead_frames: int

    @property
    def what(self) -> str:
        """In words."""
        pages = "1 page" if self.pages == 1 else f"{self.pages} pages"
        return f"{self.source}, {pages}, look-ahead {self.look_ahead_frames}"


def write_speech(path: Path) -> float:
    """A made-up voice saying a long sentence; returns its seconds."""
    said = speak(SENTENCE.split(), Voice("en-us"))
    write_wav(path, np.clip(said.waveform, -1.0, 1.0), said.sample_rate_hz)
    return len(said.waveform) / said.sample_rate_hz


def measure_pages(setting: Setting, seconds: float, root: Path) -> dict[str, Any]:
    """Run the command and its pages for so many seconds, after one that is not counted.

    Args:
        setting: what to measure.
        seconds: counted; for a file at most the rest of it.
        root: of the checkout.

    Returns:
        JSON-ready: algorithmic_ms; latency_ms, jitter_ms, compute_ms (p50, p95); arrival_ms (p50),
        capture until the frame is in the page; fps, of the slowest page; made, shown, skipped,
        late, dropped, unsent, of all pages; delay_ms, of a sound played along, or None.

    Raises:
        NoBrowserError: no playwright, or no Chromium on PATH.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise NoBrowserError("no playwright package; install the extra dev") from error
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise NoBrowserError("no Chromium on PATH; run scripts/install_browser.sh")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_speech(folder / "speech.wav")
        server, address = _started(folder, setting, root)
        try:
            with sync_playwright() as running:
                arguments = [
                    "--no-sandbox",  # containers run as root
                    "--use-fake-device-for-media-stream",
                    "--use-fake-ui-for-media-stream",
                    f"--use-file-for-fake-audio-capture={folder / 'speech.wav'}",
                    "--enable-unsafe-swiftshader",
                ]
                browser = running.chromium.launch(executable_path=path, args=arguments)
                found = _visited(browser, address, setting, seconds)
                browser.close()
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)
        return _figures(list(read_jsonl(folder / "log.jsonl")), found, setting)


def _started(folder: Path, setting: Setting, root: Path) -> tuple[subprocess.Popen[str], str]:
    words = ["live", str(folder / "speech.wav"), "--no-browser", "--log", str(folder / "log.jsonl")]
    words += ["--look-ahead-frames", str(setting.look_ahead_frames)]
    server = subprocess.Popen(
        [sys.executable, "-c", "from learn2talk.cli import main; main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+/", line)
    if address is None:
        raise ValueError(f"learn2talk live did not start: {line.strip()}; start it by hand")
    return server, address[0]


def _visited(browser: Any, address: str, setting: Setting, seconds: float) -> list[dict[str, Any]]:
    """What each page says of itself after the measurement; all of them are open throughout."""
    # Each in a window of its own, so that none is in the background.
    contexts = [
        browser.new_context(viewport={"width": 640, "height": 480}) for _ in range(setting.pages)
    ]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        page.goto(address)
        _until(page, "document.body.dataset.state === 'idle'")
        page.click(f"#{setting.source}")
    for page in pages:
        _until(page, "livePage.frames > 0")
    time.sleep(1.0)
    began = [page.evaluate("performance.timeOrigin + performance.now()") / 1000 for page in pages]
    arrivals: list[list[float]] = [[] for _ in pages]
    for _ in range(max(1, round(seconds / ARRIVALS_S))):
        time.sleep(ARRIVALS_S)
        for page, known in zip(pages, arrivals, strict=True):
            known += page.evaluate("livePage.arrivals")
    found = [
        {"arrivals": known, "delay": page.evaluate("livePage.queue.delay")}
        for page, known in zip(pages, arrivals, strict=True)
    ]
    ended = [page.evaluate("performance.timeOrigin + performance.now()") / 1000 for page in pages]
    for page in pages:
        page.click(f"#{setting.source}")
    for page in pages:
        _until(page, "document.body.dataset.state === 'idle'")
    time.sleep(1.5)  # their last reports
    for context in contexts:
        context.close()
    times = {"began_s": min(began), "ended_s": max(ended)}
    return [one | times for one in found]


def _until(page: Any, condition: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        if time.monotonic() > end:
            raise ValueError(f"the page never came to {condition}: {page.inner_text('#status')}")
        page.wait_for_timeout(20)


def _figures(
    rows: Sequence[dict[str, Any]], pages: Sequence[dict[str, Any]], setting: Setting
) -> dict[str, Any]:
    """Figures of the reports that lie wholly between the first second and the stop."""
    first, last = pages[0]["began_s"] + 1.0, pages[0]["ended_s"]
    reports = [row for row in rows if row["kind"] == "report" and first < row["at_s"] <= last]
    ends = [row for row in rows if row["kind"] == "finished"]
    latency = [one for row in reports for one in row["latency_ms"]]
    intervals = [one for row in reports for one in row["interval_ms"]]
    rates = []
    for connection in {row["connection"] for row in reports}:
        spent = [
            one for row in reports if row["connection"] == connection for one in row["interval_ms"]
        ]
        rates.append(1000 * len(spent) / sum(spent))
    arrivals = [one for page in pages for one in page["arrivals"]]
    return {
        "what": setting.what,
        "source": setting.source,
        "pages": setting.pages,
        "look_ahead_frames": setting.look_ahead_frames,
        "algorithmic_ms": ends[0]["algorithmic_ms"],
        "delay_ms": pages[0]["delay"],
        "latency_ms": spread(latency),
        "arrival_ms": spread(arrivals),
        "jitter_ms": spread([abs(one - 40.0) for one in intervals]),
        # Of the page that computing was slowest for.
        "compute_ms": max((row["compute_ms"] for row in ends), key=lambda one: one["p50"]),
        "fps": round(min(rates), 2),
        "frames": len(latency),
        **{name: sum(row[name] for row in reports) for name in ("shown", "skipped", "late")},
        **{name: sum(row[name] for row in ends) for name in ("dropped", "unsent")},
    }
