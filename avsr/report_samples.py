"""What a report lets a reader see and hear: samples as a record, and read from a samples.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avsr.files import read_json

_TEXTS = {"title", "reference", "condition"}
_MEDIA = {"sounds", "faces"}
_KEYS = _TEXTS | _MEDIA | {"transcripts"}


@dataclass(frozen=True)
class ReportSample:
    """One utterance to see and hear.

    Media are paths or bytes: films MP4 with H.264 (and AAC), sounds WAV.

    Attributes:
        title: names the utterance.
        reference: what was said.
        sounds: label of a condition to its sound; each gets a player. May be empty.
        transcripts: label of a condition to {system's label: hypothesis}, systems in the order of
            the tables. Where there are sounds, only their labels may stand here.
        faces: label to film; all are played together, the first leads. None, one or several.
        condition: said once for the whole sample.
    """

    title: str
    reference: str
    sounds: Mapping[str, Path | bytes] = field(default_factory=dict)
    transcripts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    faces: Mapping[str, Path | bytes] = field(default_factory=dict)
    condition: str = ""

    def __post_init__(self) -> None:
        unheard = [label for label in self.transcripts if label not in self.sounds]
        if self.sounds and unheard:
            raise ValueError(
                f"sample {self.title!r}: transcripts of {unheard}, but its sounds are "
                f"{list(self.sounds)}; name the sound that was transcribed"
            )


def read_samples(path: Path | str) -> list[ReportSample]:
    """Samples of a JSON file: a list of objects with the fields of :class:`ReportSample`.

    ``title`` and ``reference`` must be there; paths of media are relative to the file's folder.

    Raises:
        ValueError: not such a list; the message names the sample and the field.
    """
    path = Path(path)
    rows = read_json(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path}: is a {type(rows).__name__}; write a list of samples")
    return [
        _sample(row, f"{path}: sample {number}", path.parent) for number, row in enumerate(rows)
    ]


def _sample(row: Any, where: str, folder: Path) -> ReportSample:
    if not isinstance(row, dict):
        raise ValueError(f"{where} is a {type(row).__name__}; write an object with a title")
    missing, unknown = sorted({"title", "reference"} - row.keys()), sorted(row.keys() - _KEYS)
    if missing or unknown:
        raise ValueError(
            f"{where}: missing fields {missing}, unknown fields {unknown}; "
            f"known are {sorted(_KEYS)}"
        )
    for name in sorted(_TEXTS & row.keys()):
        if not isinstance(row[name], str):
            raise ValueError(f"{where}: {name} is {row[name]!r}; write a text")
    for name in sorted(_MEDIA & row.keys()):
        _check_texts(row[name], f"{where}: {name}", "a path")
    transcripts = row.get("transcripts", {})
    if not isinstance(transcripts, dict):
        raise ValueError(
            f"{where}: transcripts are {transcripts!r}; write {{sound: {{arm: text}}}}"
        )
    for label, texts in transcripts.items():
        _check_texts(texts, f"{where}: transcripts of {label!r}", "a text")
    media = {
        name: {label: folder / file for label, file in row.get(name, {}).items()} for name in _MEDIA
    }
    try:
        return ReportSample(
            row["title"],
            row["reference"],
            sounds=media["sounds"],
            transcripts=transcripts,
            faces=media["faces"],
            condition=row.get("condition", ""),
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _check_texts(found: Any, where: str, what: str) -> None:
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise ValueError(f"{where} is {found!r}; write {{label: {what}}}")
