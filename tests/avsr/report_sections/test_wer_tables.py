"""Nothing that was scored is missing from the tables, whatever was decoded."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from avsr.arm_labels import arm_labels, arm_of, disturbed_arms, main_arms
from avsr.conditions import CLEAN, Arm
from avsr.report_sections.curves import curves
from avsr.report_sections.wer_tables import wer_tables
from avsr.tables import level_label, markdown, noise_types_of, percent
from tests.avsr.made_up_report import (
    DISTURBED_ARMS,
    EVIL,
    FEW,
    MANY,
    MANY_ARMS,
    ROOM,
    Design,
    made_up_results,
)

SMALL = Design(
    arms=MANY_ARMS + DISTURBED_ARMS,
    noises=("babble", EVIL),
    snrs_db=(-5.0, 0.0),
    seeds=(0,),
    num_utterances=3,
    num_resamples=20,
)


@dataclass(frozen=True)
class Table:
    region: str
    caption: str
    head: list[str]
    rows: dict[tuple[str, str], list[str]]  # (group, label) to cells


def tables_of(page: str) -> list[Table]:
    found = []
    for part in re.findall(r'<div class="scroll".*?</table></div>', page, flags=re.S):
        tree = ElementTree.fromstring(part.replace("&nbsp;", "\u00a0"))
        rows: dict[tuple[str, str], list[str]] = {}
        for body in tree.iter("tbody"):
            group = ""
            for row in body:
                cells = ["|".join(cell.itertext()) for cell in row]
                if row.get("class") == "group":
                    group = cells[0]
                else:
                    assert (group, cells[0]) not in rows, "two rows of one name"
                    rows[group, cells[0]] = cells[1:]
        head = ["".join(cell.itertext()) for cell in tree.findall(".//thead//th")]
        assert all(len(cells) == len(head) - 1 for cells in rows.values())
        caption = "".join(tree.findall(".//caption")[0].itertext())
        found.append(Table(tree.attrib["aria-label"], caption, head, rows))
    return found


def expect_every_rate(results: dict[str, Any]) -> None:
    """Every pooled row stands in the table of its noise, in the row of its arm."""
    tables = tables_of(wer_tables(results))
    labels, main = arm_labels(results), main_arms(results)
    places = {arm: ("", ("", labels[arm])) for arm in main}
    for one in disturbed_arms(results):
        for group, members in one.groups:
            for arm, name in members:
                places.setdefault(arm, (f"{one.title}: ", (group, name)))
    assert set(places) == set(labels)
    for row in results["rows"]:
        if row["scope"] != "pooled":
            continue
        region, name = places[arm_of(row)]
        noises = noise_types_of(results) if row["noise_type"] == CLEAN else [row["noise_type"]]
        cells = [
            table.rows[name][table.head.index(level_label(row["snr_db"])) - 1]
            for table in tables
            if table.region in {f"{region}{noise}" for noise in noises}
        ]
        assert cells, f"{name}: no table has {row['noise_type']} {row['snr_db']}"
        assert all(cell.split("|")[0] == percent(row["wer"]) for cell in cells)
    summaries = [table for table in tables if table.region.startswith("Summary")]
    named = {label for table in summaries for _, label in table.rows}
    assert named == set(labels.values())
    text = markdown(results)
    assert all(label.replace("|", "\\|") in text for label in labels.values() if label in named)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made_up_results(tmp_path_factory.mktemp("many"), SMALL)


def test_every_rate_of_many_arms_is_in_a_table(many: dict[str, Any]) -> None:
    expect_every_rate(many)
    assert {one.title for one in disturbed_arms(many)} == {
        "What happens to the picture",
        "Rooms",
        "Picture and room together",
    }


def test_disturbed_arms_do_not_flood_the_curves(many: dict[str, Any]) -> None:
    assert main_arms(many) == [arm for arm in arm_labels(many) if arm in MANY_ARMS]
    page = curves(many)
    assert page.count('class="toggle"') == len(MANY_ARMS) == page.count('class="only"')
    assert "occluded" not in page and "Rooms" in page


@pytest.mark.parametrize(
    "arms",
    [
        # Without an undisturbed arm to stand beside; nothing undisturbed at all.
        (Arm("a", "audio", "none"), Arm("a", "audio_visual", "mouth_crops", "occluded")),
        (Arm("a", "audio", "none", reverberation=ROOM), Arm("b", "audio", "none", "clean", ROOM)),
        (Arm("a", "video", "mouth_crops", "occluded"),),
        # A system that has another's name inside its own.
        (Arm("a", "audio", "none"), Arm("a (a)", "audio", "none")),
    ],
)
def test_odd_sets_of_arms_lose_none(tmp_path: Path, arms: tuple[Arm, ...]) -> None:
    results = made_up_results(tmp_path, replace(SMALL, arms=arms))
    expect_every_rate(results)
    assert curves(results).count('class="toggle"') == len(main_arms(results)) >= 1


def test_arms_that_were_decoded_in_one_noise_or_without_clean_are_shown(
    many: dict[str, Any],
) -> None:
    def kept(row: dict[str, Any]) -> bool:
        if row["video_condition"] == "occluded":
            return bool(row["noise_type"] == EVIL)
        return row["system"] != "ear" or row["snr_db"] is not None

    rows = [row for row in many["rows"] if kept(row)]
    there = {arm_of(row) for row in rows}
    comparisons = [
        one
        for one in many["comparisons"]
        if arm_of(one) in there and arm_of(one["baseline"]) in there
    ]
    expect_every_rate({**many, "rows": rows, "comparisons": comparisons})


def test_every_comparison_is_on_the_page_from_both_sides(many: dict[str, Any]) -> None:
    page = wer_tables(many)
    matrices = page[page.index("System against system") :]
    choices = dict(enumerate(re.findall(r'<option value="\d+".*?>(.*?)</option>', matrices)))
    parts = re.findall(r'<div data-choice="(\d+)".*?(?=<div data-choice|<details)', matrices, re.S)
    assert len(choices) == len(parts) == 2 * 2 + 1
    whole = tables_of(page)
    labels = arm_labels(many)
    seen = {"system_vs_system": 0, "others": 0}
    for one in many["comparisons"]:
        number = f"{round(100 * one['difference'], 1) + 0.0:+.1f}".replace("-", "\u2212")
        turned = f"{round(-100 * one['difference'], 1) + 0.0:+.1f}".replace("-", "\u2212")
        if one["kind"] != "system_vs_system":
            (base, column) = f"\u2212 {labels[arm_of(one['baseline'])]}", level_label(one["snr_db"])
            cells = [
                table.rows[labels[arm_of(one)], base][table.head.index(column) - 1]
                for table in whole
                if (labels[arm_of(one)], base) in table.rows
                and table.caption in (one["noise_type"], *(["babble"] * (one["snr_db"] is None)))
            ]
            assert any(cell.split("|")[0].rstrip("*") == number for cell in cells)
            seen["others"] += 1
            continue
        name = "clean audio" if one["snr_db"] is None else f"{one['noise_type']}, "
        name += "" if one["snr_db"] is None else level_label(one["snr_db"])
        index = next(
            i
            for i, text in choices.items()
            if text == name.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;")
        )
        start = matrices.index(f'<div data-choice="{index}"')
        end = matrices.find(f'<div data-choice="{index + 1}"')
        here = tables_of(matrices[start : end if end > 0 else None])
        pair = one["system"], one["baseline"]["system"]
        found = [
            table
            for table in here
            if {("", pair[0]), ("", pair[1])} <= set(table.rows)
            and table.rows["", pair[0]][table.head.index(pair[1]) - 1].split("|")[0].rstrip("*")
            == number
            and table.rows["", pair[1]][table.head.index(pair[0]) - 1].split("|")[0].rstrip("*")
            == turned
        ]
        assert found, f"{pair} at {name}"
        seen["system_vs_system"] += 1
    assert min(seen.values()) > 20


def test_the_matrix_opens_near_minus_five_db_in_the_first_noise(many: dict[str, Any]) -> None:
    page = wer_tables(many)
    assert '<option value="0" selected>babble, \u22125 dB</option>' in page
    assert '<div data-choice="0">' in page and '<div data-choice="1" hidden>' in page


def test_a_test_without_noise_and_without_rivals_has_no_matrix(tmp_path: Path) -> None:
    results = made_up_results(tmp_path, replace(FEW, noises=FEW.noises[:1], num_resamples=20))
    assert "System against system" not in wer_tables(results)
    assert MANY.noises[0] not in wer_tables(results).replace("babble_4", "")
