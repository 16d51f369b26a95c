"""The stages of a recipe, each in as many processes as the machine has cores or GPUs.

A recipe says where its data come from and how its page is headed; what happens between is the same
for all. A stage that finds its result there is skipped, one that was stopped goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, cast

from avsr.data.manifest import is_prepared, load_info, load_prepared
from avsr.data.noise_bank import NoiseBank, NoiseConfig
from avsr.evaluate import is_decoded
from avsr.files import read_json, write_json
from avsr.training.command import is_launched, launch_stage, launched_stage, use_one_thread
from avsr.training.recognizer import is_trained
from learn2talk.closed_loop import (
    ClosedLoopConfig,
    decode,
    mixture_manifest,
    train_motion,
    train_system,
    train_texts,
)

Stage = Literal[
    "all",
    "prepare",
    "motion",
    "pretrain",
    "audio_visual",
    "audio",
    "video",
    "language_model",
    "decode",
    "report",
]


@dataclass(frozen=True)
class Recipe:
    """What differs between recipes.

    Args:
        out: folder of the run.
        prepared: folder of the prepared corpus.
        loop: training and protocol.
        num_processes: of each stage.
        noise: noise by split; asked for only when the corpus is prepared.
        prepare: makes ``prepared``, or goes on with it.
        report: hypotheses to scores and page.
    """

    out: Path
    prepared: Path
    loop: ClosedLoopConfig
    num_processes: int
    noise: Callable[[], NoiseConfig]
    prepare: Callable[[], None]
    report: Callable[[], None]


def stages_of(loop: ClosedLoopConfig) -> tuple[Stage, ...]:
    """What ``"all"`` runs, in its order."""
    motion: tuple[Stage, ...] = ("motion",) if loop.uses_student else ()
    trained: Any = loop.trained
    texts: tuple[Stage, ...] = ("language_model",) if loop.uses_language_model else ()
    return ("prepare", *motion, *trained, *texts, "decode", "report")


Job = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""Something to do in a process of its own: a function of a module, and what it is given."""


def run_jobs(jobs: Sequence[Job], num_processes: int) -> None:
    """Run jobs, some side by side, each in a fresh process with one thread.

    Args:
        jobs: their functions must be importable; results are what they leave on disk.
        num_processes: how many at once.

    Raises:
        Exception: what the first job to fail raised; those that wait are not started.
    """
    with ProcessPoolExecutor(
        num_processes, get_context("spawn"), max_tasks_per_child=1
    ) as processes:
        running = [processes.submit(_run_job, job) for job in jobs]
        try:
            for job in running:
                job.result()
        finally:
            processes.shutdown(wait=True, cancel_futures=True)


def _run_job(job: Job) -> None:
    use_one_thread()
    work, given, named = job
    work(*given, **named)


def measured_once(
    path: Path, measure: Callable[..., dict[str, Any]], *given: Any, **named: Any
) -> None:
    """Write what a measurement gives as JSON; a file that is there stays."""
    if not path.is_file():
        write_json(path, measure(*given, **named))


def add_seconds(run: Path, stage: str, seconds: float) -> None:
    """Add to what a stage has taken; a resumed stage's time is the sum of its legs."""
    path = run / f"{stage}.seconds.json"
    before = read_json(path)["seconds"] if path.exists() else 0.0
    write_json(path, {"seconds": before + seconds})


def _is_done(stage: Stage, recipe: Recipe) -> bool:
    """Whether the result of a stage is there; its time is not counted again then."""
    if stage == "prepare":
        return is_prepared(recipe.prepared)
    if stage == "motion":
        return (recipe.out / "motion.json").exists()
    if stage == "decode":
        return is_decoded(recipe.out / "hypotheses", load_prepared(recipe.prepared, "test"))
    return is_trained(recipe.out / stage, recipe.loop.training_of(stage))


def _timed(stage: Stage, recipe: Recipe, work: Callable[[], object], counts: bool = True) -> None:
    done, started = _is_done(stage, recipe), time.monotonic()
    work()
    if counts and not done:
        add_seconds(recipe.out, stage, time.monotonic() - started)


def _work(stage: Stage, recipe: Recipe) -> None:
    """One stage in this process, which may be one of several."""
    use_one_thread()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    noise = recipe.noise()

    def work() -> None:
        if stage == "motion":
            train_motion(recipe.prepared, recipe.out, recipe.loop, noise)
        elif stage == "language_model":
            train_texts(recipe.prepared, recipe.out, recipe.loop)
        elif stage == "decode":
            decode(
                recipe.prepared,
                recipe.out,
                noise,
                recipe.loop,
                process_index=rank,
                num_processes=size,
            )
        else:
            train_system(stage, recipe.prepared, recipe.out, noise, recipe.loop)

    _timed(stage, recipe, work, counts=rank == 0)


def check_test_noises(recipe: Recipe) -> None:
    """Refuse a test noise that there is none of, before hours of training.

    Raises:
        ValueError: names it, and what there is.
    """
    known = recipe.noise().test.types
    if unknown := [name for name in recipe.loop.noise_types if name not in known]:
        raise ValueError(
            f"noise types {unknown} are not in the test split, which has {', '.join(known)}; "
            "choose some of these with --loop.noise-types"
        )


def run_stages(stage: Stage, recipe: Recipe, script: str) -> None:
    """Run one stage, or all; stages that train or decode start ``script`` again, many times over.

    Args:
        stage: one stage, or ``"all"``.
        recipe: what to run.
        script: the recipe's file. It is started with this process's own arguments, and must call
            this function again.

    Raises:
        ValueError: the corpus is not prepared, or what the stage refuses.
        SystemExit: a process of the stage failed; it has said why.
    """
    if is_launched():
        _work(cast(Stage, launched_stage(stage)), recipe)
        return
    known = stages_of(recipe.loop)
    if stage != "all" and stage not in known:
        raise ValueError(f"stage {stage!r} is not in this run, which has {', '.join(known)}")
    for name in known if stage == "all" else (stage,):
        print(f"== {name}", flush=True)
        if name == "prepare":
            _timed(name, recipe, recipe.prepare)
            continue
        load_info(recipe.prepared)  # says what is missing before a stage asks for its parts
        check_test_noises(recipe)
        if name == "report":
            recipe.report()
        else:
            if name == "decode":
                bank = NoiseBank(recipe.noise(), "test")
                rows = load_prepared(recipe.prepared, "test")
                mixture_manifest(rows, bank, recipe.out, recipe.loop)
            launch_stage(script, name, recipe.num_processes)
