"""The viewer's benchmark at a small size: what it measures and says. No time is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsr.files import read_json
from benchmarks import viewer_fps
from benchmarks.timing.clock import Row
from learn2talk.head import build_head
from tests.browser.headless import chromium_path


@pytest.mark.browser
def test_the_whole_benchmark_at_a_small_size(tmp_path: Path) -> None:
    chromium_path()
    viewer_fps.main(
        splats=(300,), degrees=(1,), width=320, height=240, seconds=0.3, rounds=1, out=tmp_path
    )
    report = read_json(tmp_path / "viewer_fps.json")
    assert [row["what"] for row in report["rows"]] == list(viewer_fps.WAYS)
    assert all(row["calls"] > 0 and row["unit"] == "frames" for row in report["rows"])
    assert report["left_out"] == {}
    assert report["weights"]["picture"] == "320 x 240 pixels"
    times = [text for name, text in report["weights"].items() if "processor time" in name]
    assert len(times) == len(viewer_fps.WAYS) and all(int(text.split()[0]) > 0 for text in times)
    text = (tmp_path / "viewer_fps.md").read_text(encoding="utf-8")
    assert text.startswith("# Frames a second of the viewer's page") and "frames/s" in text


def test_without_a_browser_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_fps, "CHROMIUM", ("no-such-browser",))
    viewer_fps.main(out=tmp_path)
    report = read_json(tmp_path / "viewer_fps.json")
    assert report["rows"] == [] and "install_browser" in report["left_out"]["all"]


def test_the_splats_cover_the_head() -> None:
    template = build_head().template
    avatar = viewer_fps.scattered(template, 500, 2)
    posed = avatar.posed(template.vertices)
    low, high = template.vertices.min(axis=0), template.vertices.max(axis=0)
    positions = posed.positions.numpy()
    assert (positions >= low - 0.1).all() and (positions <= high + 0.1).all()
    assert posed.sh_degree == 2 and (positions.max(axis=0) - positions.min(axis=0) > 100).all()


def test_the_aim_is_judged_by_what_the_page_paints() -> None:
    def row(what: str, seconds: float) -> Row:
        return Row("a", what, seconds, seconds, seconds, 1, 1, "frames")

    fast, full = row(viewer_fps.PAINTED, 1 / 30), row(viewer_fps.IN_FULL, 0.05)
    text = viewer_fps.aim_text([fast, full, row("splats drawn by WebGL", 1.0)])
    assert "while they move: 30.0, met" in text and "in full: 20.0, missed by 10.0" in text
    assert "WebGL" not in text
