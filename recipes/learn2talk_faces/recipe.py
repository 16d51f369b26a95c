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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Literal

import tyro

from avsr.command_line import run_command
from avsr.corpora.grid import prepare
from avsr.corpora.speechocean762 import ambience_and_babble, speechocean_pool
from avsr.data.manifest import is_prepared
from avsr.files import write_json
from avsr.training.command import default_num_processes, use_one_thread
from avsr.training.loop import TrainConfig
from learn2talk.ablation import write_ablation
from learn2talk.autoregressive_training import AutoregressiveTrainConfig, train_autoregressive
from learn2talk.corpora.drawn import draw_mouths
from learn2talk.corpora.joined import join_corpora
from learn2talk.corpora.synthetic import SyntheticConfig, build
from learn2talk.corpora.tracked import prepare_tracked
from learn2talk.data.sounds import Sound
from learn2talk.evaluate import evaluate_student, evaluate_sync_expert
from learn2talk.evaluate.noise import error_against_noise
from learn2talk.lip_reader_training import LipReaderConfig, train_lip_reader
from learn2talk.pretraining import EarConfig, pretrain_ear
from learn2talk.readability import evaluate_readability
from learn2talk.sync_checks import calibration_curve
from learn2talk.training import (
    StudentTrainConfig,
    SyncTrainConfig,
    train_student,
    train_sync_expert,
)

Stage = Literal["all", "prepare", "experts", "readers", "ear", "students", "measure", "report"]
STAGES: tuple[Stage, ...] = (
    "prepare", "experts", "readers", "ear", "students", "measure", "report",
)  # fmt: skip
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
    reader: LipReaderConfig = field(default_factory=LipReaderConfig)
    ear: EarConfig = field(default_factory=EarConfig)
    first: StudentTrainConfig = field(
        default_factory=lambda: StudentTrainConfig(train=_training(900), sync_weight=0.0)
    )
    """The student on vertices alone, from which the others go on."""
    further: TrainConfig = field(default_factory=lambda: _training(300, batches=1))
    """How each of the others goes on."""
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
            "no_sync": told(0.0, 0.3),
            "fixed": told(0.3, 0.3),
            "fixed_x4": told(1.2, 1.2),
            "balanced_0.1": told(0.1, 0.1, "gradient_norm"),
            "balanced_0.3": told(0.3, 0.3, "gradient_norm"),
            "balanced_1": told(1.0, 1.0, "gradient_norm"),
            "projected_0.3": told(0.3, 0.3, "projected"),
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
