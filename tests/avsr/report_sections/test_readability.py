"""The face benchmark's JSON as tables and heat maps."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from html import unescape
from typing import Any

import pytest

from avsr.report_sections.confusion import confusion_part
from avsr.report_sections.face_readings import RATES, readings_of
from avsr.report_sections.readability import readability
from tests.avsr.made_up_report import made_up_readability
from tests.avsr.report_sections.test_wer_tables import tables_of


def test_systems_stand_above_controls_and_none_is_missing() -> None:
    data = made_up_readability()
    rates, figures = tables_of(readability(data))
    assert list(rates.rows) == [
        ("Systems", "student"),
        ("Systems", "codetalker & co"),
        ("Systems", "no_counts"),
        ("Controls", "truth"),
        ("Controls", "mean face"),
    ]
    assert rates.head[1:] == [
        "Viseme error rate %",
        "Viseme word error rate %",
        "Character error rate %",
    ]
    assert rates.rows["Systems", "student"][0] == "21.0|18.0\u201325.0"
    assert figures.head[1:] == list(data["systems"])
    assert figures.rows["", "offset, ms"][0] == "\u221212.5|[\u221220.0, 0.0]"
    assert figures.rows["", "offset, ms"][-1] == "\u2013|1"
    assert "<li><sup>1</sup> no peak within 15 frames</li>" in readability(data)
    assert figures.rows["", "lip vertex error, mm"][0].startswith("0.84|")


def test_the_best_system_is_bold_and_no_control() -> None:
    data = made_up_readability()
    data["systems"]["mean face"]["rates"]["ver"]["value"] = 0.21  # as low as the best system
    page = readability(data)
    assert page.count("<strong>21.0</strong>") == 1 and "<strong>18.0</strong>" not in page


def test_every_face_with_counts_can_be_chosen_and_the_others_are_named() -> None:
    page = readability(made_up_readability())
    chosen = re.findall(r'<option value="\d+".*?>(.*?)</option>', page)
    assert chosen == ["student", "codetalker &amp; co", "truth", "mean face"]
    assert page.count('class="heat"') == 4
    assert "No confusion was counted for: no_counts." in page


def test_other_keys_other_kinds_and_other_rates_are_shown_not_refused() -> None:
    data = made_up_readability()
    data["systems"]["truth"]["kind"] = "oracle"
    data["systems"]["truth"]["rates"]["per"] = {"value": 0.5, "low": None, "high": None}
    data["systems"]["student"]["rates"]["ver"] = {"value": None, "reason": "no film"}
    data["systems"]["bare"] = {"kind": "system"}
    readings_of(data)
    rates, _ = tables_of(readability(data))
    assert rates.rows["oracle", "truth"][-1] == "50.0" and rates.head[-1] == "per %"
    assert rates.rows["Systems", "bare"] == ["\u2013"] * 4
    assert rates.rows["Systems", "student"][0] == "\u2013|1"
    assert "no film" in readability(data)


def map_of(page: str) -> tuple[ElementTree.Element, dict[str, Any]]:
    match = re.search(r'<svg class="heat".*?</svg>', page, flags=re.S)
    assert match
    tree = ElementTree.fromstring(match.group())
    return tree, json.loads(tree.attrib["data-heat"])


def test_rows_are_shares_and_what_was_missed_or_added_stands_apart() -> None:
    counts = [[150, 1, 49], [0, 0, 0], [3, 1, 0]]
    page = confusion_part("a", {"symbols": ["p", "f"], "counts": counts})
    tree, data = map_of(page)
    cells = {one.attrib["data-cell"]: one for one in tree.iter("g")}
    assert set(cells) == {"0,0", "0,1", "0,2", "1,0", "1,1", "1,2", "2,0", "2,1"}
    shown = {place: "".join(cell.itertext()) for place, cell in cells.items()}
    assert [shown[f"0,{i}"] for i in range(3)] == ["75", "<1", "24"]
    assert [shown[f"1,{i}"] for i in range(3)] == ["", "", ""]
    assert [shown["2,0"], shown["2,1"]] == ["75", "25"]
    shades = {p: float(list(cell)[1].attrib["fill-opacity"]) for p, cell in cells.items()}
    assert shades["0,0"] > shades["0,2"] > shades["0,1"] > shades["1,0"] == 0
    x = [float(list(cells[f"0,{i}"])[0].attrib["x"]) for i in range(3)]
    y = [float(list(cells[f"{i},0"])[0].attrib["y"]) for i in range(3)]
    assert x[2] - x[1] > x[1] - x[0] and y[2] - y[1] > y[1] - y[0]
    assert data["totals"] == [200, 0, 4] and data["read"] == ["p", "f", "missed"]
    assert "p missed: 49 of 200, 24 %" in unescape(tree.attrib["aria-label"])
    assert "<li>p added: 3 times</li>" in page


def test_a_share_of_all_but_one_is_not_told_as_all() -> None:
    page = confusion_part("a", {"symbols": ["p"], "counts": [[999, 1], [0, 0]]})
    assert "&gt;99<" in page
    perfect = confusion_part("a", {"symbols": ["p"], "counts": [[9, 0], [0, 0]]})
    assert ">100<" in perfect and "No error." in perfect


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "avsr.results"}, "readability has schema 'avsr.results' version 1"),
        ({"schema_version": 2}, "version 2; this program reads"),
        ({"systems": []}, "systems is no object"),
        ({"systems": {"a": 1}}, "systems is no object"),
        ({"systems": {"a": {"rates": {"ver": 0.2}}}}, "of a: ver is 0.2"),
        ({"systems": {"a": {"rates": {"ver": {"mean": 1}}}}}, "of a: ver is"),
        ({"systems": {"a": {"figures": {"x": {"value": "1"}}}}}, "of a: x is"),
        ({"systems": {"a": {"confusion": {"symbols": ["p"]}}}}, "symbols and counts"),
        ({"systems": {"a": {"confusion": {"symbols": ["p"], "counts": [[1]]}}}}, "ask for 2 x 2"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        readings_of({**made_up_readability(), **change})


def benchmark_report() -> dict[str, Any]:
    """The shape of `learn2talk readability`: two readers, a film, the truth and two controls."""
    faces = ["truth", "mine", "mine@film", "still_face"]
    rate = {"value": 0.5, "low": 0.4, "high": 0.6, "unit": "1"}
    counts = [[5, 1, 2], [0, 7, 0], [3, 0, 0]]
    labels = {"row_labels": ["p", "f", "inserted"], "column_labels": ["p", "f", "deleted"]}
    ranking = {"ver": {"ranks_controls": False, "words": "Does not rank the controls: <b>."}}
    reading = {
        "systems": {
            face: {**dict.fromkeys(RATES, rate), "spectre": {"ver": 0.1}} for face in faces
        },
        "confusion": {face: {**labels, "counts": counts} for face in faces},
        "ranking": ranking,
    }
    moving = {"lse_d": {**rate, "utterances": 6}}
    return {
        "schema": "learn2talk.face_readability",
        "schema_version": 1,
        "utterances": 6,
        "speakers": 1,
        "clustered_by": "utterance",
        "left_out": [{"utterance_id": "u9"}],
        "controls_note": "controls are made from the truth",
        "faces": faces,
        "systems": {"truth": {"kind": "motion"}, "mine": {"kind": "film"}},
        "lip_readers": {"ours": {"sha256": "ab"}, "theirs": {"sha256": "cd"}},
        "readings": {"ours": reading, "theirs": reading},
        "motion": {
            "systems": {face: moving for face in faces if face != "mine@film"},
            "ranking": {"lse_d": {"words": "Ranks the controls."}},
        },
    }


def test_the_report_of_the_face_benchmark_is_read_as_it_is() -> None:
    page = readability(benchmark_report())
    ours, theirs, figures = tables_of(page)
    groups = [("Systems", "mine"), ("Systems", "mine@film")]
    groups += [("Controls", "truth"), ("Controls", "still_face")]
    assert list(ours.rows) == list(theirs.rows) == groups
    assert "<h3>Read by ours</h3>" in page and "<h3>Read by theirs</h3>" in page
    assert figures.head[1:] == ["mine", "mine@film", "truth", "still_face"]
    assert figures.rows["", "lse d"][:2] == ["0.500|[0.400, 0.600]", "\u2013"]
    assert page.count('class="heat"') == 8
    said = ("ver: Does not rank the controls: &lt;b&gt;.", "lse d: Ranks the controls.")
    said += ("1 utterances left out", "6 utterances, 1 speakers", "SHA-256 cd")
    assert all(page.count(one) == 1 for one in said)


@pytest.mark.parametrize("part", ["readings", "motion", "faces", "lip_readers"])
def test_a_benchmark_report_with_a_part_missing_is_refused(part: str) -> None:
    data = benchmark_report()
    del data[part]
    with pytest.raises(ValueError, match=f"missing or odd.*{part}"):
        readings_of(data)
