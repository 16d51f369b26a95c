"""LRS2, from a copy of the corpus to WER under noise.

    python recipes/lrs2/recipe.py all --root /path/to/lrs2 --out runs/lrs2 --preset audio_visual

The story: check the copy; track the faces, cut long clips at word times; train a recogniser of
sound, of mouths, or of both, with lips that Learn2Talk makes from speech where the preset says so;
decode the test utterances over noises and levels; score, plot, and write a page. Every stage
resumes where it was stopped and is skipped when its result is there.

LRS2 is given out by the BBC under an agreement. We hold no copy, and publish no figure of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from avsr.command_line import run_command
from avsr.corpora.lrs import LrsConfig
from avsr.corpora.lrs2 import prepare
from avsr.corpora.talking_faces import PrepareConfig
from avsr.data.corpus_noise import copy_recordings, noise_of_corpus, write_talkers
from avsr.data.manifest import is_prepared, load_info
from avsr.data.noise_bank import NoiseConfig
from avsr.decode.config import DecodingConfig
from avsr.models.presets import PresetName, small
from avsr.report import ReportText
from avsr.training.command import default_num_processes
from avsr.training.loop import TrainConfig
from learn2talk.closed_loop import ClosedLoopConfig
from learn2talk.closed_loop_report import score_run, write_run_report
from learn2talk.presets import Preset, with_preset, with_size
from learn2talk.stages import Recipe, Stage, run_stages


def _training(max_updates: int, learning_rate: float = 1e-3) -> TrainConfig:
    return TrainConfig(
        max_updates=max_updates,
        warmup_updates=max_updates // 10,
        validate_every=2_500,
        learning_rate=learning_rate,
        max_frames=1_800,  # 72 s of padded video in a micro-batch
        batches_per_update=8,
        average_decay=0.9998,
        num_workers=4,
    )


@dataclass(frozen=True)
class Lrs2Config:
    """LRS2 recipe: paths, preset, sizes and the protocol."""

    root: Path | None = None
    """Folder of the copy (main, pretrain and the four lists); needed by stage prepare."""
    out: Path = Path("runs/lrs2")
    """Folder of the run; prepared data goes to its subfolder 'prepared'."""
    preset: Preset = "audio_visual"
    """audio, video, audio_visual, or audio_visual_generated: with lips made from speech."""
    size: PresetName | None = None
    """tiny, small, base or large: a network in place of --loop.model."""
    noise_folder: Path | None = None
    """Your recordings of noise (MUSAN's noise, DEMAND, ...); none: babble and computed noise."""
    landmarker_model: Path = Path("face_landmarker.task")
    """See 'avsr fetch face-landmarker'."""
    allow_missing: int = 0
    """How many utterances or files of the copy may be missing, incomplete or too many."""
    is_subset: bool = False
    """The copy is a part of LRS2 on purpose: numbers are not compared with the published ones."""
    processes: int = 0
    """Processes of training, tracking and decoding; 0 chooses by GPUs or cores."""
    lrs: LrsConfig = field(default_factory=LrsConfig)
    """Pieces and tokenizer."""
    tracking: PrepareConfig = field(default_factory=PrepareConfig)
    """Limits of tracking."""
    loop: ClosedLoopConfig = field(
        default_factory=lambda: ClosedLoopConfig(
            pretrain=_training(75_000),
            audio=_training(75_000),
            audio_visual=_training(150_000),
            video=_training(225_000),
            model=small(),
            attention_weight=0.7,
            frame_weight=0.05,
            noise_types=("pink", "babble_4"),
            noise_seeds=(0,),
            decoding=DecodingConfig("joint", beam_size=10),
        )
    )
    """Training and noise protocol; the preset decides systems, visual sources, generated lips."""

    @property
    def prepared(self) -> Path:
        """Folder of the prepared corpus."""
        return self.out / "prepared"

    @property
    def noise(self) -> Path:
        """Folder of the run's noise: babble talkers, and recordings."""
        return self.out / "noise"

    @property
    def num_processes(self) -> int:
        """How many processes a stage runs in."""
        return self.processes or default_num_processes(self.loop.pretrain.batches_per_update)


def prepare_stage(config: Lrs2Config) -> None:
    """The copy to crops, lips and a tokenizer; then noise of its training speakers."""
    if not is_prepared(config.prepared):
        if config.root is None:
            raise ValueError("no copy of LRS2 is named; give its folder with --root")
        prepare(
            config.root,
            config.prepared,
            landmarker_model=config.landmarker_model,
            allow_missing=config.allow_missing,
            is_subset=config.is_subset,
            num_processes=config.num_processes,
            config=config.tracking,
            lrs=config.lrs,
        )
    write_talkers(config.prepared, config.noise)
    if config.noise_folder is not None:
        copy_recordings(config.noise_folder, config.noise)


def noise_of(config: Lrs2Config) -> NoiseConfig:
    """Noise by split: no voice and no recording serves two.

    Raises:
        ValueError: stage prepare has not written it.
    """
    if not (config.noise / "talkers").is_dir():
        raise ValueError(f"{config.noise}: no noise there yet; run stage prepare")
    return noise_of_corpus(config.noise)


def report_stage(config: Lrs2Config, loop: ClosedLoopConfig) -> None:
    """Hypotheses to results.json, table, plot and page."""
    info = load_info(config.prepared)
    counts = info["counts"]["utterances"]
    notes = (
        f"Preset {config.preset}. Prepared from a copy with {info['copy']} utterances.",
        f"{counts['train']['utterances']} training, {counts['valid']['utterances']} validation and "
        f"{counts['test']['utterances']} test utterances; {info['counts']['skipped']} skipped.",
    )
    noise = noise_of(config)
    results = score_run(
        config.prepared,
        config.out,
        noise,
        loop,
        corpus="LRS2",
        synthetic=False,
        speaker_dependent=False,
        notes=notes,
    )
    text = ReportText(title="LRS2: WER under noise")
    for path in write_run_report(config.prepared, config.out, noise, results, text).values():
        print(path)


def main(
    stage: Annotated[Stage, tyro.conf.Positional] = "all",
    config: Annotated[Lrs2Config, tyro.conf.arg(name="")] = Lrs2Config(),
) -> None:
    """Run the recipe, or one of its stages."""
    loop = with_preset(with_size(config.loop, config.size), config.preset)
    recipe = Recipe(
        out=config.out,
        prepared=config.prepared,
        loop=loop,
        num_processes=config.num_processes,
        noise=lambda: noise_of(config),
        prepare=lambda: prepare_stage(config),
        report=lambda: report_stage(config, loop),
    )
    run_stages(stage, recipe, __file__)


if __name__ == "__main__":
    run_command(main)
