"""The tables of rates: summary, each noise, disturbed pictures and rooms, what is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from avsr.arm_labels import DisturbedArms, arm_labels, disturbed_arms, main_arms
from avsr.conditions import CLEAN, Arm
from avsr.report_sections.comparisons import differences, system_matrices
from avsr.report_sections.html_parts import Row, section, table, two_lines, value_cell
from avsr.tables import (
    SUMMARY_HEAD,
    interval_line,
    level_label,
    levels,
    noise_types_of,
    percent,
    pooled,
    summary_rows,
    wide_rows,
)


def wer_tables(results: Mapping[str, Any]) -> str:
    """Summary, the wide WER table of each noise, disturbed arms, systems, paired differences."""
    wide = "".join(_wide(results, noise) for noise in noise_types_of(results))
    disturbed = "".join(_disturbed(results, one) for one in disturbed_arms(results))
    return section(
        "tables",
        "Tables",
        f"{_summary(results, 'Summary', main_arms(results))}"
        f'<p class="caption">{escape(interval_line(results["interval"]))}</p>{wide}'
        '<p class="caption">WER in %, with its interval. Bold: lowest of the column. Clean audio '
        f"is the same in every table; video alone hears no noise.</p>{disturbed}"
        f"{system_matrices(results)}{differences(results)}",
    )


def _summary(results: Mapping[str, Any], caption: str, arms: Sequence[Arm], about: str = "") -> str:
    rows = [(row[0], [two_lines(cell) for cell in row[1:]]) for row in summary_rows(results, arms)]
    return table(
        caption, SUMMARY_HEAD, [("", rows)], wrap=True, region=f"{caption} {about}".strip()
    )


def _wide(results: Mapping[str, Any], noise_type: str) -> str:
    labels = arm_labels(results)
    rows = wide_rows(results, noise_type, main_arms(results))
    lowest = [
        min((one["wer"] for _, row in rows if (one := row[column])), default=None)
        for column in range(len(levels(results, noise_type)))
    ]
    body = [
        (labels[arm], [_rate(one, best) for one, best in zip(row, lowest, strict=True)])
        for arm, row in rows
    ]
    return table(noise_type, _head(results, noise_type), [("", body)])


def _head(results: Mapping[str, Any], noise_type: str) -> list[str]:
    return ["WER %", *(level_label(level) for level in levels(results, noise_type))]


def _rate(row: Mapping[str, Any] | None, best: float | None = None) -> str:
    if row is None:
        return "\u2013"
    value = percent(row["wer"])
    limits = f"{percent(row['wer_low'])}\u2013{percent(row['wer_high'])}"
    lost = "" if row["coverage"] == 1 else f"{row['coverage']:.1%} decoded"
    return value_cell(f"<strong>{value}</strong>" if row["wer"] == best else value, limits, lost)


def _disturbed(results: Mapping[str, Any], disturbed: DisturbedArms) -> str:
    """The table of the noise that tells most, the others and the summary to unfold."""
    arms = [arm for _, group in disturbed.groups for arm, _ in group]
    by_key = pooled(results)
    noises = noise_types_of(results)
    # Some are decoded in one noise only: that one is shown first.
    hurt = {arm for arm in arms if arm not in set(main_arms(results))} or set(arms)
    heard = {noise for arm, noise, _ in by_key if arm in hurt and noise != CLEAN}
    first = next((noise for noise in noises if noise in heard), noises[0])
    others = "".join(
        _conditions(results, disturbed, n) for n in noises if n != first and n in heard
    )
    summary = _summary(results, "Summary", arms, disturbed.title)
    return (
        f"<h3>{escape(disturbed.title)}</h3>{_conditions(results, disturbed, first)}"
        f"<details><summary>{'Other noises, and a' if others else 'A'} summary: "
        f"{escape(disturbed.title)}</summary>{others}{summary}</details>"
    )


def _conditions(results: Mapping[str, Any], disturbed: DisturbedArms, noise_type: str) -> str:
    rows = dict(wide_rows(results, noise_type, arm_labels(results)))
    groups: list[tuple[str, list[Row]]] = [
        (label, [(name, [_rate(one) for one in rows[arm]]) for arm, name in group])
        for label, group in disturbed.groups
    ]
    region = f"{disturbed.title}: {noise_type}"
    return table(noise_type, _head(results, noise_type), groups, region=region)
