"""Your own talking videos: a trained recogniser goes on from them, and its words are counted.

    python recipes/own_videos/recipe.py all --root videos --table videos.tsv \\
        --recognizer runs/grid/audio_visual/best.safetensors --out runs/mine

The story: track the faces of the listed videos; go on from a trained recogniser, or without one
start from nothing; decode the test utterances over noises and levels; score, plot, and write a
page. Every stage resumes where it was stopped and is skipped when its result is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from avsr.command_line import run_command
from avsr.corpora.folder import prepare
from avsr.corpora.talking_faces import PrepareConfig
from avsr.data.corpus_noise import copy_recordings, noise_of_corpus, write_talkers
from avsr.data.manifest import SPLITS, is_prepared, load_info, load_prepared
from avsr.data.noise_bank import NoiseConfig
from avsr.report import ReportText
from avsr.training.command import default_num_processes
from avsr.training.loop import TrainConfig
from avsr.training.recognizer import load_recognizer
from learn2talk.closed_loop import ClosedLoopConfig
from learn2talk.closed_loop_report import score_run, write_run_report
from learn2talk.presets import Preset, with_preset, with_recognizer
from learn2talk.stages import Recipe, Stage, run_stages

LEAST = {"train": 1, "valid": 1, "test": 2}  # utterances; an interval needs two
VOICES = 3  # babble needs one for training, one for validation, one for the test


def _training(max_updates: int) -> TrainConfig:
    return TrainConfig(
        max_updates=max_updates,
        warmup_updates=max_updates // 10,
        validate_every=50,
        learning_rate=3e-4,
        max_frames=600,  # 24 s of padded video in a micro-batch
        average_decay=0.99,
    )


@dataclass(frozen=True)
class OwnVideosConfig:
    """Own videos: paths, preset, sizes and the protocol."""

    root: Path | None = None
    """Folder of the videos; needed by stage prepare."""
    table: Path | None = None
    """Tab-separated: file, text, if wanted speaker, split, start_s, end_s; needed by prepare."""
    out: Path = Path("runs/own_videos")
    """Folder of the run; prepared data goes to its subfolder 'prepared'."""
    recognizer: str | None = None
    """Goes on from it: best.safetensors, a published folder, or owner/name; none: from nothing."""
    preset: Preset = "audio_visual"
    """audio, video, audio_visual, or audio_visual_generated: with lips made from speech."""
    noise_folder: Path | None = None
    """Your recordings of noise; none: computed noise, and babble where there are voices for it."""
    landmarker_model: Path = Path("face_landmarker.task")
    """See 'avsr fetch face-landmarker'."""
    processes: int = 0
    """Processes of training, tracking and decoding; 0 chooses by GPUs or cores."""
    tracking: PrepareConfig = field(default_factory=PrepareConfig)
    """Limits of tracking."""
    loop: ClosedLoopConfig = field(
        default_factory=lambda: ClosedLoopConfig(
            pretrain=_training(1600),
            audio=_training(400),
            audio_visual=_training(400),
            video=_training(400),
            noise_types=("pink",),
        )
    )
    """Training and noise protocol; preset and recogniser decide systems, sources, network."""

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


def prepare_stage(config: OwnVideosConfig) -> None:
    """Videos to crops and lips; then noise.

    Raises:
        ValueError: no videos are named, or a split has too few utterances.
    """
    if not is_prepared(config.prepared):
        if config.root is None or config.table is None:
            raise ValueError("no videos are named; give their folder with --root and --table")
        known = None if config.recognizer is None else load_recognizer(config.recognizer)[1].model
        prepare(
            config.root,
            config.table,
            config.prepared,
            landmarker_model=config.landmarker_model,
            tokenizer=known,
            num_processes=config.num_processes,
            config=config.tracking,
        )
    counts = {split: len(load_prepared(config.prepared, split)) for split in SPLITS}
    if few := [f"{n} {split}" for split, n in counts.items() if n < LEAST[split]]:
        raise ValueError(
            f"{config.prepared}: {', '.join(few)} utterances; there must be 1 train, 1 valid and 2 "
            "test or more: say which lines are which in the table's column 'split', and prepare "
            "into another --out"
        )
    voices = set(load_prepared(config.prepared, "train")["speaker_id"])
    if len(voices) >= VOICES:
        write_talkers(config.prepared, config.noise)
    else:
        config.noise.mkdir(parents=True, exist_ok=True)
        print(f"no babble: {len(voices)} training speakers, it needs {VOICES}")
    if config.noise_folder is not None:
        copy_recordings(config.noise_folder, config.noise)


def noise_of(config: OwnVideosConfig) -> NoiseConfig:
    """Noise by split: no voice and no recording serves two.

    Raises:
        ValueError: stage prepare has not written it.
    """
    if not config.noise.is_dir():
        raise ValueError(f"{config.noise}: no noise there yet; run stage prepare")
    return noise_of_corpus(config.noise)


def report_stage(config: OwnVideosConfig, loop: ClosedLoopConfig) -> None:
    """Hypotheses to results.json, table, plot and page."""
    info = load_info(config.prepared)
    counts = info["counts"]["utterances"]
    notes = (
        f"Preset {config.preset}, from {config.recognizer or 'nothing'}.",
        f"{counts['train']['utterances']} training, {counts['valid']['utterances']} validation and "
        f"{counts['test']['utterances']} test utterances; {info['counts']['skipped']} skipped.",
    )
    noise = noise_of(config)
    results = score_run(
        config.prepared,
        config.out,
        noise,
        loop,
        corpus="own videos",
        synthetic=False,
        speaker_dependent=info["speaker_dependent"],
        notes=notes,
    )
    text = ReportText(title="Own videos: WER under noise")
    for path in write_run_report(config.prepared, config.out, noise, results, text).values():
        print(path)


def main(
    stage: Annotated[Stage, tyro.conf.Positional] = "all",
    config: Annotated[OwnVideosConfig, tyro.conf.arg(name="")] = OwnVideosConfig(),
) -> None:
    """Run the recipe, or one of its stages."""
    loop = with_recognizer(with_preset(config.loop, config.preset), config.recognizer)
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
