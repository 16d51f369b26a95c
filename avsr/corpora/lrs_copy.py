"""What a copy of LRS2 or LRS3 holds, against what was published."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsr.corpora.clips import CorpusError, skip

LISTED = 20  # problems printed one by one; all are in skipped.jsonl


@dataclass(frozen=True)
class LrsFile:
    """One clip of a copy: its subset (``pretrain`` ...), the folder of its talk, its name."""

    subset: str
    talk: str
    name: str
    folder: Path

    @property
    def utterance_id(self) -> str:
        """Unique: a talk has clips of the same name in several subsets."""
        return f"{self.subset}/{self.talk}/{self.name}"

    @property
    def video(self) -> Path:
        """The film."""
        return self.folder / self.talk / f"{self.name}.mp4"

    @property
    def label(self) -> Path:
        """The text file."""
        return self.folder / self.talk / f"{self.name}.txt"


@dataclass(frozen=True)
class Copy:
    """What a copy of a corpus holds.

    files: complete pairs. published: subset to the published number of utterances. incomplete:
    rows of skipped.jsonl for clips that lack a file. odd: the same for files that do not belong.
    """

    files: tuple[LrsFile, ...]
    published: Mapping[str, int]
    incomplete: tuple[dict[str, Any], ...] = ()
    odd: tuple[dict[str, Any], ...] = ()

    def counts(self) -> dict[str, int]:
        """Complete utterances of each published subset."""
        found = dict.fromkeys(self.published, 0)
        for file in self.files:
            found[file.subset] += 1
        return found

    def discrepancies(self, is_subset: bool) -> int:
        """How many utterances are missing, incomplete or too many, and files that are odd.

        Args:
            is_subset: the copy is a subset on purpose: published numbers are not compared.
        """
        differing = sum(abs(self.published[s] - n) for s, n in self.counts().items())
        incomplete = len(self.incomplete)
        return (incomplete if is_subset else max(differing, incomplete)) + len(self.odd)


def check_copy(copy: Copy, name: str, allow_missing: int, is_subset: bool) -> Iterator[str]:
    """Lines about a copy, for people.

    Raises:
        CorpusError: more discrepancies than ``allow_missing``; after the lines.
    """
    for subset, found in copy.counts().items():
        yield f"{name} {subset}: {found} complete utterances, published {copy.published[subset]}"
    problems = [*copy.incomplete, *copy.odd]
    yield from (row["reason"] for row in problems[:LISTED])
    if len(problems) > LISTED:
        yield f"... and {len(problems) - LISTED} more"
    count = copy.discrepancies(is_subset)
    if count > allow_missing:
        raise CorpusError(
            f"{name}: {count} utterances or files are missing, incomplete or too many against the "
            f"published corpus, allowed are {allow_missing}; complete the copy, raise "
            "--allow-missing, or say --is-subset where it is a part of the corpus on purpose"
        )
    if not copy.files:
        raise CorpusError(f"{name}: no clip with its text; check --root")


def list_pairs(
    folder: Path, subset: str
) -> tuple[list[LrsFile], list[dict[str, Any]], list[dict[str, Any]]]:
    """Clips of ``<folder>/<talk>/``: complete pairs, incomplete ones, and odd files.

    A file of 0 bytes counts as missing.
    """
    pairs: list[LrsFile] = []
    incomplete: list[dict[str, Any]] = []
    odd: list[dict[str, Any]] = []
    entries = sorted(os.scandir(folder), key=lambda e: e.name) if folder.is_dir() else []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            odd.append(skip(f"{subset}/{entry.name}", Path(entry.path), f"{entry.path}: odd file"))
            continue
        found: dict[str, set[str]] = {}
        for inner in os.scandir(entry.path):
            stem, suffix = os.path.splitext(inner.name)
            if suffix not in (".mp4", ".txt") or not inner.is_file():
                reason = f"{inner.path}: neither .mp4 nor .txt of a clip; move it away"
                odd.append(skip(f"{subset}/{entry.name}/{inner.name}", Path(inner.path), reason))
            else:
                whole = inner.stat().st_size > 0
                found.setdefault(stem, set()).update([suffix] if whole else [])
        for stem in sorted(found):
            file = LrsFile(subset, entry.name, stem, folder)
            lacking = [s for s in (".mp4", ".txt") if s not in found[stem]]
            if lacking:
                path = file.video if lacking == [".mp4"] else file.label
                reason = f"{path}: is missing or empty; copy the clip again"
                incomplete.append(skip(file.utterance_id, path, reason))
            else:
                pairs.append(file)
    return pairs, incomplete, odd


def hold_out_talks(files: Iterable[LrsFile], share: float, seed: int) -> set[str]:
    """Talks, in the order of a seeded hash, with at least ``share`` of the utterances.

    Raises:
        CorpusError: there are fewer than two talks, or none would be left to train on.
    """
    sizes: dict[str, int] = {}
    for file in files:
        sizes[file.talk] = sizes.get(file.talk, 0) + 1
    order = sorted(sizes, key=lambda talk: hashlib.sha256(f"{seed}/{talk}".encode()).digest())
    held: set[str] = set()
    while order and sum(sizes[talk] for talk in held) < share * sum(sizes.values()):
        held.add(order.pop(0))
    if not order:
        raise CorpusError(
            f"{len(sizes)} talks in trainval: a validation split by talk leaves none for training; "
            "give more talks or a smaller valid_share"
        )
    return held
