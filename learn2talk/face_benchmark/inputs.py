"""What a benchmark is given: texts, sounds, phone times, and a folder of files for each system.

A file is named by its utterance: ``<utterance id>.<ending>``, a slash of the id written as ``__``.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avsr.corpora.clips import file_stem
from avsr.corpora.phone_times import estimated_phones
from avsr.files import SOUNDFILE_SUFFIXES
from avsr.schema import PhoneTime, WordTime
from avsr.text import normalise, phone_to_viseme

COLUMNS = ("utterance_id", "text", "speaker_id")
MOTIONS = (".npz", ".npy")
FILMS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".mpeg", ".m4v")
SOUNDS = (*sorted(SOUNDFILE_SUFFIXES), ".mp3", ".m4a", *FILMS)
ABOUT = "motion.json"  # in a folder of motions: what its files do not say themselves
TRUTH = "truth"
FILM = "@film"  # what the name of a system's own pictures ends with
CONTROLS = ("mean_face", "still_face", "other_utterance")
SHIFTED = "shifted_"
ONE_SPEAKER = "unknown"

Kind = Literal["motion", "film"]
ENDINGS: dict[Kind, tuple[str, ...]] = {"motion": MOTIONS, "film": FILMS}


@dataclass(frozen=True)
class Utterance:
    """What is said: ``text`` is normalised; ``audio`` is a sound or video file."""

    utterance_id: str
    speaker_id: str
    text: str
    audio: Path


@dataclass(frozen=True)
class System:
    """Faces of one method: a folder with a file for each utterance.

    unused: names of files in the folder that are of no kind it could read.
    """

    name: str
    kind: Kind
    folder: Path
    files: Mapping[str, Path]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matched:
    """Utterances that everybody has, and those that somebody lacks.

    left_out: utterance, what it lacks. unused_texts: lines of the table that no system speaks.
    """

    utterances: tuple[Utterance, ...]
    left_out: tuple[tuple[str, str], ...]
    unused_texts: int


def read_texts(path: Path | str) -> dict[str, tuple[str, str]]:
    """Utterance id to its normalised text and its speaker, in the table's order.

    Where the table has no speakers, all utterances are of one unknown speaker.

    Raises:
        ValueError: no such file, another header, a line without an id, or an id twice.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"{path}: no such table; give a tab-separated file with utterance_id, text"
        )
    found: dict[str, tuple[str, str]] = {}
    with open(path, encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = list(rows.fieldnames or ())
        if not {"utterance_id", "text"} <= set(header) or set(header) - set(COLUMNS):
            raise ValueError(
                f"{path}:1: header is {', '.join(header) or 'empty'}; give utterance_id, text and, "
                "where known, speaker_id, separated by tabs"
            )
        for row in rows:
            name = (row["utterance_id"] or "").strip()
            if not name or None in row:
                raise ValueError(
                    f"{path}:{rows.line_num}: names no utterance, or has more fields than the "
                    "header; mend the line"
                )
            if name in found:
                raise ValueError(
                    f"{path}:{rows.line_num}: utterance {name!r} is there twice; keep one line"
                )
            speaker = (row.get("speaker_id") or "").strip() or ONE_SPEAKER
            found[name] = (normalise(row["text"] or ""), speaker)
    if not found:
        raise ValueError(f"{path}: has a header but no line; add one line an utterance")
    return found


def files_of(folder: Path | str, endings: Collection[str], what: str) -> dict[str, Path]:
    """Stem to file, of the files in a folder with one of some endings, in order of their names.

    Raises:
        ValueError: no such folder, none in it, or two files with one stem.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one with {what}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in endings or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(
                f"{folder}: {found[path.stem].name} and {path.name} are both of utterance "
                f"{path.stem!r}; keep one"
            )
        found[path.stem] = path
    if not found:
        raise ValueError(
            f"{folder}: is empty of {what}; it needs <utterance id> with one of "
            f"{', '.join(endings)}"
        )
    return found


def read_system(folder: Path | str, kind: Kind, name: str | None = None) -> System:
    """The files of one system, named by its folder.

    Raises:
        ValueError: see `files_of`; or the name is one of a control.
    """
    folder = Path(folder)
    found = files_of(folder, ENDINGS[kind], f"{kind}s")
    own = name or folder.resolve().name
    taken = (TRUTH, *CONTROLS)
    if name is None and (own in taken or own.startswith(SHIFTED) or own.endswith(FILM)):
        raise ValueError(
            f"{folder}: a system named {own!r} would be taken for a control; rename the folder"
            + (", or give it with --truth" if own == TRUTH else "")
        )
    there = {path.name for path in found.values()} | {ABOUT}
    unused = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name not in there)
    return System(own, kind, folder, found, tuple(unused))


def read_truth(folder: Path | str) -> System:
    """The real talker: motions, or films.

    Raises:
        ValueError: both, or neither.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one with the truth's motions or films")
    endings = {path.suffix.lower() for path in folder.iterdir()}
    kinds: list[Kind] = [kind for kind, own in ENDINGS.items() if endings & set(own)]
    if len(kinds) != 1:
        has = "motions and films; keep one kind" if kinds else "neither motions nor films"
        raise ValueError(f"{folder}: has {has}")
    return read_system(folder, kinds[0], TRUTH)


def match(
    systems: Sequence[System],
    texts: Mapping[str, tuple[str, str]],
    sounds: Mapping[str, Path],
    *,
    allow_missing: int,
) -> Matched:
    """The utterances that have a text, a sound, and a file of every system.

    An utterance counts where at least one system speaks it; a text that none speaks is only
    counted. What is left out is left out of all systems, so that they stay comparable.

    Raises:
        ValueError: more are left out than ``allow_missing``, fewer than two are left, or two ids
            have one file name.
    """
    by_stem: dict[str, str] = {}
    for name in texts:
        other = by_stem.setdefault(file_stem(name), name)
        if other != name:
            raise ValueError(f"utterances {other!r} and {name!r} have one file name; rename one")
    spoken = sorted({stem for system in systems for stem in system.files})
    kept: list[Utterance] = []
    left_out: list[tuple[str, str]] = []
    for stem in spoken:
        own = by_stem.get(stem, stem)
        text, speaker = texts.get(own, ("", ONE_SPEAKER))
        lacks = [] if text else ["text"]
        lacks += [] if stem in sounds else ["audio"]
        lacks += [f"system {one.name}" for one in systems if stem not in one.files]
        if lacks:
            left_out.append((own, ", ".join(lacks)))
        else:
            kept.append(Utterance(own, speaker, text, sounds[stem]))
    if len(left_out) > allow_missing:
        first = f"{left_out[0][0]} (no {left_out[0][1]})"
        raise ValueError(
            f"{len(left_out)} of {len(spoken)} utterances lack something, {allow_missing} are "
            f"allowed; the first: {first}; complete them, or say --allow-missing {len(left_out)}"
        )
    if len(kept) < 2:
        raise ValueError(
            f"{len(kept)} utterances have a text, a sound and a file of every system; an interval "
            "needs 2"
        )
    return Matched(tuple(kept), tuple(left_out), len(set(by_stem) - set(spoken)))


def check_names(systems: Iterable[System]) -> None:
    """Raise ValueError where two systems have one name."""
    seen: dict[str, Path] = {}
    for system in systems:
        if system.name in seen:
            raise ValueError(
                f"{seen[system.name]} and {system.folder} have one name, {system.name!r}; rename "
                "one folder"
            )
        seen[system.name] = system.folder


def read_phones(
    folder: Path | str, utterances: Sequence[Utterance]
) -> tuple[dict[str, tuple[PhoneTime, ...]], list[str], bool]:
    """Phone times of the utterances that have a ``<utterance id>.tsv``.

    A table's header is ``phone, start_s, end_s``, or ``word, start_s, end_s``, from which phones
    are estimated (`avsr.corpora.phone_times`).

    Returns:
        utterance to phones; utterances without a table; whether any was estimated.

    Raises:
        ValueError: no table at all, a header or line that cannot be read, an unknown phone.
    """
    tables = files_of(folder, (".tsv",), "tables of phone or word times")
    found: dict[str, tuple[PhoneTime, ...]] = {}
    lacking, estimated = [], False
    for utterance in utterances:
        path = tables.get(file_stem(utterance.utterance_id))
        if path is None:
            lacking.append(utterance.utterance_id)
            continue
        kind, rows = _times(path)
        if kind == "word":
            estimated = True
            words = [WordTime(normalise(said), start, end) for said, start, end in rows]
            found[utterance.utterance_id] = estimated_phones([w for w in words if w.word])
        else:
            found[utterance.utterance_id] = tuple(PhoneTime(*row) for row in rows)
    return found, lacking, estimated


def _times(path: Path) -> tuple[str, list[tuple[str, float, float]]]:
    with open(path, encoding="utf-8-sig", newline="") as lines:
        table = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(table, [])
        if header not in (["phone", "start_s", "end_s"], ["word", "start_s", "end_s"]):
            raise ValueError(
                f"{path}:1: header is {', '.join(header) or 'empty'}; give phone, start_s, end_s "
                "or word, start_s, end_s, separated by tabs"
            )
        rows = []
        for row in table:
            try:
                said, start_s, end_s = row[0], float(row[1]), float(row[2])
                if header[0] == "phone":
                    phone_to_viseme(said)
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path}:{table.line_num}: {error}") from error
            if not 0.0 <= start_s <= end_s:
                raise ValueError(
                    f"{path}:{table.line_num}: {said!r} is from {start_s} to {end_s} s; give a "
                    "start of 0 or more and a later end"
                )
            rows.append((said, start_s, end_s))
    return header[0], rows
