"""Readability of faces: what a lip reader makes of them, from the face benchmark's JSON.

The JSON is plain data; keys that are not named here are left alone. Rates are fractions:
``{"schema": "learn2talk.readability", "schema_version": 1, "remarks": [text], "systems": {name:
{"kind": "system" | "control", "rates": {"ver": {"value", "low", "high"}}, "figures": {name:
{"value", "low", "high", "unit"} or {"value": null, "reason"}}, "confusion": {"symbols": [text],
"counts": [[whole number]]}}}}``. The counts have a row for each symbol said and a last one for
what was added, a column for each symbol read and a last one for what was missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from avsr.report_sections.confusion import confusion_part
from avsr.report_sections.html_parts import Row, section, select_chooser, table, value_cell
from avsr.tables import percent, spread

SCHEMA = "learn2talk.readability"
SCHEMA_VERSION = 1
RATES = {
    "ver": "Viseme error rate %",
    "vwer": "Viseme word error rate %",
    "cer": "Character error rate %",
    "wer": "Word error rate %",
}
KINDS = {"system": "Systems", "control": "Controls"}


def check_readability(data: Mapping[str, Any]) -> None:
    """Refuse what the section cannot draw.

    Raises:
        ValueError: another schema, or a confusion whose counts do not fit its symbols; the message
            names the system.
    """
    found = data.get("schema"), data.get("schema_version")
    if found != (SCHEMA, SCHEMA_VERSION):
        raise ValueError(
            f"readability has schema {found[0]!r} version {found[1]!r}; this program reads "
            f"{SCHEMA!r} version {SCHEMA_VERSION}; measure the faces again"
        )
    systems = data.get("systems")
    if not isinstance(systems, dict) or not all(isinstance(one, dict) for one in systems.values()):
        raise ValueError("readability: systems is no object of systems; measure the faces again")
    for name, system in systems.items():
        for figures in ("rates", "figures"):
            for key, one in (system.get(figures) or {}).items():
                _check_figure(one, f"readability of {name}: {key}")
        if system.get("confusion") is not None:
            _check_confusion(system["confusion"], f"readability of {name}: confusion")


def _check_figure(one: Any, where: str) -> None:
    is_figure = isinstance(one, dict) and "value" in one
    if not is_figure or not all(
        isinstance(one.get(key), (int, float, type(None))) for key in ("value", "low", "high")
    ):
        raise ValueError(
            f"{where} is {one!r}; write an object whose value, low and high are numbers or null"
        )


def _check_confusion(confusion: Any, where: str) -> None:
    if not isinstance(confusion, dict) or not {"symbols", "counts"} <= confusion.keys():
        raise ValueError(f"{where} is {confusion!r}; write an object of symbols and counts")
    size = len(confusion["symbols"]) + 1
    lengths = {len(row) for row in confusion["counts"]}
    if len(confusion["counts"]) != size or lengths != {size}:
        raise ValueError(
            f"{where}: {size - 1} symbols ask for {size} x {size} counts, there are "
            f"{len(confusion['counts'])} rows of {sorted(lengths)}; the last row counts what was "
            "added, the last column what was missed"
        )


def readability(data: Mapping[str, Any]) -> str:
    """Tables of rates and figures, systems above controls, and the confusion of each system."""
    systems = data["systems"]
    remarks = "".join(f"<li>{escape(str(one))}</li>" for one in data.get("remarks") or ())
    return section(
        "readability",
        "Readability of faces",
        "<p>A lip reader reads the faces back: its errors say how much of the speech is in them. "
        "The controls say how far the reader itself can be trusted."
        f"</p>{_rates(systems)}{_figures(systems)}{_confusions(systems)}"
        + (f'<ul class="plain">{remarks}</ul>' if remarks else ""),
    )


def _by_kind(systems: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names of the systems by the title of their kind; an unknown kind is its own title."""
    kinds: dict[str, list[str]] = {title: [] for title in KINDS.values()}
    for name, system in systems.items():
        kind = str(system.get("kind", "system"))
        kinds.setdefault(KINDS.get(kind, kind), []).append(name)
    return {title: names for title, names in kinds.items() if names}


def _keys(systems: Mapping[str, Any], part: str) -> list[str]:
    return list(dict.fromkeys(key for one in systems.values() for key in one.get(part) or {}))


def _rates(systems: Mapping[str, Any]) -> str:
    found = _keys(systems, "rates")
    keys = [key for key in RATES if key in found] + [key for key in found if key not in RATES]
    head = ["Lower is more readable", *(RATES.get(key, f"{key} %") for key in keys)]
    lowest = {key: _lowest(systems, key) for key in keys}
    groups = [
        (
            title,
            [
                (name, [_rate(_found(systems[name], "rates", key), lowest[key]) for key in keys])
                for name in names
            ],
        )
        for title, names in _by_kind(systems).items()
    ]
    return (
        table("Read back from the face", head, groups, wrap=True)
        + '<p class="caption">With the interval of each. Bold: lowest of the systems.</p>'
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


def _rate(one: Mapping[str, Any] | None, lowest: float | None) -> str:
    if one is None or one["value"] is None:
        return _absent(one)
    value = percent(one["value"])
    shown = f"<strong>{value}</strong>" if one["value"] == lowest else value
    limits = ""
    if one.get("low") is not None and one.get("high") is not None:
        limits = f"{percent(one['low'])}\u2013{percent(one['high'])}"
    return value_cell(shown, limits)


def _absent(one: Mapping[str, Any] | None) -> str:
    reason = escape(str((one or {}).get("reason") or ""))
    return f'\u2013<small class="reason">{reason}</small>' if reason else "\u2013"


def _figures(systems: Mapping[str, Any]) -> str:
    """Rows are figures, columns systems: figures are many and have long names."""
    keys = _keys(systems, "figures")
    if not keys:
        return ""
    names = [name for group in _by_kind(systems).values() for name in group]
    rows: list[Row] = []
    for key in keys:
        found = [_found(systems[name], "figures", key) for name in names]
        units = dict.fromkeys(str(one["unit"]) for one in found if one and one.get("unit"))
        label = key.replace("_", " ")
        for unit in units:
            label = label.removesuffix(f" {unit}")
        label += f", {' or '.join(units)}" if units else ""
        rows.append((label, [_figure(one) for one in found]))
    return table("Other figures", ["Figure", *names], [("", rows)], wrap=True)


def _figure(one: Mapping[str, Any] | None) -> str:
    if one is None or one["value"] is None:
        return _absent(one)
    size = max(abs(number) for number in _numbers(one))
    digits = min(9, max(0, 2 - math.floor(math.log10(size)))) if size else 0  # three that count
    limits = {"low": one.get("low"), "high": one.get("high")}
    value, _, brackets = spread({"value": one["value"], **limits}, 1, digits=digits).partition(" ")
    known = any(limit is not None for limit in limits.values())
    return value_cell(value, brackets if known else "")


def _numbers(one: Mapping[str, Any]) -> Iterable[float]:
    return (float(one[key]) for key in ("value", "low", "high") if one.get(key) is not None)


def _confusions(systems: Mapping[str, Any]) -> str:
    names: Sequence[str] = [name for group in _by_kind(systems).values() for name in group]
    with_one = [name for name in names if systems[name].get("confusion")]
    without = [name for name in names if name not in with_one]
    parts = ""
    if with_one:
        parts = select_chooser(
            "Face of",
            [(name, confusion_part(name, systems[name]["confusion"])) for name in with_one],
        )
    if without:
        named = escape(", ".join(without))
        parts += f'<p class="caption">No confusion was counted for: {named}.</p>'
    return f"<h3>Which visemes are taken for which</h3>{parts}" if names else ""
