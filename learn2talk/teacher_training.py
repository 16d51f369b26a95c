"""Training of the 2D teacher: a sync expert for mouth pictures, then the talking mouth.

Both go through the toolkit's one training loop, so runs resume and several processes give the
gradient of one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avsr.losses import LossSum
from avsr.metrics import roc_auc
from avsr.training.loop import TrainConfig, make_accelerator, train
from avsr.training.run_folder import provenance, write_run_info
from avsr.training.seed import seed_everything
from learn2talk.data.motion import Part
from learn2talk.data.mouths import MouthBatch, MouthClips, collate_mouths
from learn2talk.losses import sync_loss
from learn2talk.metrics import shifted_windows
from learn2talk.models.picture_sync import PictureSync
from learn2talk.models.student import Student
from learn2talk.models.sync_expert import SyncExpertConfig
from learn2talk.models.talking_mouth import TalkingMouth, TalkingMouthConfig
from learn2talk.mouth_files import load_picture_sync, save_picture_sync, save_talking_mouth
from learn2talk.pretraining import start_with_ear
from learn2talk.training import origin_of, ranked_and_calibrated

STATISTICS_CLIPS = 500  # of which the mean and deviation of the sound are taken


@dataclass(frozen=True)
class PictureSyncConfig:
    """How to train a sync expert for pictures."""

    model: SyncExpertConfig = field(default_factory=SyncExpertConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            max_updates=500,
            warmup_updates=50,
            weight_decay=0.05,
            max_frames=600,
            average_decay=0.98,
            validate_every=100,
        )
    )
    part: Part = "all"
    """Which half of the training split; a loss and a judge take different ones."""
    max_frames: int = 60
    """Of a clip in training, a drawn stretch."""
    min_shift: int = 2
    """Smallest shift of an in-clip negative, frames."""
    bank_size: int = 4
    """Windows of each clip that serve as negatives for the others."""


@dataclass(frozen=True)
class TalkingMouthTrainConfig:
    """How to train a talking mouth. Weights are for one frame; 0 switches a loss off."""

    model: TalkingMouthConfig = field(default_factory=TalkingMouthConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            max_updates=900,
            warmup_updates=50,
            weight_decay=0.02,
            max_frames=240,
            average_decay=0.99,
            validate_every=150,
        )
    )
    max_frames: int = 40
    """Of a clip in training, a drawn stretch."""
    pixel_weight: float = 1.0
    """Of the mean absolute error of pixels in [0, 1]."""
    edge_weight: float = 1.0
    """Of the mean absolute error of differences of neighbouring pixels: sharp lips."""
    sync_weight: float = 0.01
    """Of 1 - cosine in the frozen expert's space; needs a sync expert unless 0."""

    def __post_init__(self) -> None:
        if min(self.pixel_weight, self.edge_weight, self.sync_weight) < 0:
            raise ValueError(f"loss weights must be at least 0: {self}")


def mel_statistics(clips: MouthClips) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each mel band, each (F,), over the first clips."""
    count = min(STATISTICS_CLIPS, len(clips))
    frames = np.concatenate([clips.clip(index).features for index in range(count)])
    return torch.from_numpy(frames.mean(axis=0)), torch.from_numpy(frames.std(axis=0) + 1e-3)


def picture_sync_loss(model: nn.Module, batch: MouthBatch, config: PictureSyncConfig) -> LossSum:
    """InfoNCE and its logistic term, as for SyncNet3D, summed over the tracked windows."""
    out = model(batch.features, batch.crops)
    mask = batch.tracked_mask.unfold(1, config.model.window_frames, 1).all(dim=2)
    return ranked_and_calibrated(
        out,
        mask,
        batch.draw,
        min_shift=config.min_shift,
        bank_size=config.bank_size,
        calibration_weight=1.0,
    )


@torch.no_grad()
def validate_picture_sync(model: nn.Module, clips: MouthClips) -> dict[str, float]:
    """1 - AUC of true against shifted windows (3 to 15 frames), pooled over the clips."""
    assert isinstance(model, PictureSync)
    device = model.mel_mean.device
    true, shifted = [], []
    for index in range(len(clips)):
        batch = collate_mouths([clips.clip(index)]).to(device)
        out = model(batch.features, batch.crops)
        mask = model.window_mask(batch.tracked_mask)[0].cpu().numpy()
        windows = shifted_windows(out.audio[0].cpu().numpy(), out.motion[0].cpu().numpy(), mask)
        true.append(windows.true)
        shifted.append(windows.shifted)
    auc = roc_auc(np.concatenate(true), np.concatenate(shifted))
    return {"auc": auc, "auc_missing": 1.0 - auc}


def picture_errors(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute error of pixels and of neighbours' differences, each (B, T).

    Args:
        prediction, target: float (B, T, H, W) in [0, 1].
    """
    away = prediction - target
    pixels = away.abs().mean((2, 3))
    edges = away.diff(dim=2).abs().mean((2, 3)) + away.diff(dim=3).abs().mean((2, 3))
    return pixels, edges


class TalkingMouthLoss:
    """Pixels, edges and synchrony of a batch, summed over its tracked frames.

    Args:
        config: the weights.
        expert: frozen sync expert for pictures; None where ``config.sync_weight`` is 0.

    Raises:
        ValueError: an expert is missing, or it is a judge.
    """

    def __init__(self, config: TalkingMouthTrainConfig, expert: PictureSync | None) -> None:
        if config.sync_weight > 0 and expert is None:
            raise ValueError(
                f"sync_weight is {config.sync_weight} but there is no sync expert; give its "
                "folder, or set the weight to 0"
            )
        if expert is not None and expert.config.role != "loss":
            raise ValueError(
                f"this sync expert is a {expert.config.role!r}; a network that scores films is "
                "never their loss"
            )
        self.config, self.expert = config, expert

    def __call__(self, model: nn.Module, batch: MouthBatch) -> LossSum:
        """Weighted sum of the losses; the count is the number of tracked frames."""
        config, seen = self.config, batch.tracked_mask
        real = batch.crops.float() / 255
        made = model(batch.features, batch.reference.float() / 255, batch.valid_mask)
        pixels, edges = picture_errors(made, real)
        pixel, edge = (pixels * seen).sum(), (edges * seen).sum()
        total = config.pixel_weight * pixel + config.edge_weight * edge
        logs = {"pixels": float(pixel.detach()), "edges": float(edge.detach())}
        if self.expert is not None and config.sync_weight > 0:
            self.expert.to(made.device)
            with torch.no_grad():
                audio = self.expert.embed_audio(batch.features)
            mouth = self.expert.embed_mouth(made)
            sync = sync_loss(audio, mouth, self.expert.window_mask(batch.valid_mask))
            total = total + config.sync_weight * sync.total
            logs["sync"] = float(sync.total.detach())
        return LossSum(total, int(seen.sum()), logs)


@torch.no_grad()
def validate_talking_mouth(model: nn.Module, clips: MouthClips) -> dict[str, float]:
    """Mean absolute pixel error of the made mouth and of its reference held still, in [0, 1]."""
    device = next(model.parameters()).device
    errors: dict[str, list[np.ndarray]] = {"pixel_error": [], "still_pixel_error": []}
    for index in range(len(clips)):
        batch = collate_mouths([clips.clip(index)]).to(device)
        reference = batch.reference.float() / 255
        made = model(batch.features, reference, batch.valid_mask)
        still = reference[:, None].expand_as(made)
        real, seen = batch.crops.float() / 255, batch.tracked_mask
        for name, pictures in (("pixel_error", made), ("still_pixel_error", still)):
            errors[name].append(picture_errors(pictures, real)[0][seen].cpu().numpy())
    return {name: float(np.concatenate(values).mean()) for name, values in errors.items()}


def train_picture_sync(
    prepared: Path, run_folder: Path, config: PictureSyncConfig | None = None, *, cpu: bool = False
) -> dict[str, Any]:
    """Train a sync expert for mouth pictures; selects by AUC on the validation split.

    Args:
        prepared: prepared corpus of films.
        run_folder: gets checkpoints, metrics and the best network; a stopped run is resumed.
        config: None takes the defaults.
        cpu: stay on the CPU where there is a GPU.

    Returns:
        update and validation metrics of the best network.

    Raises:
        ValueError: the corpus has no usable clip; the loss is not finite.
    """
    config = config or PictureSyncConfig()
    read = partial(
        MouthClips,
        prepared,
        num_mels=config.model.num_mels,
        window_frames=config.model.window_frames,
    )
    clips = read("train", part=config.part, max_frames=config.max_frames, seed=config.train.seed)
    valid = read("valid")
    origin = origin_of(prepared, train=clips, valid=valid)
    write_run_info(run_folder, {"picture_sync": config}, origin)
    seed_everything(config.train.seed, 0)
    model = PictureSync(config.model)
    model.mel_mean, model.mel_std = mel_statistics(clips)

    def save_best(best: nn.Module, metrics: dict[str, float]) -> None:
        assert isinstance(best, PictureSync)
        info = {**origin, **provenance(), "training": asdict(config), "valid": metrics}
        save_picture_sync(run_folder, best, info)

    return train(
        model,
        partial(picture_sync_loss, config=config),
        clips,
        partial(collate_mouths, window_frames=config.model.window_frames),
        lambda network: validate_picture_sync(network, valid),
        selection="auc_missing",
        save_best=save_best,
        config=config.train,
        run_folder=run_folder,
        accelerator=make_accelerator(config.train, cpu=cpu),
    )


def train_talking_mouth(
    prepared: Path,
    run_folder: Path,
    sync_expert: Path | None = None,
    config: TalkingMouthTrainConfig | None = None,
    *,
    ear: Path | None = None,
    cpu: bool = False,
) -> dict[str, Any]:
    """Train a talking mouth on a prepared corpus of films; selects by pixel error.

    Args:
        prepared: prepared corpus with "train" and "valid".
        run_folder: gets checkpoints, metrics and the best network; a stopped run is resumed.
        sync_expert: folder of :func:`train_picture_sync` with role "loss"; None where the sync
            weight is 0.
        config: None takes the defaults.
        ear: folder of `learn2talk.pretraining.pretrain_ear` whose trunk it starts with.
        cpu: stay on the CPU where there is a GPU.

    Returns:
        update and validation metrics of the best network.

    Raises:
        ValueError: no usable clip, no sync expert or a judge; the loss is not finite.
    """
    config = config or TalkingMouthTrainConfig()
    expert, expert_info = None, None
    if sync_expert is not None:
        expert, expert_info = load_picture_sync(sync_expert, "loss")
    window = expert.config.window_frames if expert is not None else 1
    assert config.model.ear.num_mels is not None  # see TalkingMouthConfig
    read = partial(
        MouthClips, prepared, num_mels=config.model.ear.num_mels, window_frames=max(1, window)
    )
    clips = read("train", max_frames=config.max_frames, seed=config.train.seed)
    valid = read("valid")
    batch_loss = TalkingMouthLoss(config, expert)
    origin = origin_of(prepared, train=clips, valid=valid)
    origin["sync_expert_sha256"] = expert_info and expert_info["weights_sha256"]
    seed_everything(config.train.seed, 0)
    model = TalkingMouth(config.model)
    assert isinstance(model.ear, Student)
    model.ear.mel_mean, model.ear.mel_std = mel_statistics(clips)
    if ear is not None:
        origin["ear_sha256"] = start_with_ear(model.ear, ear)["weights_sha256"]
    write_run_info(run_folder, {"talking_mouth": config}, origin)

    def save_best(best: nn.Module, metrics: dict[str, float]) -> None:
        assert isinstance(best, TalkingMouth)
        info = {**origin, **provenance(), "training": asdict(config), "valid": metrics}
        save_talking_mouth(run_folder, best, info)

    return train(
        model,
        batch_loss,
        clips,
        collate_mouths,
        lambda network: validate_talking_mouth(network, valid),
        selection="pixel_error",
        save_best=save_best,
        config=config.train,
        run_folder=run_folder,
        accelerator=make_accelerator(config.train, cpu=cpu),
    )
