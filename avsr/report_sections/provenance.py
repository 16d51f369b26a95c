"""Where the numbers come from: the self-audit, the protocol, the origin, the data themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from avsr.data.rooms import DRY
from avsr.latex_tables import latex
from avsr.report_sections.html_parts import data_uri, section
from avsr.tables import csv_text, level_label, size_text


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
    return section(
        "audit",
        "Self-audit",
        f"<p>{verdict}{scored} of {expected} expected hypotheses were decoded and scored. Checked: "
        "coverage, missing conditions, noise files shared between training and test, curves that "
        "rise with SNR, a level that scatters more than its neighbours, noise that never arrived."
        f'</p><ul class="plain">{items}</ul>',
    )


def provenance(results: Mapping[str, Any], readability: Mapping[str, Any] | None = None) -> str:
    """Protocol and origin of the numbers, as two lists of facts, and the numbers to take away."""
    protocol, source, interval = results["protocol"], results["provenance"], results["interval"]
    conditions = [
        ("Corpus", f"{protocol['corpus']}, {protocol['split']}"),
        ("Size", size_text(protocol)),
        ("Levels", ", ".join(level_label(one) for one in (*protocol["snrs_db"], None))),
        ("SNR defined over", protocol["snr_definition"].replace("_", " ")),
        ("Noise seeds", ", ".join(map(str, protocol["seeds"]))),
        ("Test noise", _noises(protocol["test_noises"])),
        ("Training noise", _noises(protocol["training_noises"])),
        ("Pictures", ", ".join(protocol["video_conditions"])),
        ("Rooms", ", ".join("dry" if one == DRY else one for one in protocol["reverberations"])),
        ("Published protocol", protocol["preset"] or "none followed"),
        ("Its faults, asked for", ", ".join(protocol["faults"]) or "none"),
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
    return section(
        "provenance",
        "Protocol and provenance",
        f'<h3>Protocol</h3>{_facts(conditions, set())}<h3 class="later">Origin '
        f"(hashes are SHA-256)</h3>{_facts(origin, code)}{_downloads(results, readability)}",
    )


def _downloads(results: Mapping[str, Any], readability: Mapping[str, Any] | None) -> str:
    files = {
        "results.json": ("application/json", json.dumps(results, ensure_ascii=False, indent=1)),
        "rows.csv": ("text/csv", csv_text(results)),
        "rows.tex": ("application/x-tex", latex(results)),
    }
    if readability is not None:
        text = json.dumps(readability, ensure_ascii=False, indent=1)
        files["readability.json"] = "application/json", text
    links = " ".join(
        f'<a class="download" download="{name}" href="{data_uri(kind, content.encode())}">'
        f"{name}</a>"
        for name, (kind, content) in files.items()
    )
    return f'<p class="caption">The numbers behind this page: {links}</p>'


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
