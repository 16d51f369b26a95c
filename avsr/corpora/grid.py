"""GRID (Cooke, Barker, Cunningham, Shao, JASA 120(5) 2006): raw clips to a prepared corpus.

Layout read: ``<root>/<speaker>/video/*.mp4|mpg`` with ``<root>/<speaker>/align/*.align`` beside it,
or a flat ``<root>/<speaker>/*.mpg``. One sentence is command, colour, preposition, letter, digit,
adverb; its six-letter file name spells it. Word times are in 1/25000 s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsr.corpora.talking_faces import (
    CorpusError,
    PrepareConfig,
    TalkingClip,
    prepare_talking_faces,
    skip,
)
from avsr.data.manifest import SPLITS
from avsr.files import sha256_file
from avsr.schema import WordTime

ALIGN_UNITS_PER_SECOND = 25_000
SILENCES = ("sil", "sp")
VIDEO_SUFFIXES = (".mp4", ".mpg", ".mpeg", ".mov", ".avi", ".mkv")

_GRAMMAR: tuple[dict[str, str], ...] = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},  # GRID has no "w"
    dict(
        zip(
            "z123456789",
            ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
            strict=True,
        )
    ),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)


class GridError(CorpusError):
    """A GRID folder, clip or list that cannot be used as it is."""


@dataclass(frozen=True)
class GridFile:
    """One raw clip: where it is, what is said, which split it belongs to."""

    utterance_id: str
    speaker_id: str
    path: Path
    align: Path | None
    split: str
    text: str | None  # official text of splits.tsv, None where there is no list


def text_of_code(code: str) -> str:
    """The sentence that a GRID file name spells: ``"swiz3n"`` is "set white in z three now".

    Raises:
        GridError: not six letters of the grammar.
    """
    if len(code) != len(_GRAMMAR) or any(c not in part for c, part in zip(code, _GRAMMAR)):  # noqa: B905
        raise GridError(
            f"file name {code!r} is not a GRID code (command, colour, preposition, letter, digit, "
            "adverb, like swiz3n); rename the file or give its text in a splits list"
        )
    return " ".join(part[c] for c, part in zip(code, _GRAMMAR, strict=True))


def read_align(path: Path | str) -> list[WordTime]:
    """Word times of an ``.align`` file in seconds, silences ("sil", "sp") included.

    Raises:
        GridError: a line that is not ``start end word``, or times that run backwards.
    """
    path, words, last = Path(path), [], 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"(\d+)\s+(\d+)\s+(\S+)", line.strip())
        if match is None or not last <= int(match[1]) <= int(match[2]):
            raise GridError(
                f"{path}:{number}: {line.strip()!r} is not 'start end word' with ascending times; "
                "copy the file again"
            )
        last = int(match[2])
        start_s, end_s = (int(match[i]) / ALIGN_UNITS_PER_SECOND for i in (1, 2))
        words.append(WordTime(match[3], start_s, end_s))
    if not words:
        raise GridError(f"{path}: has no words; copy the file again")
    return words


def read_splits(path: Path | str) -> dict[str, tuple[str, str]]:
    """A tab-separated list with a header: utterance_id -> (split, text).

    Raises:
        GridError: missing file or columns, an unknown split, or an id that appears twice.
    """
    path, rows = Path(path), {}
    if not path.is_file():
        raise GridError(f"{path}: no such splits list; give a tab-separated file or none")
    lines = path.read_text(encoding="utf-8").splitlines()
    header = lines[0].split("\t") if lines else []
    missing = [name for name in ("utterance_id", "split", "text") if name not in header]
    if missing:
        raise GridError(f"{path}:1: header lacks {', '.join(missing)}; columns are tab-separated")
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        row = dict(zip(header, line.split("\t")))  # noqa: B905  trailing empty notes may be cut
        utterance_id, split, text = (row.get(k, "") for k in ("utterance_id", "split", "text"))
        if split not in SPLITS:
            raise GridError(
                f"{path}:{number}: split {split!r} of {utterance_id} is not one of "
                f"{', '.join(SPLITS)}"
            )
        if utterance_id in rows:
            raise GridError(f"{path}:{number}: {utterance_id} is listed twice; keep one line")
        rows[utterance_id] = (split, text)
    return rows


def split_of_id(utterance_id: str) -> str:
    """A fixed 80/10/10 split by a hash of the id: speaker-dependent, the same on every machine."""
    bucket = hashlib.sha256(utterance_id.encode()).digest()[0] * 10 // 256
    return {8: "valid", 9: "test"}.get(bucket, "train")


def find_files(
    root: Path | str, splits_tsv: Path | str | None = None
) -> tuple[list[GridFile], list[dict[str, Any]]]:
    """All clips under ``root`` in the order of their ids, and those that cannot be taken.

    Returns:
        clips, and ``{"utterance_id", "path", "reason"}`` of files that the list does not name and
        of names in the list without a file.

    Raises:
        GridError: no clip at all, or two files with one id.
    """
    root = Path(root)
    files = [
        path
        for path in sorted({*root.glob("*/video/*"), *root.glob("*/*")})
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
    ]
    if not files:
        raise GridError(
            f"{root}: no clips found; expected <speaker>/video/*.mp4 or *.mpg, or <speaker>/*.mpg"
        )
    splits = read_splits(splits_tsv) if splits_tsv is not None else None
    clips: dict[str, GridFile] = {}
    skipped: list[dict[str, Any]] = []
    for path in files:
        folder = path.parent.parent if path.parent.name == "video" else path.parent
        utterance_id = f"{folder.name}/{path.stem}"
        align = folder / "align" / f"{path.stem}.align"
        if utterance_id in clips:
            raise GridError(
                f"{path}: utterance id {utterance_id} is also {clips[utterance_id].path}; "
                "keep one of the two files"
            )
        split, text = split_of_id(utterance_id), None
        if splits is not None:
            if utterance_id not in splits:
                reason = f"{path}: not listed in {splits_tsv}; add a line to use it"
                skipped.append(skip(utterance_id, path, reason))
                continue
            split, text = splits[utterance_id]
        clips[utterance_id] = GridFile(
            utterance_id, folder.name, path, align if align.is_file() else None, split, text
        )
    for utterance_id in sorted(set(splits or ()) - set(clips)):
        reason = f"{splits_tsv}: lists {utterance_id}, but {root} has no such clip; copy it there"
        skipped.append(skip(utterance_id, root / utterance_id, reason))
    return sorted(clips.values(), key=lambda clip: clip.utterance_id), skipped


def words_and_text(clip: GridFile) -> tuple[list[WordTime], list[WordTime], str]:
    """Spoken words, silences, and the text, after every source of text has been compared.

    Raises:
        GridError: list, align file and file name do not say the same words.
    """
    timed = read_align(clip.align) if clip.align is not None else []
    words = [word for word in timed if word.word not in SILENCES]
    texts: dict[str, str] = {}
    if clip.text is not None:
        texts["the splits list"] = clip.text
    if clip.align is not None:
        texts[str(clip.align)] = " ".join(word.word for word in words)
    try:
        texts["its file name"] = text_of_code(clip.path.stem)
    except GridError:
        if not texts:
            raise
    if len(set(texts.values())) > 1:
        said = "; ".join(f"{source} says {text!r}" for source, text in texts.items())
        raise GridError(f"{clip.path}: {said}; correct the wrong one")
    return words, [word for word in timed if word.word in SILENCES], next(iter(texts.values()))


def prepare(
    root: Path | str,
    out: Path | str,
    *,
    landmarker_model: Path | str,
    splits_tsv: Path | str | None = None,
    num_processes: int = 2,
    config: PrepareConfig | None = None,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Raw GRID to a prepared corpus (`avsr.data.manifest`); resumable clip by clip.

    Args:
        root: folder of speakers. out: folder to write; a finished one returns at once.
        landmarker_model: face_landmarker.task.
        splits_tsv: list of utterance_id, split, text; ``None`` = a fixed hash split (80/10/10).
        num_processes: tracking processes, 1 or more (1 = in this process).
        config: what decides the numbers.
        progress: show a progress bar. say: receives the lines for the user.

    Returns:
        ``out``.

    Raises:
        GridError: no clips, or a list that is not one.
        CorpusError: no clip is usable, or ``out`` was finished with another configuration.
        TrackingError: MediaPipe or its model is missing or another version.
    """
    root = Path(root)
    files, skipped = find_files(root, splits_tsv)
    if splits_tsv is None:
        say("no splits list: hash split 80/10/10 by utterance, speaker-dependent")
    clips: list[TalkingClip] = []
    for file in files:
        try:
            words, silences, text = words_and_text(file)
        except GridError as error:
            skipped.append(skip(file.utterance_id, file.path, str(error)))
            continue
        clips.append(
            TalkingClip(
                utterance_id=file.utterance_id,
                speaker_id=file.speaker_id,
                path=file.path,
                source=str(file.path.relative_to(root)),
                split=file.split,
                text=text,
                words=tuple(words),
                silences=tuple(silences) if file.align is not None else None,
            )
        )
    speakers = {split: {c.speaker_id for c in clips if c.split == split} for split in SPLITS}
    return prepare_talking_faces(
        clips,
        out,
        skipped=skipped,
        landmarker_model=landmarker_model,
        num_processes=num_processes,
        config=config or PrepareConfig(),
        info={
            "name": "grid",
            "speaker_dependent": bool(speakers["train"] & (speakers["valid"] | speakers["test"])),
            "splits_sha256": sha256_file(splits_tsv) if splits_tsv is not None else None,
        },
        progress=progress,
        say=say,
    )
