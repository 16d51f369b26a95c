"""A confusion of symbols as an inline SVG heat map, and its largest errors in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

CELL = 40  # units of the view box; the page never draws it smaller than it is readable
GAP = 12  # between the symbols and what was missed or added
CHARACTER = 7.2  # width of one, of the labels
MISSED, ADDED = "missed", "added"
NUM_WORST = 5


def confusion_part(name: str, confusion: Mapping[str, Any]) -> str:
    """Heat map and worst confusions of one system; ``confusion`` as in the benchmark's JSON."""
    symbols = [str(one) for one in confusion["symbols"]]
    counts = [[int(one) for one in row] for row in confusion["counts"]]
    return (
        f'<div class="scroll map" tabindex="0" role="region" '
        f'aria-label="{escape(f"Confusion of {name}")}">{_svg(name, symbols, counts)}</div>'
        '<p class="caption">Rows: what was said (and how often), columns: what was read; per cent '
        f"of the row. The column \u201c{MISSED}\u201d is what was said and not read, the row "
        f"\u201c{ADDED}\u201d what was read and not said. Point at a cell, or focus the picture "
        f"and use the arrow keys, for its count.</p>{_worst(symbols, counts)}"
    )


def _svg(name: str, symbols: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """The names of the rows, and the map with the names of its columns, side by side."""
    said, read = [*symbols, ADDED], [*symbols, MISSED]
    totals = [sum(row) for row in counts]
    row_labels = [f"{label} ({total})" for label, total in zip(said, totals, strict=True)]
    left = CHARACTER * max(map(len, row_labels)) + 12
    # Long names of columns are turned; they lean to the right, out over the last column.
    longest = max(map(len, read)) * CHARACTER
    turned = longest > CELL
    lean = longest * 0.72 if turned else 0.0
    top = max(12.0, lean) + 16
    size = len(symbols) * CELL + GAP + CELL
    width, height = size + lean + 4, top + size + 4
    names = [_column_label(label, top, i, len(symbols), turned) for i, label in enumerate(read)]
    lines, cells = [], []
    for row, label in enumerate(row_labels):
        y = top + _place(row, len(symbols))
        lines.append(
            f'<text class="tick end" x="{left - 7:.1f}" y="{y + CELL / 2 + 4:.1f}">'
            f"{escape(label)}</text>"
        )
        cells += [
            _cell(_place(column, len(symbols)), y, row, column, count, totals[row])
            for column, count in enumerate(counts[row])
            if not row == column == len(symbols)  # neither said nor read
        ]
    data = {"said": said, "read": read, "counts": counts, "totals": totals}
    # The names of the rows are a picture of their own: they stay in sight while the map scrolls.
    return (
        f'<svg class="heat-rows" viewBox="0 0 {left:.0f} {height:.0f}" aria-hidden="true" '
        f'style="width:{left:.0f}px;height:{height:.0f}px">{"".join(lines)}</svg>'
        f'<svg class="heat" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="width:{width:.0f}px;height:{height:.0f}px" tabindex="0" role="img" '
        f'aria-label="{escape(_summary(name, symbols, counts))}" '
        f'data-heat="{escape(json.dumps(data, ensure_ascii=False))}">{"".join(names + cells)}'
        f'<rect class="at" width="{CELL}" height="{CELL}" visibility="hidden"/></svg>'
    )


def _place(index: int, num_symbols: int) -> int:
    return index * CELL + (GAP if index == num_symbols else 0)


def _column_label(label: str, top: float, index: int, num_symbols: int, turned: bool) -> str:
    x, y = _place(index, num_symbols) + CELL / 2, top - 7
    turn = f' transform="rotate(-45 {x:.1f} {y:.1f})"' if turned else ""
    kind = "tick" if turned else "tick mid"
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{turn}>{escape(label)}</text>'


def _cell(x: float, y: float, row: int, column: int, count: int, total: int) -> str:
    share = count / total if total else 0.0
    # The eye tells light shades apart better than dark ones.
    strength = share**0.7
    # "<1" and ">99": a cell that is not empty is not told as 0, one with errors not as 100.
    text = "" if not count else "&lt;1" if share < 0.01 else f"{100 * share:.0f}"
    text = "&gt;99" if text == "100" and count < total else text
    kind = " hot" if strength > 0.55 else ""
    return (
        f'<g data-cell="{row},{column}"><rect class="ground" x="{x:.1f}" y="{y:.1f}" '
        f'width="{CELL}" height="{CELL}"/><rect class="shade" x="{x:.1f}" y="{y:.1f}" '
        f'width="{CELL}" height="{CELL}" fill-opacity="{strength:.3f}"/>'
        f'<text class="tick mid{kind}" x="{x + CELL / 2:.1f}" y="{y + CELL / 2 + 4:.1f}">'
        f"{text}</text></g>"
    )


def _errors(symbols: Sequence[str], counts: Sequence[Sequence[int]]) -> list[str]:
    """The most frequent errors, each as a phrase."""
    found = [
        (count, i, j)
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    phrases = []
    for count, i, j in sorted(found, key=lambda one: -one[0])[:NUM_WORST]:
        if i == len(symbols):
            phrases.append(f"{symbols[j]} {ADDED}: {count} times")
            continue
        what = MISSED if j == len(symbols) else f"read as {symbols[j]}"
        total = sum(counts[i])
        phrases.append(f"{symbols[i]} {what}: {count} of {total}, {100 * count / total:.0f} %")
    return phrases


def _summary(name: str, symbols: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    worst = "; ".join(_errors(symbols, counts)) or "No error"
    return f"Heat map of what was said against what was read, face {name}. {worst}."


def _worst(symbols: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    items = "".join(f"<li>{escape(phrase)}</li>" for phrase in _errors(symbols, counts))
    return f"<p>The most frequent errors:</p><ol>{items}</ol>" if items else "<p>No error.</p>"
