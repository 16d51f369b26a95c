"""The parts of the report page that come from results alone, as HTML strings; all text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from avsr.conditions import CLEAN, Arm
from avsr.plot import marker_svg, panel_svg, styles
from avsr.tables import (
    SOURCE_LABELS,
    SOURCE_ROLES,
    SUMMARY_HEAD,
    arm_labels,
    arm_of,
    interval_line,
    level_label,
    levels,
    p_text,
    percent,
    size_text,
    spread,
    summary_rows,
    wide_rows,
)

HEADLINE_AT_DB = -5.0


def series_style(results: Mapping[str, Any]) -> str:
    """CSS that gives each series its colour on light and on dark ground."""
    chosen = list(styles(list(arm_labels(results))).values())
    light = "".join(f".s{i}{{--c:{one.light}}}" for i, one in enumerate(chosen))
    dark = "".join(f".s{i}{{--c:{one.dark}}}" for i, one in enumerate(chosen))
    return f"{light}@media (prefers-color-scheme: dark){{{dark}}}"


def badges(results: Mapping[str, Any], notes: Sequence[str]) -> str:
    """What a reader must know before any number."""
    protocol = results["protocol"]
    items = []
    if protocol["synthetic"]:
        items.append(("", "Synthetic: speech and faces are made by a program, not recorded."))
    if protocol["speaker_dependent"]:
        items.append(("", "Speaker-dependent: the test speaker is in the training set."))
    items += [("", note) for note in (*protocol["notes"], *notes)]
    if not results["audit"]["passed"]:
        items.append(("error", "The self-audit found errors; see below before using a number."))
    if not items:
        return ""
    rows = "".join(f'<li class="{kind}">{escape(text)}</li>' for kind, text in items)
    return f'<ul class="badges">{rows}</ul>'


def headline(results: Mapping[str, Any]) -> str:
    """Up to four numbers: strongest audio arm against first AV arm, noisy and clean; SNR gain."""
    comparisons = [one for one in results["comparisons"] if one["kind"] == "audio_visual_vs_audio"]
    if not comparisons:
        return ""
    arm = arm_of(comparisons[0])
    summary = next(one for one in results["summaries"] if arm_of(one) == arm)
    mine = [
        one for one in comparisons if arm_of(one) == arm and one["baseline"] == summary["baseline"]
    ]
    noisy = [one for one in mine if one["snr_db"] is not None]
    near = min((abs(one["snr_db"] - HEADLINE_AT_DB) for one in noisy), default=None)
    shown = [one for one in noisy if abs(one["snr_db"] - HEADLINE_AT_DB) == near][:2]
    shown += [one for one in mine if one["snr_db"] is None][:1]
    source = SOURCE_LABELS[arm.visual_source]
    stats = []
    for one in shown:
        where = "on clean audio"
        if one["snr_db"] is not None:
            where = f"in {one['noise_type']} at {level_label(one['snr_db'])}"
        p_value = p_text(one["p_value"], results["interval"]["num_resamples"])
        p_value = p_value.replace("< ", "<\u00a0") if "<" in p_value else f"=\u00a0{p_value}"
        stats.append(
            (
                f"{percent(one['baseline_wer'])}&hairsp;<i>\u2192</i>&hairsp;"
                f"{percent(one['wer'])}&nbsp;%",
                f"WER {where}: audio only \u2192 with {source}, paired p\u00a0{p_value}",
            )
        )
    gain = summary["snr_gain_db"]
    if gain["value"] is not None:
        value, limits = spread(gain, 1, signed=True).split(" ", 1)
        text = (
            f"more noise borne at equal WER ({percent(gain['at_wer'])} %) with {source}, {limits}"
        )
        stats.append((f"{value}&nbsp;dB", text))
    items = "".join(
        f'<li class="stat"><b>{number}</b><span>{escape(text)}</span></li>'
        for number, text in stats
    )
    return f'<ul class="headline">{items}</ul>'


def curves(results: Mapping[str, Any]) -> str:
    """One panel for each noise type and a legend whose buttons hide a curve."""
    protocol = results["protocol"]
    panels = "".join(
        f"<figure><h3>{escape(noise_type)}{_matched(protocol, noise_type)}</h3>"
        f"{panel_svg(results, noise_type)}</figure>"
        for noise_type in protocol["test_noises"] or (CLEAN,)
    )
    chosen = styles(list(arm_labels(results)))
    legend = "".join(
        f'<li><button type="button" aria-pressed="true" data-series="{index}" class="s{index}">'
        f'<svg viewBox="0 0 44 16" aria-hidden="true"><path class="curve" d="M2 8H42" '
        f'stroke-dasharray="{chosen[arm].dash}"/>{marker_svg(chosen[arm].marker, 22, 8)}</svg>'
        f"<span>{escape(label)}{_role(arm)}</span></button></li>"
        for index, (arm, label) in enumerate(arm_labels(results).items())
    )
    interval = results["interval"]
    caption = (
        f"Corpus WER against SNR; bands and bars are {interval['confidence']:.0%} bootstrap "
        f"intervals over {interval['num_clusters']} {interval['clustered_by']}s, noise seeds "
        f"pooled. SNR by {protocol['snr_definition'].replace('_', ' ')} power. Point at a curve, "
        "or focus a panel and use the arrow keys, for its numbers."
    )
    return _section(
        "curves",
        "WER under noise",
        f'<div class="panels">{panels}</div><ul class="legend">{legend}</ul>'
        f'<p class="caption">{escape(caption)}</p>',
    )


def _matched(protocol: Mapping[str, Any], noise_type: str) -> str:
    matched = protocol["matched_noise"].get(noise_type)
    if matched is None:
        return ""
    return f"<small>{'type seen in training' if matched else 'unseen in training'}</small>"


def _role(arm: Arm) -> str:
    role = SOURCE_ROLES.get(arm.visual_source) if arm.modality == "audio_visual" else None
    return f"<small>{escape(role)}</small>" if role else ""


def wer_tables(results: Mapping[str, Any]) -> str:
    """Summary, the wide WER table of each noise, and differences with their p-values."""
    summary = _table(
        "Summary",
        SUMMARY_HEAD,
        [(row[0], [_two_lines(cell) for cell in row[1:]]) for row in summary_rows(results)],
        wrap=True,
    )
    wide = "".join(
        _wide(results, noise) for noise in results["protocol"]["test_noises"] or (CLEAN,)
    )
    differences = "".join(
        _differences(results, noise) for noise in results["protocol"]["test_noises"] or (CLEAN,)
    )
    note = (
        "WER of the audio-visual arm minus that of its baseline, in points; negative: the face "
        "helps. ** p &lt; 0.01, * p &lt; 0.05, paired bootstrap on the same mixtures, two-sided, "
        "not corrected for the number of comparisons."
    )
    return _section(
        "tables",
        "Tables",
        f'{summary}<p class="caption">{escape(interval_line(results["interval"]))}</p>{wide}'
        '<p class="caption">WER in %, with its interval. Bold: lowest of the column. Clean audio '
        "is the same in every table; video alone hears no noise.</p>"
        f"<details><summary>Differences and paired tests</summary>{differences}"
        f'<p class="caption">{note}</p></details>',
    )


def _two_lines(cell: str) -> str:
    value, _, limits = cell.partition(" ")
    return f"{escape(value)}<small>{escape(limits)}</small>" if limits else escape(value)


def _wide(results: Mapping[str, Any], noise_type: str) -> str:
    table = wide_rows(results, noise_type)
    labels = arm_labels(results)
    head = ["WER %", *(level_label(level) for level in levels(results, noise_type))]
    lowest = [
        min((one["wer"] for _, row in table if (one := row[column])), default=None)
        for column in range(len(head) - 1)
    ]
    body = []
    for arm, row in table:
        cells = []
        for one, best in zip(row, lowest, strict=True):
            if one is None:
                cells.append("\u2013")
                continue
            value = percent(one["wer"])
            value = f"<strong>{value}</strong>" if one["wer"] == best else value
            limits = f"{percent(one['wer_low'])}\u2013{percent(one['wer_high'])}"
            lost = "" if one["coverage"] == 1 else f"<small>{one['coverage']:.1%} decoded</small>"
            cells.append(f"{value}<small>{limits}</small>{lost}")
        body.append((labels[arm], cells))
    return _table(noise_type, head, body)


def _differences(results: Mapping[str, Any], noise_type: str) -> str:
    labels = arm_labels(results)
    head = ["Points", *(level_label(level) for level in levels(results, noise_type))]
    found: dict[tuple[Arm, Arm], dict[float | None, Mapping[str, Any]]] = {}
    for one in results["comparisons"]:
        if one["noise_type"] in (noise_type, CLEAN):
            pair = arm_of(one), arm_of(one["baseline"])
            found.setdefault(pair, {})[one["snr_db"]] = one
    body = [
        (
            f"{labels[arm]} \u2212 {labels[base]}",
            [_difference(by_level.get(level)) for level in levels(results, noise_type)],
        )
        for (arm, base), by_level in found.items()
    ]
    return _table(noise_type, head, body) if body else ""


def _difference(one: Mapping[str, Any] | None) -> str:
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
    return f'<span class="{kind}">{number}{stars}</span><small>{limits}</small>'


def audit(results: Mapping[str, Any]) -> str:
    """The self-audit's findings."""
    findings = results["audit"]["findings"]
    expected = sum(row["num_expected"] for row in results["rows"] if row["scope"] == "pooled")
    scored = sum(row["num_scored"] for row in results["rows"] if row["scope"] == "pooled")
    items = "".join(
        f'<li><span class="level {one["level"]}">{escape(one["level"])}</span>'
        f"{escape(one['where'])}: {escape(one['message'])}</li>"
        for one in findings
    )
    verdict = (
        '<span class="level ok">passed</span>'
        if results["audit"]["passed"]
        else '<span class="level error">failed</span>'
    )
    return _section(
        "audit",
        "Self-audit",
        f"<p>{verdict}{scored} of {expected} expected hypotheses were decoded and scored. Checked: "
        "coverage, missing conditions, noise files shared between training and test, curves that "
        "rise with SNR, a level that scatters more than its neighbours, noise that never arrived."
        f'</p><ul class="plain">{items}</ul>',
    )


def provenance(results: Mapping[str, Any]) -> str:
    """Protocol and origin of the numbers, as two lists of facts."""
    protocol, source, interval = results["protocol"], results["provenance"], results["interval"]
    conditions = [
        ("Corpus", f"{protocol['corpus']}, {protocol['split']}"),
        ("Size", size_text(protocol)),
        ("Levels", ", ".join(level_label(one) for one in (*protocol["snrs_db"], None))),
        ("SNR defined over", protocol["snr_definition"].replace("_", " ")),
        ("Noise seeds", ", ".join(map(str, protocol["seeds"]))),
        ("Test noise", _noises(protocol["test_noises"])),
        ("Training noise", _noises(protocol["training_noises"])),
        ("Checkpoint selection", protocol["selection"]),
        (
            "Intervals",
            f"{interval['confidence']:.0%}, {interval['method']}; {interval['num_resamples']} "
            f"resamples of {interval['num_clusters']} {interval['clustered_by']}s, seed "
            f"{interval['seed']}",
        ),
        ("Text normaliser", f"version {source['normaliser_version']}"),
    ]
    duration = source["duration_s"]
    origin = [
        ("Command", source["command"]),
        ("Commit", source["commit"]),
        ("Made", source["created_utc"]),
        ("Hardware", source["hardware"]),
        ("Duration", "" if duration is None else f"{duration / 60:.1f} min"),
        ("Versions", ", ".join(f"{name} {number}" for name, number in source["versions"].items())),
        ("Mixture manifest", source["manifest_sha256"] or ""),
        ("Hypotheses", source["hypotheses_sha256"]),
        *((f"Data: {name}", digest) for name, digest in source["data_sha256"].items()),
        *((f"Checkpoint: {name}", one) for name, one in source["checkpoint_sha256"].items()),
    ]
    code = {"Command", "Commit", "Mixture manifest", "Hypotheses"}
    return _section(
        "provenance",
        "Protocol and provenance",
        f'<h3>Protocol</h3>{_facts(conditions, set())}<h3 style="margin-top:1.6rem">Origin '
        f"(hashes are SHA-256)</h3>{_facts(origin, code)}",
    )


def _noises(noises: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(
        f"{name} ({len(files)} file{'s' if len(files) != 1 else ''})" if files else name
        for name, files in noises.items()
    )


def _facts(facts: Iterable[tuple[str, str]], code: set[str]) -> str:
    rows = []
    for name, value in facts:
        mono = name in code or name.startswith(("Data:", "Checkpoint:"))
        shown = f"<code>{escape(value)}</code>" if mono and value else escape(value or "not given")
        rows.append(f"<dt>{escape(name)}</dt><dd>{shown}</dd>")
    return f'<dl class="facts">{"".join(rows)}</dl>'


def _section(anchor: str, title: str, body: str) -> str:
    return f'<section id="{anchor}"><h2>{escape(title)}</h2>{body}</section>'


def _table(
    caption: str,
    head: Sequence[str],
    body: Iterable[tuple[str, Sequence[str]]],
    *,
    wrap: bool = False,
) -> str:
    """A table in a scrolling region; ``head`` and row labels are text, cells are HTML."""
    kind = ' class="wrap"' if wrap else ""
    heads = "".join(f'<th scope="col"{kind}>{escape(text)}</th>' for text in head)
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for label, cells in body
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
