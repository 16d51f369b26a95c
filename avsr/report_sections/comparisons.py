"""Paired comparisons: systems against each other as a matrix, arms against their baselines."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from avsr.arm_labels import arm_labels, arm_of, given_label
from avsr.conditions import CLEAN, Arm
from avsr.report_sections.head import HEADLINE_AT_DB
from avsr.report_sections.html_parts import Row, select_chooser, table, value_cell
from avsr.tables import level_label, levels, noise_types_of, p_text, percent, spread

SYSTEMS = "system_vs_system"
TITLES = {
    "audio_visual_vs_audio": "Audio-visual against audio only",
    "generated_vs_control": "Generated faces against their controls",
    "disturbed_vs_undisturbed": "Disturbed against undisturbed",
}

Comparison = Mapping[str, Any]
Given = tuple[str, str, str, str]
Place = tuple[str, float | None]  # noise type and level


def system_matrices(results: Mapping[str, Any]) -> str:
    """Every system against every other that was given the same; one level at a time."""
    by_place: dict[Place, dict[Given, list[Comparison]]] = {}
    for one in results["comparisons"]:
        if one["kind"] == SYSTEMS:
            here = by_place.setdefault((one["noise_type"], one["snr_db"]), {})
            here.setdefault(_given(arm_of(one)), []).append(one)
    if not by_place:
        return ""
    noises = [*noise_types_of(results), CLEAN]
    places = sorted(by_place, key=lambda one: (noises.index(one[0]), one[1] is None, one[1] or 0.0))
    near = min(places, key=lambda one: _far(one, noises))
    choices = [
        (
            "clean audio" if level is None else f"{noise_type}, {level_label(level)}",
            "".join(
                _matrix(results, given, found)
                for given, found in by_place[noise_type, level].items()
            ),
        )
        for noise_type, level in places
    ]
    return (
        "<h3>System against system</h3><p>WER of the row's system minus that of the column's, in "
        "points, on the same mixtures: negative, the row is better. On the diagonal stands the "
        "system's own WER in %.</p>"
        f"{select_chooser('At', choices, places.index(near))}{_note(results)}"
    )


def _far(place: Place, noises: list[str]) -> tuple[int, float]:
    noise_type, level = place
    return noises.index(noise_type), abs((level or 0.0) - HEADLINE_AT_DB)


def _given(arm: Arm) -> Given:
    return arm.modality, arm.visual_source, arm.video_condition, arm.reverberation


def _matrix(results: Mapping[str, Any], given: Given, found: list[Comparison]) -> str:
    pairs = {(one["system"], one["baseline"]["system"]): one for one in found}
    own = {one["baseline"]["system"]: one["baseline_wer"] for one in found}
    own |= {one["system"]: one["wer"] for one in found}
    names = sorted(own)
    body: list[Row] = []
    for name in names:
        cells = []
        for other in names:
            if name == other:
                cells.append(f'<span class="own">{percent(own[name])}&nbsp;%</span>')
            elif (name, other) in pairs:
                cells.append(_difference(pairs[name, other], results, with_p=True))
            elif (other, name) in pairs:
                cells.append(_difference(_turned(pairs[other, name]), results, with_p=True))
            else:
                cells.append("\u2013")
        body.append((name, cells))
    caption = given_label(Arm(names[0], *given))
    return table(caption, ["Row \u2212 column", *names], [("", body)], fit=True)


def _turned(one: Comparison) -> dict[str, Any]:
    """The same comparison told from the other side."""
    return {
        **one,
        "difference": -one["difference"],
        "difference_low": -one["difference_high"],
        "difference_high": -one["difference_low"],
    }


def differences(results: Mapping[str, Any]) -> str:
    """Each arm against its baselines, a table for each kind and noise, to unfold."""
    kinds = dict.fromkeys(one["kind"] for one in results["comparisons"])
    parts = []
    for kind in kinds:
        if kind == SYSTEMS:
            continue
        title = TITLES.get(kind, kind.replace("_", " "))
        tables = "".join(
            _differences(results, kind, noise, title) for noise in noise_types_of(results)
        )
        parts.append(
            f"<details><summary>Paired tests: {escape(title)}</summary>{tables}"
            '<p class="caption">WER of the arm minus that of its baseline, in points; negative: '
            f"the arm is better.</p>{_note(results)}</details>"
        )
    return "".join(parts)


def _differences(results: Mapping[str, Any], kind: str, noise_type: str, title: str) -> str:
    labels = arm_labels(results)
    columns = levels(results, noise_type)
    found: dict[Arm, dict[Arm, dict[float | None, Comparison]]] = {}
    for one in results["comparisons"]:
        if one["kind"] == kind and one["noise_type"] in (noise_type, CLEAN):
            of_arm = found.setdefault(arm_of(one), {})
            of_arm.setdefault(arm_of(one["baseline"]), {})[one["snr_db"]] = one
    groups: list[tuple[str, list[Row]]] = [
        (
            labels[arm],
            [
                (
                    f"\u2212 {labels[base]}",
                    [_difference(by_level.get(level), results) for level in columns],
                )
                for base, by_level in bases.items()
            ],
        )
        for arm, bases in found.items()
    ]
    head = ["Points", *map(level_label, columns)]
    if not groups:
        return ""
    return table(noise_type, head, groups, region=f"{title}: {noise_type}")


def _difference(one: Comparison | None, results: Mapping[str, Any], *, with_p: bool = False) -> str:
    if one is None:
        return "\u2013"
    stars = "**" if one["p_value"] < 0.01 else "*" if one["p_value"] < 0.05 else ""
    value = {
        "value": one["difference"],
        "low": one["difference_low"],
        "high": one["difference_high"],
    }
    number, limits = spread(value, 100, signed=True).split(" ", 1)
    kind = ("down" if one["difference"] < 0 else "up") if stars else ""
    p_value = p_text(one["p_value"], results["interval"]["num_resamples"]) if with_p else ""
    p_value = f"p {p_value}" if p_value.startswith("<") else f"p = {p_value}" if p_value else ""
    return value_cell(f'<span class="{kind}">{number}{stars}</span>', limits, escape(p_value))


def _note(results: Mapping[str, Any]) -> str:
    return (
        f'<p class="caption">In brackets the {results["interval"]["confidence"]:.0%} interval. '
        "** p &lt; 0.01, * p &lt; 0.05, paired bootstrap on the same mixtures, two-sided, not "
        "corrected for the number of comparisons.</p>"
    )
