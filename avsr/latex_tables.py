"""Results as LaTeX: a booktabs tabular for each noise type, to paste into a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avsr.arm_labels import arm_labels, main_arms
from avsr.conditions import Arm
from avsr.files import write_atomically
from avsr.tables import level_label, levels, noise_types_of, percent, size_text, wide_rows

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\u2212": "$-$",
    "\u2013": "--",
    **{one: f"\\{one}" for one in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """Text as LaTeX prints it: the ten special characters escaped, line breaks as spaces."""
    return "".join(_ESCAPES.get(one, one) for one in " ".join(text.split()))


def latex(results: Mapping[str, Any]) -> str:
    """One ``tabular`` for each noise type: a row for each arm, a column for each level, then clean.

    WER in per cent with its interval in small type; disturbed arms stand below a rule. What a
    caption has to say (corpus, size, seeds, normaliser, manifest) stands above as comments.
    """
    parts = ["\n".join(f"% {' '.join(line.split())}" for line in _caption(results))]
    parts += [_tabular(results, noise_type) for noise_type in noise_types_of(results)]
    return "\n\n".join(parts) + "\n"


def write_latex(results: Mapping[str, Any], folder: Path | str) -> Path:
    """Write ``rows.tex`` into the folder; returns its path."""
    path = Path(folder) / "rows.tex"
    with write_atomically(path) as temporary:
        temporary.write_text(latex(results), encoding="utf-8")
    return path


def _caption(results: Mapping[str, Any]) -> list[str]:
    protocol, source, interval = results["protocol"], results["provenance"], results["interval"]
    seeds = ", ".join(map(str, protocol["seeds"])) or "none"
    return [
        "Needs \\usepackage{booktabs}.",
        f"Corpus: {protocol['corpus']}, {protocol['split']}",
        f"Size: {size_text(protocol)}",
        f"Noise seeds: {seeds}",
        f"Brackets: {interval['confidence']:.0%} bootstrap intervals over "
        f"{interval['num_clusters']} {interval['clustered_by']}s, "
        f"{interval['num_resamples']} resamples",
        f"Text normaliser: version {source['normaliser_version']}",
        f"Mixture manifest: SHA-256 {source['manifest_sha256'] or 'not given'}",
        *(["Synthetic speech and faces"] if protocol["synthetic"] else []),
        *(["The test speaker was trained on"] if protocol["speaker_dependent"] else []),
    ]


def _tabular(results: Mapping[str, Any], noise_type: str) -> str:
    columns = levels(results, noise_type)
    labels, main = arm_labels(results), main_arms(results)
    disturbed = [arm for arm in labels if arm not in set(main)]
    head = ["WER \\%", *(escape_latex(level_label(level)) for level in columns)]
    body = [_line(head), "\\midrule", *_lines(results, noise_type, main, labels)]
    if disturbed:
        body += ["\\midrule", *_lines(results, noise_type, disturbed, labels)]
    return "\n".join(
        (
            f"% Noise: {' '.join(noise_type.split())}",
            f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
            "\\toprule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
        )
    )


def _lines(
    results: Mapping[str, Any], noise_type: str, arms: Sequence[Arm], labels: Mapping[Arm, str]
) -> list[str]:
    return [
        _line([escape_latex(labels[arm]), *map(_cell, row)])
        for arm, row in wide_rows(results, noise_type, arms)
    ]


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "--"
    limits = f"[{percent(row['wer_low'])}, {percent(row['wer_high'])}]"
    lost = "" if row["coverage"] == 1 else f" ({row['coverage']:.0%} decoded)"
    return f"{percent(row['wer'])} {{\\scriptsize {escape_latex(limits + lost)}}}"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + " \\\\"
