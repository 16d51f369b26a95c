"""Whisper tiny.en on GRID, first by ear, then with a view of the mouth (Whisper-Flamingo).

    AVSR_DATA=/path/to/data python recipes/whisper_flamingo_grid/recipe.py all

Two steps as in Rouditchenko et al. 2024 (arXiv 2406.10082): Whisper is fine-tuned on noisy speech;
then it is frozen, and gated cross-attention layers in its decoder learn to use the mouth crops'
encoder, which is the GRID recipe's recogniser's at first. So the GRID recipe must have been run.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
import tyro

from avsr.command_line import run_command
from avsr.corpora.speechocean762 import ambience_and_babble
from avsr.data.augment import AugmentConfig
from avsr.data.dataset import TrainingDataset
from avsr.data.manifest import load_info, load_prepared
from avsr.data.noise_bank import NoiseBank
from avsr.data.random_mixtures import random_mixture
from avsr.evaluate_whisper import WhisperSystem, decode_whispers
from avsr.files import sha256_file
from avsr.models.whisper_flamingo import WhisperFlamingo, WhisperFlamingoConfig
from avsr.pretrained.whisper import load_whisper
from avsr.tables import write_tables
from avsr.training import command
from avsr.training.loop import TrainConfig, make_accelerator
from avsr.training.recognizer import (
    ValidationCondition,
    is_trained,
    load_recognizer,
    reading_validator,
)
from avsr.training.run_folder import same_run
from avsr.training.whisper import load_trained_whisper, read_batch, train_whisper, with_view
from learn2talk.closed_loop import ClosedLoopConfig, ValidationMixtures, mixture_manifest
from learn2talk.closed_loop_report import score_run

Stage = Literal["audio", "audio_visual", "decode", "report", "all"]
STREAMS = {"audio": ("audio",), "audio_visual": ("audio", "crops")}
# The frozen ear knows the training sentences, so beside its sound the eye would have little to
# learn: half of the time it must read the mouth alone.
STREAM_MIX: dict[str, tuple[tuple[tuple[str, ...], float], ...]] = {
    "audio": ((("audio",), 1.0),),
    "audio_visual": ((("audio", "crops"), 0.5), (("crops",), 0.5)),
}


def _training(max_updates: int, validate_every: int, learning_rate: float) -> TrainConfig:
    base = TrainConfig(max_updates=max_updates, validate_every=validate_every, warmup_updates=30)
    return replace(base, learning_rate=learning_rate, max_frames=600, average_decay=0.98)  # 8 clips


@dataclass(frozen=True)
class WhisperGridConfig:
    """Whisper recipe on GRID: paths, sizes and the protocol."""

    out: Path = Path("runs/whisper_flamingo_grid")
    """Folder of the run."""
    grid: Path = Path("runs/grid")
    """A finished run of the GRID recipe: its prepared corpus and its audio_visual recogniser."""
    data: Path = field(default_factory=lambda: Path(os.environ.get("AVSR_DATA", "")))
    """Folder with noise/, speechocean762/ and models/whisper-tiny.en/; default: AVSR_DATA."""
    whisper: str = ""
    """Folder or hub id of a Whisper; default: models/whisper-tiny.en of the data folder."""
    processes: int = 0
    """Processes of training and decoding; 0 chooses by GPUs or cores."""
    loop: ClosedLoopConfig = field(
        default_factory=lambda: ClosedLoopConfig(
            audio=_training(120, 60, 1e-4),
            audio_visual=_training(480, 80, 8e-4),
            augment=AugmentConfig(stretch=0.05, time_masks=0),
            training_snr_db=(-10.0, 10.0),
            noise_types=("babble_4", "coffee-shop"),
            snrs_db=(-5.0,),
        )
    )
    """Training of the two steps and noise protocol; what concerns lips and CTC is not used."""

    beam_size: int = 4
    """Beams of the test; validation is greedy."""

    @property
    def checkpoint(self) -> str:
        """Folder or hub id of the Whisper to start from."""
        return self.whisper or str(self.data / "models" / "whisper-tiny.en")

    @property
    def prepared(self) -> Path:
        """Folder of the prepared corpus."""
        return self.grid / "prepared"


def first_network(stage: str, config: WhisperGridConfig) -> tuple[WhisperFlamingo, dict[str, str]]:
    """Whisper as published; for the second step as fine-tuned, frozen, with the GRID encoder."""
    if stage == "audio":
        whisper, _ = load_whisper(config.checkpoint)
        model = WhisperFlamingo(WhisperFlamingoConfig(whisper=whisper.config, visual=None))
        model.whisper.load_state_dict(whisper.state_dict())
        return model, {"checkpoint": config.checkpoint}
    ear = config.out / "audio" / "best.safetensors"
    eye = config.grid / "audio_visual" / "best.safetensors"
    model = with_view(load_trained_whisper(ear)[0], load_recognizer(eye)[0], "crops")
    return model, {"audio_sha256": sha256_file(ear), "recogniser_sha256": sha256_file(eye)}


def train_stage(stage: str, config: WhisperGridConfig) -> None:
    """One of the two steps, chosen by WER of clean and noisy validation sentences."""
    settings, loop = config.loop.training_of(stage), config.loop
    if is_trained(config.out / stage, settings):
        return
    noise = ambience_and_babble(config.data)
    accelerator = make_accelerator(settings)
    model, info = first_network(stage, config)
    _, tokenizer = load_whisper(config.checkpoint)
    bank = NoiseBank(noise, "train")
    bank.warm()

    def mix(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return random_mixture(
            waveform, bank, rng, loop.training_snr_db, loop.training_clean_share
        ).waveform

    examples = TrainingDataset(
        load_prepared(config.prepared, "train").remove_columns(["vertices", "phones"]),
        encode=tokenizer.encode,
        stream_mix=STREAM_MIX[stage],
        mix_noise=mix,
        augment=loop.augment,
        num_mels=None,
        seed=settings.seed,
    )
    valid = load_prepared(config.prepared, "valid")
    mixtures = ValidationMixtures(valid, NoiseBank(noise, "valid"), loop.valid_snr_db)
    validate = reading_validator(
        lambda network, batch: read_batch(network, batch, tokenizer),  # type: ignore[arg-type]
        valid,
        [
            ValidationCondition(f"{stage}_clean", STREAMS[stage], None),
            ValidationCondition(f"{stage}_noisy", STREAMS[stage], mixtures),
        ],
        accelerator,
        num_mels=None,
    )
    train_whisper(
        model,
        examples,
        validate,
        tokenizer,
        train_config=settings,
        run_folder=config.out / stage,
        accelerator=accelerator,
        info={**info, "corpus_sha256": sha256_file(config.prepared / "corpus.json")},
    )


def decode_stage(config: WhisperGridConfig) -> None:
    """This process's share of the test sentences, both systems, every mixture."""
    rows = load_prepared(config.prepared, "test")
    bank = NoiseBank(ambience_and_babble(config.data), "test")
    manifest = mixture_manifest(rows, bank, config.out, config.loop)
    weights = {name: config.out / name / "best.safetensors" for name in STREAMS}
    facts = {"beam_size": config.beam_size, "mixtures_sha256": manifest.sha256}
    facts |= {f"{name}_sha256": sha256_file(path) for name, path in weights.items()}
    same_run(config.out / "decode.config.json", facts, "hypotheses")
    decode_whispers(
        rows,
        manifest.rows,
        bank,
        [WhisperSystem(f"whisper_{n}", *load_trained_whisper(p)) for n, p in weights.items()],
        config.out / "hypotheses",
        beam_size=config.beam_size,
        process_index=int(os.environ["RANK"]),
        num_processes=int(os.environ["WORLD_SIZE"]),
    )


def report_stage(config: WhisperGridConfig) -> None:
    """Hypotheses to results.json and tables."""
    notes = (
        "GRID s1 is one speaker with 51 words and a closed grammar; training and test sentences "
        "are different sentences of the same speaker (speaker-dependent).",
        "Whisper is fine-tuned and then frozen: the audio-visual system hears with the same ear.",
    )
    results = score_run(
        config.prepared,
        config.out,
        ambience_and_babble(config.data),
        config.loop,
        corpus="GRID s1",
        synthetic=False,
        speaker_dependent=True,
        notes=notes,
    )
    for path in write_tables(results, config.out):
        print(path)


def main(
    stage: Annotated[Stage, tyro.conf.Positional] = "all",
    config: Annotated[WhisperGridConfig, tyro.conf.arg(name="")] = WhisperGridConfig(),
) -> None:
    """Run the recipe, or one of its stages."""
    if command.is_launched():
        command.use_one_thread()
        stage = cast(Stage, command.launched_stage(stage))
        if stage == "decode":
            decode_stage(config)
        else:
            train_stage(stage, config)
        return
    load_info(config.prepared)  # says what is missing before a stage asks for its parts
    for name in ("audio", "audio_visual", "decode", "report") if stage == "all" else (stage,):
        print(f"== {name}", flush=True)
        if name == "report":
            report_stage(config)
            continue
        if name == "decode":  # built once, before the processes read it
            bank = NoiseBank(ambience_and_babble(config.data), "test")
            mixture_manifest(load_prepared(config.prepared, "test"), bank, config.out, config.loop)
        wanted = config.processes or command.default_num_processes(
            config.loop.audio.batches_per_update
        )
        command.launch_stage(__file__, name, wanted)


if __name__ == "__main__":
    run_command(main)
