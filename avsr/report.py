"""results.json and a few samples -> one ``report.html`` that opens from disk without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from avsr.files import write_atomically
from avsr.latex_tables import write_latex
from avsr.plot import save_plot
from avsr.report_samples import ReportSample, read_samples
from avsr.report_sections.curves import curves, series_style
from avsr.report_sections.face_readings import readings_of
from avsr.report_sections.head import badges, headline
from avsr.report_sections.provenance import audit, provenance
from avsr.report_sections.readability import readability as readability_section
from avsr.report_sections.samples import samples as samples_section
from avsr.report_sections.wer_tables import wer_tables
from avsr.score import SCHEMA, SCHEMA_VERSION
from avsr.tables import size_text, write_tables

__all__ = ["ReportSample", "ReportText", "read_samples", "write_outputs", "write_report"]


@dataclass(frozen=True)
class ReportText:
    """The words of the page that the results cannot know."""

    title: str = "Audio-visual speech recognition under noise"
    lead: str = ""
    notes: tuple[str, ...] = field(default=())


def write_report(
    path: Path | str,
    results: Mapping[str, Any],
    samples: Sequence[ReportSample] = (),
    *,
    text: ReportText | None = None,
    readability: Mapping[str, Any] | None = None,
) -> Path:
    """Write the self-contained page: curves, tables, faces with sound, transcripts, provenance.

    Args:
        path: of the ``.html`` file, written atomically.
        results: of :func:`avsr.score.score`, or the same read from JSON.
        samples: shown in this order.
        text: title, one-paragraph lead (made from the protocol where empty), and notes beside the
            protocol's own.
        readability: of the benchmark of faces; its schema stands in
            :mod:`avsr.report_sections.face_readings`. ``None``: no such section.

    Raises:
        ValueError: results or readability of another schema.
        MediaError: a sample's film or sound is not what a browser plays; the message names it.
    """
    _check(results, readability)
    words = text or ReportText()
    page = Template(_asset("page.html"))
    sections = {
        "curves": ("Curves", curves(results)),
        "samples": ("Samples", samples_section(samples) if samples else ""),
        "readability": (
            "Readability of faces",
            "" if readability is None else readability_section(readability),
        ),
        "tables": ("Tables", wer_tables(results)),
        "audit": ("Self-audit", audit(results)),
        "provenance": ("Protocol and provenance", provenance(results, readability)),
    }
    protocol = results["protocol"]
    html = page.substitute(
        title=escape(words.title),
        kicker=escape(f"{protocol['corpus']} \u00b7 {protocol['split']}"),
        lead=escape(words.lead or _lead(results)),
        badges=badges(results, words.notes),
        headline=headline(results),
        nav="".join(
            f'<a href="#{key}">{name}</a>' for key, (name, part) in sections.items() if part
        ),
        sections="".join(part for _, part in sections.values()),
        style=_asset("style.css"),
        series_style=series_style(results),
        script=_asset("script.js"),
    )
    with write_atomically(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return Path(path)


def write_outputs(
    folder: Path | str,
    results: Mapping[str, Any],
    samples: Sequence[ReportSample] = (),
    *,
    text: ReportText | None = None,
    readability: Mapping[str, Any] | None = None,
) -> dict[str, Path]:
    """Everything a reader takes away: ``report.html``, ``results.md``, ``rows.csv``, ``rows.tex``,
    ``wer.png``, ``wer.svg`` in one folder; returns the paths by name.

    Raises:
        ValueError: as :func:`write_report`, and where matplotlib is missing.
    """
    _check(results, readability)
    folder = Path(folder)
    table, rows = write_tables(results, folder)
    latex = write_latex(results, folder)
    png, svg = save_plot(results, folder)
    report = write_report(
        folder / "report.html", results, samples, text=text, readability=readability
    )
    return {
        "report": report,
        "table": table,
        "rows": rows,
        "latex": latex,
        "png": png,
        "svg": svg,
    }


def _check(results: Mapping[str, Any], readability: Mapping[str, Any] | None) -> None:
    found = results.get("schema"), results.get("schema_version")
    if found != (SCHEMA, SCHEMA_VERSION):
        raise ValueError(
            f"results have schema {found[0]!r} version {found[1]!r}; this program reads "
            f"{SCHEMA!r} version {SCHEMA_VERSION}; score the hypotheses again"
        )
    if readability is not None:
        readings_of(readability)


def _asset(name: str) -> str:
    return resources.files("avsr").joinpath("report_assets", name).read_text(encoding="utf-8")


def _lead(results: Mapping[str, Any]) -> str:
    protocol = results["protocol"]
    noises = ", ".join(protocol["test_noises"])
    return (
        f"Word error rate of audio-only, video-only and audio-visual recognition in "
        f"{noises or 'clean audio'}: {size_text(protocol)}, "
        f"{results['interval']['confidence']:.0%} intervals."
    )
