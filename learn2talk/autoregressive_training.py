"""Training of the autoregressive baseline, through the toolkit's one training loop.

As in the paper (Fan et al., CVPR 2022, section 3.4) the motion that goes back into the decoder is
the network's own: the whole utterance is rolled out, and the squared error goes back through all of
it. There, an update is one utterance; here a batch with masks, which is the same sum.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from avsr.data.noise_bank import NoiseConfig
from avsr.losses import LossSum
from avsr.training.loop import TrainConfig, make_accelerator, train
from avsr.training.run_folder import provenance, write_run_info
from avsr.training.seed import seed_everything
from learn2talk.data.hearing import HearingConfig, load_encoder, noise_mixer
from learn2talk.data.motion import (
    MotionAugment,
    MotionClips,
    collate_motion,
    mean_template,
)
from learn2talk.data.styles import SpeakerStyles, StyleTraining
from learn2talk.files import save_student
from learn2talk.losses import vertex_loss
from learn2talk.models.autoregressive import AutoregressiveConfig, AutoregressiveStudent
from learn2talk.schema import MotionBatch
from learn2talk.training import (
    check_counted,
    check_share,
    moved_by,
    noise_facts,
    origin_of,
    prepare_model,
    speakers_of,
    validate_student,
)


@dataclass(frozen=True)
class AutoregressiveTrainConfig:
    """How to train the baseline. The data, the encoder and the budget are the student's."""

    model: AutoregressiveConfig = field(default_factory=AutoregressiveConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            max_updates=900,
            warmup_updates=50,
            weight_decay=0.02,
            max_frames=600,
            average_decay=0.99,
            validate_every=150,
        )
    )
    augment: MotionAugment = field(default_factory=MotionAugment)
    silence_share: float = 0.1
    """Of the training clips that get a stretch of silence, with a mouth at rest; 0: none."""
    hearing: HearingConfig = field(default_factory=HearingConfig)
    """A pretrained speech encoder in place of log-mel features; how loud noise is, if given."""
    styles: StyleTraining = field(default_factory=StyleTraining)
    """Styles of the training speakers; off unless per_speaker."""

    def __post_init__(self) -> None:
        check_counted(self.model.num_styles, self.model.speech_encoder)
        check_share(self.silence_share)


def roll_out_loss(model: nn.Module, batch: MotionBatch, styles: SpeakerStyles | None) -> LossSum:
    """Squared vertex error of the roll-out, mm^2, summed over the tracked frames."""
    moved = moved_by(model, batch, styles)
    error = vertex_loss(moved, batch.displacement, batch.tracked_mask)
    return LossSum(error.total, batch.num_targets, {"vertex_mm2": float(error.total.detach())})


def train_autoregressive(
    prepared: Path,
    run_folder: Path,
    config: AutoregressiveTrainConfig | None = None,
    *,
    noise: NoiseConfig | None = None,
    cpu: bool = False,
) -> dict[str, Any]:
    """Train the baseline on a prepared corpus; selects as `learn2talk.training.train_student` does.

    Args:
        prepared: prepared corpus with "train" and "valid".
        run_folder: gets checkpoints, metrics and the best network, which `load_student` reads; a
            stopped run is resumed.
        config: None takes the defaults.
        noise: mixed into what the network hears; None trains on the speech as it is.
        cpu: stay on the CPU where there is a GPU.

    Returns:
        update and validation metrics of the best network.

    Raises:
        ValueError: no usable clip; no such speech encoder; noise that cannot be used; the loss is
            not finite.
    """
    config = config or AutoregressiveTrainConfig()
    # The last layer alone, as in the paper.
    encoder, encoder_weights = load_encoder(config.hearing, weighted_layers=False)
    assert config.model.num_mels is not None  # see check_counted
    read = partial(
        MotionClips,
        prepared,
        num_mels=config.model.num_mels,
        waveforms=encoder is not None,
    )
    mixer = noise_mixer(noise, config.hearing)
    clips = read(
        "train",
        augment=config.augment,
        seed=config.train.seed,
        mix_noise=mixer,
        silence_share=config.silence_share,
    )
    valid = read("valid")
    template = mean_template([clips.templates[name] for name in speakers_of(clips)])
    lip_positions = np.searchsorted(clips.animated_ids, template.lip_ids)
    styles = SpeakerStyles(clips.clips, config.styles) if config.styles.per_speaker else None
    origin = origin_of(prepared, train=clips, valid=valid) | noise_facts(noise)
    write_run_info(run_folder, {"autoregressive": config}, origin)
    seed_everything(config.train.seed, 0)
    shape = replace(config.model, num_styles=len(styles.names) if styles else 0)
    if encoder is not None:
        shape = replace(shape, num_mels=None, speech_encoder=encoder)
    model = AutoregressiveStudent(shape, len(clips.animated_ids))
    prepare_model(model, clips, styles, encoder_weights)

    def save_best(best: nn.Module, metrics: dict[str, float]) -> None:
        assert isinstance(best, AutoregressiveStudent)
        info = {**origin, **provenance(), "training": asdict(config), "valid": metrics}
        names = styles.names if styles else ()
        save_student(run_folder, best, template, clips.animated_ids, info, names)

    return train(
        model,
        partial(roll_out_loss, styles=styles),
        clips,
        collate_motion,
        lambda network: validate_student(network, valid, lip_positions),
        selection="lip_error_mm",
        save_best=save_best,
        config=config.train,
        run_folder=run_folder,
        accelerator=make_accelerator(config.train, cpu=cpu),
    )
