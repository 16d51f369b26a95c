"""The few shapes that all sections are made of: section, table, a choice between parts."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

Row = tuple[str, Sequence[str]]  # its label as text, its cells as HTML


def section(anchor: str, title: str, body: str) -> str:
    """A section that the page's navigation can name; ``body`` is HTML."""
    return f'<section id="{anchor}"><h2>{escape(title)}</h2>{body}</section>'


def table(
    caption: str,
    head: Sequence[str],
    groups: Iterable[tuple[str, Sequence[Row]]],
    *,
    wrap: bool = False,
    fit: bool = False,
    region: str = "",
) -> str:
    """A table in a region that scrolls by itself.

    Args:
        caption: text above it.
        head: column heads, text.
        groups: label of a group of rows (none where it is empty) and its rows.
        wrap: whether long heads take several lines.
        fit: whether it is as wide as its content asks, not as the page.
        region: name of the region where it is not the caption.
    """
    kind = ' class="wrap"' if wrap else ""
    shape = ' class="fit"' if fit else ""
    heads = "".join(f'<th scope="col"{kind}>{escape(text)}</th>' for text in head)
    bodies = "".join(_group(label, rows, len(head)) for label, rows in groups)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(region or caption)}">'
        f"<table{shape}><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"{bodies}</table></div>"
    )


def _group(label: str, rows: Sequence[Row], num_columns: int) -> str:
    # The span sticks to the left edge while the table scrolls; the cell is as wide as the table.
    head = (
        f'<tr class="group"><th scope="rowgroup" colspan="{num_columns}">'
        f"<span>{escape(label)}</span></th></tr>"
        if label
        else ""
    )
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, cells in rows
    )
    return f"<tbody>{head}{body}</tbody>"


def value_cell(value: str, *below: str) -> str:
    """A number and, in small type below it, what goes with it; all are HTML."""
    return value + "".join(f"<small>{one}</small>" for one in below if one)


def two_lines(text: str) -> str:
    """``value [low, high]`` as a cell of two lines."""
    value, _, limits = text.partition(" ")
    return value_cell(escape(value), escape(limits))


def select_chooser(label: str, choices: Sequence[tuple[str, str]], chosen: int = 0) -> str:
    """A ``<select>`` that shows one of several parts.

    Args:
        label: what is chosen, text.
        choices: name (text) and part (HTML) of each.
        chosen: which is shown first.
    """
    options = "".join(
        f'<option value="{index}"{" selected" if index == chosen else ""}>{escape(name)}</option>'
        for index, (name, _) in enumerate(choices)
    )
    return (
        f'<div class="chooser"><label class="choose">{escape(label)} '
        f'<select autocomplete="off">{options}</select></label>'
        f"{choice_parts([part for _, part in choices], chosen)}</div>"
    )


def radio_chooser(
    label: str, name: str, choices: Sequence[tuple[str, str]], chosen: int = 0
) -> str:
    """The same with a row of radio buttons; ``name`` tells their group from others of the page."""
    buttons = "".join(
        f'<label><input type="radio" name="{escape(name)}" value="{index}" autocomplete="off"'
        f"{' checked' if index == chosen else ''}><span>{escape(text)}</span></label>"
        for index, (text, _) in enumerate(choices)
    )
    return (
        f'<div class="chooser"><fieldset class="choices"><legend>{escape(label)}</legend>'
        f"{buttons}</fieldset>{choice_parts([part for _, part in choices], chosen)}</div>"
    )


def choice_parts(parts: Sequence[str], chosen: int) -> str:
    """The parts between which a chooser switches; the script shows one."""
    return "".join(
        f'<div data-choice="{index}"{"" if index == chosen else " hidden"}>{part}</div>'
        for index, part in enumerate(parts)
    )


def data_uri(kind: str, content: bytes) -> str:
    """Bytes as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
