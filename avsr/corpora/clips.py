"""What a corpus module says about its films: where they are, who talks, what is said when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avsr.data.manifest import SPLITS
from avsr.schema import WordTime
from avsr.tracking import LANDMARKER_SHA256

CLIP_FORMAT = 2  # of the files under .clips; raise it when tracking gives other numbers


class CorpusError(ValueError):
    """A corpus or clip that cannot be prepared as it is."""


@dataclass(frozen=True)
class TalkingClip:
    """One utterance with what is known about it, or a film whose utterances are read later.

    source: its name within the corpus. silences: spans without speech, ``None`` = unknown.
    span_s: the stretch of the film in seconds, ``None`` = all of it. Word times and silences count
    from the first frame of the stretch.
    """

    utterance_id: str
    speaker_id: str
    path: Path
    source: str
    split: str
    text: str
    words: tuple[WordTime, ...] = ()
    silences: tuple[WordTime, ...] | None = None
    span_s: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise CorpusError(
                f"{self.path}: split {self.split!r} is not one of {', '.join(SPLITS)}"
            )
        if self.span_s is not None and not 0.0 <= self.span_s[0] < self.span_s[1]:
            raise CorpusError(
                f"{self.path}: {self.utterance_id} is from {self.span_s[0]} to {self.span_s[1]} s; "
                "give a start of 0 or more and a later end"
            )


# A film to the utterances in it and the rows of skipped.jsonl for those that cannot be taken. It
# is called when the film's turn comes, so that word times never all lie in memory.
Expand = Callable[[TalkingClip], tuple[list[TalkingClip], list[dict[str, Any]]]]


@dataclass(frozen=True)
class PrepareConfig:
    """What decides the numbers in a prepared folder of talking faces.

    max_missing_frames: longest inner gap of the tracker that is interpolated, in frames.
    min_valid_fraction: least share of really tracked frames that a clip needs, 0-1.
    limit: prepare only the first so many films of each split, ``None`` = all.
    """

    max_missing_frames: int = 12
    min_valid_fraction: float = 0.5
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.max_missing_frames < 0:
            raise CorpusError(f"max_missing_frames is {self.max_missing_frames}; give 0 or more")
        if not 0.0 <= self.min_valid_fraction <= 1.0:
            raise CorpusError(f"min_valid_fraction is {self.min_valid_fraction}; give 0 to 1")
        if self.limit is not None and self.limit < 1:
            raise CorpusError(f"limit is {self.limit}; give 1 or more, or None for all clips")


def skip(utterance_id: str, path: Path, reason: str) -> dict[str, Any]:
    """A row of skipped.jsonl."""
    return {"utterance_id": utterance_id, "path": str(path), "reason": reason}


def of_split(clips: Sequence[TalkingClip], split: str) -> list[TalkingClip]:
    """The clips of one split, in their order."""
    return [clip for clip in clips if clip.split == split]


def first_of_each_split(clips: Sequence[TalkingClip], limit: int | None) -> list[TalkingClip]:
    """The first ``limit`` clips of each split, in the order of ``clips``."""
    left = dict.fromkeys(SPLITS, len(clips) if limit is None else limit)
    kept = []
    for clip in clips:
        if left[clip.split] > 0:
            left[clip.split] -= 1
            kept.append(clip)
    return kept


def file_stem(utterance_id: str) -> str:
    """A file name for an utterance id, which may hold slashes."""
    return utterance_id.replace("/", "__")


def fingerprint(config: PrepareConfig, info: Mapping[str, Any]) -> str:
    """Short hash of everything that decides what a tracked clip holds."""
    decides = {**asdict(config), "format": CLIP_FORMAT, "model": LANDMARKER_SHA256, "info": info}
    del decides["limit"]  # chooses clips, does not change them
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]


def make_parts(
    films: Sequence[TalkingClip], *, at_least: int = 16, at_most_parts: int = 400
) -> list[list[TalkingClip]]:
    """Films grouped by speaker and filled into parts; a part is a shard of the prepared corpus.

    A speaker's clips share one head frame, so that a speaker is never divided. Many processes
    share the parts, and the same films give the same parts whatever their number.

    Args:
        films: in any order; a part keeps it, speakers come in the order of their first film.
        at_least: films of a part, the last one excepted.
        at_most_parts: about this many at the most: a reader opens every shard.
    """
    by_speaker: dict[str, list[TalkingClip]] = {}
    for film in films:
        by_speaker.setdefault(film.speaker_id, []).append(film)
    wanted = max(at_least, -(-len(films) // at_most_parts))
    parts: list[list[TalkingClip]] = []
    for own in by_speaker.values():
        if not parts or len(parts[-1]) >= wanted:
            parts.append([])
        parts[-1].extend(own)
    return parts


def part_name(films: Sequence[TalkingClip]) -> str:
    """Short hash of a part's film ids: the name of its shards."""
    ids = "\n".join(film.utterance_id for film in films)
    return hashlib.sha256(ids.encode()).hexdigest()[:12]
