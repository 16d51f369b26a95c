"""Two results against each other on the same mixtures, from what their JSONs hold.

Refused unless both were made by one protocol: the same utterances with the same words, the same
mixtures (manifest hash), levels, seeds, rooms, faults, normaliser and spelling of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from avsr.arm_labels import arm_of
from avsr.conditions import CLEAN, Arm, Bootstrap
from avsr.metrics import Score, paired_bootstrap
from avsr.schema import ErrorCounts
from avsr.score import SCHEMA, SCHEMA_VERSION
from avsr.tables import level_label, p_text, percent, spread

COMPARED_SCHEMA = "avsr.comparison"
COMPARED_VERSION = 1
# What must agree for two figures to be of one test; the rest is the systems' own.
PROTOCOL_KEYS = (
    "corpus",
    "split",
    "utterances",
    "snrs_db",
    "seeds",
    "test_noises",
    "snr_definition",
    "reverberations",
    "video_conditions",
    "preset",
    "faults",
    "spell_numbers",
)
PROVENANCE_KEYS = ("manifest_sha256", "normaliser_version")
SHOWN = 60  # characters of a value in an error


class ComparisonError(ValueError):
    """Two results that say nothing about each other."""


def compare(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    *,
    system_a: str | None = None,
    system_b: str | None = None,
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """Paired differences, a minus b: negative where a is better.

    Arms are paired that were given the same streams in the same conditions.

    Args:
        a: results of :func:`avsr.score.score`, or the same read from JSON.
        b: the other.
        system_a: which system of a; needed where an arm has several.
        system_b: which of b.
        bootstrap: resampling.

    Returns:
        JSON-ready: ``schema``, ``schema_version``, ``a`` and ``b`` (commit, command, hypotheses),
        ``rows`` with both WER, the difference with its interval and p, for every shared condition
        and, as ``noise_type`` ``"all"``, for all noisy ones together (N-WER).

    Raises:
        ComparisonError: another schema, protocols that differ (all differences are named), no arm
            in common, several systems and none named.
    """
    settings = bootstrap or Bootstrap()
    _check_protocols(a, b)
    sides = [_by_arm(a, system_a, "a"), _by_arm(b, system_b, "b")]
    shared = [key for key in sides[0] if key in sides[1]]
    if not shared:
        raise ComparisonError(
            f"a has {_named(sides[0])}, b has {_named(sides[1])}: no system of both was given the "
            "same streams"
        )
    rows = []
    for key in shared:
        mine, other = sides[0][key], sides[1][key]
        conditions = [condition for condition in mine if condition in other]
        noisy = [condition for condition in conditions if condition[1] is not None]
        groups: list[tuple[str, float | None, Sequence[tuple[str, float | None]]]]
        groups = [(*condition, [condition]) for condition in conditions]
        if len(noisy) > 1:
            groups.append(("all", None, noisy))
        for noise_type, snr_db, members in groups:
            test = paired_bootstrap(
                [score for member in members for score in mine[member][1]],
                [score for member in members for score in other[member][1]],
                **asdict(settings),
            )
            rows.append(
                {
                    "a": asdict(mine[members[0]][0]),
                    "b": asdict(other[members[0]][0]),
                    "noise_type": noise_type,
                    "snr_db": snr_db,
                    "wer_a": test.rate_a,
                    "wer_b": test.rate_b,
                    "difference": test.difference.value,
                    "difference_low": test.difference.low,
                    "difference_high": test.difference.high,
                    "p_value": test.p_value,
                    "num_mixtures": test.num_mixtures,
                }
            )
    return {
        "schema": COMPARED_SCHEMA,
        "schema_version": COMPARED_VERSION,
        **{side: _origin(one) for side, one in (("a", a), ("b", b))},
        "interval": {**asdict(settings), "clustered_by": a["interval"]["clustered_by"]},
        "rows": rows,
    }


def _origin(results: Mapping[str, Any]) -> dict[str, Any]:
    source = results["provenance"]
    return {key: source[key] for key in ("command", "commit", "created_utc", "hypotheses_sha256")}


def _check_protocols(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    for side, one in (("a", a), ("b", b)):
        found = (one.get("schema"), one.get("schema_version"))
        if found != (SCHEMA, SCHEMA_VERSION):
            raise ComparisonError(
                f"{side} is {found}, this program compares {SCHEMA!r} version {SCHEMA_VERSION}; "
                "score its hypotheses again"
            )
    apart = []
    for part, keys in (("protocol", PROTOCOL_KEYS), ("provenance", PROVENANCE_KEYS)):
        for key in keys:
            mine, other = a[part].get(key), b[part].get(key)
            if _plain(mine) != _plain(other):
                apart.append(f"{key} ({_short(mine, other)} against {_short(other, mine)})")
    if apart:
        raise ComparisonError(
            f"the protocols differ in {'; '.join(apart)}: figures of two tests cannot be compared, "
            "score both systems on one"
        )


def _plain(value: Any) -> Any:
    """Tuples as lists: one of the two may come straight from the scorer, not from JSON."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _short(value: Any, other: Any) -> str:
    """What of a value differs: of lists the members that the other lacks, and how many."""
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)):
        own = [one for one in _plain(value) if one not in _plain(other)]
        text = f"{len(value)} of them" + (f", among them {own[0]}" if own else "")
    elif isinstance(value, Mapping):
        text = ", ".join(map(str, value)) or "none"
    else:
        text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


_Given = tuple[str, str, str, str]
_Cells = dict[tuple[str, "float | None"], tuple[Arm, list[Score]]]


def _by_arm(results: Mapping[str, Any], system: str | None, side: str) -> dict[_Given, _Cells]:
    """Scores by what a system was given, and by condition."""
    arms = list(dict.fromkeys(arm_of(row) for row in results["rows"]))
    names = sorted({arm.system for arm in arms})
    if system is not None and system not in names:
        raise ComparisonError(f"{side} has no system {system!r}; it has {', '.join(names)}")
    chosen: dict[_Given, _Cells] = {}
    for row in results["rows"]:
        arm = arm_of(row)
        if row["scope"] != "pooled" or (system is not None and arm.system != system):
            continue
        given = (arm.modality, arm.visual_source, arm.video_condition, arm.reverberation)
        cells = chosen.setdefault(given, {})
        condition = (row["noise_type"], row["snr_db"])
        if condition in cells:
            raise ComparisonError(
                f"{side} has several systems ({', '.join(names)}) that were given the same; "
                f"name one with --system-{side}"
            )
        cells[condition] = arm, _scores(results["protocol"], row)
    return chosen


def _scores(protocol: Mapping[str, Any], row: Mapping[str, Any]) -> list[Score]:
    """The row's errors as scores, in the order that the schema states."""
    errors = [int(one) for one in row["errors"].split()]
    seeds = [None] if row["noise_type"] == CLEAN else list(protocol["seeds"])
    mixtures = [(*one, seed) for one in protocol["utterances"] for seed in seeds]
    if len(errors) != len(mixtures):
        raise ComparisonError(
            f"a row of {row['system']} has {len(errors)} errors for {len(mixtures)} mixtures; "
            "score its hypotheses again"
        )
    return [
        Score(
            name, speaker, row["noise_type"], row["snr_db"], seed, ErrorCounts(count, 0, 0, words)
        )
        for (name, speaker, words, seed), count in zip(mixtures, errors, strict=True)
    ]


def _named(side: Mapping[_Given, Any]) -> str:
    return "; ".join(", ".join(key) for key in side)


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """The rows as Markdown: WER in %, the difference in points with its interval, p."""
    lines = [
        "| a | b | condition | WER a | WER b | a minus b, points | p |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    resamples = comparison["interval"]["num_resamples"]
    for row in comparison["rows"]:
        where = "clean" if row["noise_type"] == CLEAN else row["noise_type"]
        if row["noise_type"] == "all":
            where = "all noisy together (N-WER)"
        elif row["snr_db"] is not None:
            where += f" {level_label(row['snr_db'])}"
        value = {"value": row["difference"]}
        value |= {end: row[f"difference_{end}"] for end in ("low", "high")}
        cells = [
            *(_arm_text(row[side]) for side in ("a", "b")),
            where,
            percent(row["wer_a"]),
            percent(row["wer_b"]),
            spread(value, 100, signed=True),
            p_text(row["p_value"], resamples),
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _arm_text(arm: Mapping[str, str]) -> str:
    given = "" if arm["visual_source"] == "none" else f", {arm['visual_source']}"
    given += "" if arm["video_condition"] == "clean" else f", {arm['video_condition']}"
    given += "" if arm["reverberation"] == "none" else f", room {arm['reverberation']}"
    return f"{arm['system']} ({arm['modality']}{given})"
