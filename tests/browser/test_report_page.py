"""The report page in a real browser, opened from disk as a reader opens it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avsr.report import write_report
from tests.avsr.made_up_report import MANY, made_up_readability, made_up_results, made_up_samples
from tests.browser.headless import chromium

pytestmark = pytest.mark.browser

LOCAL = ("file:", "data:", "blob:")
PHONE = 375
TAP_PIXELS = 40


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten arms, nine disturbed ones, three noises, nine levels, faces and their readability."""
    folder = tmp_path_factory.mktemp("page")
    return write_report(
        folder / "report.html",
        made_up_results(folder, MANY),
        made_up_samples(folder),
        readability=made_up_readability(),
    )


class Watched:
    """A page with everything that it asked for and complained about; the network is cut off."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.stopped: list[str] = []
        self.complaints: list[str] = []
        page.route("**/*", self._stop_at_the_door)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("console", self._hear)
        page.goto(address)
        self.wait_for("[...document.querySelectorAll('video')].every(one => one.readyState >= 2)")

    def _stop_at_the_door(self, route: Any) -> None:
        if route.request.url.startswith(LOCAL):
            route.continue_()
        else:
            self.stopped.append(route.request.url)
            route.abort()

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
    with chromium(["--autoplay-policy=user-gesture-required"]) as opened:
        yield opened


@pytest.fixture(params=[(PHONE, "light"), (1280, "light"), (1280, "dark")], ids=str)
def watched(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Watched]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    yield Watched(context.new_page(), report.as_uri())
    context.close()


def test_it_opens_from_disk_asks_nobody_and_fits_the_screen(watched):
    page = watched.page
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert watched.requests and all(url.startswith(LOCAL) for url in watched.requests)
    assert watched.stopped == [] and watched.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    shot = page.screenshot()
    assert len(shot) > 10_000  # an empty page of this size is under 5 kB
    # The words stand out from the paper by at least 7:1 (WCAG AAA).
    assert page.evaluate(CONTRAST) >= 7


def test_a_request_would_have_been_seen(watched):
    watched.page.evaluate("void fetch('http://127.0.0.1:9/x').catch(() => {})")
    watched.wait_for("document.readyState === 'complete'")
    watched.page.wait_for_timeout(200)
    # The page's own policy stops it before the door; a console error tells.
    assert watched.stopped or any("127.0.0.1" in one for one in watched.complaints)


def test_wide_tables_scroll_in_their_own_region(watched):
    page = watched.page
    widths = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(one => one.checkVisibility())"
        ".map(one => [one.clientWidth, one.scrollWidth, innerWidth])"
    )
    assert len(widths) > 8 and all(inner <= screen for inner, _, screen in widths)
    if page.viewport_size["width"] == PHONE:
        assert any(whole > inner for inner, whole, _ in widths)
        page.evaluate("document.querySelector('#tables .scroll').scrollLeft = 200")
        # The names of the rows stay in sight.
        left = "document.querySelector('#tables tbody th').getBoundingClientRect().left"
        assert page.evaluate(left) == pytest.approx(
            page.evaluate("document.querySelector('#tables .scroll').getBoundingClientRect().left")
        )


def test_everything_to_tap_is_large_enough_for_a_finger(watched):
    page = watched.page
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    boxes = page.evaluate(
        "[...document.querySelectorAll('a, button, select, summary, input, audio')]"
        ".filter(one => one.checkVisibility() && !one.matches('.skip'))"
        ".map(one => [one.outerHTML.slice(0, 60), one.getBoundingClientRect().toJSON()])"
    )
    assert len(boxes) > 40
    small = [(n, b) for n, b in boxes if b["width"] < TAP_PIXELS or b["height"] < TAP_PIXELS]
    assert small == []


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
    videos = "[...document.querySelector('.sample').querySelectorAll('video')]"
    state = f"{videos}.map(one => [one.currentTime, one.paused])"
    assert [paused for _, paused in page.evaluate(state)] == [True, True]
    page.click(".play >> nth=0")
    watched.wait_for(f"{videos}.every(one => one.currentTime > 0.5)")
    (first, first_paused), (second, second_paused) = page.evaluate(state)
    assert not first_paused and not second_paused
    assert abs(first - second) < 0.25
    assert page.evaluate(f"{videos}.filter(one => !one.muted).length") == 1
    page.click(".play >> nth=0")
    assert [paused for _, paused in page.evaluate(state)] == [True, True]
    assert watched.complaints == []


def test_choosing_a_sound_shows_its_transcripts_and_plays_on(watched):
    page = watched.page
    sample = ".sample >> nth=0"
    shown = f"{sample} >> [data-choice]:not([hidden])"
    assert "all 6 words right" in page.inner_text(shown)
    playing = "[...document.querySelectorAll('.sample')][0].querySelectorAll('audio')"
    page.evaluate(f"{playing}[0].play()")
    watched.wait_for(f"{playing}[0].currentTime > 0.3")
    page.focus(f"{sample} >> input[type=radio] >> nth=0")
    page.keyboard.press("ArrowRight")
    assert "babble_4, 0 dB" in page.inner_text(f"{sample} >> label:has(input:checked)")
    assert page.locator(f"{sample} >> audio:visible").count() == 1
    text = page.inner_text(shown)
    assert "3 of 6 words wrong" in text and "please" in text
    watched.wait_for(f"!{playing}[1].paused && {playing}[0].paused")
    assert page.evaluate(f"{playing}[1].currentTime") > 0.25
    page.keyboard.press("ArrowRight")
    assert "6 of 6 words wrong" in page.inner_text(shown)
    page.click(".play >> nth=0")  # one thing sounds at a time
    watched.wait_for("[...document.querySelectorAll('audio')].every(one => one.paused)")
    # Another sample keeps its own choice.
    assert page.evaluate("document.querySelector('[name=sound-2]').checked")
    assert watched.complaints == []


def test_a_sound_that_nobody_transcribed_says_so(watched):
    page = watched.page
    page.check(".sample >> nth=2 >> input >> nth=1")
    shown = page.inner_text(".sample >> nth=2 >> [data-choice]:not([hidden])")
    assert "No system transcribed this sound." in shown


def test_the_confusion_of_another_face_can_be_chosen_and_read_by_keys(watched):
    page = watched.page
    label = "svg.heat:visible"
    assert "face student" in page.get_attribute(label, "aria-label")
    page.select_option("#readability select", label="mean face")
    assert page.locator(label).count() == 1
    assert "face mean face" in page.get_attribute(label, "aria-label")
    page.focus(label)
    page.keyboard.press("ArrowRight")
    assert "p b m said, p b m read" in page.inner_text("#tip")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert "p b m said, nothing read" in page.inner_text("#tip")
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    assert "sil said, nothing read" in page.inner_text("#tip")
    box = page.locator("#tip").bounding_box()
    assert 0 <= box["x"] and box["x"] + box["width"] <= page.viewport_size["width"]
    page.keyboard.press("Escape")
    assert page.is_hidden("#tip")
    page.hover('svg.heat:visible >> [data-cell="11,0"]')
    assert page.inner_text("#tip").startswith("Nothing said, p b m read")
    assert watched.complaints == []


def test_the_system_matrix_goes_to_another_level(watched):
    page = watched.page
    select = "#tables .choose select"
    assert page.eval_on_selector(select, "one => one.selectedOptions[0].text") == (
        "babble_4, \u22125 dB"
    )
    shown = "#tables .chooser > [data-choice]:not([hidden])"
    before = page.inner_text(shown)
    page.select_option(select, label="clean audio")
    after = page.inner_text(shown)
    assert before != after and "p = " in after and "V: real mouth crops" in after


def test_curves_tell_their_numbers_and_can_be_hidden(watched):
    page = watched.page
    page.focus("svg.panel >> nth=0")
    page.keyboard.press("ArrowLeft")
    tip = page.inner_text("#tip")
    assert "WER % at 10 dB" in tip and tip.count("[") == 10
    page.keyboard.press("Escape")
    assert page.is_hidden("#tip")
    shown = "[...document.querySelectorAll('svg.panel .series')]"
    shown += ".map(one => getComputedStyle(one).display !== 'none')"
    page.click(".legend .toggle >> nth=0")
    assert page.get_attribute(".legend .toggle >> nth=0", "aria-pressed") == "false"
    assert page.evaluate(shown) == [False, *[True] * 9] * 3
    page.click(".legend .only >> nth=4")
    assert page.evaluate(shown) == [*[False] * 4, True, *[False] * 5] * 3
    page.click("text=Hide all")
    assert not any(page.evaluate(shown))
    page.click("text=Show all")
    assert all(page.evaluate(shown))


def test_pointing_at_a_name_makes_its_curve_stand_out(watched):
    page = watched.page
    faint = "[...document.querySelectorAll('svg.panel')].map(one => [...one.querySelectorAll("
    faint += "'.series')].map(one => getComputedStyle(one).opacity < 0.5))"
    bands = "getComputedStyle(document.querySelectorAll('svg.panel .s2 .band')[0]).opacity"
    assert page.evaluate(f"{faint}.flat().some(Boolean)") is False
    assert float(page.evaluate(bands)) == 0  # ten bands would hide each other
    page.hover(".legend .toggle >> nth=2")
    assert page.evaluate(faint) == [[True, True, False, *[True] * 7]] * 3
    assert float(page.evaluate(bands)) > 0
    page.hover("h1")
    assert page.evaluate(f"{faint}.flat().some(Boolean)") is False
