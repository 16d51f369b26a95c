"""Test lists of any origin: which utterances there are, who says what, and their sound.

Read are

    a prepared corpus            the folder of 'avsr prepare' (corpus.json), one of its splits
    a table, .tsv                a header with utterance_id, path (or file), text, and where wanted
                                 speaker_id (or speaker) and split; paths relative to the table
    a Kaldi data folder          wav.scp, text, and utt2spk where it is; plain paths only
    a fairseq manifest, .tsv     the root on the first line, then paths; texts in the .wrd beside it
                                 (AV-HuBERT's: id, video, audio, frames, samples)
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avsr.data.manifest import decode_array, load_prepared
from avsr.files import read_audio, sha256_file

UNKNOWN_SPEAKER = ""  # of lists that name none: intervals are then over utterances


@dataclass(frozen=True)
class ListedUtterance:
    """One utterance of a list; ``path`` is ``None`` in a prepared corpus, which holds the sound."""

    utterance_id: str
    speaker_id: str
    text: str
    path: Path | None


class UtteranceList:
    """A list and its sounds, read when they are asked for.

    Args:
        entries: unique ids, at least one.
        rows: of the prepared split, in the order of ``entries``; ``None`` reads files.
        source: the file or folder that the list came from.
    """

    def __init__(
        self, entries: tuple[ListedUtterance, ...], source: Path, rows: Any | None = None
    ) -> None:
        self.entries, self.source, self.rows = entries, source, rows
        self.places = {entry.utterance_id: place for place, entry in enumerate(entries)}

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[ListedUtterance]:
        return iter(self.entries)

    def waveform(self, utterance_id: str) -> np.ndarray:
        """The sound of an utterance, float32 (S,) at 16 kHz.

        Raises:
            ValueError: not in the list, or a file that cannot be read.
        """
        if utterance_id not in self.places:
            raise ValueError(f"{self.source}: has no utterance {utterance_id}")
        place = self.places[utterance_id]
        if self.rows is not None:
            return decode_array(self.rows[place]["audio"])
        path = self.entries[place].path
        assert path is not None, "a list without rows has paths"
        return read_audio(path)

    def sha256(self) -> str:
        """Hash of what the list was read from: the prepared corpus's facts, or the list's file."""
        if self.rows is not None:
            return sha256_file(self.source / "corpus.json")
        path = self.source
        return sha256_file(path / "wav.scp" if path.is_dir() else path)


def read_utterance_list(source: Path, split: str | None = "test") -> UtteranceList:
    """A list from one of the layouts that the module's docstring names.

    Args:
        source: folder or file.
        split: of a prepared corpus or of a table with that column; ``None`` takes all of a table.

    Raises:
        ValueError: another layout, a missing column, an empty list, a repeated id, a file that is
            not there, a pipe in wav.scp; the message says where.
    """
    if (source / "corpus.json").is_file():
        return _prepared(source, split or "test")
    if (source / "wav.scp").is_file():
        entries = _kaldi(source)
    elif source.is_file() and source.suffix == ".tsv":
        first = source.read_text(encoding="utf-8-sig").splitlines()[:1]
        manifest = first and "\t" not in first[0] and source.with_suffix(".wrd").is_file()
        entries = _fairseq(source) if manifest else _table(source, split)
    else:
        raise ValueError(
            f"{source}: is no prepared corpus (corpus.json), Kaldi folder (wav.scp), or table "
            "(.tsv); check the path"
        )
    _check(entries, source)
    return UtteranceList(tuple(entries), source)


def _check(entries: list[ListedUtterance], source: Path) -> None:
    if not entries:
        raise ValueError(f"{source}: lists no utterance; check the file and the split")
    seen: set[str] = set()
    for entry in entries:
        if entry.utterance_id in seen:
            raise ValueError(f"{source}: utterance {entry.utterance_id} stands in it twice")
        seen.add(entry.utterance_id)
    absent = [entry for entry in entries if entry.path is None or not entry.path.is_file()]
    if absent:
        raise ValueError(
            f"{source}: {len(absent)} of {len(entries)} sounds are not there, the first is "
            f"{absent[0].path} of {absent[0].utterance_id}; check the paths"
        )


def _prepared(folder: Path, split: str) -> UtteranceList:
    rows = load_prepared(folder, split)
    columns = rows.select_columns(["utterance_id", "speaker_id", "text"])
    entries = [
        ListedUtterance(row["utterance_id"], row["speaker_id"], row["text"], None)
        for row in columns
    ]
    return UtteranceList(tuple(entries), folder, rows.select_columns(["audio"]))


def _table(path: Path, split: str | None) -> list[ListedUtterance]:
    with open(path, encoding="utf-8-sig", newline="") as lines:
        # Quotation marks in a text open nothing.
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        names = set(rows.fieldnames or ())
        file_column = "path" if "path" in names else "file"
        speaker_column = "speaker_id" if "speaker_id" in names else "speaker"
        missing = {"utterance_id", file_column, "text"} - names
        if missing:
            raise ValueError(
                f"{path}:1: lacks the columns {sorted(missing)}; the first line must name "
                "utterance_id, path, text, and where wanted speaker_id and split"
            )
        entries = []
        for number, row in enumerate(rows, 2):
            if "split" in names and split is not None and row["split"] != split:
                continue
            if not row["utterance_id"] or not row[file_column] or row["text"] is None:
                raise ValueError(f"{path}:{number}: a field is empty or missing; mend the line")
            entries.append(
                ListedUtterance(
                    row["utterance_id"],
                    row.get(speaker_column) or UNKNOWN_SPEAKER,
                    row["text"],
                    path.parent / row[file_column],
                )
            )
    return entries


def _pairs(path: Path) -> dict[str, str]:
    """Lines ``key rest`` of a Kaldi file."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; a Kaldi folder holds wav.scp and text")
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        key, *rest = line.split(maxsplit=1)
        if key in found:
            raise ValueError(f"{path}:{number}: {key} stands in it twice")
        found[key] = rest[0].strip() if rest else ""
    return found


def _kaldi(folder: Path) -> list[ListedUtterance]:
    sounds, texts = _pairs(folder / "wav.scp"), _pairs(folder / "text")
    speakers = _pairs(folder / "utt2spk") if (folder / "utt2spk").is_file() else {}
    if sounds.keys() != texts.keys():
        apart = sorted(sounds.keys() ^ texts.keys())
        raise ValueError(
            f"{folder}: wav.scp and text differ in {len(apart)} utterances, the first is "
            f"{apart[0]}; segments files are not read: cut the recordings first"
        )
    pipes = [key for key, value in sounds.items() if value.endswith("|")]
    if pipes:
        raise ValueError(
            f"{folder / 'wav.scp'}: {len(pipes)} entries are commands, the first is {pipes[0]}; "
            "write their sounds to files first, nothing is run from a list"
        )
    return [
        ListedUtterance(key, speakers.get(key, UNKNOWN_SPEAKER), texts[key], folder / value)
        for key, value in sounds.items()
    ]


def _fairseq(path: Path) -> list[ListedUtterance]:
    root, *lines = path.read_text(encoding="utf-8-sig").splitlines()
    words = path.with_suffix(".wrd").read_text(encoding="utf-8-sig").splitlines()
    lines = [line for line in lines if line.strip()]
    if len(lines) != len(words):
        raise ValueError(
            f"{path}: {len(lines)} sounds but {len(words)} texts in "
            f"{path.with_suffix('.wrd').name}; they go line by line"
        )
    entries = []
    for number, (line, text) in enumerate(zip(lines, words, strict=True), 2):
        parts = line.split("\t")
        if len(parts) not in (2, 5):
            raise ValueError(
                f"{path}:{number}: {len(parts)} columns; a manifest has path and samples, or id, "
                "video, audio, frames and samples"
            )
        name, sound = (parts[0], parts[2]) if len(parts) == 5 else (parts[0], parts[0])
        entries.append(ListedUtterance(name, UNKNOWN_SPEAKER, text, Path(root) / sound))
    return entries
