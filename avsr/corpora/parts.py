"""Parts of a corpus: each written as Arrow shards as soon as its films are tracked.

A part holds whole speakers (`avsr.corpora.clips.make_parts`), so that it can be finished without
looking at another. Processes share the parts out by rank and meet at files in the corpus folder,
which all of them see: it needs no network between them, and any number of them may take up what
others left.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from avsr.corpora.clip_tracking import LIPS, TrackingJob, load_clip
from avsr.corpora.clips import CorpusError, TalkingClip, of_split, part_name
from avsr.corpora.film_pool import run_films
from avsr.corpora.head_frames import head_frames, move, neutral_faces
from avsr.data.manifest import (
    SPLITS,
    FaceTemplates,
    PreparedUtterance,
    encode_utterance,
    load_face_templates,
    save_face_templates,
    write_shard,
)
from avsr.files import read_json, write_json
from avsr.tracking import TOPOLOGY
from avsr.video import Similarity

POLL_S = 1.0
WAIT_LIMIT_S = 3600.0  # without any file of another process: it has died, or its node has


def process_rank() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun and Accelerate tell; else (0, 1).

    Raises:
        CorpusError: the two contradict each other.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if not 0 <= rank < size:
        raise CorpusError(f"RANK is {rank}, WORLD_SIZE {size}; a rank is 0 to WORLD_SIZE - 1")
    return rank, size


def wait_until(
    ready: Callable[[], bool], folder: Path, what: str, say: Callable[[str], None]
) -> None:
    """Wait for what another process makes.

    Raises:
        CorpusError: nothing has changed in ``folder`` for an hour.
    """
    if ready():
        return
    say(f"waiting for {what}")
    seen, since = 0.0, time.monotonic()
    while not ready():
        time.sleep(POLL_S)
        changed = folder.stat().st_mtime if folder.is_dir() else 0.0
        if changed != seen:
            seen, since = changed, time.monotonic()
        elif time.monotonic() - since > WAIT_LIMIT_S:
            raise CorpusError(
                f"{folder}: waited {WAIT_LIMIT_S / 60:.0f} minutes for {what} and nothing was "
                "written; a process has stopped: run the same command again, finished parts stay"
            )


@dataclass(frozen=True)
class Part:
    """Whole speakers' films, and where their shards go."""

    films: tuple[TalkingClip, ...]
    folder: Path

    @property
    def name(self) -> str:
        """Of the shards."""
        return part_name(self.films)

    @property
    def facts_path(self) -> Path:
        """The file that marks the part as finished."""
        return self.folder / "part.json"

    def is_done(self) -> bool:
        """Whether the shards are written."""
        return self.facts_path.is_file()

    def facts(self) -> dict[str, Any]:
        """Ids, counts, skipped and notes of a finished part."""
        found: dict[str, Any] = read_json(self.facts_path)
        return found

    def shard(self, split: str) -> Path:
        """The part's rows of one split."""
        return self.folder / f"{self.name}-{split}.arrow"

    def templates(self) -> dict[str, np.ndarray]:
        """Neutral faces of the part's speakers; none where no clip was usable."""
        if not (self.folder / "face_templates.npz").is_file():
            return {}
        return load_face_templates(self.folder).templates


def run_parts(
    parts: Sequence[Part],
    job: TrackingJob,
    num_processes: int,
    finished_film: Callable[[TalkingClip], None],
) -> None:
    """Track what is missing of ``parts`` and write the shards of each when it is complete."""
    todo = [part for part in parts if not part.is_done()]
    owner = {film: part for part in todo for film in part.films}
    left: dict[str, int] = {}
    for part in todo:
        left[part.name] = sum(job.result(film) is None for film in part.films)
    missing = (
        film for part in todo if left[part.name] for film in part.films if job.result(film) is None
    )
    for part in todo:
        if not left[part.name]:
            write_part(part, job)
    for film in run_films(missing, job, num_processes) if any(left.values()) else ():
        finished_film(film)
        part = owner[film]
        left[part.name] -= 1
        if not left[part.name]:
            write_part(part, job)


def write_part(part: Part, job: TrackingJob) -> None:
    """Shards, neutral faces and facts of a part whose films are tracked; then drop the clips."""
    results = [job.result(film) for film in part.films]
    found = [result for result in results if result is not None]
    assert len(found) == len(part.films), "a part is written when its films are tracked"
    paths = [job.clip_path(name) for result in found for name in result["utterances"]]
    done = {load_clip(path): path for path in paths}
    writing = part.folder.with_name(f".writing-{uuid.uuid4().hex[:8]}")
    scratch = Part(part.films, writing)
    writing.mkdir(parents=True)
    try:
        heads = head_frames(done)
        counts = {}
        for split in SPLITS:
            clips = of_split(list(done), split)
            if clips:
                rows = (encode_utterance(_utterance(c, done[c], heads[c])) for c in clips)
                counts[split] = write_shard(scratch.shard(split), rows)
        if done:
            nobody = FaceTemplates(TOPOLOGY, np.zeros((0, 3), np.int32), {}, {})
            faces = FaceTemplates(TOPOLOGY, nobody.triangles, {}, neutral_faces(done, heads))
            save_face_templates(writing / "face_templates.npz", faces)
        notes, untrusted = _notes(done)
        for result in found:
            notes |= result["notes"]
        facts = {
            "utterances": [clip.utterance_id for clip in done],
            "counts": counts,
            "skipped": [row for result in found for row in result["skipped"]],
            "notes": notes,
            "texts_outside": sorted(name for result in found for name in result["notes"]),
            "untrusted": untrusted,
        }
        write_json(scratch.facts_path, facts)
        os.replace(writing, part.folder)
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    for path in paths:  # the films' own files stay: they say that nothing is left to track
        path.unlink()


def _notes(done: dict[TalkingClip, Path]) -> tuple[dict[str, str], int]:
    notes, untrusted = {}, 0
    for clip, path in done.items():
        with np.load(path) as arrays:
            untrusted += int(arrays["untrusted"])
            if str(arrays["note"]):
                notes[clip.utterance_id] = str(arrays["note"])
    return notes, untrusted


def _utterance(clip: TalkingClip, path: Path, head: Similarity) -> PreparedUtterance:
    with np.load(path) as arrays:
        vertices = move(arrays["vertices"], head)
        return PreparedUtterance(
            utterance_id=clip.utterance_id,
            speaker_id=clip.speaker_id,
            text=clip.text,
            audio=arrays["audio"],
            mouth_crops=arrays["mouth_crops"],
            lips=np.ascontiguousarray(vertices[:, list(LIPS)]),
            vertices=vertices,
            video_valid=arrays["video_valid"],
            words=clip.words,
            phones=(),
            num_frames=len(vertices),
            num_samples=len(arrays["audio"]),
            source=clip.source,
            head_pose=arrays["head_pose"],
        )


def joined_facts(parts: Sequence[Part]) -> dict[str, Any]:
    """Counts, notes and skipped rows of all parts.

    Raises:
        CorpusError: an utterance id appears twice.
    """
    counts = {split: {"utterances": 0, "frames": 0, "valid_frames": 0} for split in SPLITS}
    skipped: list[dict[str, Any]] = []
    notes: dict[str, str] = {}
    seen: set[str] = set()
    untrusted, texts_outside = 0, 0
    for facts in (part.facts() for part in parts):
        for name in facts["utterances"]:
            if name in seen:
                raise CorpusError(f"utterance {name} comes twice; every id may appear once")
            seen.add(name)
        for split, own in facts["counts"].items():
            for what, number in own.items():
                counts[split][what] += number
        skipped += facts["skipped"]
        notes |= facts["notes"]
        untrusted += facts["untrusted"]
        texts_outside += len(facts["texts_outside"])
    return {
        "utterances": len(seen),
        "skipped": skipped,
        "notes": notes,
        "counts": {
            "detections_rejected": untrusted,
            "several_faces": len(notes) - texts_outside,
            "texts_outside_vocabulary": texts_outside,
            "utterances": counts,
        },
    }


def shards_of(parts: Sequence[Part]) -> dict[str, list[Path]]:
    """For each split the shards that the parts wrote, in the order of the parts."""
    facts = [(part, part.facts()["counts"]) for part in parts]
    return {
        split: [part.shard(split) for part, counts in facts if split in counts] for split in SPLITS
    }


def library_versions() -> Iterator[tuple[str, str]]:
    """The libraries that decide the numbers, with their versions."""
    for name in ("mediapipe", "av", "numpy", "datasets"):
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "not installed"
