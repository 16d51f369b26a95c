"""The main job on the embedded corpus: nothing to download, minutes on a laptop.

    python recipes/synthetic/recipe.py all --out runs/demo

espeak-ng speaks, a procedural head says it, Learn2Talk learns lips from speech, and an audio-visual
recogniser reads both under noise. Every figure of this recipe is synthetic: it shows that the path
works from end to end, and says nothing about people.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from avsr.command_line import run_command
from avsr.corpora.synthetic import MAX_SPEAKERS, grid_sentence, say, speakers, wide_sentence
from avsr.data.noise_bank import NoiseConfig, NoiseSplit, split_talkers
from avsr.files import write_wav
from avsr.models.recognizer import RecognizerConfig
from avsr.report import ReportText
from avsr.training.command import default_num_processes
from avsr.training.loop import TrainConfig
from learn2talk.closed_loop import ClosedLoopConfig
from learn2talk.closed_loop_report import score_run, write_run_report
from learn2talk.corpora.synthetic import SyntheticConfig, build
from learn2talk.stages import Recipe, Stage, run_stages
from learn2talk.training import StudentTrainConfig, SyncTrainConfig

BABBLE_SENTENCES = 6  # recordings of each babble talker
NOTES = (
    "Synthetic: speech by espeak-ng, faces by a procedural head. These figures show that the path "
    "works from end to end; they say nothing about people.",
    "Train, valid and test have different synthetic talkers, and babble has others again.",
)


def _training(updates: int, validate_every: int, **changes: float) -> TrainConfig:
    base = TrainConfig(
        max_updates=updates, warmup_updates=60, validate_every=validate_every, max_frames=600
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class DemoConfig:
    """Synthetic recipe: paths, sizes and the protocol."""

    out: Path = Path("runs/demo")
    """Folder of the run; the corpus goes to its subfolder 'prepared'."""
    processes: int = 0
    """Processes of every stage; 0 chooses by GPUs or cores."""
    corpus: SyntheticConfig = field(default_factory=SyntheticConfig)
    """What is spoken, and by how many."""
    loop: ClosedLoopConfig = field(
        default_factory=lambda: ClosedLoopConfig(
            sync=SyncTrainConfig(train=_training(120, 60)),
            student=StudentTrainConfig(train=_training(160, 80)),
            pretrain=_training(700, 100, learning_rate=1.5e-3),
            audio=_training(250, 50, learning_rate=1e-3),
            audio_visual=_training(250, 50, learning_rate=1e-3),
            vocabulary_size=120,
            model=RecognizerConfig(
                vocabulary_size=2, width=96, fused_layers=2, video_channels=(8, 16, 32, 64)
            ),
            noise_types=("babble_4", "pink"),
            snrs_db=(-5.0, 0.0, 5.0),
        )
    )
    """Training and noise protocol."""

    @property
    def prepared(self) -> Path:
        """Folder of the prepared corpus."""
        return self.out / "prepared"

    @property
    def num_processes(self) -> int:
        """How many processes a stage runs in."""
        return self.processes or default_num_processes(self.loop.pretrain.batches_per_update)


def write_babble_talkers(config: DemoConfig) -> None:
    """Recordings of voices that the corpus does not use, for babble."""
    folder = config.out / "noise" / "talkers"
    for speaker in speakers(MAX_SPEAKERS, config.corpus.seed)[config.corpus.num_speakers :]:
        for number in range(BABBLE_SENTENCES):
            path = folder / speaker.speaker_id / f"{number}.wav"
            if path.exists():
                continue
            rng = np.random.default_rng([config.corpus.seed, speaker.index, number])
            sentence = wide_sentence(rng) if number % 2 else grid_sentence(rng)
            waveform = say(sentence, speaker, rng).waveform
            write_wav(path, waveform / max(1.0, float(np.abs(waveform).max())))


def noise_of(config: DemoConfig) -> NoiseConfig:
    """Noise by split: computed noise and babble; no talker serves two splits."""
    root = config.out / "noise"
    pool = [(path, path.parent.name) for path in sorted(root.glob("talkers/*/*.wav"))]
    people = len({speaker for _, speaker in pool})
    held_out = people // 3
    talkers = split_talkers(pool, root, (people - 2 * held_out, held_out, held_out))
    return NoiseConfig(
        root=root,
        train=NoiseSplit(types=("white", "babble_2", "babble_4"), talkers=talkers[0]),
        valid=NoiseSplit(types=("babble_4", "white"), talkers=talkers[1]),
        test=NoiseSplit(types=("babble_4", "pink"), talkers=talkers[2]),
    )


def prepare_stage(config: DemoConfig) -> None:
    """Voices and faces; noise is written first, so that a finished corpus has its noise."""
    write_babble_talkers(config)
    build(config.prepared, config.corpus, num_processes=config.num_processes)


def report_stage(config: DemoConfig) -> None:
    """Hypotheses to results.json, table, plot and page."""
    noise = noise_of(config)
    results = score_run(
        config.prepared,
        config.out,
        noise,
        config.loop,
        corpus="synthetic (espeak-ng and procedural head)",
        synthetic=True,
        speaker_dependent=False,
        notes=NOTES,
    )
    text = ReportText(title="Synthetic demo: WER under noise, with generated faces")
    for path in write_run_report(config.prepared, config.out, noise, results, text).values():
        print(path)


def main(
    stage: Annotated[Stage, tyro.conf.Positional] = "all",
    config: Annotated[DemoConfig, tyro.conf.arg(name="")] = DemoConfig(),
) -> None:
    """Run the recipe, or one of its stages."""
    recipe = Recipe(
        out=config.out,
        prepared=config.prepared,
        loop=config.loop,
        num_processes=config.num_processes,
        noise=lambda: noise_of(config),
        prepare=lambda: prepare_stage(config),
        report=lambda: report_stage(config),
    )
    run_stages(stage, recipe, __file__)


if __name__ == "__main__":
    run_command(main)
