"""Readability of faces: what a lip reader makes of them, with controls, figures, confusions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from avsr.report_sections.confusion import confusion_part
from avsr.report_sections.face_readings import RATES, Reading, readings_of
from avsr.report_sections.html_parts import Row, section, select_chooser, table, value_cell
from avsr.tables import percent, spread

KINDS = {"system": "Systems", "control": "Controls"}


def readability(data: Mapping[str, Any]) -> str:
    """Tables of rates and figures, systems above controls, and the confusion of each face.

    Args:
        data: as :mod:`avsr.report_sections.face_readings` describes it.

    Raises:
        ValueError: as :func:`avsr.report_sections.face_readings.readings_of`.
    """
    readings = readings_of(data)
    body = "".join(_reading(one) for one in readings)
    remarks = dict.fromkeys(remark for one in readings for remark in one.remarks)
    items = "".join(f"<li>{escape(one)}</li>" for one in remarks)
    return section(
        "readability",
        "Readability of faces",
        "<p>A lip reader reads the faces back: its errors say how much of the speech is in them. "
        "The controls say how far the reader itself can be trusted.</p>"
        f"{body}{_figures(readings[0].systems) if readings else ''}"
        + (f'<ul class="plain remarks">{items}</ul>' if items else ""),
    )


def _reading(reading: Reading) -> str:
    title = f"<h3>Read by {escape(reading.reader)}</h3>" if reading.reader else ""
    return f"{title}{_rates(reading)}{_confusions(reading)}"


def _by_kind(systems: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names of the systems by the title of their kind; an unknown kind is its own title."""
    kinds: dict[str, list[str]] = {title: [] for title in KINDS.values()}
    for name, system in systems.items():
        kind = str(system.get("kind", "system"))
        kinds.setdefault(KINDS.get(kind, kind), []).append(name)
    return {title: names for title, names in kinds.items() if names}


def _keys(systems: Mapping[str, Any], part: str) -> list[str]:
    return list(dict.fromkeys(key for one in systems.values() for key in one.get(part) or {}))


def _rates(reading: Reading) -> str:
    systems = reading.systems
    found = _keys(systems, "rates")
    keys = [key for key in RATES if key in found] + [key for key in found if key not in RATES]
    head = ["Lower is more readable", *(RATES.get(key, f"{key} %") for key in keys)]
    lowest = {key: _lowest(systems, key) for key in keys}
    reasons: dict[str, int] = {}
    groups = []
    for title, names in _by_kind(systems).items():
        rows: list[Row] = []
        for name in names:
            is_system = systems[name].get("kind", "system") == "system"
            cells = [
                _rate(
                    _found(systems[name], "rates", key), lowest[key] if is_system else None, reasons
                )
                for key in keys
            ]
            rows.append((name, cells))
        groups.append((title, rows))
    region = f"Read back from the face {reading.reader}".strip()
    return (
        table("Read back from the face", head, groups, wrap=True, region=region)
        + '<p class="caption">With the interval of each. Bold: lowest of the systems.</p>'
        + _footnotes(reasons)
    )


def _found(system: Mapping[str, Any], part: str, key: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = (system.get(part) or {}).get(key)
    return found


def _lowest(systems: Mapping[str, Any], key: str) -> float | None:
    measured = (
        _found(one, "rates", key)
        for one in systems.values()
        if one.get("kind", "system") == "system"
    )
    values = [one["value"] for one in measured if one and one["value"] is not None]
    return min(values, default=None)


def _rate(one: Mapping[str, Any] | None, lowest: float | None, reasons: dict[str, int]) -> str:
    if one is None or one["value"] is None:
        return _absent(one, reasons)
    value = percent(one["value"])
    shown = f"<strong>{value}</strong>" if one["value"] == lowest else value
    limits = ""
    if one.get("low") is not None and one.get("high") is not None:
        limits = f"{percent(one['low'])}\u2013{percent(one['high'])}"
    return value_cell(shown, limits)


def _absent(one: Mapping[str, Any] | None, reasons: dict[str, int]) -> str:
    """A dash; where there is a reason, with the number of its footnote, which is kept."""
    reason = str((one or {}).get("reason") or "")
    if not reason:
        return "\u2013"
    return f"\u2013<sup>{reasons.setdefault(reason, len(reasons) + 1)}</sup>"


def _footnotes(reasons: Mapping[str, int]) -> str:
    items = "".join(
        f"<li><sup>{number}</sup> {escape(reason)}</li>" for reason, number in reasons.items()
    )
    return f'<ul class="footnotes">{items}</ul>' if items else ""


def _figures(systems: Mapping[str, Any]) -> str:
    """Rows are figures, columns systems: figures are many and have long names."""
    keys = _keys(systems, "figures")
    if not keys:
        return ""
    names = [name for group in _by_kind(systems).values() for name in group]
    reasons: dict[str, int] = {}
    rows: list[Row] = []
    for key in keys:
        found = [_found(systems[name], "figures", key) for name in names]
        rows.append((_figure_name(key, found), [_figure(one, reasons) for one in found]))
    head = ["Figure", *names]
    return table("Other figures", head, [("", rows)], wrap=True) + _footnotes(reasons)


def _figure_name(key: str, found: Sequence[Mapping[str, Any] | None]) -> str:
    """The name in words and its unit, which many names already end with."""
    named = (str(one.get("unit") or "1") for one in found if one)
    units = [unit for unit in dict.fromkeys(named) if unit != "1"]  # "1": it has none
    label = key.replace("_", " ")
    for unit in units:
        label = label.removesuffix(f" {unit.replace('^', '')}")
    return f"{label}, {' or '.join(units)}" if units else label


def _figure(one: Mapping[str, Any] | None, reasons: dict[str, int]) -> str:
    if one is None or one["value"] is None:
        return _absent(one, reasons)
    size = max(abs(number) for number in _numbers(one))
    digits = min(9, max(0, 2 - math.floor(math.log10(size)))) if size else 0  # three that count
    limits = {"low": one.get("low"), "high": one.get("high")}
    value, _, brackets = spread({"value": one["value"], **limits}, 1, digits=digits).partition(" ")
    known = any(limit is not None for limit in limits.values())
    return value_cell(value, brackets if known else "")


def _numbers(one: Mapping[str, Any]) -> Iterable[float]:
    return (float(one[key]) for key in ("value", "low", "high") if one.get(key) is not None)


def _confusions(reading: Reading) -> str:
    systems = reading.systems
    names: Sequence[str] = [name for group in _by_kind(systems).values() for name in group]
    maps = [
        (name, confusion_part(name, systems[name]["confusion"]))
        for name in names
        if systems[name].get("confusion")
    ]
    without = [name for name in names if not systems[name].get("confusion")]
    parts = select_chooser("Face of", maps) if maps else ""
    if without:
        named = escape(", ".join(without))
        parts += f'<p class="caption">No confusion was counted for: {named}.</p>'
    return f"<h3>Which visemes are taken for which</h3>{parts}" if names else ""
