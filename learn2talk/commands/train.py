"""Commands that train networks."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from learn2talk.autoregressive_training import AutoregressiveTrainConfig
from learn2talk.commands.shown import show
from learn2talk.head_motion_training import HeadMotionTrainConfig
from learn2talk.lip_reader_training import LipReaderConfig
from learn2talk.pretraining import EarConfig
from learn2talk.teacher_training import PictureSyncConfig, TalkingMouthTrainConfig
from learn2talk.training import StudentTrainConfig, SyncTrainConfig


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

    show({"best": train_sync_expert(prepared, out, config, cpu=cpu), "saved_in": str(out)})


def train_ear(
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
    show({"best": best, "saved_in": str(out)})


def train_student(
    prepared: Positional[Path],
    out: Path,
    config: StudentTrainConfig,
    sync_expert: Path | None = None,
    ear: Path | None = None,
    initial: Path | None = None,
    cpu: bool = False,
) -> None:
    """Train a student: speech to the motion of the lower face.

    Args:
        prepared: folder of a prepared corpus.
        out: run folder; a run that was stopped is continued.
        config: how to train.
        sync_expert: folder of a sync expert with the role "loss"; needed unless
            --config.sync-weight is 0.
        ear: run folder of 'learn2talk train ear' to start with; without it from chance.
        initial: folder of a trained student to go on from.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk import training

    best = training.train_student(
        prepared, out, sync_expert, config, ear=ear, initial=initial, cpu=cpu
    )
    show({"best": best, "saved_in": str(out)})


def train_autoregressive(
    prepared: Positional[Path], out: Path, config: AutoregressiveTrainConfig, cpu: bool = False
) -> None:
    """Train the baseline that goes frame by frame (FaceFormer), to compare students with.

    Args:
        prepared: folder of a prepared corpus.
        out: run folder; a run that was stopped is continued.
        config: how to train.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk import autoregressive_training

    best = autoregressive_training.train_autoregressive(prepared, out, config, cpu=cpu)
    show({"best": best, "saved_in": str(out)})


def train_lip_reader(
    prepared: Positional[Path],
    out: Path,
    config: LipReaderConfig,
    initial: Path | None = None,
    cpu: bool = False,
) -> None:
    """Train a lip reader: a loss of students, or a judge of how readable their faces are.

    Args:
        prepared: folder of a corpus with real and drawn mouths ('learn2talk prepare drawn').
        out: run folder; a run that was stopped is continued.
        config: how to train; give a loss and a judge different seeds.
        initial: file of a lip reader of the same vocabulary to go on from.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk import lip_reader_training

    best = lip_reader_training.train_lip_reader(prepared, out, config, initial=initial, cpu=cpu)
    print(best)


def train_picture_sync(
    prepared: Positional[Path], out: Path, config: PictureSyncConfig, cpu: bool = False
) -> None:
    """Train the sync expert of mouth pictures, which a talking mouth learns from.

    Args:
        prepared: folder of a prepared corpus of films.
        out: run folder; a run that was stopped is continued.
        config: how to train.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk import teacher_training

    best = teacher_training.train_picture_sync(prepared, out, config, cpu=cpu)
    show({"best": best, "saved_in": str(out)})


def train_talking_mouth(
    prepared: Positional[Path],
    out: Path,
    config: TalkingMouthTrainConfig,
    sync_expert: Path | None = None,
    ear: Path | None = None,
    cpu: bool = False,
) -> None:
    """Train the 2D talking mouth: speech and one picture of a mouth to pictures of it speaking.

    Args:
        prepared: folder of a prepared corpus of films.
        out: run folder; a run that was stopped is continued.
        config: how to train.
        sync_expert: folder of 'learn2talk train picture-sync'; needed unless
            --config.sync-weight is 0.
        ear: run folder of 'learn2talk train ear' to start with; without it from chance.
        cpu: stay on the CPU where there is a GPU.
    """
    from learn2talk import teacher_training

    best = teacher_training.train_talking_mouth(
        prepared, out, sync_expert, config, ear=ear, cpu=cpu
    )
    show({"best": best, "saved_in": str(out)})


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
    show({"best": best, "left_out": left_out, "saved_in": str(out)})
