"""Training of a PoseVAE: how heads move that say something, from a corpus of tracked films.

It goes through the toolkit's one training loop, so a run resumes and several processes give the
gradient of one. Figures stand beside a head that stays where it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avsr.files import read_json
from avsr.losses import LossSum
from avsr.training.loop import TrainConfig, make_accelerator, train
from avsr.training.run_folder import provenance, write_run_info
from avsr.training.seed import seed_everything
from learn2talk.data.head_motion import HeadAugment, HeadBatch, HeadClip, HeadClips, collate_heads
from learn2talk.head_motion_files import save_head_motion
from learn2talk.losses import gaussian_kl, pose_loss, pose_velocity_loss
from learn2talk.metrics.head import (
    angular_speeds_deg_s,
    distribution_distance,
    pose_errors,
    pose_spread,
)
from learn2talk.models.head_motion import PREDICTED, HeadMotionConfig, PoseVAE
from learn2talk.training import origin_of

SLOW_FRAMES = 5  # 0.2 s: over one frame a tracker's jitter counts as movement
SPREAD_FLOOR = 1e-4  # rad and mm: a number that never changes


@dataclass(frozen=True)
class HeadMotionTrainConfig:
    """How to train a PoseVAE. Weights are for one frame, poses in units of their spread."""

    model: HeadMotionConfig = field(default_factory=HeadMotionConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            max_updates=900,
            warmup_updates=50,
            weight_decay=0.02,
            max_frames=1500,
            batches_per_update=1,
            average_decay=0.99,
            validate_every=150,
        )
    )
    augment: HeadAugment = field(default_factory=HeadAugment)
    velocity_weight: float = 2.0
    """Of the squared error of the frame-to-frame movement, beside 1 of that of the pose."""
    kl_weight: float = 0.04
    """Of the posterior's divergence from the prior, 1 / nat: lower is nearer to the clips, higher
    makes draws of the prior more like them."""

    def __post_init__(self) -> None:
        if min(self.velocity_weight, self.kl_weight) < 0:
            raise ValueError(f"loss weights must be at least 0: {self}")


def head_motion_loss(
    model: nn.Module, batch: HeadBatch, config: HeadMotionTrainConfig, noisy: bool = True
) -> LossSum:
    """Reconstruction, velocity and KL of a batch, summed over its tracked frames.

    Args:
        model: a PoseVAE, or what wraps it.
        batch: its `draw` seeds the latents.
        config: weights of the losses.
        noisy: False takes the posterior's mean.
    """
    latents = (batch.pose.shape[1] - 1) // config.model.latent_frames + 2
    shape = (len(batch.pose), latents, config.model.latent)
    noise = torch.zeros(shape)
    if noisy:
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(batch.draw))
    out = model(
        batch.features, batch.pose, batch.valid_mask, batch.tracked_mask, noise.to(batch.pose)
    )
    spread = _bare(model).pose_spread
    pose = pose_loss(out.pose, batch.pose, spread, batch.tracked_mask)
    velocity = pose_velocity_loss(out.pose, batch.pose, spread, batch.tracked_mask)
    kl = gaussian_kl(out.mean, out.log_variance, out.latent_mask)
    total = pose.total + config.velocity_weight * velocity.total + config.kl_weight * kl.total
    logs = {"pose": pose.total, "velocity": velocity.total, "kl_nats": kl.total}
    return LossSum(total, batch.num_targets, {k: float(v.detach()) for k, v in logs.items()})


def _bare(model: nn.Module) -> PoseVAE:
    """The network inside what distributes it."""
    bare = model.module if hasattr(model, "module") else model
    assert isinstance(bare, PoseVAE)
    return bare


@torch.no_grad()
def validate_head_motion(
    model: nn.Module, clips: HeadClips, config: HeadMotionTrainConfig
) -> dict[str, float]:
    """The loss per frame with the posterior's mean, and the figures of `head_figures`."""
    device = next(model.parameters()).device
    total, count = 0.0, 0
    made, drawn = [], []
    for clip in clips.clips:
        batch = collate_heads([clip]).to(device)
        loss = head_motion_loss(model, batch, config, noisy=False)
        total, count = total + float(loss.total), count + loss.count
        made.append(reconstructed(_bare(model), batch))
        drawn.append(sampled(_bare(model), clip, config.train.seed))
    return {"loss": total / count, **head_figures(clips.clips, made, drawn)}


def reconstructed(model: PoseVAE, batch: HeadBatch) -> np.ndarray:
    """Poses (T, 6) of a batch of one clip from the mean of its posterior."""
    shape = (1, model.num_latents(batch.pose.shape[1]), model.config.latent)
    noise = torch.zeros(shape, device=batch.pose.device)
    out = model(batch.features, batch.pose, batch.valid_mask, batch.tracked_mask, noise)
    poses: np.ndarray = out.pose[0].float().cpu().numpy()
    return poses


def sampled(model: PoseVAE, clip: HeadClip, seed: int) -> np.ndarray:
    """Poses (T, 6) drawn from the prior for a clip's sound and start pose."""
    device = model.mel_mean.device
    words = [ord(letter) for letter in clip.utterance_id]  # another draw for each clip
    number = int(np.random.default_rng([seed, *words]).integers(2**31))
    features, start = (torch.from_numpy(a).to(device) for a in (clip.features, clip.pose[0]))
    drawn = model.sample(features, start, torch.Generator().manual_seed(number))
    poses: np.ndarray = drawn.cpu().numpy()
    return poses


def head_figures(
    clips: Sequence[HeadClip], made: Sequence[np.ndarray], drawn: Sequence[np.ndarray]
) -> dict[str, float]:
    """Errors of reconstructions, and how draws of the prior move beside how the heads did.

    Args:
        clips: the truth.
        made: reconstructions (T, 6).
        drawn: draws of the prior (T, 6).

    Returns:
        ``reconstruction_deg``, ``_mm``: mean error over tracked frames but the first, which is
        given; ``still_deg``, ``_mm``: the same of a head that keeps its start pose.
        ``<who>_speed_deg_s``: mean angular speed from frame to frame (a tracker's jitter counts in
        the truth), ``<who>_slow_speed_deg_s``: over 0.2 s, ``<who>_spread_deg``, ``_mm``: mean over
        clips of the root mean square distance from the clip's mean pose, for the truth and for
        draws ("drawn"); a still head has 0 in all. ``drawn_speed_distance_deg_s``,
        ``still_speed_distance_deg_s``: Wasserstein distance of the speeds over 0.2 s from the
        truth's; lower is more alike.
    """
    still = [np.repeat(clip.pose[:1], clip.num_frames, axis=0) for clip in clips]
    figures: dict[str, float] = {}
    for name, poses in (("reconstruction", made), ("still", still)):
        errors = [
            np.stack(pose_errors(reference=clip.pose, prediction=pose))[:, 1:][:, clip.tracked[1:]]
            for clip, pose in zip(clips, poses, strict=True)
        ]
        degrees, distance = np.concatenate(errors, axis=1).mean(axis=1)
        figures |= {f"{name}_deg": float(degrees), f"{name}_mm": float(distance)}
    slow = {}
    truth = [clip.pose for clip in clips]
    for name, poses in (("truth", truth), ("drawn", drawn), ("still", still)):
        pairs = [(pose, clip.tracked) for pose, clip in zip(poses, clips, strict=True)]
        speeds = np.concatenate([angular_speeds_deg_s(*pair) for pair in pairs])
        slow[name] = np.concatenate(
            [angular_speeds_deg_s(*pair, step=SLOW_FRAMES) for pair in pairs]
        )
        if name != "truth" and len(slow[name]):
            distance = distribution_distance(slow[name], slow["truth"])
            figures[f"{name}_speed_distance_deg_s"] = distance
        if name != "still" and len(slow[name]):
            spread_deg, spread_mm = np.mean([pose_spread(*pair) for pair in pairs], axis=0)
            figures |= {
                f"{name}_speed_deg_s": float(speeds.mean()),
                f"{name}_slow_speed_deg_s": float(slow[name].mean()),
                f"{name}_spread_deg": float(spread_deg),
                f"{name}_spread_mm": float(spread_mm),
            }
    return figures


def train_head_motion(
    prepared: Path,
    run_folder: Path,
    config: HeadMotionTrainConfig | None = None,
    *,
    cpu: bool = False,
) -> dict[str, Any]:
    """Train a PoseVAE on a prepared corpus; selects by the loss on its validation split.

    Args:
        prepared: prepared corpus with "train" and "valid"; clips without a head pose are left out
            and listed in the run's facts.
        run_folder: gets checkpoints, metrics and the best network; a stopped run is resumed.
        config: None takes the defaults.
        cpu: stay on the CPU where there is a GPU.

    Returns:
        update and validation metrics of the best network.

    Raises:
        ValueError: no clip of a split has a head pose; the loss is not finite.
    """
    config = config or HeadMotionTrainConfig()
    read = partial(HeadClips, prepared, num_mels=config.model.num_mels)
    clips = read("train", augment=config.augment, seed=config.train.seed)
    valid = read("valid")
    facts = origin_of(prepared, train=clips, valid=valid)
    write_run_info(run_folder, {"head_motion": config}, facts)
    seed_everything(config.train.seed, 0)
    model = PoseVAE(config.model)
    model.mel_mean, model.mel_std, model.pose_spread = statistics_of(clips)

    def save_best(best: nn.Module, metrics: dict[str, float]) -> None:
        assert isinstance(best, PoseVAE)
        info = {**facts, **provenance(), "training": asdict(config), "valid": metrics}
        save_head_motion(run_folder, best, info)

    return train(
        model,
        partial(head_motion_loss, config=config),
        clips,
        collate_heads,
        lambda network: validate_head_motion(network, valid, config),
        selection="loss",
        save_best=save_best,
        config=config.train,
        run_folder=run_folder,
        accelerator=make_accelerator(config.train, cpu=cpu),
    )


def left_out(run_folder: Path) -> dict[str, int]:
    """How many clips of each split a run left out; their names and reasons are in its run.json."""
    excluded = read_json(run_folder / "run.json")["excluded"]
    return {split: len(rows) for split, rows in excluded.items()}


def statistics_of(clips: HeadClips) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and deviation of the mel bands, (F,) each, and deviation of the pose, (5,)."""
    frames = np.concatenate([clip.features for clip in clips.clips])
    poses = np.concatenate([clip.pose[clip.tracked] for clip in clips.clips])
    spread = np.sqrt(np.square(poses[:, :PREDICTED].astype(np.float64)).mean(axis=0))
    return (
        torch.from_numpy(frames.mean(axis=0)),
        torch.from_numpy(frames.std(axis=0) + 1e-3),
        torch.from_numpy(np.maximum(spread, SPREAD_FLOOR).astype(np.float32)),
    )
