"""GRID, from raw video to WER under noise.

    AVSR_DATA=/path/to/data python recipes/grid/recipe.py all --out runs/grid

The story: track the faces; learn lips from speech (Learn2Talk); train one network on sound, real
and generated lips; go on from it to an audio-visual recogniser and to one of sound alone; decode
the test sentences over noises, levels and visual sources; score, plot, and write a page. Every
stage resumes where it was stopped and is skipped when its result is there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from avsr.command_line import run_command
from avsr.corpora.grid import prepare
from avsr.corpora.speechocean762 import ambience_and_babble
from avsr.data.manifest import is_prepared
from avsr.files import read_json
from avsr.models.recognizer import RecognizerConfig
from avsr.report import ReportText
from avsr.training.command import default_num_processes
from avsr.training.loop import TrainConfig
from learn2talk.closed_loop import ClosedLoopConfig
from learn2talk.closed_loop_report import score_run, write_run_report
from learn2talk.stages import Recipe, Stage, run_stages


def _training(max_updates: int, validate_every: int, learning_rate: float = 1.2e-3) -> TrainConfig:
    return TrainConfig(
        max_updates=max_updates,
        validate_every=validate_every,
        learning_rate=learning_rate,
        max_frames=600,  # 8 clips
        average_decay=0.998,
    )


@dataclass(frozen=True)
class GridConfig:
    """GRID recipe: paths, sizes and the protocol."""

    out: Path = Path("runs/grid")
    """Folder of the run; prepared data goes to its subfolder 'prepared'."""
    data: Path | None = None
    """Folder with grid/, noise/, speechocean762/, mediapipe_face/; default: AVSR_DATA."""
    processes: int = 0
    """Processes of training, tracking and decoding; 0 chooses by GPUs or cores."""
    loop: ClosedLoopConfig = field(
        default_factory=lambda: ClosedLoopConfig(
            robust=True,
            pretrain=_training(max_updates=1600, validate_every=200),
            audio=_training(max_updates=900, validate_every=100),
            audio_visual=_training(max_updates=900, validate_every=100),
            model=RecognizerConfig(vocabulary_size=2, width=128, fused_layers=3),
            noise_types=("babble_4", "coffee-shop"),
        )
    )
    """Training and noise protocol."""

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
                "grid/s1/video, or run 'make demo' for the corpus that needs no download"
            )
        return root

    @property
    def prepared(self) -> Path:
        """Folder of the prepared corpus."""
        return self.out / "prepared"

    @property
    def num_processes(self) -> int:
        """How many processes a stage runs in."""
        return self.processes or default_num_processes(self.loop.pretrain.batches_per_update)


def prepare_stage(config: GridConfig) -> None:
    """Raw video to crops and lips; the recipe's only stage that needs MediaPipe."""
    if not is_prepared(config.prepared):
        prepare(
            config.root / "grid",
            config.prepared,
            landmarker_model=config.root / "mediapipe_face" / "face_landmarker.task",
            splits_tsv=config.root / "grid" / "splits.tsv",
            num_processes=config.num_processes,
        )


def report_stage(config: GridConfig) -> None:
    """Hypotheses to results.json, table, plot and page."""
    noise = ambience_and_babble(config.root)
    corpus = read_json(config.prepared / "corpus.json")
    notes = (
        "GRID s1 is one speaker with 51 words and a closed grammar; training and test sentences "
        "are different sentences of the same speaker (speaker-dependent).",
        f"{corpus['counts']['utterances']['test']['utterances']} test sentences.",
    )
    results = score_run(
        config.prepared,
        config.out,
        noise,
        config.loop,
        corpus="GRID s1",
        synthetic=False,
        speaker_dependent=True,
        notes=notes,
    )
    text = ReportText(title="GRID: WER under noise, with real and generated faces")
    paths = write_run_report(
        config.prepared, config.out, noise, results, text, media_root=config.root / "grid"
    )
    for path in paths.values():
        print(path)


def main(
    stage: Annotated[Stage, tyro.conf.Positional] = "all",
    config: Annotated[GridConfig, tyro.conf.arg(name="")] = GridConfig(),
) -> None:
    """Run the recipe, or one of its stages."""
    recipe = Recipe(
        out=config.out,
        prepared=config.prepared,
        loop=config.loop,
        num_processes=config.num_processes,
        noise=lambda: ambience_and_babble(config.root),
        prepare=lambda: prepare_stage(config),
        report=lambda: report_stage(config),
    )
    run_stages(stage, recipe, __file__)


if __name__ == "__main__":
    run_command(main)
