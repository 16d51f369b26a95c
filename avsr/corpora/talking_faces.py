"""Talking-face clips of any corpus to a prepared corpus: track, crop, one head frame a speaker.

A corpus module lists its films (`avsr.corpora.clips`); everything that follows is here. Each
tracked film leaves a file in ``<out>/.clips``, and each part of the corpus is written as Arrow
shards as soon as its films are tracked, so that memory does not grow with the corpus, a run that
was stopped in any way continues, and ``kill -9`` loses at most the film that each process was at.
Under torchrun or ``accelerate launch`` the processes share the parts (`avsr.corpora.parts`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avsr.corpora.clip_tracking import LIPS, TrackingJob, fit_audio, prepare_clip
from avsr.corpora.clips import (
    CLIP_FORMAT,
    CorpusError,
    Expand,
    PrepareConfig,
    TalkingClip,
    fingerprint,
    first_of_each_split,
    make_parts,
    part_name,
    skip,
)
from avsr.corpora.parts import (
    Part,
    joined_facts,
    library_versions,
    process_rank,
    run_parts,
    shards_of,
    wait_until,
)
from avsr.data.manifest import FaceTemplates, is_prepared, load_info
from avsr.data.shards import finish_shards
from avsr.tracking import (
    LANDMARKER_SHA256,
    TOPOLOGY,
    check_landmarker,
    face_regions,
    face_triangles,
)
from avsr.units import SAMPLE_RATE_HZ, VIDEO_FPS

__all__ = [
    "LIPS",
    "CorpusError",
    "PrepareConfig",
    "TalkingClip",
    "fit_audio",
    "prepare_clip",
    "prepare_talking_faces",
    "skip",
]


def prepare_talking_faces(
    clips: Sequence[TalkingClip],
    out: Path | str,
    *,
    skipped: Sequence[dict[str, Any]],
    landmarker_model: Path | str,
    num_processes: int,
    config: PrepareConfig,
    info: Mapping[str, Any],
    expand: Expand | None = None,
    tokenizer: bytes | None = None,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Track, crop and write ``clips`` as a prepared corpus (`avsr.data.manifest`).

    Vertices of all clips of a speaker share one head frame and scale (`avsr.corpora.head_frames`).
    ``<out>/.clips`` goes away when the corpus is complete. A finished ``out`` returns at once.

    Args:
        clips: what to prepare: utterances, or films that ``expand`` reads. out: folder to write.
        skipped: clips that the corpus module refused already (:func:`skip`).
        landmarker_model: face_landmarker.task.
        num_processes: tracking processes of this rank, 1 or more (1 = in this process).
        config: what decides the numbers.
        info: facts for corpus.json; other facts give other clips.
        expand: a film to its utterances; ``None`` = each clip is one utterance.
        tokenizer: serialised SentencePiece model; training texts that it cannot spell or CTC
            cannot learn are skipped, ``None`` checks for empty texts only.
        progress: show a progress bar. say: receives the lines for the user.

    Returns:
        ``out``.

    Raises:
        CorpusError: no clip is usable, or ``out`` was finished with another configuration.
        TrackingError: MediaPipe or its model is missing or another version.
    """
    out, refused = Path(out), list(skipped)
    rank, size = process_rank()
    if num_processes < 1:
        raise CorpusError(f"num_processes is {num_processes}; give 1 or more")
    facts = {**info, "config": {**asdict(config), "clip_format": CLIP_FORMAT}}
    if is_prepared(out):
        _check_same(out, facts)
        say(f"{out}: prepared already")
        return out
    check_landmarker(landmarker_model)
    kept = first_of_each_split(clips, config.limit)
    taken = {clip.utterance_id for clip in kept}
    refused += [
        skip(clip.utterance_id, clip.path, f"beyond the limit of {config.limit} clips a split")
        for clip in clips
        if clip.utterance_id not in taken
    ]
    folder = out / ".clips" / fingerprint(config, info)
    folder.mkdir(parents=True, exist_ok=True)
    job = TrackingJob(folder, config, Path(landmarker_model), expand, tokenizer)
    parts = [Part(tuple(films), folder / part_name(films)) for films in make_parts(kept)]
    _track(parts[rank::size], job, num_processes, progress, say, f"{out}: " if size == 1 else "")
    if rank > 0:
        wait_until(lambda: is_prepared(out), folder, "rank 0 to finish the corpus", say)
        return out
    wait_until(lambda: all(part.is_done() for part in parts), folder, "the other processes", say)
    return _finish(out, parts, refused, facts, say)


def _track(
    parts: Sequence[Part],
    job: TrackingJob,
    num_processes: int,
    progress: bool,
    say: Callable[[str], None],
    where: str,
) -> None:
    """This process's parts, with a line before and one after that says how fast it was."""
    from tqdm import tqdm

    films = [film for part in parts for film in part.films]
    before = sum(
        len(part.films) if part.is_done() else sum(job.result(f) is not None for f in part.films)
        for part in parts
    )
    say(f"{where}{len(films)} clips, {before} of them tracked before")
    started, left = time.monotonic(), len(films) - before
    with tqdm(desc="track", total=left, unit="clip", disable=not progress or not left) as bar:
        run_parts(parts, job, max(1, min(num_processes, left)), lambda film: bar.update())
    if left:
        seconds = max(time.monotonic() - started, 1e-6)
        say(f"{left} clips tracked and written in {seconds:.0f} s: {left / seconds:.2f} clips/s")


def _check_same(out: Path, facts: Mapping[str, Any]) -> None:
    stored = load_info(out)
    for name, wanted in facts.items():
        if stored.get(name) != wanted:
            raise CorpusError(
                f"{out}: is finished with {name} {stored.get(name)}, asked for {wanted}; "
                "give another folder"
            )


def _finish(
    out: Path,
    parts: Sequence[Part],
    refused: list[dict[str, Any]],
    facts: Mapping[str, Any],
    say: Callable[[str], None],
) -> Path:
    """One process joins what all of them wrote."""
    found = joined_facts(parts)
    refused += found["skipped"]
    if not found["utterances"]:
        reason = refused[0]["reason"] if refused else "there are no clips"
        raise CorpusError(f"{out}: none of {len(refused)} clips is usable; the first: {reason}")
    triangles = face_triangles()
    templates = {name: face for part in parts for name, face in part.templates().items()}
    faces = FaceTemplates(TOPOLOGY, triangles, face_regions(triangles), templates)
    info = {
        **facts,
        "fps": VIDEO_FPS,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "counts": found["counts"],
        "notes": found["notes"],
        "versions": dict(library_versions()),
        "landmarker_sha256": LANDMARKER_SHA256,
    }
    finish_shards(out, shards_of(parts), faces, info, refused)
    shutil.rmtree(out / ".clips", ignore_errors=True)
    say(
        f"{out}: {found['utterances']} clips prepared, {len(refused)} skipped "
        "(reasons in skipped.jsonl)"
    )
    return out
