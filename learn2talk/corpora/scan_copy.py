"""What a copy of a corpus of scanned talking faces holds, against what was published."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.corpora.clips import CorpusError, skip
from learn2talk.plain_pickles import read_plain_pickle

LISTED = 20  # problems printed one by one; all are in skipped.jsonl


@dataclass(frozen=True)
class ScanSequence:
    """One utterance of a corpus.

    name: unique, for example ``F2_e01``. speaker_id: whose template it moves. split: train, valid
    or test; ``None`` = of no split of the protocol. vertices: reads the motion (T, V, 3) or (T, 3V)
    in the corpus's unit. sound: reads float32 (S,) at 16 kHz. path: what to name in messages.
    """

    name: str
    speaker_id: str
    split: str | None
    vertices: Callable[[], NDArray[Any]]
    sound: Callable[[], NDArray[np.float32]]
    path: Path


@dataclass(frozen=True)
class ScanCopy:
    """What a user's copy of a corpus holds.

    sequences: complete ones that belong to it. expected: names that were published. missing, extra:
    rows of skipped.jsonl for what is not there or incomplete, and for what does not belong.
    """

    sequences: tuple[ScanSequence, ...]
    expected: tuple[str, ...]
    missing: tuple[dict[str, Any], ...] = ()
    extra: tuple[dict[str, Any], ...] = ()


def list_pairs(
    vertices: Path,
    sounds: Path,
    expected: Sequence[str],
    sequence: Callable[[str, Path, Path], ScanSequence],
) -> ScanCopy:
    """A copy in the layout of the field: ``<vertices>/<name>.npy`` and ``<sounds>/<name>.wav``.

    A file of 0 bytes counts as missing.

    Args:
        expected: the names that were published.
        sequence: makes a sequence from a name and its two files.

    Raises:
        CorpusError: a folder is missing.
    """
    for folder in (vertices, sounds):
        if not folder.is_dir():
            raise CorpusError(f"{folder}: no such folder; check --root")
    found: list[ScanSequence] = []
    missing: list[dict[str, Any]] = []
    for name in expected:
        files = (vertices / f"{name}.npy", sounds / f"{name}.wav")
        lacking = [f for f in files if not f.is_file() or f.stat().st_size == 0]
        if lacking:
            reason = f"{lacking[0]}: is missing or empty; copy it again"
            missing.append(skip(name, lacking[0], reason))
        else:
            found.append(sequence(name, *files))
    known = set(expected)
    extra = [
        skip(path.stem, path, f"{path}: is no sequence of the published corpus; move it away")
        for folder, suffix in ((vertices, ".npy"), (sounds, ".wav"))
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and (path.suffix != suffix or path.stem not in known)
    ]
    return ScanCopy(tuple(found), tuple(expected), tuple(missing), tuple(extra))


def check_copy(copy: ScanCopy, name: str, allow_missing: int) -> Iterator[str]:
    """Lines about a copy, for people.

    Raises:
        CorpusError: more sequences missing or too many than ``allow_missing``; after the lines.
    """
    yield f"{name}: {len(copy.sequences)} complete sequences, published {len(copy.expected)}"
    problems = [*copy.missing, *copy.extra]
    yield from (row["reason"] for row in problems[:LISTED])
    if len(problems) > LISTED:
        yield f"... and {len(problems) - LISTED} more"
    if len(problems) > allow_missing:
        raise CorpusError(
            f"{name}: {len(copy.missing)} sequences are missing or incomplete and "
            f"{len(copy.extra)} files do not belong to it, allowed are {allow_missing} together; "
            "complete the copy or raise --allow-missing"
        )
    if not copy.sequences:
        raise CorpusError(f"{name}: no sequence with its sound; check --root")


def read_vertices(path: Path) -> NDArray[Any]:
    """A ``.npy`` of numbers; nothing in it is run.

    Raises:
        CorpusError: truncated, another format, or an array of Python objects (a pickle).
    """
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CorpusError(f"{path}: not a whole .npy of numbers ({error}); copy again") from error
    return array


def read_templates(path: Path, num_vertices: int) -> dict[str, NDArray[np.float64]]:
    """Neutral faces (V, 3) of ``templates.pkl`` in the corpus's unit, by speaker.

    Raises:
        ValueError: see `read_plain_pickle`; a face of another size or with NaN.
    """
    found = read_plain_pickle(path)
    if not isinstance(found, dict):
        raise CorpusError(f"{path}: is a {type(found).__name__}, not speakers with templates")
    faces = {}
    for speaker, values in found.items():
        array = np.asarray(values)
        if array.dtype.kind not in "fiu" or array.size != 3 * num_vertices:
            raise CorpusError(
                f"{path}: the template of {speaker} has shape {array.shape}, expected "
                f"({num_vertices}, 3)"
            )
        if not np.isfinite(array).all():
            raise CorpusError(f"{path}: the template of {speaker} has values that are no numbers")
        faces[str(speaker)] = array.reshape(num_vertices, 3).astype(np.float64)
    return faces


def read_texts(path: Path | None, names: Sequence[str]) -> dict[str, str]:
    """What is said in which sequence: a tab-separated table with the columns sequence and text.

    Args:
        path: ``None`` = unknown. names: of the published sequences.

    Raises:
        CorpusError: missing, without these columns, or a sequence that was not published.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise CorpusError(f"{path}: no such table; check --config.texts")
    with open(path, encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if not {"sequence", "text"} <= set(rows.fieldnames or ()):
            raise CorpusError(f"{path}:1: lacks the columns sequence and text, tab-separated")
        texts = {row["sequence"]: row["text"] or "" for row in rows}
    if unknown := sorted(set(texts) - set(names)):
        raise CorpusError(
            f"{path}: {len(unknown)} sequences were not published, the first is {unknown[0]!r}"
        )
    return texts
