"""Commands that measure networks and corpora."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from avsr.files import write_json, write_jsonl
from learn2talk.commands.shown import show, show_or_write
from learn2talk.sync_checks import SyncCheckConfig


def check_sync(
    prepared: Positional[Path],
    expert: Path,
    config: SyncCheckConfig,
    out: Path | None = None,
    clips: Path | None = None,
    curve: Path | None = None,
    role: Literal["loss", "judge"] = "loss",
) -> None:
    """Find where sound and lips of a corpus are apart; write a corpus without such clips.

    Args:
        prepared: folder of a prepared corpus.
        expert: folder of a sync expert with that role.
        config: which clips stay, and whether they are moved.
        out: folder of the corrected corpus; without it nothing is changed.
        clips: JSONL file for the offset of every clip.
        curve: JSON file for the calibration curve on the test split: known against found offsets.
        role: what the expert was trained for; the judge of faces should not choose their data.
    """
    from learn2talk import sync_checks

    if clips is not None or out is None:
        found = sync_checks.check_corpus(prepared, expert, config, role=role)
        rows = [sync_checks.as_row(split, one) for split, part in found.items() for one in part]
        if clips is not None:
            write_jsonl(clips, rows)
        show(sync_checks.summary(found, config))
    if curve is not None:
        shift = config.max_shift
        figures = sync_checks.calibration_curve(expert, prepared, role=role, max_shift=shift)
        write_json(curve, figures)
    if out is not None:
        show(sync_checks.correct_corpus(prepared, out, expert, config, role=role))


def evaluate(
    prepared: Positional[Path],
    judge: Path,
    student: Path | None = None,
    split: str = "test",
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Measure a student with its controls; without a student, measure the judge itself.

    Args:
        prepared: folder of a prepared corpus.
        judge: folder of a sync expert with the role "judge".
        student: folder of a trained student.
        split: train, valid or test.
        seed: of the bootstrap intervals.
        out: JSON file to write; without it the figures are printed.
    """
    from learn2talk.evaluate import evaluate_student, evaluate_sync_expert

    if student is None:
        figures = evaluate_sync_expert(judge, prepared, split=split)
    else:
        figures = evaluate_student(student, judge, prepared, split=split, seed=seed)
    show_or_write(figures, out)


def evaluate_teacher(
    prepared: Positional[Path],
    lip_reader: Path,
    films: Path | None = None,
    landmarker_model: Path | None = None,
    talking_mouth: Path | None = None,
    split: str = "test",
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Measure a teacher: likeness to the real films (SSIM), and what a lip reader reads in it.

    Args:
        prepared: folder of a prepared corpus of films.
        lip_reader: recogniser of mouths.
        films: folder of films that another method made, one an utterance.
        landmarker_model: face_landmarker.task; needed with films.
        talking_mouth: folder of a trained talking mouth. With neither, the real films themselves.
        split: train, valid or test.
        seed: of the bootstrap intervals.
        out: JSON file to write; without it the figures are printed.
    """
    from learn2talk.teacher import FilmFolder, MadeMouth, RealFilm, Teacher, teacher_quality

    if films is not None and talking_mouth is not None:
        raise ValueError(f"two teachers, {films} and {talking_mouth}; measure one at a time")
    if landmarker_model is not None and films is None:
        raise ValueError(f"{landmarker_model}: tracks the films of a teacher; give --films too")
    teacher: Teacher = RealFilm()
    if films is not None:
        if landmarker_model is None:
            raise ValueError(
                f"{films}: films are tracked; give --landmarker-model face_landmarker.task "
                "('avsr fetch face-landmarker' gets it)"
            )
        teacher = FilmFolder(films, landmarker_model)
    elif talking_mouth is not None:
        teacher = MadeMouth(talking_mouth)
    figures = teacher_quality(teacher, prepared, lip_reader, split=split, seed=seed)
    show_or_write(figures, out)


def readability(
    audio: Path,
    text: Path,
    out: Path,
    motions: Annotated[tuple[Path, ...], arg(metavar="DIR [DIR ...]")] = (),
    videos: Annotated[tuple[Path, ...], arg(metavar="DIR [DIR ...]")] = (),
    truth: Path | None = None,
    template: Path | None = None,
    unit: str | None = None,
    fps: float | None = None,
    topology: str | None = None,
    lip_readers: Annotated[tuple[Path, ...], arg(metavar="FILE [FILE ...]")] = (),
    bundled_reader: bool = True,
    judge: Path | None = None,
    bundled_judge: bool = True,
    phones: Path | None = None,
    landmarker_model: Path | None = None,
    allow_missing: int = 0,
    processes: int = 1,
    seed: int = 0,
) -> None:
    """Benchmark talking faces that any method made: are they readable, are they in time?

    Args:
        audio: folder of <utterance id>.wav, .flac, .mp4, ...
        text: table with tabs and the header utterance_id, text and, where known, speaker_id.
        out: folder of the report; the same command goes on where it was stopped.
        motions: folders of .npz (our motions) or .npy, a system each.
        videos: folders of films, a system each.
        truth: motions or films of the real talker.
        template: neutral face of motions without one: .npz, a mesh with its region file beside
            it, or the folder of a known topology's files.
        unit: of .npy files: mm, cm, m or inch.
        fps: frames a second of .npy files.
        topology: of .npy files, where their number of vertices does not tell.
        lip_readers: further recognisers: ours, or folders of 'avsr import'.
        bundled_reader: whether the lip reader that comes with the package reads, too.
        judge: folder of a sync judge; without it the one that comes with the package.
        bundled_judge: whether that one judges where no other is given.
        phones: folder of <utterance id>.tsv with phone or word times, for closures of the lips.
        landmarker_model: face_landmarker.task, for films; looked for where avsr fetch puts it.
        allow_missing: utterances that may lack a text, a sound or a file of a system.
        processes: that share the work.
        seed: of the bootstrap intervals.
    """
    from avsr.tracking import find_face_landmarker
    from learn2talk.face_benchmark.run import FaceBenchmark, benchmark_faces

    asked = FaceBenchmark(
        audio=audio,
        text=text,
        out=out,
        motions=motions,
        videos=videos,
        truth=truth,
        template=template,
        unit=unit,
        fps=fps,
        topology=topology,
        lip_readers=lip_readers,
        judge=judge,
        bundled_reader=bundled_reader,
        bundled_judge=bundled_judge,
        phones=phones,
        landmarker_model=landmarker_model or find_face_landmarker(os.environ.get("AVSR_DATA")),
        allow_missing=allow_missing,
        processes=processes,
        seed=seed,
    )
    benchmark_faces(asked)
    print(f"written {out / 'readability.md'}")


def readability_corpus(
    prepared: Positional[Path],
    lip_reader: Path,
    students: Annotated[tuple[Path, ...], arg(metavar="FOLDER [FOLDER ...]")] = (),
    split: str = "test",
    seed: int = 0,
    out: Path | None = None,
    hypotheses: Path | None = None,
) -> None:
    """Let a lip reader read students' faces on a prepared corpus: CER, WER, VER, VWER, controls.

    Args:
        prepared: folder of a prepared corpus with motion.
        lip_reader: file or folder of a lip reader that was no loss of these students.
        students: folders of trained students, named by their folders; none: the controls alone.
        split: train, valid or test.
        seed: of the bootstrap intervals.
        out: JSON file to write; without it the figures are printed.
        hypotheses: JSONL file for what was read.
    """
    from learn2talk.readability import evaluate_readability

    named: dict[str, Path | str] = {folder.name: folder for folder in students}
    if len(named) < len(students):
        raise ValueError("two students have folders of one name; rename one")
    figures = evaluate_readability(
        named, lip_reader, prepared, split=split, seed=seed, hypotheses=hypotheses
    )
    show_or_write(figures, out)


def evaluate_head_motion(
    prepared: Positional[Path],
    head_motion: Path,
    split: str = "test",
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Measure a trained head motion: its reconstructions, and its draws beside real heads.

    Args:
        prepared: folder of a prepared corpus of films.
        head_motion: folder of 'learn2talk train head-motion'.
        split: train, valid or test.
        seed: of the draws.
        out: JSON file to write; without it the figures are printed.
    """
    from learn2talk.evaluate import head_motion as figures_of

    show_or_write(
        figures_of.evaluate_head_motion(head_motion, prepared, split=split, seed=seed), out
    )
