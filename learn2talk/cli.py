"""The `learn2talk` command: train, check, measure and use faces that speech moves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from avsr.command_line import run_commands
from avsr.files import write_json, write_jsonl
from avsr.training.command import use_one_thread
from learn2talk.corpora.biwi import BiwiConfig
from learn2talk.corpora.fit_blocks import TrackedConfig
from learn2talk.corpora.vocaset import VocasetConfig
from learn2talk.head_motion_training import HeadMotionTrainConfig
from learn2talk.pretraining import EarConfig
from learn2talk.sync_checks import SyncCheckConfig
from learn2talk.training import StudentTrainConfig, SyncTrainConfig

DEFAULT_TRACKED = TrackedConfig()
DESCRIPTION = "Speech to 3D face motion: train it, measure it, use it."
DEFAULT_VOCASET = VocasetConfig()
DEFAULT_BIWI = BiwiConfig()


def prepare_vocaset(
    root: Path,
    out: Path = Path("vocaset"),
    face: Path | None = None,
    allow_missing: int = 0,
    check: bool = False,
    config: VocasetConfig = DEFAULT_VOCASET,
) -> None:
    """Check a copy of VOCASET, then prepare it: motion in mm at 25 fps; resumes.

    Args:
        root: folder with vertices_npy, wav and templates.pkl, or of the release's own files.
        out: folder to write.
        face: folder of FLAME_sample.ply, FLAME_masks.pkl and a landmark embedding; default: root.
        allow_missing: how many sequences may be missing or too many.
        check: only check.
        config: frame rate, resampler, texts.
    """
    from learn2talk.corpora.vocaset import prepare

    prepare(
        root, out, face_folder=face, allow_missing=allow_missing, check_only=check, config=config
    )


def prepare_biwi(
    root: Path,
    out: Path = Path("biwi"),
    face: Path | None = None,
    allow_missing: int = 0,
    check: bool = False,
    config: BiwiConfig = DEFAULT_BIWI,
) -> None:
    """Check a copy of BIWI, then prepare it: motion in mm at 25 fps; resumes.

    Args:
        root: folder with vertices_npy, wav and templates.pkl, and rigid_scans if you have them.
        out: folder to write.
        face: folder of BIWI.ply, lve.txt and fdd.txt; default: root.
        allow_missing: how many sequences may be missing or too many.
        check: only check.
        config: test set, size, texts.
    """
    from learn2talk.corpora.biwi import prepare

    prepare(
        root, out, face_folder=face, allow_missing=allow_missing, check_only=check, config=config
    )


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


def pretrain(
    sounds: Positional[Path],
    whisper: str,
    out: Path,
    config: EarConfig,
    root: Path | None = None,
    cpu: bool = False,
) -> None:
    """Train a student's ear on recordings of many voices, without any face.

    Args:
        sounds: tab-separated table with the columns file, speaker, split (train or valid).
        whisper: folder or hub id of a Whisper in the transformers layout, which is listened to.
        out: run folder; a run that was stopped is continued.
        config: how to train.
        root: folder that the files are named from; the table's own unless given.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk.data.sounds import read_sounds
    from learn2talk.pretraining import pretrain_ear

    found = read_sounds(sounds, root or sounds.parent)
    best = pretrain_ear(found, whisper, out, config, cpu=cpu)
    _show({"best": best, "saved_in": str(out)})


def train_student(
    prepared: Positional[Path],
    out: Path,
    config: StudentTrainConfig,
    sync_expert: Path | None = None,
    ear: Path | None = None,
    cpu: bool = False,
) -> None:
    """Train a student: speech to the motion of the lower face.

    Args:
        prepared: folder of a prepared corpus.
        out: run folder; a run that was stopped is continued.
        config: how to train.
        sync_expert: folder of a sync expert with the role "loss"; needed unless
            --config.sync-weight is 0.
        ear: run folder of 'learn2talk pretrain' to start with; without it from chance.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk import training

    best = training.train_student(prepared, out, sync_expert, config, ear=ear, cpu=cpu)
    _show({"best": best, "saved_in": str(out)})


def train_head_motion(
    prepared: Positional[Path], out: Path, config: HeadMotionTrainConfig, cpu: bool = False
) -> None:
    """Train how a head moves that speaks: sound and a start pose to turns and movement.

    Args:
        prepared: folder of a prepared corpus of films; clips without a head pose are left out.
        out: run folder; a run that was stopped is continued.
        config: how to train.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk import head_motion_training

    best = head_motion_training.train_head_motion(prepared, out, config, cpu=cpu)
    left_out = head_motion_training.left_out(out)
    _show({"best": best, "left_out": left_out, "saved_in": str(out)})


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
        _show(sync_checks.summary(found, config))
    if curve is not None:
        shift = config.max_shift
        figures = sync_checks.calibration_curve(expert, prepared, role=role, max_shift=shift)
        write_json(curve, figures)
    if out is not None:
        _show(sync_checks.correct_corpus(prepared, out, expert, config, role=role))


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
    _show_or_write(figures, out)


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
        head_motion: folder of 'learn2talk train-head-motion'.
        split: train, valid or test.
        seed: of the draws.
        out: JSON file to write; without it the figures are printed.
    """
    from learn2talk.evaluate import head_motion as figures_of

    _show_or_write(
        figures_of.evaluate_head_motion(head_motion, prepared, split=split, seed=seed), out
    )


def animate(
    audio: Positional[Path],
    student: Path,
    out: Annotated[tuple[Path, ...], arg(metavar="FILE [FILE ...]")],
    template: Path | None = None,
    style: str | None = None,
    size: int = 512,
    head_motion: Path | None = None,
    blinks: bool = False,
    seed: int = 0,
) -> None:
    """Make a face say a sound file.

    Args:
        audio: sound or video file, any rate.
        student: folder of a trained student.
        out: what to write, by its ending: .mp4 film with sound, .npz motion in millimetres, .glb
            glTF mesh with morph targets (no sound), .csv ARKit curves as Live Link Face writes
            them, .json ARKit curves.
        template: neutral face (.npz) of the student's topology to move instead of its own.
        style: a speaker that the student knows, "average", or a motion (.npz) whose talker's way of
            moving the lips is taken.
        size: width and height of the film, pixels.
        head_motion: folder of 'learn2talk train-head-motion', which moves the head; without it the
            head stays still.
        blinks: whether the eyes blink; the face must have eyelids, as the built-in head has.
        seed: of head motion and blinks; another one gives another movement.
    """
    from learn2talk.animate import animate_file
    from learn2talk.files import load_template

    if not out:
        raise ValueError("nothing to write; give --out face.mp4, or several: face.mp4 face.glb")
    face = None if template is None else load_template(template)
    written = animate_file(
        audio,
        student,
        out,
        template=face,
        style=style,
        size=size,
        head_motion=head_motion,
        blinks=blinks,
        seed=seed,
    )
    for path in written:
        print(f"written {path}")


def prepare_tracked(
    prepared: Path,
    out: Path,
    ict: Path | None = None,
    processes: int = 2,
    config: TrackedConfig = DEFAULT_TRACKED,
) -> None:
    """A corpus of tracked films to one of a 3D face model; resumes where it stopped.

    Args:
        prepared: folder of a corpus that 'avsr prepare' made.
        out: folder to write.
        ict: folder of ICT-FaceKit light (ict_light_21451v.npz); without it the built-in head.
        processes: that fit side by side.
        config: limits, noise and priors.
    """
    from learn2talk.corpora import tracked

    tracked.prepare_tracked(prepared, out, ict=ict, num_processes=processes, config=config)


COMMANDS: dict[str, Callable[..., Any]] = {
    "prepare tracked": prepare_tracked,
    "prepare vocaset": prepare_vocaset,
    "prepare biwi": prepare_biwi,
    "train-sync": train_sync,
    "pretrain": pretrain,
    "train-student": train_student,
    "train-head-motion": train_head_motion,
    "check-sync": check_sync,
    "evaluate": evaluate,
    "evaluate-head-motion": evaluate_head_motion,
    "animate": animate,
}


def _show(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _show_or_write(figures: dict[str, Any], out: Path | None) -> None:
    if out is None:
        _show(figures)
    else:
        write_json(out, figures)
        print(f"written {out}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; a user's error is one line on stderr and exit code 1."""
    use_one_thread()
    run_commands("learn2talk", DESCRIPTION, COMMANDS, argv)
