"""Commands that close the loop: generated faces for a recogniser, as input and as training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from learn2talk.augmentation_study import AugmentationStudyConfig
from learn2talk.commands.shown import show

VisualSources = Annotated[tuple[str, ...], arg(metavar="SOURCE [SOURCE ...]")]


def closed_loop(
    test: Positional[Path],
    recognizer: Path,
    out: Path,
    audio_recognizer: Path | None = None,
    student: Path | None = None,
    robust_student: Path | None = None,
    visual_sources: VisualSources = (
        "mouth_crops",
        "tracked_lips",
        "generated_from_clean",
        "generated_from_noisy",
        "generated_from_other",
        "still",
    ),
    lip_readers: Annotated[tuple[Path, ...], arg(metavar="FILE [FILE ...]")] = (),
    bundled_reader: bool = True,
    judge: Path | None = None,
    readability: bool = True,
    speaker_dependent: bool = False,
    synthetic: bool = False,
    notes: tuple[str, ...] = (),
    media_root: Path | None = None,
    samples: int = 3,
    processes: int = 1,
    resamples: int = 2000,
) -> None:
    """WER under noise by visual source, and readability of the same faces: both benchmarks at once.

    Args:
        test: folder of 'avsr noise build' on a prepared corpus of films.
        recognizer: best.safetensors of an audio-visual recogniser.
        out: folder to write; a stopped run goes on.
        audio_recognizer: one of sound alone, to stand beside it.
        student: folder of the student that makes the faces; without it the bundled one.
        robust_student: the one that makes faces from noisy sound; without it the same.
        visual_sources: what the recogniser is shown.
        lip_readers: further readers of the drawn faces.
        bundled_reader: whether the bundled lip reader reads them.
        judge: folder of a sync judge; without it the bundled one.
        readability: whether the faces are read at all.
        speaker_dependent: the recogniser was trained on the test's speakers; the page says so.
        synthetic: the corpus is made by a program; the page says so.
        notes: sentences that stand beside the figures.
        media_root: folder of the corpus's films, to show the real face beside the made one.
        samples: utterances to see and hear on the page.
        processes: that share the work.
        resamples: of the bootstrap.
    """
    from learn2talk.closed_loop_benchmark import ClosedLoopBenchmark, run_closed_loop

    asked = ClosedLoopBenchmark(
        test=test,
        recognizer=recognizer,
        out=out,
        audio_recognizer=audio_recognizer,
        student=student,
        robust_student=robust_student,
        visual_sources=visual_sources,
        lip_readers=lip_readers,
        bundled_reader=bundled_reader,
        judge=judge,
        readability=readability,
        speaker_dependent=speaker_dependent,
        synthetic=synthetic,
        notes=notes,
        media_root=media_root,
        samples=samples,
        processes=processes,
        resamples=resamples,
    )
    for path in run_closed_loop(asked).values():
        print(path)


def augmentation_study(
    prepared: Positional[Path],
    out: Path,
    config: AugmentationStudyConfig,
    student: Path | None = None,
    processes: int = 1,
) -> None:
    """Train lip readers with n % generated faces, and test them on real ones.

    Args:
        prepared: folder of a prepared corpus with tracked lips.
        out: folder of the study; trainings that are done are kept.
        config: which shares, and how large the lip readers are.
        student: folder of the student that makes the faces; without it the bundled one.
        processes: trainings side by side.
    """
    from learn2talk.augmentation_study import report_study, train_arm
    from learn2talk.default_student import default_student
    from learn2talk.files import load_student
    from learn2talk.stages import run_jobs

    trained = load_student(student or default_student())
    run_jobs(
        [(train_arm, (name, prepared, trained, out, config), {}) for name in config.arms],
        processes,
    )
    found = report_study(prepared, trained, out, config)
    show({"arms": found["arms"], "differences": found["differences"]})
