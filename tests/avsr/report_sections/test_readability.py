"""The face benchmark's JSON as tables and heat maps."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from html import unescape
from typing import Any

import pytest

from avsr.report_sections.confusion import confusion_part
from avsr.report_sections.readability import check_readability, readability
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
    assert figures.rows["", "offset, ms"][-1] == "\u2013|no peak within 15 frames"
    assert figures.rows["", "lip vertex error, mm"][0].startswith("0.84|")


def test_the_best_system_is_bold_and_no_control() -> None:
    page = readability(made_up_readability())
    assert "<strong>21.0</strong>" in page and "<strong>18.0</strong>" not in page


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
    check_readability(data)
    rates, _ = tables_of(readability(data))
    assert rates.rows["oracle", "truth"][-1] == "50.0" and rates.head[-1] == "per %"
    assert rates.rows["Systems", "bare"] == ["\u2013"] * 4
    assert rates.rows["Systems", "student"][0] == "\u2013|no film"


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
        check_readability({**made_up_readability(), **change})
