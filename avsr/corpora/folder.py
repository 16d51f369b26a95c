"""A folder of one's own videos and a table of what is said in them, to a prepared corpus.

The table is tab-separated with a header: ``file`` and ``text``, and where wanted ``speaker``,
``split`` (train, valid, test), ``start_s`` and ``end_s``. One line is one utterance.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avsr.corpora.clips import CorpusError, PrepareConfig, TalkingClip, skip
from avsr.corpora.talking_faces import prepare_talking_faces
from avsr.data.manifest import SPLITS, is_prepared
from avsr.files import sha256_file, write_atomically
from avsr.text import normalise

COLUMNS = ("file", "text", "speaker", "split", "start_s", "end_s")


@dataclass(frozen=True)
class ListedFilms:
    """The utterances of each film by its name; picklable, for the tracking processes."""

    utterances: dict[str, list[TalkingClip]]

    def __call__(self, film: TalkingClip) -> tuple[list[TalkingClip], list[dict[str, Any]]]:
        """See `avsr.corpora.clips.Expand`."""
        return self.utterances[film.source], []


def split_of_speaker(speaker: str) -> str:
    """A fixed 80/10/10 split by a hash of the speaker: nobody is in two splits."""
    bucket = hashlib.sha256(f"speaker/{speaker}".encode()).digest()[0] * 10 // 256
    return {8: "valid", 9: "test"}.get(bucket, "train")


def read_table(path: Path | str, folder: Path | str) -> list[TalkingClip]:
    """The utterances of a table, in its order.

    Where there is no speaker, every file counts as a speaker of its own. Where there is no split,
    speakers are split 80/10/10 by a hash of their name.

    Raises:
        CorpusError: a missing table or column, or a line that cannot be used; names file and line.
    """
    path, folder = Path(path), Path(folder)
    if not path.is_file():
        raise CorpusError(f"{path}: no such table; give a tab-separated file with file and text")
    with open(path, encoding="utf-8-sig", newline="") as lines:
        # Quotation marks in a transcript open nothing.
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = list(rows.fieldnames or ())
        missing = [name for name in ("file", "text") if name not in header]
        unknown = [name for name in header if name not in COLUMNS]
        if missing or unknown:
            wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}"
            raise CorpusError(
                f"{path}:1: header {wrong}; columns are {', '.join(COLUMNS)}, separated by tabs"
            )
        found = [_clip(row, f"{path}:{rows.line_num}", folder) for row in rows]
    if not found:
        raise CorpusError(f"{path}: has a header but no line; add one line an utterance")
    return _named(found, path)


def _clip(row: dict[str, Any], where: str, folder: Path) -> TalkingClip:
    value = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if None in row or not value["file"]:
        raise CorpusError(f"{where}: names no file, or has more fields than the header; mend it")
    speaker = value["speaker"] or Path(value["file"]).with_suffix("").as_posix()
    split = value["split"] or split_of_speaker(speaker)
    if split not in SPLITS:
        raise CorpusError(f"{where}: split {split!r} is not one of {', '.join(SPLITS)}")
    span = None
    if value["start_s"] or value["end_s"]:
        try:
            span = float(value["start_s"]), float(value["end_s"])
        except ValueError:
            span = (0.0, 0.0)
        if not 0.0 <= span[0] < span[1] < float("inf"):
            raise CorpusError(
                f"{where}: start_s {value['start_s']!r}, end_s {value['end_s']!r}; give both in "
                "seconds, the end later than the start, or neither for the whole file"
            )
    return TalkingClip(
        utterance_id="",
        speaker_id=speaker,
        path=folder / value["file"],
        source=Path(value["file"]).as_posix(),
        split=split,
        text=normalise(value["text"]),
        span_s=span,
    )


def _named(clips: list[TalkingClip], path: Path) -> list[TalkingClip]:
    """Utterance ids: the file's name, numbered where the file has several utterances."""
    of_file: dict[str, list[TalkingClip]] = {}
    for clip in clips:
        of_file.setdefault(clip.source, []).append(clip)
    stems: dict[str, str] = {}
    for source, own in of_file.items():
        stem = Path(source).with_suffix("").as_posix()
        other = stems.setdefault(stem, source)
        if other != source:
            raise CorpusError(f"{path}: {other} and {source} would have one id; rename one file")
        if len(own) > 1 and (
            any(clip.span_s is None for clip in own)
            or len({clip.span_s for clip in own}) < len(own)
        ):
            raise CorpusError(
                f"{path}: {source} has {len(own)} lines; give each its own start_s and end_s"
            )
        if len({clip.speaker_id for clip in own}) > 1:
            raise CorpusError(
                f"{path}: {source} has several speakers; give each speaker a file of their own"
            )
    numbers = dict.fromkeys(of_file, 0)
    named = []
    for clip in clips:
        stem = Path(clip.source).with_suffix("").as_posix()
        several = len(of_file[clip.source]) > 1
        name = f"{stem}-{numbers[clip.source]:04d}" if several else stem
        numbers[clip.source] += 1
        named.append(replace(clip, utterance_id=name))
    return named


def prepare(
    root: Path | str,
    table: Path | str,
    out: Path | str,
    *,
    landmarker_model: Path | str,
    tokenizer: bytes | None = None,
    num_processes: int = 2,
    config: PrepareConfig | None = None,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """A folder of videos and its table to a prepared corpus; resumable, on many processes.

    Args:
        root: folder of the videos; any frame rate, any length where the table gives times.
        table: see :func:`read_table`. out: folder to write.
        landmarker_model: face_landmarker.task.
        tokenizer: serialised SentencePiece model of a recogniser that will be trained on: training
            texts that it cannot spell are skipped, with the reason. ``None`` = none yet.
        num_processes: tracking processes of this rank. config: limits of tracking.
        progress: show a progress bar. say: receives the lines for the user.

    Returns:
        ``out``.

    Raises:
        CorpusError: a table that is none, no usable clip, or ``out`` was finished otherwise.
    """
    root, out = Path(root), Path(out)
    utterances = read_table(table, root)
    skipped = [
        skip(clip.utterance_id, clip.path, f"{clip.path}: no such file; correct the table")
        for clip in utterances
        if not clip.path.is_file()
    ]
    absent = {row["utterance_id"] for row in skipped}
    by_film: dict[str, list[TalkingClip]] = {}
    for clip in utterances:
        if clip.utterance_id not in absent:
            by_film.setdefault(clip.source, []).append(clip)
    films = [
        TalkingClip(name, own[0].speaker_id, own[0].path, name, own[0].split, "")
        for name, own in by_film.items()
    ]
    speakers = {s: {c.speaker_id for c in utterances if c.split == s} for s in SPLITS}
    say(
        ", ".join(
            f"{sum(c.split == split for c in utterances)} {split} utterances" for split in SPLITS
        )
    )
    if tokenizer is not None and not is_prepared(out):
        out.mkdir(parents=True, exist_ok=True)
        with write_atomically(out / "tokenizer.model") as temporary:
            temporary.write_bytes(tokenizer)
    return prepare_talking_faces(
        films,
        out,
        skipped=skipped,
        landmarker_model=landmarker_model,
        num_processes=num_processes,
        config=config or PrepareConfig(),
        info={
            "name": "folder",
            "speaker_dependent": bool(speakers["train"] & (speakers["valid"] | speakers["test"])),
            "table_sha256": sha256_file(table),
        },
        expand=ListedFilms(by_film),
        tokenizer=tokenizer,
        progress=progress,
        say=say,
    )
