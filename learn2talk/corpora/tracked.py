"""A prepared corpus of tracked landmarks to one of a 3D face model: training data for students.

    learn2talk prepare tracked --prepared runs/grid/prepared --out runs/grid/ict --ict ict_facekit

Sound, text, times and mouth crops stay; vertices, lips and neutral faces become those of the face
model (`learn2talk.fitting`), in the same head frames and millimetres. Rows are fitted in blocks,
each an Arrow shard and a list of what happened: a stopped run goes on with the blocks that are
missing, and memory does not grow with the corpus. `fitting.jsonl` holds the errors of every clip.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from avsr.data.manifest import (
    SPLITS,
    FaceTemplates,
    is_prepared,
    load_face_templates,
    load_info,
    load_prepared,
)
from avsr.data.shards import finish_shards
from avsr.files import read_json, read_jsonl, sha256_file, write_jsonl
from avsr.tracking import TOPOLOGY
from learn2talk.corpora.fit_blocks import (
    Block,
    FitJob,
    TrackedConfig,
    face_model,
    fit_block,
    person,
    split_rows,
)
from learn2talk.fitting.ict import ICT_FILE

FORMAT = 1  # raised when the numbers that a configuration gives change
BLOCK_ROWS = 32  # rows of a shard; about 150 MB on disk with ICT's face
ERRORS = ("mean_mm", "p95_mm", "lips_mm", "lips_p95_mm", "lip_gap_pcc")


DEFAULT = TrackedConfig()


def prepare_tracked(
    prepared: Path | str,
    out: Path | str,
    *,
    ict: Path | str | None = None,
    num_processes: int = 2,
    config: TrackedConfig = DEFAULT,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Fit a face model to every clip of a prepared corpus of MediaPipe landmarks.

    Args:
        prepared: folder of the corpus (`avsr.data.manifest`). out: folder to write; a finished one
            with the same facts is left as it is.
        ict: folder of ICT-FaceKit light; None: the procedural head.
        num_processes: 1 or more; 1 works in this process.
        config: limits, noise and priors.
        progress: show a progress bar. say: receives the lines for the user.

    Returns:
        ``out``.

    Raises:
        ValueError: the corpus is of another topology or not finished, the face model is broken, no
            clip is usable, or ``out`` holds something else.
    """
    prepared, out = Path(prepared).resolve(), Path(out)
    ict = None if ict is None else Path(ict).resolve()
    if num_processes < 1:
        raise ValueError(f"num_processes is {num_processes}; give 1 or more")
    facts = _facts(prepared, ict, config)
    if is_prepared(out):
        if load_info(out).get("tracked") != facts["tracked"]:
            raise ValueError(
                f"{out}: is finished with other settings or another corpus; give another folder"
            )
        say(f"{out}: prepared already")
        return out
    key = hashlib.sha256(json.dumps(facts["tracked"], sort_keys=True).encode()).hexdigest()[:12]
    job = FitJob(prepared, out / ".fits" / key, ict, config)
    job.folder.mkdir(parents=True, exist_ok=True)
    blocks = _blocks(prepared)
    missing = [block for block in blocks if not job.facts(block).is_file()]
    say(f"{out}: {len(blocks)} blocks of clips, {len(blocks) - len(missing)} fitted before")
    _fit_all(missing, job, num_processes, progress)
    return _finish(out, job, blocks, facts, say)


def _facts(prepared: Path, ict: Path | None, config: TrackedConfig) -> dict[str, Any]:
    """The source's facts with what was done to it; refuses a corpus of another topology."""
    source, found = load_info(prepared), load_face_templates(prepared).topology
    if found != TOPOLOGY:
        raise ValueError(
            f"{prepared}: is of topology {found!r}; a face model is fitted to tracked films "
            f"({TOPOLOGY!r}): give a corpus that 'avsr prepare' made"
        )
    return {
        **source,
        "topology": face_model(ict).template.topology,
        "tracked": {
            "format": FORMAT,
            "source_sha256": sha256_file(prepared / "corpus.json"),
            "ict_sha256": None if ict is None else sha256_file(ict / ICT_FILE),
            "config": asdict(config),
        },
    }


def _blocks(prepared: Path) -> list[Block]:
    sizes = {split: len(load_prepared(prepared, split)) for split in SPLITS}
    return [
        Block(split, first, min(first + BLOCK_ROWS, rows))
        for split, rows in sizes.items()
        for first in range(0, rows, BLOCK_ROWS)
    ]


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _fit_all(blocks: list[Block], job: FitJob, num_processes: int, progress: bool) -> None:
    import multiprocessing

    from tqdm import tqdm

    total = sum(block.last - block.first for block in blocks)
    with tqdm(desc="fit", total=total, unit="clip", disable=not progress or not total) as bar:
        if num_processes == 1 or len(blocks) < 2:
            for block in blocks:
                fit_block(block, job)
                bar.update(block.last - block.first)
            return
        # Spawned, so that no lock or thread of this process is copied half-way.
        context = multiprocessing.get_context("spawn")
        processes = min(num_processes, len(blocks))
        with ProcessPoolExecutor(processes, context, initializer=_start_worker) as pool:
            running = {pool.submit(fit_block, block, job): block for block in blocks}
            try:
                for future in as_completed(running):
                    future.result()
                    bar.update(running[future].last - running[future].first)
            except BrokenProcessPool as error:
                raise ValueError(
                    "a fitting process died (out of memory, or killed); run the same command "
                    "again, finished blocks are kept"
                ) from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def _finish(
    out: Path,
    job: FitJob,
    blocks: list[Block],
    facts: dict[str, Any],
    say: Callable[[str], None],
) -> Path:
    """Join what the blocks gave to a prepared corpus."""
    shards: dict[str, list[Path]] = {split: [] for split in SPLITS}
    counts = {split: {"utterances": 0, "frames": 0, "valid_frames": 0} for split in SPLITS}
    fitting: list[dict[str, Any]] = []
    skipped = list(read_jsonl(job.prepared / "skipped.jsonl"))  # those that were never tracked
    for block in blocks:
        found = read_json(job.facts(block))
        fitting += found["fitting"]
        skipped += found["skipped"]
        if found["counts"]["utterances"]:
            shards[block.split].append(job.shard(block))
        for what, number in found["counts"].items():
            counts[block.split][what] += number
    kept = [row for row in fitting if row["kept"]]
    if not kept:
        reason = skipped[-1]["reason"] if skipped else "the corpus is empty"
        raise ValueError(f"{out}: none of {len(skipped)} clips is usable; the last: {reason}")
    write_jsonl(out / "fitting.jsonl", fitting)
    model = face_model(job.ict)
    names = sorted(set(_speakers_of(job.prepared, {row["utterance_id"] for row in kept})))
    faces = FaceTemplates(
        model.template.topology,
        model.template.triangles,
        dict(model.template.regions),
        {name: person(job, name).template.vertices for name in names},
    )
    info = {
        **facts,
        "counts": {**facts.get("counts", {}), "utterances": counts},
        "fitting": summary(fitting),
    }
    finish_shards(out, shards, faces, info, skipped)
    shutil.rmtree(out / ".fits", ignore_errors=True)
    lips = info["fitting"]["lips_mm"]["mean"]
    say(
        f"{out}: {len(kept)} clips fitted, lips within {lips:.2f} mm on average, {len(skipped)} "
        "skipped (reasons in skipped.jsonl)"
    )
    return out


def _speakers_of(prepared: Path, utterances: set[str]) -> Iterator[str]:
    for split in SPLITS:
        columns = split_rows(prepared, split).select_columns(["utterance_id", "speaker_id"])
        for row in columns:
            if row["utterance_id"] in utterances:
                yield row["speaker_id"]


def summary(fitting: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, median and worst clip of each figure of the kept clips, and how many were kept."""
    kept = [row for row in fitting if row["kept"]]
    figures: dict[str, Any] = {"fitted": len(fitting), "kept": len(kept)}
    for name in ERRORS:
        values = [row[name] for row in kept if row[name] is not None]
        if values:
            worst = min(values) if name == "lip_gap_pcc" else max(values)
            figures[name] = {
                "mean": float(np.mean(values)),
                "median": float(np.median(values)),
                "worst": float(worst),
            }
    return figures
