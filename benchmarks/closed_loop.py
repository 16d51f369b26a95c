"""Generated faces for a recogniser: as its second input under noise, and as its training data.

    AVSR_DATA=/path/to/data python benchmarks/closed_loop.py all --run runs/grid

    sources       WER under noise by visual source, and readability of the same faces: what
                  `learn2talk closed-loop` does, on GRID's test sentences
    augmentation  lip readers trained with n % generated faces, tested on real ones: what
                  `learn2talk augmentation-study` does

Writes ``benchmarks/results/closed_loop.{json,md}`` and ``augmentation_study.{json,md}``; the page
of the first stays in the work folder, and ``--page docs/grid_report.html`` keeps a copy.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.files import read_json, write_atomically, write_json  # noqa: E402
from avsr.noisy_test_building import build  # noqa: E402
from avsr.tables import markdown, percent, spread  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.wer_under_noise import GRID_NOTES, Settings, grid_config, weights  # noqa: E402
from learn2talk.augmentation_study import (  # noqa: E402
    AugmentationStudyConfig,
    report_study,
    train_arm,
)
from learn2talk.closed_loop_benchmark import ClosedLoopBenchmark, run_closed_loop  # noqa: E402
from learn2talk.files import load_student  # noqa: E402
from learn2talk.stages import Job, run_jobs  # noqa: E402

NOISES = ("babble_4", "coffee-shop")
SNRS_DB = (-10.0, -5.0, 0.0, 5.0)


@dataclass(frozen=True)
class ClosedLoopSettings(Settings):
    """What is measured where."""

    work: Path = Path("runs/closed_loop")
    """Folder for the test, hypotheses, faces and trainings."""
    page: Path | None = None
    """File for a copy of the page."""
    lip_readers: tuple[Path, ...] = ()
    """Further readers of the faces."""
    judge: Path | None = None
    """Folder of a sync judge; without it the bundled one."""
    samples: int = 1
    """Utterances to see and hear on the page."""
    study: AugmentationStudyConfig = field(default_factory=AugmentationStudyConfig)
    """Sizes of the augmentation study."""


def main(
    part: Annotated[Literal["all", "sources", "augmentation"], tyro.conf.Positional] = "all",
    settings: Annotated[ClosedLoopSettings, tyro.conf.arg(name="")] = ClosedLoopSettings(),
) -> None:
    """Measure one part, or both."""
    use_one_thread()
    if part in ("all", "sources"):
        sources(settings)
    if part in ("all", "augmentation"):
        augmentation(settings)


def sources(settings: ClosedLoopSettings) -> None:
    """WER under noise by visual source, and what a lip reader reads in the same faces."""
    config = grid_config(settings, noise_types=NOISES, snrs_db=SNRS_DB)
    folder = settings.work / "test"
    build(config, folder, processes=settings.workers)
    out = settings.work / "closed_loop"
    written = run_closed_loop(
        ClosedLoopBenchmark(
            test=folder,
            recognizer=Path(weights(settings, "audio_visual")),
            audio_recognizer=Path(weights(settings, "audio")),
            out=out,
            student=settings.run / "student",
            robust_student=settings.run / "student_robust",
            lip_readers=settings.lip_readers,
            judge=settings.judge,
            speaker_dependent=True,
            notes=GRID_NOTES,
            media_root=settings.root / "grid",
            samples=settings.samples,
            processes=settings.workers,
            resamples=settings.resamples,
        )
    )
    if settings.page is not None:
        settings.page.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(written["report"], settings.page)
    results = scrubbed(read_json(out / "results.json"))
    for name, files in results["protocol"]["test_noises"].items():
        if len(files) > 1:
            results["protocol"]["test_noises"][name] = [f"{len(files)} files"]
    # Rows of single seeds can be counted from the errors of the pooled ones.
    results["rows"] = [row for row in results["rows"] if row["scope"] == "pooled"]
    write_json(settings.out / "closed_loop.json", results)
    made = results["provenance"]
    told = (
        f"Made by `benchmarks/closed_loop.py sources` at commit {made['commit'][:7]}, "
        f"{made['created_utc'][:10]}, {made['hardware']}. Mixture manifest "
        f"`{made['manifest_sha256']}`. Faces from clean sound by the GRID recipe's student, faces "
        "from noisy sound by its student that learned in noise."
    )
    title, _, rest = markdown(results).partition("\n")
    _write(settings.out / "closed_loop.md", f"{title}\n\n{told}\n{rest}")


def augmentation(settings: ClosedLoopSettings) -> None:
    """The augmentation study with the GRID recipe's student."""
    student = load_student(settings.run / "student")
    out, prepared = settings.work / "augmentation", settings.run / "prepared"
    jobs: list[Job] = [
        (train_arm, (name, prepared, student, out, settings.study), {})
        for name in settings.study.arms
    ]
    run_jobs(jobs, settings.workers)
    found = scrubbed(report_study(prepared, student, out, settings.study))
    write_json(settings.out / "augmentation_study.json", found)
    _write(settings.out / "augmentation_study.md", study_page(found))


def study_page(study: Mapping[str, Any]) -> str:
    """The study's page, from its JSON alone."""
    lines = [
        "# Lip readers that learn from generated faces",
        "",
        "GRID s1: **one speaker, 51 words, closed grammar, speaker-dependent**. Lip readers of 3D "
        f"lips, {study['updates']} updates each, seed {study['seed']}; tested on the tracked lips "
        f"of {study['test_utterances']} real films, without sound. The student that makes the "
        "faces was trained on tracked lips of the same training sentences: the study asks what "
        "generated faces are worth, not how few films a student needs.",
        "",
        f"Made by `benchmarks/closed_loop.py augmentation` at commit {study['commit'][:7]}.",
        "",
        "| training faces | real | generated | WER % on real lips |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, arm in study["arms"].items():
        count = study["train_utterances"][name]
        label = f"{100 * arm['generated_share']:g} % generated"
        if arm["real_alone"]:
            label = f"{100 * (1 - arm['generated_share']):g} % real, the rest left out"
        lines.append(
            f"| {label} | {count['real']} | {count['generated']} | {spread(arm['wer'], 100)} |"
        )
    lines += ["", "| | points | p |", "| --- | ---: | ---: |"]
    for one in study["differences"]:
        what = "its real part alone" if one["kind"] == "against_its_real_part" else "all real"
        share = percent(study["arms"][one["arm"]]["generated_share"], 0)
        lines.append(
            f"| {share} % generated minus {what} | {spread(one, 100, signed=True)} "
            f"| {'< 0.001' if one['p_value'] < 0.001 else format(one['p_value'], '.3f')} |"
        )
    lines += ["", "Brackets: 95 % bootstrap intervals over utterances; differences are paired."]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
