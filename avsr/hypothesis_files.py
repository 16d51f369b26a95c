"""Texts that recognisers wrote, in the layouts that they write them in.

    JSON lines   an object a line: an id (mixture_id, utterance_id, utt_id, id, key) and a text
                 (hypothesis, hypo, hyp, text, pred, prediction, transcript)
    TSV          the same names in a header, or two columns without one
    Kaldi text   ``<id> <words>`` a line
    fairseq      ``D-<n>`` or ``H-<n>`` lines of generate.txt: n counts the lines of the list
    AV-HuBERT    hypo.json: one object with the lists utt_id and hypo

Empty lines are counted and passed over; an id alone is an empty hypothesis. Ids are checked where
the texts are scored.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ID_NAMES = ("mixture_id", "utterance_id", "utt_id", "id", "key", "fid", "wav", "path", "file")
TEXT_NAMES = ("hypothesis", "hypo", "hyp", "text", "pred", "prediction", "transcript")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FAIRSEQ = re.compile(r"^[A-Z]-\d+\t")


@dataclass(frozen=True)
class WrittenText:
    """One text: the id as it stands there, the words as they were written, and the line."""

    name: str
    text: str
    line: int


@dataclass(frozen=True)
class WrittenTexts:
    """All texts of a file, what layout it was taken for, and what was passed over."""

    texts: tuple[WrittenText, ...]
    layout: str
    empty_lines: int


def read_hypothesis_file(
    path: Path, *, encoding: str | None = None, order: Sequence[str] = ()
) -> WrittenTexts:
    """Read a file of texts; the layout is found from what is in it.

    Args:
        path: the file.
        encoding: of its characters; ``None`` is UTF-8, or UTF-16 where the file says so.
        order: ids in the order that was decoded, for fairseq's numbers.

    Raises:
        ValueError: not text in that encoding, no text at all, a line that does not fit the others,
            a number beyond ``order``; the message has the line.
    """
    content = _decoded(path, encoding)
    lines = content.splitlines()
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not filled:
        raise ValueError(f"{path}: holds no hypothesis; decode first")
    first = filled[0][1]
    if first.lstrip().startswith("{"):
        whole = _json_object(content)
        if whole is not None:
            return WrittenTexts(_av_hubert(path, whole), "AV-HuBERT", 0)
        layout, read = "JSON lines", _json_line(path)
    elif any(_FAIRSEQ.match(line) for _, line in filled):
        return WrittenTexts(_fairseq(path, filled, order), "fairseq", len(lines) - len(filled))
    elif "\t" in first:
        layout, read, filled = _tsv(path, filled)
    else:
        layout, read = "Kaldi text", _kaldi_line
    texts = tuple(WrittenText(*read(number, line), number) for number, line in filled)
    return WrittenTexts(texts, layout, len(lines) - len([x for x in lines if x.strip()]))


_Reader = Callable[[int, str], tuple[str, str]]


def _decoded(path: Path, encoding: str | None) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: no such file of hypotheses; check the path")
    content = path.read_bytes()
    marked = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    chosen = encoding or marked
    try:
        return content.decode(chosen)
    except LookupError:
        raise ValueError(
            f"encoding {chosen!r} is unknown to Python; try utf-8 or latin-1"
        ) from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}:{line}: byte 0x{content[error.start]:02x} is no {chosen}; save the file as "
            "UTF-8, or name its encoding with --encoding (latin-1, cp1252, ...)"
        ) from None


def _json_object(content: str) -> dict[str, Any] | None:
    """The file as one object of lists; ``None`` where it is many lines of objects."""
    try:
        whole = json.loads(content)
    except json.JSONDecodeError:
        return None
    lists = isinstance(whole, dict) and any(isinstance(value, list) for value in whole.values())
    return whole if lists else None


def _named(path: Path, where: int, keys: Sequence[str]) -> tuple[str, str]:
    """The columns of the id and of the text."""
    name = next((key for key in ID_NAMES if key in keys), None)
    text = next((key for key in TEXT_NAMES if key in keys), None)
    if name is None or text is None:
        lacks = (
            f"an id ({', '.join(ID_NAMES)})"
            if name is None
            else f"a text ({', '.join(TEXT_NAMES)})"
        )
        raise ValueError(f"{path}:{where}: has {', '.join(keys)}, but not {lacks}")
    return name, text


def _json_line(path: Path) -> _Reader:
    def read(number: int, line: str) -> tuple[str, str]:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: is no JSON object ({error.msg})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{number}: is a {type(row).__name__}, not a JSON object")
        name, text = _named(path, number, list(row))
        return _as_text(path, number, row[name]), _as_text(path, number, row[text])

    return read


def _as_text(path: Path, number: int, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{path}:{number}: {value!r} is no text; ids and hypotheses are strings")
    return str(value)


def _tsv(path: Path, filled: list[tuple[int, str]]) -> tuple[str, _Reader, list[tuple[int, str]]]:
    head = [cell.strip() for cell in filled[0][1].split("\t")]
    if set(head) & set(ID_NAMES) and set(head) & set(TEXT_NAMES):
        name, text = _named(path, filled[0][0], head)
        at, count = (head.index(name), head.index(text)), len(head)
        body = filled[1:]
        if not body:
            raise ValueError(f"{path}: has a header and no hypothesis; decode first")
    else:
        at, count, body = (0, 1), 2, filled

    def read(number: int, line: str) -> tuple[str, str]:
        cells = line.split("\t")
        if len(cells) == count - 1 and at[1] == count - 1:
            cells.append("")  # an empty text at the end of the line, its tab cut off
        if len(cells) != count:
            raise ValueError(f"{path}:{number}: {len(cells)} columns, the others have {count}")
        return cells[at[0]].strip(), cells[at[1]]

    return "TSV", read, body


def _kaldi_line(number: int, line: str) -> tuple[str, str]:
    name, *rest = line.split(maxsplit=1)
    return name, rest[0] if rest else ""


def _fairseq(
    path: Path, filled: Sequence[tuple[int, str]], order: Sequence[str]
) -> tuple[WrittenText, ...]:
    if not order:
        raise ValueError(
            f"{path}: fairseq numbers its sentences; give the list that was decoded (--order)"
        )
    kinds = {line[0] for _, line in filled if _FAIRSEQ.match(line)}
    kind = "D" if "D" in kinds else "H"  # detokenised, else raw
    if kind not in kinds:
        raise ValueError(f"{path}: has no lines D-<n> or H-<n>; it holds no hypothesis of fairseq")
    found = []
    for number, line in filled:
        match = re.match(rf"^{kind}-(\d+)\t[^\t]*(?:\t(.*))?$", line)
        if not match:
            continue
        place = int(match[1])
        if place >= len(order):
            raise ValueError(
                f"{path}:{number}: sentence {place} is beyond the {len(order)} of the list"
            )
        found.append(WrittenText(order[place], match[2] or "", number))
    return tuple(found)


def _av_hubert(path: Path, whole: dict[str, Any]) -> tuple[WrittenText, ...]:
    name, text = _named(path, 1, list(whole))
    names, texts = whole[name], whole[text]
    if not isinstance(names, list) or not isinstance(texts, list) or len(names) != len(texts):
        raise ValueError(f"{path}: {name} and {text} must be lists of one length")
    return tuple(
        WrittenText(_as_text(path, 1, one), _as_text(path, 1, said), 1)
        for one, said in zip(names, texts, strict=True)
    )
