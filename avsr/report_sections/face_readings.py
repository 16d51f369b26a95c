"""The face benchmark's JSON, checked, as what the readability section draws.

Two shapes are read; keys that are not named here are left alone. Rates are fractions.

``learn2talk.readability``, version 1, of any benchmark of faces:
``{"remarks": [text], "systems": {name: {"kind": "system" | "control", "rates": {"ver": {"value",
"low", "high"}}, "figures": {name: {"value", "low", "high", "unit"} or {"value": null, "reason"}},
"confusion": {"symbols": [text], "counts": [[whole number]]}}}}``. The counts have a row for each
symbol said and a last one for what was added, a column for each symbol read and a last one for
what was missed.

``learn2talk.face_readability``, version 1, of ``learn2talk readability`` (`docs/readability.md`):
one reading for each lip reader; the truth and what is made from it are the controls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLAIN = ("learn2talk.readability", 1)
BENCHMARK = ("learn2talk.face_readability", 1)
RATES = {
    "ver": "Viseme error rate %",
    "vwer": "Viseme word error rate %",
    "cer": "Character error rate %",
    "wer": "Word error rate %",
}
TRUTH = "truth"
OWN_PICTURES = "@film"  # of names: a film's own pictures, not the face drawn from it


@dataclass(frozen=True)
class Reading:
    """What one lip reader made of all faces: ``systems`` as in the plain shape."""

    reader: str
    systems: Mapping[str, Mapping[str, Any]]
    remarks: tuple[str, ...]


def readings_of(data: Mapping[str, Any]) -> list[Reading]:
    """One reading for each lip reader; figures that no reader takes stand in every one.

    Raises:
        ValueError: another schema, or figures that cannot be drawn; the message names the system.
    """
    found = data.get("schema"), data.get("schema_version")
    shapes = {PLAIN: _plain, BENCHMARK: _of_benchmark}
    if found not in shapes:
        known = " or ".join(f"{name!r} version {version}" for name, version in shapes)
        raise ValueError(
            f"readability has schema {found[0]!r} version {found[1]!r}; this program reads "
            f"{known}; measure the faces again"
        )
    readings = shapes[found](data)
    for one in readings:
        _check(one.systems)
    return readings


def _plain(data: Mapping[str, Any]) -> list[Reading]:
    remarks = tuple(str(one) for one in data.get("remarks") or ())
    return [Reading("", data.get("systems"), remarks)]  # type: ignore[arg-type]


def _of_benchmark(data: Mapping[str, Any]) -> list[Reading]:
    try:
        about = _about(data)
        return [
            Reading(
                reader,
                {face: _face(data, found, face) for face in _faces(data, found)},
                (*_ranked(found), *about),
            )
            for reader, found in data["readings"].items()
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"readability: a part of the face benchmark's report is missing or odd ({error!r}); "
            "measure the faces again"
        ) from error


def _faces(data: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys((*data["faces"], *found["systems"], *data["motion"]["systems"])))


def _face(data: Mapping[str, Any], found: Mapping[str, Any], face: str) -> dict[str, Any]:
    name = face.removesuffix(OWN_PICTURES)
    rates = found["systems"].get(face, {})
    matrix = found["confusion"].get(face)
    return {
        "kind": "system" if name in data["systems"] and name != TRUTH else "control",
        "rates": {key: rates[key] for key in RATES if key in rates},
        "figures": data["motion"]["systems"].get(face, {}),
        "confusion": matrix and {"symbols": matrix["row_labels"][:-1], "counts": matrix["counts"]},
    }


def _ranked(found: Mapping[str, Any]) -> list[str]:
    """Whether a rate, or a figure, orders the controls as it must."""
    return [f"{name.replace('_', ' ')}: {one['words']}" for name, one in found["ranking"].items()]


def _about(data: Mapping[str, Any]) -> list[str]:
    left_out = len(data.get("left_out") or ())
    remarks = [
        f"{data['utterances']} utterances, {data['speakers']} speakers; intervals over "
        f"{data['clustered_by']}s.",
        f"{data['controls_note']}.",
        f"{left_out} utterances left out, listed in readability.json." if left_out else "",
        *_ranked(data["motion"]),
        *(
            f"Reader {name}: SHA-256 {reader['sha256']}."
            for name, reader in data["lip_readers"].items()
        ),
    ]
    return [one for one in remarks if one]


def _check(systems: Any) -> None:
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
