"""WER against SNR with interval bands: inline SVG for the page, PNG and SVG files for a paper."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avsr.arm_labels import arm_labels, arm_of, main_arms
from avsr.conditions import Arm
from avsr.data.rooms import DRY
from avsr.files import write_atomically
from avsr.tables import level_label, noise_types_of, percent, wide_rows
from avsr.tables import levels as levels_of
from avsr.video_conditions import CLEAN_VIDEO

WIDTH, HEIGHT = 440, 330  # of a panel's view box; near the width of a phone, so text stays readable
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 26, 46
BANDS_UP_TO = 6  # arms; the bands of more than these hide each other
CLEAN_GAP_DB = 4.0  # clean stands this far right of the highest level, beyond an axis break


@dataclass(frozen=True)
class Style:
    """Colour on light and on dark ground, dash pattern, marker: two cues besides colour."""

    light: str
    dark: str
    dash: str
    marker: str


_STYLES: dict[tuple[str, str], Style] = {
    ("audio", "none"): Style("#1f2328", "#f0f2f4", "", "o"),
    ("video", "mouth_crops"): Style("#6b7280", "#a3adb8", "7 4", ""),
    ("audio_visual", "mouth_crops"): Style("#0a5fb8", "#6cb6ff", "", "s"),
    ("audio_visual", "tracked_lips"): Style("#0b7a6b", "#4fd1bd", "", "^"),
    ("audio_visual", "generated_from_clean"): Style("#a86200", "#f5b454", "", "D"),
    ("audio_visual", "generated_from_noisy"): Style("#c02a1c", "#ff8a75", "", "v"),
    ("audio_visual", "generated_from_other"): Style("#7c46a6", "#c9a2ef", "5 3", "X"),
    ("audio_visual", "still"): Style("#6f6a2b", "#cfc77a", "1.5 3", "P"),
}
_SPARE = (
    Style("#8a3b12", "#e09a6f", "9 3 2 3", "o"),
    Style("#a3246b", "#f58cc2", "9 3 2 3", "s"),
    Style("#2f5d1e", "#97cf7c", "9 3 2 3", "^"),
    Style("#3d4a8a", "#a5b2f0", "9 3 2 3", "D"),
    Style("#4a4f57", "#c3cad3", "2 2", "v"),
    Style("#0f6674", "#6fd0e0", "2 2", "P"),
    Style("#8c6d00", "#e5cd6a", "2 2", "X"),
)
# Beyond the spare ones their colours come again, each time with another dash and marker.
_SPARE_DASHES = ("", "12 3", "1 2", "6 2 1 2")


def styles(arms: Sequence[Arm]) -> dict[Arm, Style]:
    """One style for each arm; arms that share modality and source take spare ones in turn."""
    taken: set[tuple[str, str]] = set()
    spare = 0
    chosen = {}
    for arm in arms:
        key = (arm.modality, arm.visual_source)
        disturbed = arm.video_condition != CLEAN_VIDEO or arm.reverberation != DRY
        if key in _STYLES and key not in taken and not disturbed:
            taken.add(key)
            chosen[arm] = _STYLES[key]
        else:
            chosen[arm] = _spare(spare)
            spare += 1
    return chosen


def _spare(index: int) -> Style:
    turn, place = divmod(index, len(_SPARE))
    if turn == 0:
        return _SPARE[place]
    dash = _SPARE_DASHES[(turn - 1) % len(_SPARE_DASHES)]
    return replace(_SPARE[place], dash=dash, marker=_SPARE[(place + turn) % len(_SPARE)].marker)


def panel_svg(results: Mapping[str, Any], noise_type: str) -> str:
    """One panel as an inline ``<svg>``: curves, bands, clean points; colours are CSS classes.

    ``data-panel`` holds the numbers for the page's tooltip. Series ``i`` has class ``s<i>``, in the
    order of :func:`avsr.arm_labels.main_arms`.
    """
    labels, arms = arm_labels(results), main_arms(results)
    chosen = styles(arms)
    levels = levels_of(results, noise_type)
    table = wide_rows(results, noise_type, arms)
    at_x = _x_positions(levels)
    top = _top(results)

    def at_y(rate: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(rate, top) / top)

    series = [
        _series(index, chosen[arm], rows, levels, at_x, at_y, _dodge(index, len(table)))
        for index, (arm, rows) in enumerate(table)
    ]
    data = {
        "x": at_x,
        "levels": [level_label(level) for level in levels],
        "series": [
            {
                "label": labels[arm],
                "values": [
                    row and [percent(row[name]) for name in ("wer", "wer_low", "wer_high")]
                    for row in rows
                ],
            }
            for arm, rows in table
        ],
    }
    summary = "; ".join(
        f"{labels[arm]}: "
        + ", ".join(
            f"{percent(row['wer'])} at {level_label(level)}"
            for row, level in zip(rows, levels, strict=True)
            if row
        )
        for arm, rows in table
    )
    title = f"Word error rate in per cent against signal-to-noise ratio, noise {noise_type}"
    return (
        f'<svg class="panel" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" '
        f'aria-label="{html.escape(f"{title}. {summary}.")}" '
        f'data-panel="{html.escape(json.dumps(data, ensure_ascii=False))}">'
        f"{_axes(levels, at_x, top, at_y)}{''.join(series)}"
        f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/></svg>'
    )


def _x_positions(levels: Sequence[float | None]) -> list[float]:
    """Linear in dB; clean (the last) beyond a gap."""
    noisy = [level for level in levels if level is not None]
    if not noisy:
        return [(LEFT + WIDTH - RIGHT) / 2]
    first, end = noisy[0] - 0.8, noisy[-1] + CLEAN_GAP_DB + 2.0
    places = [*noisy, noisy[-1] + CLEAN_GAP_DB]
    scale = (WIDTH - LEFT - RIGHT) / (end - first)
    return [round(LEFT + (place - first) * scale, 1) for place in places]


def _top(results: Mapping[str, Any]) -> float:
    """Upper end of every panel's axis: the highest interval end, rounded up to a whole tick."""
    arms = set(main_arms(results))
    rows = (row for row in results["rows"] if row["scope"] == "pooled")
    highest = max(row["wer_high"] for row in rows if arm_of(row) in arms)
    step = _tick_step(highest)
    return max(step, math.ceil(highest / step - 1e-9) * step)


def _tick_step(top: float) -> float:
    return 0.02 if top <= 0.1 else 0.05 if top <= 0.25 else 0.1 if top <= 0.5 else 0.2


def _dodge(index: int, count: int) -> float:
    """Sideways shift of the clean points, so that their bars do not hide each other."""
    return 0.0 if count < 2 else (index / (count - 1) - 0.5) * 26


def _axes(levels: Sequence[float | None], at_x: Sequence[float], top: float, at_y: Any) -> str:
    bottom = HEIGHT - BOTTOM
    step = _tick_step(top)
    parts = [f'<text class="axis-title" x="{LEFT - 30}" y="14">WER %</text>']
    for tick in range(round(top / step) + 1):
        rate = tick * step
        y = f"{at_y(rate):.1f}"
        kind = "base" if tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick end" x="{LEFT - 7}" y="{y}" dy="4">{rate * 100:.0f}</text>'
        )
    last_end = -math.inf
    for level, x in zip(levels, at_x, strict=True):
        text = "clean" if level is None else level_label(level).removesuffix(" dB")
        parts.append(f'<line class="base" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>')
        if x - 3.6 * len(text) > last_end:
            parts.append(f'<text class="tick mid" x="{x}" y="{bottom + 18}">{text}</text>')
            last_end = x + 3.6 * len(text)
    if len(levels) > 1:
        gap = (at_x[-1] + at_x[-2]) / 2
        parts.append(f'<path class="base" d="M{gap - 4} {bottom + 5}l4 -10m2 10l4 -10"/>')
        middle = (at_x[0] + at_x[-2]) / 2
        parts.append(f'<text class="axis-title mid" x="{middle}" y="{bottom + 38}">SNR, dB</text>')
    return "".join(parts)


def _series(
    index: int,
    style: Style,
    rows: Sequence[Mapping[str, Any] | None],
    levels: Sequence[float | None],
    at_x: Sequence[float],
    at_y: Any,
    dodge: float,
) -> str:
    points = [
        (x, at_y(row["wer"]), at_y(row["wer_low"]), at_y(row["wer_high"]))
        for x, row, level in zip(at_x, rows, levels, strict=True)
        if row is not None and level is not None
    ]
    parts = []
    if points:
        line = " ".join(f"{x},{y:.1f}" for x, y, _, _ in points)
        band = [f"{x},{high:.1f}" for x, _, _, high in points]
        band += [f"{x},{low:.1f}" for x, _, low, _ in reversed(points)]
        parts.append(f'<polygon class="band" points="{" ".join(band)}"/>')
        parts.append(f'<polyline class="curve" stroke-dasharray="{style.dash}" points="{line}"/>')
        parts += [marker_svg(style.marker, x, y) for x, y, _, _ in points]
    if rows[-1] is not None:
        x, row = at_x[-1] + dodge, rows[-1]
        bar = f"M{x:.1f} {at_y(row['wer_low']):.1f}V{at_y(row['wer_high']):.1f}"
        parts.append(f'<path class="bar" d="{bar}"/>')
        parts.append(marker_svg(style.marker or "-", x, at_y(row["wer"])))
    return f'<g class="series s{index}">{"".join(parts)}</g>'


def marker_svg(marker: str, x: float, y: float) -> str:
    """A marker of about 7 units centred at (x, y); none for ``""``."""
    shapes = {
        "o": "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z",
        "s": "m-3 -3h6v6h-6z",
        "^": "m0 -3.8l3.6 6.4h-7.2z",
        "v": "m0 3.8l3.6 -6.4h-7.2z",
        "D": "m0 -4.1l4.1 4.1l-4.1 4.1l-4.1 -4.1z",
        "X": "m-3 -3l6 6m0 -6l-6 6",
        "P": "m-3.6 0h7.2m-3.6 -3.6v7.2",
        "-": "m-4 0h8",
    }
    if not marker:
        return ""
    kind = "mark open" if marker in "XP-" else "mark"
    return f'<path class="{kind}" d="M{x:.1f} {y:.1f}{shapes[marker]}"/>'


def save_plot(results: Mapping[str, Any], folder: Path | str) -> tuple[Path, Path]:
    """Write ``wer.png`` (200 dpi) and ``wer.svg`` into the folder with matplotlib.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ValueError(
            "the plot files need matplotlib, which is not installed; "
            "run: pip install 'avsr-learn2talk[report]'"
        ) from error
    noise_types = noise_types_of(results)
    labels = {arm: arm_labels(results)[arm] for arm in main_arms(results)}
    columns = min(len(noise_types), 3)
    rows = math.ceil(len(noise_types) / columns)
    size = 0.9 + 4.4 * max(columns, 1.3), 0.26 * len(labels) + 3.4 * rows
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, noise_type in zip(panels, noise_types, strict=False):
        _draw(axes, results, noise_type, labels)
    for axes in panels[len(noise_types) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("WER, %")
    # An arm may have been decoded in one noise only: every panel is asked.
    drawn = [
        pair for axes in panels for pair in zip(*axes.get_legend_handles_labels(), strict=True)
    ]
    named = {name: handle for handle, name in reversed(drawn)}
    order = [label for label in labels.values() if label in named]
    legend = figure.legend(
        [named[label] for label in order],
        order,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize="small",
        handlelength=3.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a system may have a $ in its name
    paths = Path(folder) / "wer.png", Path(folder) / "wer.svg"
    for path in paths:
        with write_atomically(path) as temporary:
            # No date inside: the same results make the same file.
            metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            figure.savefig(temporary, dpi=200, metadata=metadata)
    return paths


def _draw(
    axes: Any, results: Mapping[str, Any], noise_type: str, labels: Mapping[Arm, str]
) -> None:
    levels = levels_of(results, noise_type)
    chosen = styles(list(labels))
    noisy = [level for level in levels if level is not None]
    clean_x = (noisy[-1] + CLEAN_GAP_DB) if noisy else 0.0
    table = wide_rows(results, noise_type, labels)
    for index, (arm, rows) in enumerate(table):
        style = chosen[arm]
        line = {"color": style.light, "marker": style.marker or None, "markersize": 5}
        dash = (0, tuple(float(one) for one in style.dash.split())) if style.dash else "-"
        kept = [
            (level, row)
            for level, row in zip(levels, rows, strict=True)
            if row is not None and level is not None
        ]
        if kept:
            xs = [level for level, _ in kept]
            middle, low, high = (
                [100 * row[name] for _, row in kept] for name in ("wer", "wer_low", "wer_high")
            )
            alpha = 0.14 if len(table) <= BANDS_UP_TO else 0.05
            axes.fill_between(xs, low, high, color=style.light, alpha=alpha, linewidth=0)
            axes.plot(xs, middle, linestyle=dash, linewidth=1.5, label=labels[arm], **line)
        if (clean := rows[-1]) is not None:
            spread = [
                [100 * (clean["wer"] - clean["wer_low"])],
                [100 * (clean["wer_high"] - clean["wer"])],
            ]
            x = clean_x + _dodge(index, len(table)) / 16
            name = None if kept else labels[arm]
            axes.errorbar([x], [100 * clean["wer"]], spread, linestyle="", label=name, **line)
    ticks = [level for level in noisy if level == int(level)]
    axes.set_xticks(
        [*ticks, clean_x], [*(f"{one:g}".replace("-", "\u2212") for one in ticks), "clean"]
    )
    axes.set_xlabel("SNR, dB")
    axes.set_title(noise_type, loc="left", fontsize="medium", parse_math=False)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", linewidth=0.5, alpha=0.35)
    axes.spines[["top", "right"]].set_visible(False)
