from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from avsr.arm_labels import arm_labels
from avsr.conditions import Arm
from avsr.files import MediaError
from avsr.plot import panel_svg, save_plot, styles
from avsr.report import ReportSample, ReportText, write_outputs, write_report
from avsr.transcripts import align_words, error_summary, transcript_html
from tests.avsr.made_up_report import EVIL, made_up_readability, made_up_results, write_media


def sample(folder: Path) -> ReportSample:
    media = write_media(folder)
    return ReportSample(
        title=f"u0 {EVIL}",
        reference="bin blue at f two now",
        sounds={"clean": media["clean"], f"loud {EVIL}": media["loud"].read_bytes()},
        transcripts={
            "clean": {"A: audio only": f"bin {EVIL} now"},
            f"loud {EVIL}": {EVIL: "bin blue at f two now"},
        },
        faces={f"Generated {EVIL}": media["generated"], "Real": media["real"].read_bytes()},
        condition=f"babble {EVIL}",
    )


class Page(HTMLParser):
    """Collects tags, their attributes and the text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def shared_results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made_up_results(tmp_path_factory.mktemp("results"))


@pytest.fixture
def results(shared_results: dict[str, Any]) -> dict[str, Any]:
    """A copy that a test may change."""
    return copy.deepcopy(shared_results)


def evil_readability() -> dict[str, Any]:
    faces = made_up_readability()
    student = faces["systems"].pop("student")
    student["kind"] = student["figures"]["lip_vertex_error_mm"]["unit"] = f"mm {EVIL}"
    student["figures"]["offset_ms"] = {"value": None, "reason": EVIL}
    student["confusion"]["symbols"][0] = EVIL
    return {**faces, "systems": {EVIL: student, **faces["systems"]}, "remarks": [EVIL]}


@pytest.fixture(scope="module")
def page_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    results = made_up_results(folder, note="A note <b>& more.")
    text = ReportText(title=f"Title {EVIL}", notes=("Another note.",))
    shown, faces = [sample(folder)], evil_readability()
    path = write_report(folder / "report.html", results, shown, text=text, readability=faces)
    return path.read_text(encoding="utf-8")


def test_nothing_a_user_wrote_becomes_markup(page_source):
    assert EVIL not in page_source
    page = Page(page_source)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert "A note <b>& more." in page.text and f"Title {EVIL}" in page.text


def test_no_address_leaves_the_page(page_source):
    for tag, attributes in Page(page_source).tags:
        for name in ("src", "href", "poster", "action", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value[:60])
    assert not re.search(r"url\(|@import|https?://", page_source)


def test_every_medium_is_inside_and_has_a_name(page_source):
    tags = Page(page_source).tags
    films = [attributes for tag, attributes in tags if tag == "video"]
    assert len(films) == 2
    assert all(str(one["src"]).startswith("data:video/mp4;base64,") for one in films)
    assert all(one["aria-label"] for one in films)
    heard = [attributes for tag, attributes in tags if tag == "audio"]
    assert len(heard) == 2 and len({one["src"] for one in heard}) == 2
    assert all(str(one["src"]).startswith("data:audio/wav;base64,") for one in heard)
    assert all(one["aria-label"] for one in heard)


def test_the_reader_is_told_what_the_numbers_are(page_source):
    text = Page(page_source).text
    for said in ("Synthetic:", "Speaker-dependent:", "Another note.", "1.0 min", "0" * 40):
        assert said in text


def test_recorded_speech_is_not_called_synthetic(tmp_path):
    path = write_report(tmp_path / "r.html", made_up_results(tmp_path, synthetic=False))
    assert "Synthetic:" not in path.read_text(encoding="utf-8")


def test_all_outputs_are_written_and_the_page_is_the_same_again(tmp_path, results):
    pytest.importorskip("matplotlib")
    paths = write_outputs(tmp_path / "out", results)
    assert sorted(paths) == ["latex", "png", "report", "rows", "svg", "table"]
    assert sorted(path.name for path in paths.values()) == sorted(
        path.name for path in (tmp_path / "out").iterdir()
    )
    assert paths["png"].read_bytes()[:4] == b"\x89PNG"
    assert paths["svg"].read_bytes().startswith(b"<?xml")
    again = write_report(tmp_path / "again.html", results)
    assert again.read_bytes() == paths["report"].read_bytes()


def test_a_panel_is_valid_xml_with_a_series_for_each_arm(results):
    panel = ElementTree.fromstring(panel_svg(results, EVIL))
    series = [one for one in panel.iter("g") if "series" in one.get("class", "")]
    assert len(series) == len(arm_labels(results)) == 5
    data = json.loads(panel.attrib["data-panel"])
    assert data["levels"] == ["\u221210 dB", "\u22125 dB", "0 dB", "10 dB", "clean"]
    assert data["x"] == sorted(data["x"])
    assert [one["values"][-1] is not None for one in data["series"]] == [True] * 5


def test_every_arm_of_the_main_job_has_its_own_style():
    sources = [
        "mouth_crops",
        "tracked_lips",
        "generated_from_clean",
        "generated_from_noisy",
        "generated_from_other",
        "still",
    ]
    arms = [Arm("audio", "audio", "none"), Arm("audio_visual", "audio", "none")]
    arms += [Arm("audio_visual", "audio_visual", source) for source in sources]
    arms += [Arm("audio_visual", "video", s) for s in sources if s != "generated_from_noisy"]
    chosen = styles(arms)
    assert len(set(chosen.values())) == len(arms) == 13


def test_thirty_systems_of_one_kind_look_different():
    arms = [Arm(f"system {number}", "audio", "none") for number in range(30)]
    assert len(set(styles(arms).values())) == 30


def test_an_arm_of_one_noise_alone_is_in_the_legend_of_the_plot(tmp_path, results):
    pytest.importorskip("matplotlib")
    results["rows"] = [
        row
        for row in results["rows"]
        if row["visual_source"] != "still" or row["noise_type"] == EVIL
    ]
    drawn = save_plot(results, tmp_path)[1].read_text(encoding="utf-8")
    assert "<!-- AV: still face -->" in drawn


def test_arms_of_one_kind_get_different_styles(results):
    for row in list(results["rows"]):
        if row["modality"] == "audio":
            results["rows"].append({**row, "system": "other"})
    labels = arm_labels(results)
    assert len(set(labels.values())) == 6 and "A: audio only (other)" in labels.values()
    assert len(set(styles(list(labels)).values())) == 6


def test_a_clean_only_run_has_a_page_and_a_plot(tmp_path, results):
    pytest.importorskip("matplotlib")
    results["rows"] = [row for row in results["rows"] if row["snr_db"] is None]
    results["comparisons"] = [one for one in results["comparisons"] if one["snr_db"] is None]
    results["protocol"] |= {"test_noises": {}, "matched_noise": {}, "snrs_db": [], "seeds": []}
    assert "clean" in write_report(tmp_path / "r.html", results).read_text(encoding="utf-8")
    assert save_plot(results, tmp_path)[0].stat().st_size > 1000


def test_media_that_no_browser_plays_are_refused_by_name(tmp_path, results):
    good = sample(tmp_path)
    for change, says in (
        ({"faces": {"one": b"not a film"}}, "not an MP4"),
        ({"faces": {"one": b"\x00\x00\x00\x18ftypmp42"}}, "cannot be opened"),
        ({"faces": {"one": tmp_path / "none.mp4"}}, "no such file"),
        ({"sounds": {"clean": b"ID3"}, "transcripts": {}}, "not a WAV"),
    ):
        bad = replace(good, **change)
        with pytest.raises(MediaError, match=says) as caught:
            write_report(tmp_path / "r.html", results, [bad])
        assert "u0" in str(caught.value)
    assert not (tmp_path / "r.html").exists()


def test_results_of_another_schema_are_refused(tmp_path):
    with pytest.raises(ValueError, match="version 99"):
        write_report(tmp_path / "r.html", {"schema": "avsr.results", "schema_version": 99})


def test_alignment_names_every_error():
    aligned = align_words(reference="bin blue at f two now", hypothesis="bin red at two now please")
    kinds = [word.kind for word in aligned]
    assert kinds == ["equal", "substitution", "equal", "deletion", "equal", "equal", "insertion"]
    assert error_summary(aligned) == "2 of 6 words wrong, 1 added"
    html = transcript_html(aligned)
    assert "<del" in html and "<ins" in html and "was said: </span>blue" in html


def test_alignment_of_nothing():
    assert [w.kind for w in align_words(reference="a b", hypothesis="")] == ["deletion"] * 2
    assert [w.kind for w in align_words(reference="", hypothesis="a")] == ["insertion"]
    assert error_summary(align_words(reference="a b", hypothesis="a b")) == "all 2 words right"
