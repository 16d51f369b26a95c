"""Learn2Talk on real and synthetic faces: which losses make a face exact, in time, and readable?

    AVSR_DATA=/path/to/data python recipes/learn2talk_faces/recipe.py all --out runs/faces

The story: fit a head to tracked GRID films and join it with synthetic talkers; train two sync
experts and two lip readers, one of each as a loss and one as a judge; teach an ear from a Whisper
what many voices say; train one student on the vertices alone and let every other go on from it with
its own losses, beside the autoregressive baseline; measure all of them, with controls, on sentences
and voices that none has heard. Every stage resumes where it was stopped.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from avsr.command_line import run_command
from avsr.corpora.folder import prepare as prepare_films
from avsr.corpora.grid import prepare as prepare_grid
from avsr.corpora.grid import text_of_code
from avsr.corpora.speechocean762 import ambience_and_babble, speechocean_pool
from avsr.data.manifest import is_prepared
from avsr.files import write_atomically
from avsr.models.recognizer import RecognizerConfig
from avsr.training.command import default_num_processes
from avsr.training.loop import TrainConfig
from learn2talk.ablation import write_ablation
from learn2talk.autoregressive_training import AutoregressiveTrainConfig, train_autoregressive
from learn2talk.corpora.drawn import draw_mouths
from learn2talk.corpora.joined import join_corpora
from learn2talk.corpora.synthetic import SyntheticConfig, build
from learn2talk.corpora.tracked import prepare_tracked
from learn2talk.data.motion import Part
from learn2talk.data.sounds import Sound
from learn2talk.evaluate import evaluate_sync_expert
from learn2talk.evaluate.comparison import compare_students
from learn2talk.evaluate.noise import error_against_noise
from learn2talk.lip_reader_training import LipReaderConfig, train_lip_reader
from learn2talk.models.sync_expert import Role
from learn2talk.pretraining import EarConfig, pretrain_ear
from learn2talk.readability import evaluate_readability
from learn2talk.stages import Job, measured_once, run_jobs
from learn2talk.sync_checks import calibration_curve
from learn2talk.teacher import MadeMouth, teacher_quality
from learn2talk.teacher_training import (
    PictureSyncConfig,
    TalkingMouthTrainConfig,
    train_picture_sync,
    train_talking_mouth,
)
from learn2talk.training import (
    StudentTrainConfig,
    SyncTrainConfig,
    train_student,
    train_sync_expert,
)

Stage = Literal[
    "all",
    "prepare",
    "experts",
    "readers",
    "ear",
    "first",
    "students",
    "teacher",
    "measure",
    "report",
]
STAGES: tuple[Stage, ...] = get_args(Stage)[1:]
NOISES = ("babble_4", "coffee-shop")
SNRS_DB = (-10.0, -5.0, 0.0, 5.0, 10.0)
ROBUST_AS = "no_lip_reading"  # what the robust student is told, beside noise
CORPORA = ("grid", "synthetic")  # each measured by itself, on its own test split


def _training(max_updates: int, batches: int = 2, seed: int = 0) -> TrainConfig:
    return TrainConfig(
        max_updates=max_updates,
        warmup_updates=50,
        weight_decay=0.02,
        max_frames=600,  # 8 clips
        batches_per_update=batches,
        average_decay=0.99,
        validate_every=max_updates // 3,
        seed=seed,
    )


@dataclass(frozen=True)
class FacesConfig:
    """The recipe: paths and sizes."""

    out: Path = Path("runs/faces")
    """Folder of the run."""
    data: Path | None = None
    """Folder with grid/, noise/, speechocean762/, models/, mediapipe_face/; default: AVSR_DATA."""
    grid: Path | None = None
    """GRID as 'avsr prepare grid' or the GRID recipe made it; default: made here."""
    processes: int = 0
    """Trainings side by side, and processes of tracking; 0 chooses by GPUs or cores."""
    synthetic: SyntheticConfig = field(
        default_factory=lambda: SyntheticConfig(400, 40, 80, num_speakers=40)
    )
    expert: SyncTrainConfig = field(default_factory=SyncTrainConfig)
    reader: LipReaderConfig = field(
        default_factory=lambda: LipReaderConfig(
            model=RecognizerConfig(
                vocabulary_size=2, width=128, fused_layers=3, video_channels=(8, 16, 32, 64)
            ),
            train=TrainConfig(
                max_updates=4000,
                learning_rate=1.2e-3,
                max_frames=600,
                batches_per_update=1,
                average_decay=0.998,
                validate_every=250,
            ),
        )
    )
    ear: EarConfig = field(
        default_factory=lambda: EarConfig(
            train=TrainConfig(
                max_updates=2000,
                warmup_updates=150,
                weight_decay=0.02,
                max_frames=1500,
                batches_per_update=1,
                average_decay=0.998,
                validate_every=500,
            )
        )
    )
    first: StudentTrainConfig = field(
        default_factory=lambda: StudentTrainConfig(
            train=_training(900), sync_weight=0.0, lip_reading_frames=16
        )
    )
    """The student on vertices alone, from which the others go on."""
    further: TrainConfig = field(default_factory=lambda: _training(300, batches=1))
    """How each of the others goes on."""
    picture_sync: PictureSyncConfig = field(
        default_factory=lambda: PictureSyncConfig(train=_training(400, batches=1))
    )
    mouth: TalkingMouthTrainConfig = field(
        default_factory=lambda: TalkingMouthTrainConfig(
            train=replace(_training(600, batches=1), max_frames=240)
        )
    )
    robust: TrainConfig = field(default_factory=lambda: _training(600, batches=1))
    """How the student that hears noise goes on."""
    baseline: AutoregressiveTrainConfig = field(
        default_factory=lambda: AutoregressiveTrainConfig(train=_training(900))
    )

    @property
    def root(self) -> Path:
        """The data folder.

        Raises:
            ValueError: neither --data nor AVSR_DATA names a folder with GRID in it.
        """
        root = self.data or Path(os.environ.get("AVSR_DATA", ""))
        if not (root / "grid").is_dir():
            raise ValueError(
                f"no GRID under {root / 'grid'}; set AVSR_DATA or --data to the folder that holds "
                "grid/s1/video"
            )
        return root

    @property
    def num_processes(self) -> int:
        """How many trainings run side by side."""
        return self.processes or default_num_processes(2)

    @property
    def students(self) -> dict[str, StudentTrainConfig]:
        """The students that go on from the first, by name: what they are told beside vertices."""
        plain = replace(self.first, train=self.further)
        reader = str(self.out / "reader_loss" / "best.safetensors")

        def told(sync: float, reading: float, balance: str = "fixed") -> StudentTrainConfig:
            return replace(
                plain,
                sync_weight=sync,
                lip_reading_weight=reading,
                lip_reader=reader if reading else None,
                balance=balance,  # type: ignore[arg-type]
            )

        return {
            "vertices": plain,
            "no_lip_reading": told(0.3, 0.0),
            "no_sync": told(0.0, 1.0),
            "fixed": told(0.3, 1.0),
            "fixed_x4": told(1.2, 4.0),
            "balanced_0.3": told(0.3, 0.3, "gradient_norm"),
            "balanced_1": told(1.0, 1.0, "gradient_norm"),
            "projected_1": told(1.0, 1.0, "projected"),
        }


def sounds(config: FacesConfig) -> dict[str, list[Sound]]:
    """Many voices for the ear: speechocean762, six of its speakers for validation, and GRID s1."""
    pool = speechocean_pool(config.root / "speechocean762")
    held_out = sorted({speaker for _, speaker in pool})[-6:]
    found: dict[str, list[Sound]] = {"train": [], "valid": []}
    for path, speaker in pool:
        split = "valid" if speaker in held_out else "train"
        found[split].append(Sound(path.stem, speaker, path))
    with open(config.root / "grid" / "splits.tsv", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            if row["split"] == "train":
                name = row["utterance_id"]
                film = config.root / "grid" / "s1" / "video" / f"{name.split('/')[-1]}.mp4"
                found["train"].append(Sound(name, "grid-s1", film))
    return found


def prepare_stage(config: FacesConfig) -> None:
    """Films to fitted heads, synthetic talkers, both together, and their mouths drawn."""
    grid, out = config.grid or config.out / "films", config.out
    if not is_prepared(grid):
        prepare_grid(
            config.root / "grid",
            grid,
            landmarker_model=config.root / "mediapipe_face" / "face_landmarker.task",
            splits_tsv=config.root / "grid" / "splits.tsv",
            num_processes=config.num_processes,
        )
    prepare_tracked(grid, out / "grid_head", num_processes=config.num_processes)
    join_corpora([out / "grid_head"], out / "grid", estimate_phones=True)
    others = config.root / "grid" / "others"  # one clip each of two speakers whom nothing heard
    with write_atomically(out / "others.tsv") as table:
        texts = {path.name: text_of_code(path.stem) for path in sorted(others.glob("*.mpg"))}
        lines = [f"{name}\t{text}\t{name[:-4]}\ttest" for name, text in texts.items()]
        table.write_text("\n".join(["file\ttext\tspeaker\tsplit", *lines]) + "\n")
    model = config.root / "mediapipe_face" / "face_landmarker.task"
    prepare_films(others, out / "others.tsv", out / "others_films", landmarker_model=model)
    prepare_tracked(out / "others_films", out / "others", num_processes=1)
    build(out / "synthetic", config.synthetic, num_processes=config.num_processes)
    join_corpora([out / "grid", out / "synthetic"], out / "faces")
    draw_mouths(out / "faces", out / "reading")


def experts_stage(config: FacesConfig) -> list[Job]:
    """A sync expert that is a loss, and one that judges: other seeds, other halves of the data."""

    def job(role: Role, part: Part, seed: int) -> Job:
        expert = config.expert
        told = replace(
            expert,
            model=replace(expert.model, role=role),
            train=replace(expert.train, seed=seed),
            part=part,
        )
        return train_sync_expert, (config.out / "faces", config.out / role, told), {}

    return [job("loss", "first", 0), job("judge", "second", 1)]


def readers_stage(config: FacesConfig) -> list[Job]:
    """A lip reader that is a loss, and one of another seed that judges."""

    def job(role: Role, seed: int) -> Job:
        told = replace(config.reader, train=replace(config.reader.train, seed=seed))
        return train_lip_reader, (config.out / "reading", config.out / f"reader_{role}", told), {}

    return [job("loss", 0), job("judge", 1)]


def ear_stage(config: FacesConfig) -> list[Job]:
    """The ear, taught by Whisper what many voices say, in noise."""
    whisper = config.root / "models" / "whisper-tiny.en"
    noise = ambience_and_babble(config.root)
    return [(pretrain_ear, (sounds(config), whisper, config.out / "ear", config.ear, noise), {})]


def first_stage(config: FacesConfig) -> list[Job]:
    """Students that go on from no other: on vertices alone, without the ear, and the baseline."""
    faces, out = config.out / "faces", config.out / "students"
    return [
        (train_student, (faces, out / "first", None, config.first), {"ear": config.out / "ear"}),
        (train_student, (faces, out / "without_ear", None, config.first), {}),
        (train_autoregressive, (faces, out / "autoregressive", config.baseline), {}),
    ]


def students_stage(config: FacesConfig) -> list[Job]:
    """The students that go on from the first one, and the one that hears noise."""
    faces, out = config.out / "faces", config.out / "students"
    first = {"initial": out / "first"}
    jobs: list[Job] = [
        (train_student, (faces, out / name, config.out / "loss", told), first)
        for name, told in config.students.items()
    ]
    robust = replace(config.students[ROBUST_AS], train=config.robust)
    noisy = {**first, "noise": ambience_and_babble(config.root)}
    return [*jobs, (train_student, (faces, out / "robust", config.out / "loss", robust), noisy)]


def measure_stage(config: FacesConfig) -> list[Job]:
    """Every student with the controls, its readability, and how noise harms it.

    The validation split chooses among the balanced students; the test split is only reported.
    """
    out = config.out
    named = {folder.name: folder for folder in sorted((out / "students").iterdir())}
    reader = out / "reader_judge" / "best.safetensors"
    jobs: list[Job] = []
    for corpus in CORPORA:
        prepared = out / corpus
        for split in ("valid", "test"):
            to, on = out / "measured" / corpus / split, {"split": split}
            read = on | {"hypotheses": to / "hypotheses.jsonl"}
            faces, texts = to / "faces.json", to / "readability.json"
            jobs += [
                (measured_once, (faces, compare_students, named, out / "judge", prepared), on),
                (measured_once, (texts, evaluate_readability, named, reader, prepared), read),
            ]
        heard = {name: named[name] for name in (ROBUST_AS, "robust")}
        told = {"noise_types": NOISES, "snrs_db": SNRS_DB}
        noise = ambience_and_babble(config.root)
        jobs.append(
            (measured_once, (to / "noise.json", error_against_noise, heard, prepared, noise), told)
        )
        for role in ("loss", "judge"):
            curve, found = to / f"calibration_{role}.json", to / f"expert_{role}.json"
            as_role = {"role": role}
            jobs += [
                (measured_once, (curve, calibration_curve, out / role, prepared), as_role),
                (measured_once, (found, evaluate_sync_expert, out / role, prepared), as_role),
            ]
    on_others = out / "measured" / "others.json", error_against_noise, named, out / "others", noise
    jobs.append((measured_once, on_others, {"noise_types": NOISES[:1], "snrs_db": (0.0,)}))
    return jobs


def teacher_stage(config: FacesConfig) -> list[Job]:
    """Our own 2D talking mouth on real films, and what it is worth beside the films themselves."""
    return [(_teacher, (config,), {})]


def _teacher(config: FacesConfig) -> None:
    out, films = config.out, config.out / "grid"
    train_picture_sync(films, out / "picture_sync", config.picture_sync)
    train_talking_mouth(films, out / "talking_mouth", out / "picture_sync", config.mouth)
    told = MadeMouth(out / "talking_mouth"), films, out / "reader_judge" / "best.safetensors"
    measured_once(out / "measured" / "teacher.json", teacher_quality, *told)


def main(
    stage: Annotated[Stage, tyro.conf.Positional] = "all",
    config: Annotated[FacesConfig, tyro.conf.arg(name="")] = FacesConfig(),
) -> None:
    """Run the recipe, or one of its stages."""
    stages = {
        "experts": experts_stage,
        "readers": readers_stage,
        "ear": ear_stage,
        "first": first_stage,
        "students": students_stage,
        "teacher": teacher_stage,
        "measure": measure_stage,
    }
    for name in STAGES if stage == "all" else (stage,):
        print(f"== {name}", flush=True)
        if name == "prepare":
            prepare_stage(config)
        elif name == "report":
            for path in write_ablation(config.out, CORPORA):
                print(path)
        else:
            run_jobs(stages[name](config), config.num_processes)


if __name__ == "__main__":
    run_command(main)
