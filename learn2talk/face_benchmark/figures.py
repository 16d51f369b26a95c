"""What was kept of every face, as figures: rates, synchrony, closures, errors, with intervals.

Sums before rates, one set of resamples for all. Axis letters: C utterances, M columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learn2talk.evaluate.faces import SHIFTS
from learn2talk.evaluate.measures import MEASURES
from learn2talk.evaluate.ranking import rank_controls
from learn2talk.evaluate.systems import figure
from learn2talk.face_benchmark.confusion import as_json, viseme_confusion
from learn2talk.face_benchmark.inputs import CONTROLS, SHIFTED, Utterance
from learn2talk.face_benchmark.measuring import CLOSURE, SPATIAL, SYNC
from learn2talk.metrics import ClusterDraws, draw_clusters
from learn2talk.metrics.pooling import difference
from learn2talk.readability import (
    RATES,
    phones_of,
    rate_columns,
    rates_apart,
    rates_of,
    spectre_rates,
)

KINDS = {"sync": SYNC, "closure": CLOSURE, "spatial": SPATIAL}
FRAME_MS = 40.0
Columns = Mapping[str, NDArray[np.float64]]
Record = Mapping[str, Any]
"""What is kept of a face of an utterance: hypotheses, columns, reasons."""


def draws_of(utterances: Sequence[Utterance], seed: int) -> ClusterDraws:
    """Resamples over speakers; over utterances where there is one speaker."""
    speakers = [one.speaker_id for one in utterances]
    by = "speaker" if len(set(speakers)) > 1 else "utterance"
    names = speakers if by == "speaker" else [one.utterance_id for one in utterances]
    return draw_clusters(names, clustered_by=by, seed=seed)


def reading_rows(
    face: str, utterances: Sequence[Utterance], records: Sequence[Record], sha256: str
) -> list[dict[str, Any]]:
    """What one reader read in one face, a row an utterance."""
    return [
        {
            "system": face,
            "utterance_id": one.utterance_id,
            "speaker_id": one.speaker_id,
            "reference": one.text,
            "hypothesis": record["hypotheses"][sha256],
        }
        for one, record in zip(utterances, records, strict=True)
    ]


def reading_figures(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], base: str, draws: ClusterDraws
) -> dict[str, Any]:
    """Figures of one lip reader.

    Args:
        rows: of each face, in the order of the draws' utterances.
        base: the face that the controls were made from.

    Returns:
        ``systems``: face to rates with intervals, and SPECTRE's variants; ``minus``: each face
        that is no control minus each of `CONTROLS`; ``ranking``; ``confusion``.
    """
    columns = {face: rate_columns(own) for face, own in rows.items()}
    real = [face for face in rows if not is_control(face)]
    minus = {
        face: {other: rates_apart(columns[face], columns[other], draws) for other in CONTROLS}
        for face in real
    }
    rates = {face: rates_of(own, draws) for face, own in columns.items()}
    ranking = {}
    for rate in RATES:
        alike = {other for other, one in minus[base].items() if _holds_zero(one[rate])}
        ranking[rate] = rank_controls(
            {face: rates[face][rate]["value"] for face in (base, *CONTROLS)},
            "lower",
            like_first=alike,
            first=base,
            controls=CONTROLS,
            shifted="",
        )
        ranking[rate]["words"] += " A lip reader hears nothing: shifts in time are not ranked."
    return {
        "systems": {
            face: {**rates[face], "spectre": _spectre(rows[face], columns[face])} for face in rows
        },
        "minus": minus,
        "ranking": ranking,
        "confusion": {
            face: as_json(
                viseme_confusion(
                    (phones_of(row["reference"]), phones_of(row["hypothesis"]))
                    for row in rows[face]
                )
            )
            for face in (*real, *CONTROLS)
        },
    }


def _spectre(rows: Sequence[Mapping[str, Any]], columns: Columns) -> dict[str, float | int]:
    """Means of utterances' rates, as SPECTRE's code takes all four."""
    means = {
        rate: float((columns[rate][:, 0] / columns[rate][:, 1]).mean()) for rate in ("cer", "wer")
    }
    return {**means, **spectre_rates(rows)}


def is_control(face: str) -> bool:
    """Whether a face is one of the controls."""
    return face in CONTROLS or face.startswith(SHIFTED)


def _holds_zero(found: Mapping[str, Any]) -> bool:
    return found["value"] is not None and found["low"] <= 0.0 <= found["high"]


def motion_figures(
    records: Mapping[str, Sequence[Record]], base: str, draws: ClusterDraws
) -> dict[str, Any]:
    """Synchrony, closures and errors in space of each face, and whether they rank the controls.

    Args:
        records: of each face that has motion, in the order of the draws' utterances.
        base: the face that the controls were made from.

    Returns:
        ``systems``: face to figures, one without a value has its reason; ``minus`` and
        ``ranking`` as in `reading_figures`, shifts included; ``offset_of_shifts``.
    """
    columns = {face: _columns(own) for face, own in records.items()}
    figures = {
        face: {
            name: _figure(columns[face], name, draws, _reason(records[face], kind))
            for kind, names in KINDS.items()
            for name in names
        }
        for face in records
    }
    controls = [face for face in records if is_control(face)]
    real = [face for face in records if not is_control(face)]
    minus = {
        face: {
            other: {name: _apart(columns[face], columns[other], name, draws) for name in MEASURED}
            for other in controls
        }
        for face in real
    }
    ranking = {
        name: rank_controls(
            {face: figures[face][name]["value"] for face in (base, *controls)},
            MEASURES[name].better,
            like_first={o for o in controls if _holds_zero(minus[base][o][name])},
            first=base,
            controls=CONTROLS,
            shifted=SHIFTED,
        )
        for name in MEASURED
    }
    return {
        "systems": figures,
        "minus": minus,
        "ranking": ranking,
        "offset_of_shifts": _offsets(figures, base),
    }


MEASURED = tuple(name for names in KINDS.values() for name in names)


def _columns(records: Sequence[Record]) -> dict[str, NDArray[np.float64]]:
    """Columns (C, M) of each measure; zeros where an utterance has none."""
    zeros = [0.0, 0.0]
    return {
        name: np.array([one["columns"].get(name, zeros) for one in records], dtype=np.float64)
        for name in MEASURED
    }


def _reason(records: Sequence[Record], kind: str) -> str:
    """The commonest reason why utterances have none of a kind of figures; "" without any."""
    said = Counter(one["reasons"][kind] for one in records if kind in one["reasons"])
    return said.most_common(1)[0][0] if said else ""


def _figure(columns: Columns, name: str, draws: ClusterDraws, reason: str) -> dict[str, Any]:
    measure = MEASURES[name]
    found = figure(columns[name], draws, measure, measure.statistic)
    counted = int((columns[name][:, 1] > 0).sum())
    if found["value"] is None:
        return {**found, "reason": reason or found["reason"], "utterances": counted}
    kept = {key: found[key] for key in ("value", "low", "high", "unit")}
    return {**kept, "utterances": counted}


def _apart(first: Columns, second: Columns, name: str, draws: ClusterDraws) -> dict[str, Any]:
    measure = MEASURES[name]
    both = np.concatenate([first[name], second[name]], axis=1)
    found = figure(both, draws, measure, difference(measure.statistic))
    return {key: found.get(key) for key in ("value", "low", "high", "unit")}


def _offsets(figures: Mapping[str, Mapping[str, Any]], base: str) -> dict[str, Any]:
    """The judge's offset of each shift beside what the shift should make of the base's."""
    here = figures[base]["offset_ms"]["value"]
    found = {}
    for shift in SHIFTS:
        value = figures[f"{SHIFTED}{shift:+d}"]["offset_ms"]["value"]
        expected = None if here is None else here - shift * FRAME_MS
        found[f"{SHIFTED}{shift:+d}"] = {"expected_ms": expected, "found_ms": value, "unit": "ms"}
    return found
