"""A student's ear, trained on many voices before it has seen a face.

Recordings of speech without any face are plentiful. A frozen Whisper encoder says what it hears in
each frame, and the student's trunk (all but its last layer) learns to say the same from noisy and
changed sound. Whisper was trained on many thousands of voices, so its vectors say more of the
words than of the voice: a student that starts here moves the lips for voices that no film showed.

Axis letters: B batch, S samples, T frames at 25 fps, F mel bands, D width, W Whisper's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avsr.data.noise_bank import NoiseBank, NoiseConfig, check_disjoint
from avsr.files import load_weights, read_json, save_weights, sha256_file, write_json
from avsr.losses import LossSum
from avsr.training.loop import TrainConfig, make_accelerator, train
from avsr.training.run_folder import provenance, write_run_info
from avsr.training.seed import seed_everything
from avsr.weights import fill
from learn2talk.data.sounds import (
    TARGETS_INFO,
    EarBatch,
    EarExamples,
    Sound,
    SoundChanges,
    collate_ear,
    write_targets,
)
from learn2talk.models.student import Student, StudentConfig

EAR_WEIGHTS, EAR_INFO = "ear.safetensors", "ear.json"
OWN_PARTS = ("vertices.", "styles.")  # of a student, not of its trunk


@dataclass(frozen=True)
class EarConfig:
    """How to train a student's trunk on speech alone."""

    model: StudentConfig = field(default_factory=StudentConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            max_updates=3000,
            warmup_updates=150,
            weight_decay=0.02,
            max_frames=1500,
            average_decay=0.998,
            validate_every=500,
        )
    )
    changes: SoundChanges = field(default_factory=SoundChanges)

    def __post_init__(self) -> None:
        if self.model.num_mels is None or self.model.num_styles:
            raise ValueError(
                "an ear hears log-mel features and knows no styles: leave the model's num_mels a "
                f"number and num_styles 0, not {self.model.num_mels} and {self.model.num_styles}"
            )


class Listener(nn.Module):
    """A student's trunk, and a linear map of what it says to Whisper's vectors."""

    def __init__(self, config: StudentConfig, targets: int) -> None:
        super().__init__()
        self.trunk = Student(config, 1)
        self.trunk.vertices.requires_grad_(False)  # no face yet
        self.to_targets = nn.Linear(config.width, targets)

    def forward(self, features: Tensor, valid_mask: Tensor) -> Tensor:
        """Log-mel (B, 4 T, F) and valid mask (B, T) to vectors (B, T, W)."""
        out: Tensor = self.to_targets(self.trunk.encode(features, valid_mask)[0])
        return out


def distillation_loss(model: nn.Module, batch: EarBatch) -> LossSum:
    """Mean over the vector of the squared error in standard deviations, summed over frames."""
    error = (model(batch.features, batch.valid_mask) - batch.targets).square().mean(-1)
    return LossSum((error * batch.valid_mask).sum(), batch.num_targets)


@torch.no_grad()
def unexplained(model: nn.Module, examples: EarExamples) -> dict[str, float]:
    """Share of the variance of Whisper's vectors that the listener does not say; 1 is nothing."""
    device = next(model.parameters()).device
    total, frames = 0.0, 0
    for index in range(len(examples.sounds)):
        batch = collate_ear([examples.example(index, 0)]).to(device)
        loss = distillation_loss(model, batch)
        total, frames = total + float(loss.total), frames + loss.count
    return {"unexplained": total / frames}


def pretrain_ear(
    sounds: Mapping[str, Sequence[Sound]],
    whisper: Path | str,
    run_folder: Path,
    config: EarConfig | None = None,
    noise: NoiseConfig | None = None,
    *,
    cpu: bool = False,
) -> dict[str, Any]:
    """Train a student's trunk on recordings of many voices; the best by ``unexplained`` is kept.

    Args:
        sounds: recordings of "train" and "valid"; no speaker may be in both.
        whisper: folder or hub id of the Whisper that is listened to.
        run_folder: gets the targets, checkpoints and ``ear.safetensors``; a stopped run goes on.
        config: None takes the defaults.
        noise: mixed into the training sounds, None for none.
        cpu: stay on the CPU where there is a GPU.

    Returns:
        update and validation metrics of the best trunk.

    Raises:
        ValueError: a speaker in both splits, an empty split, unreadable recordings.
    """
    config = config or EarConfig()
    voices = {split: {sound.speaker for sound in part} for split, part in sounds.items()}
    if set(sounds) != {"train", "valid"} or not all(sounds.values()):
        raise ValueError(f"sounds are {sorted(sounds)}; give recordings of train and of valid")
    if both := sorted(voices["train"] & voices["valid"]):
        raise ValueError(f"speakers {both[:3]} are in train and valid; give other ones to valid")
    accelerator = make_accelerator(config.train, cpu=cpu)
    if accelerator.is_main_process:
        write_targets([*sounds["train"], *sounds["valid"]], whisper, run_folder)
    accelerator.wait_for_everyone()
    bank = None
    if noise is not None:
        check_disjoint(noise)
        bank = NoiseBank(noise, "train")
        bank.warm()
    assert config.model.num_mels is not None  # see EarConfig
    make = partial(EarExamples, folder=run_folder, num_mels=config.model.num_mels)
    examples = make(sounds["train"], changes=config.changes, noise=bank, seed=config.train.seed)
    valid = make(sounds["valid"], changes=None, statistics=examples.statistics)
    facts = {
        "targets_sha256": read_json(run_folder / TARGETS_INFO)["sha256"],
        "voices": {split: len(names) for split, names in voices.items()},
        "sounds": {split: len(part) for split, part in sounds.items()},
        "hours": sum(examples.num_frames) / 25 / 3600,
    }
    write_run_info(run_folder, {"ear": config}, facts)
    seed_everything(config.train.seed, 0)
    model = Listener(config.model, examples.vectors.shape[1])
    model.trunk.mel_mean, model.trunk.mel_std = mel_statistics(examples)

    def save_best(best: nn.Module, metrics: dict[str, float]) -> None:
        assert isinstance(best, Listener)
        info = {**facts, **provenance(), "training": asdict(config), "valid": metrics}
        save_ear(run_folder, best.trunk, info)

    return train(
        model,
        distillation_loss,
        examples,
        collate_ear,
        lambda network: unexplained(network, valid),
        selection="unexplained",
        save_best=save_best,
        config=config.train,
        run_folder=run_folder,
        accelerator=accelerator,
    )


def mel_statistics(examples: EarExamples, most: int = 500) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each mel band, each (F,), over the first recordings."""
    first = [examples.example(i, 0).features for i in range(min(most, len(examples.sounds)))]
    frames = np.concatenate(first)
    return torch.from_numpy(frames.mean(axis=0)), torch.from_numpy(frames.std(axis=0) + 1e-3)


def save_ear(folder: Path, trunk: Student, provenance_: dict[str, Any]) -> None:
    """Write a trunk, without the last layer, as ``ear.safetensors`` and ``ear.json``."""
    state = {n: t for n, t in trunk.state_dict().items() if not n.startswith(OWN_PARTS)}
    save_weights(folder / EAR_WEIGHTS, state)
    info = {
        "kind": "ear",
        "config": asdict(trunk.config),
        "weights_sha256": sha256_file(folder / EAR_WEIGHTS),
        "provenance": provenance_,
    }
    write_json(folder / EAR_INFO, info)


def start_with_ear(student: Student, folder: Path | str) -> dict[str, Any]:
    """Give a student the trunk of :func:`pretrain_ear`; its last layer stays as it is.

    Returns:
        the trunk's provenance, with ``weights_sha256``.

    Raises:
        ValueError: no such folder, another shape, damaged weights; names the file.
    """
    folder = Path(folder)
    if not (folder / EAR_INFO).is_file():
        raise ValueError(f"{folder}: has no {EAR_INFO}; make one with 'learn2talk train ear'")
    info = read_json(folder / EAR_INFO)
    # Dropout is a matter of training, and styles are the student's own.
    free = {"dropout": student.config.dropout, "num_styles": student.config.num_styles}
    known = StudentConfig(**{**info["config"], **free})
    if known != student.config:
        raise ValueError(
            f"{folder / EAR_INFO}: was trained as {known}, the student is {student.config}; give "
            "the student the same sizes"
        )
    if sha256_file(folder / EAR_WEIGHTS) != info["weights_sha256"]:
        raise ValueError(f"{folder / EAR_WEIGHTS}: is not the file that ear.json tells of")
    state, _ = load_weights(folder / EAR_WEIGHTS)
    own = {n: t for n, t in student.state_dict().items() if n.startswith(OWN_PARTS)}
    fill(student, {**state, **own}, folder / EAR_WEIGHTS)
    return dict(info["provenance"]) | {"weights_sha256": info["weights_sha256"]}
