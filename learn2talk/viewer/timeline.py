"""What was said and when, from the files that people have: words, phones and visemes on a line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsr.schema import PhoneTime, WordTime
from avsr.text import normalise, phones_to_visemes

SILENT_WORDS = frozenset({"sil", "sp", "spn", ""})


@dataclass(frozen=True)
class Timeline:
    """Words and phones with their times; visemes, one for each phone.

    phones_estimated: whether the phones' times were shared out within the words (espeak-ng), which
    is off by some tens of milliseconds.
    """

    words: tuple[WordTime, ...] = ()
    phones: tuple[PhoneTime, ...] = ()
    visemes: tuple[str, ...] = ()
    phones_estimated: bool = False


def read_timeline(path: Path | str) -> Timeline:
    """Words, phones and visemes of a file.

    Args:
        path: JSON of `avsr transcribe`, GRID's ``.align``, or JSON with ``words`` (word, start_s,
            end_s) and ``phones`` (phone, start_s, end_s); a bare list of either will do.

    Returns:
        The timeline. Where the file has words and no phones, these are estimated.

    Raises:
        ValueError: missing or unreadable file, no word and no phone, times that are not numbers in
            order, or a phone that is in no table.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file of words; check the path")
    if path.suffix == ".align":
        from avsr.corpora.grid import read_align

        return _timeline(path, tuple(read_align(path)), ())
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: is no JSON ({error}); give the JSON of 'avsr transcribe', or an .align file"
        ) from error
    rows = _rows(content)
    words = [row for row in rows if "word" in row]
    phones = [row for row in rows if "phone" in row]
    if not words and not phones:
        raise ValueError(
            f"{path}: holds no words and no phones with times; give the JSON of 'avsr transcribe', "
            'or {"words": [{"word": "bin", "start_s": 0.1, "end_s": 0.3}]}'
        )
    return _timeline(
        path,
        tuple(WordTime(str(row["word"]), *_span(path, row)) for row in words),
        tuple(PhoneTime(str(row["phone"]), *_span(path, row)) for row in phones),
    )


def _rows(content: Any) -> list[Mapping[str, Any]]:
    """Every record of a word or a phone, wherever the known layouts keep them."""
    if isinstance(content, Mapping):
        segments = content.get("segments", ())
        parts = [content.get("words", ()), content.get("phones", ())]
        if isinstance(segments, Sequence):
            parts += [s.get("words", ()) for s in segments if isinstance(s, Mapping)]
    else:
        parts = [content]
    lists = [part for part in parts if isinstance(part, list)]
    return [row for part in lists for row in part if isinstance(row, Mapping)]


def _span(path: Path, row: Mapping[str, Any]) -> tuple[float, float]:
    try:
        start, end = float(row["start_s"]), float(row["end_s"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: {dict(row)} has no start_s and end_s in seconds; give both"
        ) from error
    if not (math.isfinite(start) and math.isfinite(end) and 0.0 <= start <= end):
        raise ValueError(
            f"{path}: {dict(row)} runs from {start} to {end} s; times begin at 0 and ascend"
        )
    return start, end


def _timeline(path: Path, words: tuple[WordTime, ...], phones: tuple[PhoneTime, ...]) -> Timeline:
    said = tuple(word for word in words if word.word.lower() not in SILENT_WORDS)
    estimated = not phones and bool(said)
    if estimated:
        from avsr.corpora.phone_times import estimated_phones

        spoken = [
            WordTime(normalise(word.word), word.start_s, word.end_s)
            for word in said
            if normalise(word.word)
        ]
        try:
            phones = estimated_phones(spoken)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    try:
        visemes = tuple(phones_to_visemes([phone.phone for phone in phones]))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Timeline(said, phones, visemes, estimated)
