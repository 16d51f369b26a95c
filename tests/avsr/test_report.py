from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.conditions import Arm
from avsr.files import MediaError, write_video, write_wav
from avsr.plot import panel_svg, save_plot, styles
from avsr.report import ReportSample, ReportText, write_outputs, write_report
from avsr.schema import Hypothesis
from avsr.score import Bootstrap, ExpectedUtterance, Protocol, Provenance, score
from avsr.tables import arm_labels
from avsr.transcripts import align_words, error_summary, transcript_html

EVIL = "<script>alert('x')</script>"
SNRS = (-10.0, -5.0, 0.0, 10.0)


def made_up_results(folder: Path, *, synthetic: bool = True, note: str = "") -> dict[str, Any]:
    """Results of made-up hypotheses: shapes of a real run, numbers of none."""
    rng = np.random.default_rng(0)
    utterances = [ExpectedUtterance(f"u{i}", "s1", "bin blue at f two now") for i in range(8)]
    arms = [
        ("tiny", "audio", "none"),
        ("tiny", "video", "mouth_crops"),
        ("tiny", "audio_visual", "mouth_crops"),
        ("tiny", "audio_visual", "generated_from_noisy"),
        ("tiny", "audio_visual", "still"),
    ]
    rows = []
    for system, modality, source in arms:
        conditions: list[tuple[str, float | None, int | None]] = [("none", None, None)]
        if modality != "video":
            conditions += [
                (noise, snr, seed)
                for noise in ("babble", EVIL)
                for snr in SNRS
                for seed in range(3)
            ]
        for noise, level, seed in conditions:
            rate = 0.05 if level is None else 0.9 / (1 + np.exp((level + 5) / 2))
            for one in utterances:
                words = [w if rng.random() > rate else "z" for w in one.reference.split()]
                fields = one.utterance_id, "s1", system, modality, source, noise, level, seed
                rows.append(Hypothesis(*fields, one.reference, " ".join(words)))  # type: ignore[arg-type]
    path = folder / "hypotheses.jsonl"
    path.write_text("".join(json.dumps(row.to_row()) + "\n" for row in rows))
    return score(
        path,
        expected=utterances,
        protocol=Protocol(
            corpus="made-up",
            split="test",
            synthetic=synthetic,
            speaker_dependent=True,
            snrs_db=SNRS,
            seeds=(0, 1, 2),
            test_noises={"babble": ("b.wav",), EVIL: ()},
            training_noises={"babble": ("a.wav",)},
            notes=(note,) if note else (),
        ),
        provenance=Provenance(
            f"avsr score {EVIL}", "0" * 40, "2026-01-01T00:00:00Z", "CPU", 61.0, {"avsr": "0"}, None
        ),
        bootstrap=Bootstrap(num_resamples=100),
    )


def sample(folder: Path) -> ReportSample:
    film, sound = folder / "face.mp4", folder / "heard.wav"
    frames = [np.full((64, 64, 3), 5 * t, np.uint8) for t in range(25)]
    tone = 0.1 * np.sin(np.arange(16000) / 20).astype(np.float32)
    write_video(film, frames, 25, tone)
    write_wav(sound, tone)
    return ReportSample(
        title=f"u0 {EVIL}",
        reference="bin blue at f two now",
        transcripts={"A: audio only": f"bin {EVIL} now", EVIL: "bin blue at f two now"},
        generated_video=film,
        real_video=film.read_bytes(),
        audio=sound,
        condition=f"babble {EVIL}",
        generated_label=f"Generated {EVIL}",
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


@pytest.fixture(scope="module")
def page_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    results = made_up_results(folder, note="A note <b>& more.")
    text = ReportText(title=f"Title {EVIL}", notes=("Another note.",))
    path = write_report(folder / "report.html", results, [sample(folder)], text=text)
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
    (heard,) = [attributes for tag, attributes in tags if tag == "audio"]
    assert str(heard["src"]).startswith("data:audio/wav;base64,") and heard["aria-label"]


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
    assert sorted(paths) == ["png", "report", "rows", "svg", "table"]
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
        ({"generated_video": b"not a film"}, "not an MP4"),
        ({"generated_video": b"\x00\x00\x00\x18ftypmp42"}, "cannot be opened"),
        ({"generated_video": tmp_path / "none.mp4"}, "no such file"),
        ({"audio": b"ID3"}, "not a WAV"),
    ):
        bad = ReportSample(**{**vars(good), **change})
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
