"""Which viseme is read as which: counts from the alignment of texts and readings, and a picture.

Both texts become visemes (`avsr.text`, one symbol each, words without borders) and are aligned by
the fewest edits, as for the viseme error rate; of alignments with equally few edits the one of
jiwer is taken. Axis letters: K visemes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from numpy.typing import NDArray

from avsr.files import write_atomically
from avsr.text import SILENCE_VISEME, VISEME_NAMES
from learn2talk.metrics.visemes import viseme_words

VISEMES = tuple(name for name in VISEME_NAMES if name != SILENCE_VISEME)
EXAMPLES = {
    "p": "p b m",
    "t": "t d n",
    "l": "l",
    "f": "f v",
    "T": "θ ð",
    "s": "s z",
    "S": "ʃ ʒ tʃ dʒ",
    "k": "k ɡ ŋ h",
    "r": "ɹ",
    "i": "j i ɪ",
    "u": "w u ʊ",
    "@": "ə ɚ",
    "a": "æ aɪ aʊ ɑ",
    "e": "eɪ",
    "E": "ɝ ɛ ʌ",
    "o": "oʊ",
    "O": "ɔ ɔɪ",
}
INSERTED, DELETED = "inserted", "deleted"


def viseme_confusion(pairs: Iterable[tuple[str, str]]) -> NDArray[np.int64]:
    """Counts (K + 1, K + 1): rows what was said, columns what was read.

    The last row counts visemes that were read and not said (insertions), the last column those
    that were said and not read (deletions); the last corner is 0. All entries off the diagonal add
    up to the errors of the viseme error rate.

    Args:
        pairs: (reference, hypothesis) phone strings (`learn2talk.readability.phones_of`).

    Raises:
        ValueError: an unknown phone.
    """
    counts = np.zeros((len(VISEMES) + 1, len(VISEMES) + 1), dtype=np.int64)
    at = {viseme: place for place, viseme in enumerate(VISEMES)}
    nothing = len(VISEMES)
    for pair in pairs:
        said, read = (viseme_words(text).replace(" ", "") for text in pair)
        for one, other in _aligned(said, read):
            counts[at.get(one, nothing), at.get(other, nothing)] += 1
    return counts


def _aligned(said: str, read: str) -> list[tuple[str, str]]:
    """Aligned symbols; "" stands for none."""
    if not said or not read:
        return [(one, "") for one in said] + [("", one) for one in read]
    (chunks,) = jiwer.process_characters(said, read).alignments
    found: list[tuple[str, str]] = []
    for chunk in chunks:
        left = said[chunk.ref_start_idx : chunk.ref_end_idx]
        right = read[chunk.hyp_start_idx : chunk.hyp_end_idx]
        longest = max(len(left), len(right))
        found += [(left[i : i + 1], right[i : i + 1]) for i in range(longest)]
    return found


def as_json(counts: NDArray[np.int64]) -> dict[str, Any]:
    """The matrix with its labels, JSON-ready."""
    return {
        "rows": "said",
        "columns": "read",
        "row_labels": [*VISEMES, INSERTED],
        "column_labels": [*VISEMES, DELETED],
        "counts": counts.tolist(),
    }


def plot_confusion(counts: NDArray[np.int64], title: str, path: Path) -> list[Path]:
    """The matrix as ``path`` with .png and .svg; a row's colours are shares of that row.

    Cells hold counts. Visemes that were neither said nor read are left out.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    used = np.flatnonzero((counts.sum(axis=0) + counts.sum(axis=1))[:-1])
    shown = counts[np.ix_([*used, -1], [*used, -1])]
    total = shown.sum(axis=1, keepdims=True)
    share = 100.0 * shown / np.maximum(total, 1)
    rows = [f"{VISEMES[k]}  ({EXAMPLES[VISEMES[k]]})" for k in used] + [INSERTED]
    columns = [VISEMES[k] for k in used] + [DELETED]
    side = 2.2 + 0.42 * len(rows)
    figure = Figure(figsize=(side + 2.0, side), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.tick_params(labelsize=9)
    axis.get_xticklabels()[-1].set_rotation(90)
    axis.set(xlabel="read", ylabel="said: viseme (its phones)", title=title)
    for edge in (len(rows) - 1.5,):
        axis.axhline(edge, color="grey", linewidth=0.8)
        axis.axvline(edge, color="grey", linewidth=0.8)
    size = 8 if shown.max(initial=0) < 1000 else 6
    for (row, column), count in np.ndenumerate(shown):
        if count:
            colour = "white" if share[row, column] > 55 else "black"
            axis.text(
                column, row, str(count), ha="center", va="center", color=colour, fontsize=size
            )
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the row (%)")
    written = []
    for suffix in (".png", ".svg"):
        out = path.with_name(f"{path.name}{suffix}")
        # The same matrix gives the same bytes: neither a date nor drawn names.
        with write_atomically(out) as temporary, rc_context({"svg.hashsalt": "learn2talk"}):
            kind = suffix[1:]
            facts = {"Date": None} if kind == "svg" else {}
            figure.savefig(temporary, format=kind, dpi=130, metadata=facts)
        written.append(out)
    return written
