"""The report of a benchmark: JSON, a page, CSV, LaTeX rows, what was read, and pictures.

`docs/readability.md` describes the fields of ``readability.json``. A change that a reader of it
would stumble over is another `SCHEMA_VERSION`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsr.files import write_atomically, write_json, write_jsonl
from learn2talk.face_benchmark.confusion import plot_confusion
from learn2talk.face_benchmark.figures import is_control
from learn2talk.face_benchmark.inputs import CONTROLS
from learn2talk.face_benchmark.measuring import CLOSURE, SPATIAL, SYNC

SCHEMA = "learn2talk.face_readability"
SCHEMA_VERSION = 1
RATES = ("cer", "wer", "ver", "vwer")
# Columns of the tables: figure, heading, factor, decimals.
SHOWN: tuple[tuple[str, str, float, int], ...] = (
    ("cer", "CER (%)", 100.0, 1),
    ("wer", "WER (%)", 100.0, 1),
    ("ver", "VER (%)", 100.0, 1),
    ("vwer", "VWER (%)", 100.0, 1),
    ("lse_d", "LSE-D", 1.0, 3),
    ("lse_c", "LSE-C", 1.0, 3),
    ("offset_ms", "offset (ms)", 1.0, 0),
    ("closure_recall", "closure recall", 1.0, 2),
    ("closure_precision", "closure precision", 1.0, 2),
    ("lve_mm2", "LVE (mm²)", 1.0, 2),
    ("mve_mm", "MVE (mm)", 1.0, 2),
)
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def write_outputs(
    out: Path, report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Write everything into ``out``; ``readability.json`` last, so that a folder with it is whole.

    Args:
        report: what ``readability.json`` is to hold.
        rows: what was read: lip_reader, system, utterance_id, speaker_id, reference, hypothesis.

    Returns:
        the files.
    """
    write_jsonl(out / "hypotheses.jsonl", (dict(row) for row in rows))
    written = [out / "hypotheses.jsonl"]
    for name, text in (
        ("readability.md", page(report)),
        ("rows.csv", csv_rows(report)),
        ("rows.tex", tex_rows(report)),
    ):
        with write_atomically(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.append(out / name)
    for number, (reader, found) in enumerate(report["readings"].items()):
        for face, matrix in found["confusion"].items():
            if face in CONTROLS:
                continue
            ver = found["systems"][face]["ver"]["value"]
            name = f"confusion_{face}" if number == 0 else f"confusion_{face}_{reader}"
            title = f"{face}, read by {reader}: VER {100 * ver:.1f} %"
            counts = np.array(matrix["counts"], dtype=np.int64)
            written += plot_confusion(counts, title, out / name)
    write_json(out / "readability.json", dict(report))
    return [*written, out / "readability.json"]


def found_of(report: Mapping[str, Any], reader: str, face: str, figure: str) -> dict[str, Any]:
    """One figure of a face; ``value`` is None with a ``reason`` where there is none."""
    if figure in RATES:
        return dict(report["readings"][reader]["systems"][face][figure])
    moving = report["motion"]["systems"].get(face)
    if moving is None:
        return {"value": None, "reason": "the film's own pictures: see the face drawn from it"}
    return dict(moving[figure])


def _cell(found: Mapping[str, Any], factor: float, decimals: int, dash: str = "-") -> str:
    if found["value"] is None:
        return dash
    value, low, high = (f"{factor * found[key]:.{decimals}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _columns(report: Mapping[str, Any], reader: str) -> list[tuple[str, str, float, int]]:
    """The columns in which at least one face has a value."""
    return [
        one
        for one in SHOWN
        if any(
            found_of(report, reader, face, one[0])["value"] is not None for face in report["faces"]
        )
    ]


def page(report: Mapping[str, Any]) -> str:
    """The report as Markdown, made from its JSON."""
    return "\n".join(_page_lines(report)) + "\n"


def _page_lines(report: Mapping[str, Any]) -> Iterator[str]:
    yield "# Readability of talking faces"
    yield ""
    yield (
        f"{report['utterances']} utterances, {report['speakers']} speakers; 95 % intervals over "
        f"{report['clustered_by']}s, rates of the corpus. {_sentence(report['controls_note'])}"
    )
    yield (
        "On drawn faces these rates rank systems and say no more. Names that end in @film are a "
        "film's own pictures; all others are drawn on one face (docs/readability.md)."
    )
    yield ""
    for reader, found in report["readings"].items():
        about = report["lip_readers"][reader]
        yield f"## Read by {reader} ({about['kind']}, sha256 {about['sha256'][:12]})"
        yield ""
        shown = _columns(report, reader)
        yield "| face | " + " | ".join(heading for _, heading, _, _ in shown) + " |"
        yield "|---" * (1 + len(shown)) + "|"
        for face in report["faces"]:
            cells = [
                _cell(found_of(report, reader, face, name), factor, decimals)
                for name, _, factor, decimals in shown
            ]
            yield f"| {face} | " + " | ".join(cells) + " |"
        yield ""
        for rate, ranked in found["ranking"].items():
            yield f"- {rate.upper()}: {ranked['words']}"
        yield ""
        yield "SPECTRE's variants (means of utterances' rates, its own viseme table):"
        yield ""
        yield "| face | CER | WER | VER | VWER |"
        yield "|---|---|---|---|---|"
        for face in report["faces"]:
            own = found["systems"][face]["spectre"]
            yield f"| {face} | " + " | ".join(f"{100 * own[r]:.1f}" for r in RATES) + " |"
        yield ""
    yield from _motion_lines(report)
    yield from _input_lines(report)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _motion_lines(report: Mapping[str, Any]) -> Iterator[str]:
    motion = report["motion"]
    yield "## Which figures of motion rank the controls"
    yield ""
    for name, ranked in motion["ranking"].items():
        yield f"- {name}: {ranked['words']}"
    yield ""
    missing = {
        (name, found["reason"])
        for face in report["systems"]
        for name, found in motion["systems"][face].items()
        if found["value"] is None
    }
    if missing:
        yield "Figures without a value for at least one system:"
        yield ""
        yield from (f"- {name}: {reason}" for name, reason in sorted(missing))
        yield ""
    judged = [one for one in motion["offset_of_shifts"].items() if one[1]["found_ms"] is not None]
    if judged:
        yield "Offset that the judge finds for each shift (ms, positive = audio late):"
        yield ""
        yield "| shift (frames) | expected | found |"
        yield "|---|---|---|"
        for name, one in judged:
            yield f"| {name} | {one['expected_ms']:.0f} | {one['found_ms']:.0f} |"
        yield ""


def _input_lines(report: Mapping[str, Any]) -> Iterator[str]:
    yield "## What was measured"
    yield ""
    yield "| system | kind | files | sha256 | made by |"
    yield "|---|---|---|---|---|"
    for name, one in report["systems"].items():
        digest = one["files_sha256"][:12]
        yield f"| {name} | {one['kind']} | {one['files']} | {digest} | {one['source'] or '-'} |"
    yield ""
    for one in report["left_out"]:
        yield f"- left out: {one['utterance_id']} has no {one['lacks']}"
    for name, lost in report.get("no_face", {}).items():
        for utterance in lost:
            yield f"- no face in the film of {utterance} by {name}: counted as nothing read"
    judge = report["judge"]
    yield f"- judge: {'none' if judge is None else judge['sha256'][:12]}"
    yield f"- command: `{report['command']}`"
    yield f"- commit: {report['commit']}"


def csv_rows(report: Mapping[str, Any]) -> str:
    """One line for each face and lip reader; a figure has its value and both ends."""
    figures = (*RATES, *SYNC, *CLOSURE, *SPATIAL)
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    ends = [f"{name}{end}" for name in figures for end in ("", "_low", "_high")]
    table.writerow(["lip_reader", "face", "control", *ends])
    for reader in report["readings"]:
        for face in report["faces"]:
            cells: list[Any] = []
            for name in figures:
                found = found_of(report, reader, face, name)
                known = found["value"] is not None
                cells += [found[key] if known else "" for key in ("value", "low", "high")]
            table.writerow([reader, face, int(is_control(face)), *cells])
    return out.getvalue()


def tex(text: str) -> str:
    """Text with what LaTeX would take for a command escaped."""
    return re.sub(r"[\\~^&%$#_{}]", lambda match: _TEX[match.group()], text)


def tex_rows(report: Mapping[str, Any]) -> str:
    """Rows of a booktabs table, systems before controls; a comment names the columns."""
    lines = []
    for reader in report["readings"]:
        shown = _columns(report, reader)
        heads = [tex(heading.replace("mm²", "mm2")) for _, heading, _, _ in shown]
        lines += [
            f"% read by {reader}; needs booktabs; \\begin{{tabular}}{{l{'r' * len(shown)}}}",
            r"\toprule",
            f"face & {' & '.join(heads)} \\\\",
            r"\midrule",
        ]
        controls = [face for face in report["faces"] if is_control(face)]
        systems = [face for face in report["faces"] if face not in controls]
        for number, faces in enumerate((systems, controls)):
            lines += [r"\midrule"] if number else []
            for face in faces:
                cells = [
                    _cell(found_of(report, reader, face, name), factor, decimals, "--")
                    for name, _, factor, decimals in shown
                ]
                lines.append(f"{tex(face)} & {' & '.join(cells)} \\\\")
        lines.append(r"\bottomrule")
    return "\n".join(lines) + "\n"
