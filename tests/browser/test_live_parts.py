"""The parts of the live page, each by itself in a browser: resampler, clocks, queue, meter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.headless import chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


def part(name: str) -> str:
    """JavaScript: a promise of a module of the page's source."""
    path = ROOT / "viewer_page" / "src" / "live" / f"{name}.js"
    source = path.read_text(encoding="utf-8")
    return f"import('data:text/javascript;charset=utf-8,' + encodeURIComponent({source!r}))"


@pytest.fixture()
def blank(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("rate", [48000, 44100, 16000, 8000, 22050])
def test_the_page_resamples_as_the_waveform_is(blank: Any, rate: int) -> None:
    times = np.arange(rate // 4) / rate
    kept, lost = 700.0, 10_000.0  # the second would fold to 6 kHz
    wave = 0.5 * np.sin(2 * np.pi * kept * times)
    if rate > 2 * lost:
        wave = wave + 0.4 * np.sin(2 * np.pi * lost * times)
    made = blank.evaluate(
        f"""async (sound) => {{
          const {{ Resampler }} = await {part("resampler")};
          const cut = (sizes) => {{
            const resampler = new Resampler({rate}, 16000);
            const out = [];
            for (let at = 0, n = 0; at < sound.length; n++) {{
              const size = sizes[n % sizes.length];
              out.push(...resampler.push(Float32Array.from(sound.slice(at, at + size))));
              at += size;
            }}
            return out;
          }};
          return [cut([sound.length]), cut([128]), cut([1, 0, 777])];
        }}""",
        wave.tolist(),
    )
    whole = np.asarray(made[0])
    for other in made[1:]:
        np.testing.assert_array_equal(whole, other)
    # All but the reach of the filter, which waits for what follows.
    assert 0 <= 4000 - len(whole) <= 13 * max(1.0, 16000 / rate) + 1
    middle = slice(100, len(whole) - 100)
    ideal = 0.5 * np.sin(2 * np.pi * kept * np.arange(len(whole)) / 16000)
    assert np.abs(whole - ideal)[middle].max() < 2e-3


def test_clocks_take_the_least_late_message_and_forget(blank: Any) -> None:
    found = blank.evaluate(
        f"""async () => {{
          const {{ CaptureClock, ServerClock }} = await {part("clocks")};
          const capture = new CaptureClock();
          capture.handedOver(0.0, 1010);
          capture.handedOver(0.1, 1102); // 2 ms late: the least
          capture.handedOver(0.2, 1250);
          const first = capture.at(0.05);
          // The device's clock is slow: 60 ms in 12 s. The old offset is forgotten.
          for (let i = 3; i < 120; i++) capture.handedOver(i / 10, 1002 + 100.5 * i);
          const later = capture.at(11.9) - (1002 + 100.5 * 119);
          const server = new ServerClock();
          const unknown = server.known;
          server.answered(100, 5000, 140); // the middle is 120
          server.answered(200, 5105, 210); // a shorter way: 205
          server.answered(300, 9999, 400); // a longer one tells less
          return [first, later, unknown, server.known, server.onPage(5200)];
        }}"""
    )
    assert found[:1] + found[2:] == [1052, False, True, 300]
    assert -60 < found[1] < 0  # of 12 s, at most two windows of 5 s are remembered


def test_frames_are_shown_at_once_or_at_their_time_and_what_is_not_is_counted(blank: Any) -> None:
    found = blank.evaluate(
        f"""async () => {{
          const {{ FrameQueue }} = await {part("frame_queue")};
          const queue = new FrameQueue();
          for (const captured of [0, 40, 80]) queue.push({{ captured }}, 200);
          const atOnce = queue.next(200).captured; // the newest
          const nothing = queue.next(210);
          queue.delay = 300;
          for (const captured of [120, 160, 200]) queue.push({{ captured }}, 430);
          const early = queue.next(419);
          const timely = queue.next(425).captured;
          const both = queue.next(505).captured;
          const counts = [queue.skipped, queue.late];
          for (let i = 0; i < 260; i++) queue.push({{ captured: 1000 + i }}, 600);
          return [atOnce, nothing, early, timely, both, counts, queue.waiting.length];
        }}"""
    )
    assert found == [80, None, None, 120, 200, [3, 1], 250]


def test_the_meter_counts_from_the_capture_to_the_picture_after(blank: Any) -> None:
    recent, report, empty = blank.evaluate(
        f"""async () => {{
          const {{ Meter, percentile }} = await {part("meter")};
          const meter = new Meter();
          for (const at of [1000, 1040, 1090]) {{
            meter.picture(at);
            meter.drew({{ captured: at - 150 }});
            meter.picture(at + 16); // the next picture: now it has been seen
          }}
          meter.begin(); // a pause is no interval
          meter.drew({{ captured: 4000 }});
          meter.picture(4200);
          const recent = meter.recent;
          return [recent, meter.report(2, 1), meter.report(0, 0)];
        }}"""
    )
    assert recent == {"latency": 200, "latency95": 200, "fps": None}
    assert report == {
        "kind": "report",
        "shown": 4,
        "skipped": 2,
        "late": 1,
        "latency_ms": [166, 166, 166, 200],
        "interval_ms": [40, 50],
    }
    assert empty["shown"] == 0 and empty["latency_ms"] == []
