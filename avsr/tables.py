"""Results as text: numbers as readers expect, wide WER tables (Markdown), every row (CSV)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from avsr.arm_labels import arm_labels, arm_of, disturbed_arms, main_arms
from avsr.conditions import CLEAN, Arm
from avsr.files import write_atomically

CSV_FIELDS = (
    *("system", "modality", "visual_source", "video_condition", "reverberation"),
    *("noise_type", "snr_db", "scope", "seed"),
    *(
        "substitutions",
        "insertions",
        "deletions",
        "words",
        "num_expected",
        "num_scored",
        "coverage",
    ),
    *("wer", "wer_low", "wer_high", "cer", "cer_low", "cer_high", "ser", "ser_low", "ser_high"),
)


def level_label(snr_db: float | None) -> str:
    """``clean``, ``0 dB``, ``\u22122.5 dB`` (with a true minus sign)."""
    return "clean" if snr_db is None else f"{snr_db:g} dB".replace("-", "\u2212")


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in per cent without its sign ``%``; an en dash where there is none."""
    return "\u2013" if value is None else f"{100 * value:.{digits}f}".replace("-", "\u2212")


def p_text(p_value: float, num_resamples: int) -> str:
    """A bootstrap p-value, never below what the number of resamples can show."""
    floor = 2 / (num_resamples + 1)
    return f"< {_short(floor)}" if p_value <= floor * 1.0001 else _short(p_value)


def _short(value: float) -> str:
    return f"{value:.1g}" if value < 0.001 else f"{value:.3f}"


def pooled(results: Mapping[str, Any]) -> dict[tuple[Arm, str, float | None], dict[str, Any]]:
    """Rows pooled over seeds by arm, noise type and level."""
    return {
        (arm_of(row), row["noise_type"], row["snr_db"]): row
        for row in results["rows"]
        if row["scope"] == "pooled"
    }


def levels(results: Mapping[str, Any], noise_type: str) -> list[float | None]:
    """Levels with a row in this noise, ascending, then clean."""
    found = {
        row["snr_db"]
        for row in results["rows"]
        if row["noise_type"] == noise_type and row["snr_db"] is not None
    }
    return [*sorted(found), None]


def wide_rows(
    results: Mapping[str, Any], noise_type: str, arms: Iterable[Arm]
) -> list[tuple[Arm, list[dict[str, Any] | None]]]:
    """For each arm its pooled row at every level of :func:`levels`; clean is shared by all noises.

    An arm that hears nothing and was decoded without noise only has its clean row at all levels.
    """
    by_key = pooled(results)
    table = []
    for arm in arms:
        clean = by_key.get((arm, CLEAN, None))
        row = [
            by_key.get((arm, noise_type, level)) if level is not None else clean
            for level in levels(results, noise_type)
        ]
        if arm.modality == "video" and not any(row[:-1]):
            row = [clean] * len(row)
        table.append((arm, row))
    return table


def noise_types_of(results: Mapping[str, Any]) -> tuple[str, ...]:
    """The noise types of the test; ``CLEAN`` alone where there was none."""
    return tuple(results["protocol"]["test_noises"]) or (CLEAN,)


def markdown(results: Mapping[str, Any]) -> str:
    """Wide WER tables (one for each noise type), the summaries and the conditions, as Markdown."""
    protocol, interval = results["protocol"], results["interval"]
    labels, main = arm_labels(results), main_arms(results)
    parts = [f"# WER under noise: {protocol['corpus']}, {protocol['split']}", *_remarks(results)]
    for noise_type in noise_types_of(results):
        matched = protocol["matched_noise"].get(noise_type)
        kind = "" if matched is None else (" (matched)" if matched else " (unseen in training)")
        rows = [(arm, labels[arm]) for arm in main]
        parts += [f"## {noise_type}{kind}", _wide_table(results, noise_type, rows)]
    parts += ["## Summary", _table(SUMMARY_HEAD, summary_rows(results, main))]
    parts.append(interval_line(interval))
    for disturbed in disturbed_arms(results):
        parts.append(f"## {disturbed.title}")
        rows = [
            (arm, f"{label}: {name}") for label, group in disturbed.groups for arm, name in group
        ]
        for noise_type in noise_types_of(results):
            parts += [f"### {noise_type}", _wide_table(results, noise_type, rows)]
        parts.append(_table(SUMMARY_HEAD, summary_rows(results, [arm for arm, _ in rows])))
    found = results["audit"]["findings"]
    parts += [
        "## Self-audit",
        *(f"- {one['level']}: {one['where']}: {one['message']}" for one in found),
    ]
    parts += [] if found else ["Nothing to report."]
    return "\n\n".join(parts) + "\n"


def _wide_table(
    results: Mapping[str, Any], noise_type: str, rows: Sequence[tuple[Arm, str]]
) -> str:
    head = ["WER %", *(level_label(level) for level in levels(results, noise_type))]
    found = wide_rows(results, noise_type, [arm for arm, _ in rows])
    body = [
        [label, *(_cell(row) for row in cells)]
        for (_, label), (_, cells) in zip(rows, found, strict=True)
    ]
    return _table(head, body)


SUMMARY_HEAD = [
    "Arm",
    "Clean WER %",
    "N-WER %",
    "SNR gain dB",
    "Errors recovered at \u221210 dB, %",
    "Clean against A, points",
]


def summary_rows(results: Mapping[str, Any], arms: Sequence[Arm]) -> list[list[str]]:
    """One row of ``SUMMARY_HEAD`` for each of the arms; an en dash where there is no number."""
    labels, by_key = arm_labels(results), pooled(results)
    summaries = {arm_of(one): one for one in results["summaries"]}
    return [
        [
            labels[arm],
            _clean(by_key.get((arm, CLEAN, None))),
            spread(one["n_wer"], 100),
            spread(one["snr_gain_db"], 1, signed=True),
            spread(one["errors_recovered"], 100, digits=0),
            spread(one["clean_difference"], 100, signed=True),
        ]
        for arm in arms
        if (one := summaries[arm])
    ]


def _clean(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "\u2013"
    return spread({"value": row["wer"], "low": row["wer_low"], "high": row["wer_high"]}, 100)


def spread(
    value: Mapping[str, Any], factor: float, *, digits: int = 1, signed: bool = False
) -> str:
    """``value [low, high]`` times a factor; an unbounded end is an infinity sign."""
    if value["value"] is None:
        return "\u2013"

    def number(one: float) -> str:
        # Adding zero turns a rounded -0.0 into 0.0.
        text = f"{round(factor * one, digits) + 0.0:{'+' if signed else ''}.{digits}f}"
        return text.replace("-", "\u2212")

    low = "\u2212\u221e" if value["low"] is None else number(value["low"])
    high = "\u221e" if value["high"] is None else number(value["high"])
    return f"{number(value['value'])} [{low}, {high}]"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "\u2013"
    star = "" if row["coverage"] == 1 else f" ({row['coverage']:.0%} decoded)"
    return f"{percent(row['wer'])} [{percent(row['wer_low'])}, {percent(row['wer_high'])}]{star}"


def _remarks(results: Mapping[str, Any]) -> list[str]:
    protocol = results["protocol"]
    remarks = [f"{size_text(protocol)}."]
    if protocol["synthetic"]:
        remarks.append("**Synthetic speech and faces: not a measurement on real people.**")
    if protocol["speaker_dependent"]:
        remarks.append("**Speaker-dependent: the test speaker was trained on.**")
    return remarks + list(protocol["notes"])


def size_text(protocol: Mapping[str, Any]) -> str:
    """Such as ``100 utterances, 600 words, 1 speaker, 3 noise seeds``."""
    speakers, seeds = protocol["num_speakers"], len(protocol["seeds"])
    return (
        f"{protocol['num_utterances']} utterances, {protocol['num_words']} words, "
        f"{speakers} speaker{'' if speakers == 1 else 's'}, "
        f"{seeds} noise seed{'' if seeds == 1 else 's'}"
    )


def interval_line(interval: Mapping[str, Any]) -> str:
    """One paragraph that says what the brackets and the summary's columns are."""
    return (
        f"Brackets: {interval['confidence']:.0%} bootstrap interval over "
        f"{interval['num_clusters']} {interval['clustered_by']}s, {interval['num_resamples']} "
        "resamples. N-WER: mean over noise types and levels without clean. SNR gain: dB at equal "
        "WER against the strongest audio-only arm."
    )


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def csv_text(results: Mapping[str, Any]) -> str:
    """All rows, pooled and by seed, in the columns ``CSV_FIELDS``; rates are fractions."""
    out = io.StringIO()
    # The errors of every mixture are for programs: they stay in the JSON.
    writer = csv.DictWriter(out, CSV_FIELDS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(results["rows"])
    return out.getvalue()


def write_tables(results: Mapping[str, Any], folder: Path | str) -> tuple[Path, Path]:
    """Write ``results.md`` and ``rows.csv`` into the folder; returns their paths."""
    folder = Path(folder)
    paths = folder / "results.md", folder / "rows.csv"
    for path, text in zip(paths, (markdown(results), csv_text(results)), strict=True):
        with write_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths
