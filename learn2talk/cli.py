"""The `learn2talk` command: train-sync, train-student, evaluate, animate."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from avsr.command_line import run_commands
from avsr.files import write_json
from avsr.training.command import use_one_thread
from learn2talk.training import StudentTrainConfig, SyncTrainConfig

DESCRIPTION = "Speech to 3D face motion: train it, measure it, use it."


def train_sync(
    prepared: Positional[Path], out: Path, config: SyncTrainConfig, cpu: bool = False
) -> None:
    """Train SyncNet3D, which tells whether lips and speech belong together.

    Args:
        prepared: folder of a prepared corpus.
        out: run folder; a run that was stopped is continued.
        config: how to train.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk.training import train_sync_expert

    _show({"best": train_sync_expert(prepared, out, config, cpu=cpu), "saved_in": str(out)})


def train_student(
    prepared: Positional[Path],
    out: Path,
    config: StudentTrainConfig,
    sync_expert: Path | None = None,
    cpu: bool = False,
) -> None:
    """Train a student: speech to the motion of the lower face.

    Args:
        prepared: folder of a prepared corpus.
        out: run folder; a run that was stopped is continued.
        config: how to train.
        sync_expert: folder of a sync expert with the role "loss"; needed unless
            --config.sync-weight is 0.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk import training

    best = training.train_student(prepared, out, sync_expert, config, cpu=cpu)
    _show({"best": best, "saved_in": str(out)})


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
    if out is None:
        _show(figures)
    else:
        write_json(out, figures)
        print(f"written {out}")


def animate(
    audio: Positional[Path],
    student: Path,
    out: Annotated[tuple[Path, ...], arg(metavar="FILE [FILE ...]")],
    template: Path | None = None,
    style: str | None = None,
    size: int = 512,
) -> None:
    """Make a face say a sound file.

    Args:
        audio: sound or video file, any rate.
        student: folder of a trained student.
        out: what to write: .mp4 is a film with sound, .npz the motion in millimetres.
        template: neutral face (.npz) of the student's topology to move instead of its own.
        style: a speaker that the student knows, "average", or a motion (.npz) whose talker's way of
            moving the lips is taken.
        size: width and height of the film, pixels.
    """
    from learn2talk.animate import animate_file
    from learn2talk.files import load_template

    if not out:
        raise ValueError("nothing to write; give --out face.mp4, --out face.npz, or both")
    face = None if template is None else load_template(template)
    for path in animate_file(audio, student, out, template=face, style=style, size=size):
        print(f"written {path}")


COMMANDS: dict[str, Callable[..., Any]] = {
    "train-sync": train_sync,
    "train-student": train_student,
    "evaluate": evaluate,
    "animate": animate,
}


def _show(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; a user's error is one line on stderr and exit code 1."""
    use_one_thread()
    run_commands("learn2talk", DESCRIPTION, COMMANDS, argv)
