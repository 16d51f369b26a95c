"""Training of sync experts and students on a prepared corpus.

Both go through the toolkit's one training loop (`avsr.training.loop`), so runs resume and several
processes give the gradient of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from avsr.data.noise_bank import NoiseConfig
from avsr.files import read_json, sha256_file
from avsr.losses import LossSum
from avsr.metrics import roc_auc
from avsr.training.hub import recognizer_file
from avsr.training.loop import TrainConfig, make_accelerator, train
from avsr.training.recognizer import load_recognizer
from avsr.training.run_folder import provenance, write_run_info
from avsr.training.seed import seed_everything
from learn2talk.balance import BALANCES, Balance, balanced
from learn2talk.data.head_motion import HeadClips
from learn2talk.data.hearing import HearingConfig, load_encoder, noise_mixer
from learn2talk.data.motion import (
    MotionAugment,
    MotionClips,
    Part,
    collate_motion,
    mean_template,
)
from learn2talk.data.mouths import MouthClips
from learn2talk.data.styles import SpeakerStyles, StyleTraining
from learn2talk.files import load_student, load_sync_expert, save_student, save_sync_expert
from learn2talk.lip_reading import LipReading
from learn2talk.losses import (
    calibrated_sync_loss,
    contrastive_sync_loss,
    margin_sync_loss,
    sync_loss,
    velocity_loss,
    vertex_loss,
)
from learn2talk.metrics import mean_vertex_errors_mm, shifted_windows
from learn2talk.models.autoregressive import AutoregressiveStudent
from learn2talk.models.layers import rigid_free_motion
from learn2talk.models.lip_reader import LipReadNet
from learn2talk.models.student import Student, StudentConfig
from learn2talk.models.sync_expert import SyncExpertConfig, SyncNet3D, SyncOutput
from learn2talk.pretraining import start_with_ear
from learn2talk.schema import MotionBatch

STD_FLOOR_MM = 0.05  # below a tracker's noise: a lip coordinate that never moves says nothing


@dataclass(frozen=True)
class SyncTrainConfig:
    """How to train a sync expert."""

    model: SyncExpertConfig = field(default_factory=SyncExpertConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            max_updates=500,
            warmup_updates=50,
            weight_decay=0.05,
            max_frames=1000,
            average_decay=0.98,
            validate_every=100,
        )
    )
    augment: MotionAugment = field(default_factory=MotionAugment)
    part: Part = "all"
    """Which half of the training split; the loss and the judge take different ones."""
    min_shift: int = 2
    """Smallest shift of an in-clip negative, frames."""
    bank_size: int = 4
    """Windows of each clip that serve as negatives for the others."""
    calibration_weight: float = 1.0
    """Weight of the logistic term beside InfoNCE."""
    objective: Literal["info_nce", "margin"] = "info_nce"
    """InfoNCE with the logistic term, or the paper's contrastive loss with a margin alone."""
    margin: float = 1.2
    """Distance of unit vectors that a negative should have, for the margin objective; in (0, 2]."""

    def __post_init__(self) -> None:
        if self.objective not in ("info_nce", "margin"):
            raise ValueError(f"objective {self.objective!r} is not info_nce or margin")
        if not 0 < self.margin <= 2:
            raise ValueError(f"margin {self.margin} must be in (0, 2]")


@dataclass(frozen=True)
class StudentTrainConfig:
    """How to train a student. Weights are for one frame; 0 switches a loss off."""

    model: StudentConfig = field(default_factory=StudentConfig)
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
    vertex_weight: float = 1.0
    """Of the squared vertex error, 1 / mm^2."""
    velocity_weight: float = 2.0
    """Of the squared error of the frame-to-frame movement, 1 / (mm per frame)^2."""
    sync_weight: float = 0.1
    """Of 1 - cosine in the frozen sync expert's space; needs a sync expert unless 0."""
    lip_reading_weight: float = 0.0
    """Of 1 - cosine of what a lip reader sees in the drawn and in the real mouth; needs
    `lip_reader` unless 0."""
    lip_reader: str | None = None
    """Recogniser that sees mouth crops: a file, a published folder, or owner/name on the Hub."""
    lip_reading_frames: int = 25
    """Length of the random stretch of each clip that is drawn in an update, frames."""
    balance: Balance = "fixed"
    """How sync and lip-reading loss stand beside the vertex losses: by their weights, or with these
    as shares of the vertex losses' gradient at the output (see `learn2talk.balance`)."""
    silence_share: float = 0.1
    """Of the training clips that get a stretch of silence, with a mouth at rest; 0: none."""
    hearing: HearingConfig = field(default_factory=HearingConfig)
    """A pretrained speech encoder in place of log-mel features; how loud noise is, if given."""
    styles: StyleTraining = field(default_factory=StyleTraining)
    """Styles of the training speakers; off unless per_speaker."""

    def __post_init__(self) -> None:
        weights = self.vertex_weight, self.velocity_weight, self.sync_weight
        if min(*weights, self.lip_reading_weight) < 0:
            raise ValueError(f"loss weights must be at least 0: {self}")
        if self.lip_reading_weight > 0 and self.lip_reader is None:
            raise ValueError(
                f"lip_reading_weight is {self.lip_reading_weight} but there is no lip_reader; give "
                "a recogniser's file with --config.lip-reader, or set the weight to 0"
            )
        if self.lip_reading_frames < 1:
            raise ValueError(f"lip_reading_frames is {self.lip_reading_frames}; give 1 or more")
        if self.balance not in BALANCES:
            raise ValueError(f"balance {self.balance!r} is not one of {', '.join(BALANCES)}")
        check_counted(self.model.num_styles, self.model.speech_encoder)
        check_share(self.silence_share)


def check_share(silence_share: float) -> None:
    """Refuse a share of silence outside [0, 1]."""
    if not 0.0 <= silence_share <= 1.0:
        raise ValueError(f"silence_share is {silence_share}; give a share in [0, 1], 0 for none")


def check_counted(num_styles: int, speech_encoder: str | None) -> None:
    """Refuse what training finds out itself: the number of speakers, the encoder's shape."""
    if num_styles:
        raise ValueError(
            f"model.num_styles is {num_styles}; training counts the speakers: set "
            "styles.per_speaker instead"
        )
    if speech_encoder is not None:
        raise ValueError(
            "model.speech_encoder would have random weights; name the pretrained encoder with "
            "hearing.speech_encoder instead"
        )


NAMED_LATER = (  # settings that older runs do not name
    "hearing",
    "styles",
    "lip_reading_weight",
    "lip_reader",
    "lip_reading_frames",
    "balance",
    "objective",
    "margin",
)


def config_facts(config: StudentTrainConfig | SyncTrainConfig) -> dict[str, Any]:
    """The configuration JSON-ready, without what is at its default and older runs do not name."""
    facts, plain = asdict(config), type(config)()
    for name in NAMED_LATER:
        if name in facts and getattr(config, name) == getattr(plain, name):
            del facts[name]
    if facts.get("silence_share") == 0.0:  # runs of before had none
        del facts["silence_share"]
    for name in ("num_styles", "speech_encoder"):  # see check_counted: at their defaults
        facts["model"].pop(name, None)
    return facts


def sync_batch_loss(model: nn.Module, batch: MotionBatch, config: SyncTrainConfig) -> LossSum:
    """Contrastive loss of a batch, summed over its tracked windows."""
    out = model(batch.features, batch.lips, batch.neutral_lips)
    window_mask = batch.tracked_mask.unfold(1, config.model.window_frames, 1).all(dim=2)
    if config.objective == "margin":
        # Scale and bias belong to InfoNCE; times 0 they keep a gradient, as all processes expect.
        unused = 0.0 * (out.scale + out.bias)
        loss = margin_sync_loss(
            out.audio,
            out.motion,
            window_mask,
            margin=config.margin,
            min_shift=config.min_shift,
            bank_size=config.bank_size,
            generator=torch.Generator().manual_seed(batch.draw),
        )
        logs = {"margin": float(loss.total.detach())}
        return LossSum(loss.total + unused, loss.count, logs)
    return ranked_and_calibrated(
        out,
        window_mask,
        batch.draw,
        min_shift=config.min_shift,
        bank_size=config.bank_size,
        calibration_weight=config.calibration_weight,
    )


def ranked_and_calibrated(
    out: SyncOutput,
    window_mask: Tensor,
    draw: int,
    *,
    min_shift: int,
    bank_size: int,
    calibration_weight: float,
) -> LossSum:
    """InfoNCE and its logistic term of a sync expert's output, whatever it sees of a mouth."""
    contrast = contrastive_sync_loss(
        out.audio,
        out.motion,
        window_mask,
        out.scale,
        min_shift=min_shift,
        bank_size=bank_size,
        generator=torch.Generator().manual_seed(draw),
    )
    calibrated = calibrated_sync_loss(
        out.audio, out.motion, window_mask, out.scale, out.bias, min_shift=min_shift
    )
    return LossSum(
        contrast.total + calibration_weight * calibrated.total,
        contrast.count,
        {
            "info_nce": float(contrast.total.detach()),
            "calibration": float(calibrated.total.detach()),
        },
    )


class StudentLoss:
    """Vertex, velocity, sync and lip-reading loss of a batch, summed over its tracked frames.

    Args:
        config: the weights.
        lip_positions: (40,) where the canonical lip points are among the animated vertices.
        expert: frozen sync expert; None where `config.sync_weight` is 0.
        lip_reading: the lip-reading term; None where `config.lip_reading_weight` is 0.
        styles: of the training speakers; None for a student without styles.

    Raises:
        ValueError: an expert is missing, or it is a judge; the lip-reading term is missing.
    """

    def __init__(
        self,
        config: StudentTrainConfig,
        lip_positions: np.ndarray,
        expert: SyncNet3D | None,
        styles: SpeakerStyles | None = None,
        lip_reading: LipReading | None = None,
    ) -> None:
        if config.sync_weight > 0 and expert is None:
            raise ValueError(
                f"sync_weight is {config.sync_weight} but there is no sync expert; "
                "give its folder with --sync-expert, or set --config.sync-weight 0"
            )
        if expert is not None and expert.config.role != "loss":
            raise ValueError(
                f"this sync expert is a {expert.config.role!r}; a network that scores students is "
                "never their loss, train one with --config.model.role loss"
            )
        if config.lip_reading_weight > 0 and lip_reading is None:
            raise ValueError(
                f"lip_reading_weight is {config.lip_reading_weight} but there is no lip reader; "
                "give a recogniser's file with --config.lip-reader"
            )
        self.config, self.expert, self.styles = config, expert, styles
        self.lip_reading = lip_reading
        self.lip_positions = torch.from_numpy(lip_positions.astype(np.int64))

    def __call__(self, model: nn.Module, batch: MotionBatch) -> LossSum:
        """Weighted sum of the losses; the count is the number of tracked frames."""
        moved = moved_by(model, batch, self.styles)
        vertex = vertex_loss(moved, batch.displacement, batch.tracked_mask)
        velocity = velocity_loss(moved, batch.displacement, batch.tracked_mask)
        first = (
            self.config.vertex_weight * vertex.total + self.config.velocity_weight * velocity.total
        )
        others: dict[str, tuple[Tensor, float]] = {}
        logs = {"vertex_mm2": float(vertex.total.detach())}
        logs["velocity_mm2"] = float(velocity.total.detach())
        if self.expert is not None and self.config.sync_weight > 0:
            self.expert.to(moved.device)
            lips = batch.neutral_lips[:, None] + moved[:, :, self.lip_positions.to(moved.device)]
            with torch.no_grad():
                audio = self.expert.embed_audio(batch.features)
            motion = self.expert.embed_motion(lips, batch.neutral_lips)
            sync = sync_loss(audio, motion, self.expert.window_mask(batch.valid_mask))
            others["sync"] = sync.total, self.config.sync_weight
            logs["sync"] = float(sync.total.detach())
        if self.lip_reading is not None and self.config.lip_reading_weight > 0:
            read = self.lip_reading(moved, batch)
            # Only stretches are drawn: their mean stands for all the tracked frames.
            whole = read.total * (batch.num_targets / max(read.count, 1))
            others["lip_reading"] = whole, self.config.lip_reading_weight
            logs["lip_reading"] = float(whole.detach())
        total = balanced(moved, first, others, self.config.balance)
        return LossSum(total, batch.num_targets, logs)


def moved_by(model: nn.Module, batch: MotionBatch, styles: SpeakerStyles | None) -> Tensor:
    """What a student makes of a batch, (B, T, R, 3) mm; with styles, each utterance in one."""
    style = None
    if styles is not None:
        drawn = styles.drawn(batch.utterance_ids, batch.speaker_ids, batch.draw)
        style = drawn.to(batch.features.device)
    moved: Tensor = model(batch.student_features, batch.valid_mask, style)
    return moved


def mel_statistics(clips: MotionClips) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each mel band over a training set, each (F,)."""
    frames = np.concatenate([clip.features for clip in clips.clips])
    return torch.from_numpy(frames.mean(axis=0)), torch.from_numpy(frames.std(axis=0) + 1e-3)


def motion_spread(clips: MotionClips) -> Tensor:
    """Standard deviation of each rigid-free lip coordinate over tracked frames, (120,), mm."""
    parts = []
    for clip in clips.clips:
        lips = torch.from_numpy(clip.lips)[None]
        motion = rigid_free_motion(lips, torch.from_numpy(clip.neutral_lips)[None])[0]
        parts.append(motion[torch.from_numpy(clip.tracked)])
    return torch.cat(parts).std(dim=0).clamp_min(STD_FLOOR_MM)


@torch.no_grad()
def validate_sync_expert(model: nn.Module, clips: MotionClips) -> dict[str, float]:
    """1 - AUC of true against shifted windows (3 to 15 frames), pooled over the clips."""
    assert isinstance(model, SyncNet3D)
    device = model.mel_mean.device
    true, shifted = [], []
    for clip in clips.clips:
        batch = collate_motion([clip]).to(device)
        out = model(batch.features, batch.lips, batch.neutral_lips)
        mask = model.window_mask(batch.tracked_mask)[0].cpu().numpy()
        windows = shifted_windows(out.audio[0].cpu().numpy(), out.motion[0].cpu().numpy(), mask)
        true.append(windows.true)
        shifted.append(windows.shifted)
    auc = roc_auc(np.concatenate(true), np.concatenate(shifted))
    return {"auc": auc, "auc_missing": 1.0 - auc}


@torch.no_grad()
def validate_student(
    model: nn.Module, clips: MotionClips, lip_positions: np.ndarray
) -> dict[str, float]:
    """Mean lip error and mean error of the animated vertices over tracked frames, mm.

    A student with styles has the average one: nobody's of the validation split is known.
    """
    assert isinstance(model, (Student, AutoregressiveStudent))
    device = next(model.parameters()).device
    lips: list[np.ndarray] = []
    face: list[np.ndarray] = []
    for clip in clips.clips:
        heard = torch.from_numpy(clip.student_features(model.config.num_mels))
        moved = model(heard[None].to(device))[0].cpu().numpy()
        made, real = moved[clip.tracked], clip.displacement[clip.tracked]
        face.append(mean_vertex_errors_mm(reference=real, prediction=made))
        made, real = made[:, lip_positions], real[:, lip_positions]
        lips.append(mean_vertex_errors_mm(reference=real, prediction=made))
    return {
        "lip_error_mm": float(np.concatenate(lips).mean()),
        "face_error_mm": float(np.concatenate(face).mean()),
    }


def origin_of(prepared: Path, **clips: MotionClips | MouthClips | HeadClips) -> dict[str, Any]:
    """What a run needs to say about its data."""
    corpus = prepared / "corpus.json"
    return {
        "corpus": read_json(corpus).get("name", prepared.name) if corpus.is_file() else None,
        "corpus_json_sha256": sha256_file(corpus) if corpus.is_file() else None,
        "clips": {name: len(part) for name, part in clips.items()},
        "excluded": {name: [list(e) for e in part.excluded] for name, part in clips.items()},
    }


def train_sync_expert(
    prepared: Path, run_folder: Path, config: SyncTrainConfig | None = None, *, cpu: bool = False
) -> dict[str, Any]:
    """Train SyncNet3D on a prepared corpus; selects by AUC on its validation split.

    Args:
        prepared: prepared corpus with "train" and "valid".
        run_folder: gets checkpoints, metrics and the best network (`sync_expert.safetensors`); a
            run that was stopped is resumed.
        config: None takes the defaults.
        cpu: stay on the CPU where there is a GPU.

    Returns:
        update and validation metrics of the best network.

    Raises:
        ValueError: the corpus has no usable clip; the loss is not finite.
    """
    config = config or SyncTrainConfig()
    window = config.model.window_frames
    read = partial(MotionClips, prepared, num_mels=config.model.num_mels, window_frames=window)
    clips = read("train", part=config.part, augment=config.augment, seed=config.train.seed)
    valid = read("valid")
    origin = origin_of(prepared, train=clips, valid=valid)
    write_run_info(run_folder, {"sync_expert": config}, origin)
    seed_everything(config.train.seed, 0)
    model = SyncNet3D(config.model)
    model.mel_mean, model.mel_std = mel_statistics(clips)
    model.motion_std = motion_spread(clips)

    def save_best(best: nn.Module, metrics: dict[str, float]) -> None:
        assert isinstance(best, SyncNet3D)
        info = {**origin, **provenance(), "part": config.part, "training": asdict(config)}
        save_sync_expert(run_folder, best, info | {"valid": metrics})

    return train(
        model,
        partial(sync_batch_loss, config=config),
        clips,
        partial(collate_motion, window_frames=window),
        lambda network: validate_sync_expert(network, valid),
        selection="auc_missing",
        save_best=save_best,
        config=config.train,
        run_folder=run_folder,
        accelerator=make_accelerator(config.train, cpu=cpu),
    )


def train_student(
    prepared: Path,
    run_folder: Path,
    sync_expert: Path | None = None,
    config: StudentTrainConfig | None = None,
    *,
    ear: Path | None = None,
    initial: Path | None = None,
    noise: NoiseConfig | None = None,
    cpu: bool = False,
) -> dict[str, Any]:
    """Train a student on a prepared corpus; selects by mean lip error on its validation split.

    Args:
        prepared: prepared corpus with "train" and "valid".
        run_folder: gets checkpoints, metrics and the best student; a stopped run is resumed.
        sync_expert: folder of a sync expert with role "loss"; None where the sync weight is 0.
        config: None takes the defaults.
        ear: folder of `learn2talk.pretraining.pretrain_ear` whose trunk it starts with; None
            starts from chance.
        noise: mixed into what the student hears, by `config.hearing`; the motion that it learns
            and the sound that the sync expert hears stay clean. None trains on the speech as it is.
        cpu: stay on the CPU where there is a GPU.

    Returns:
        update and validation metrics of the best student.

    Raises:
        ValueError: no usable clip, no sync expert or a judge, no lip reader; no such speech
            encoder; both an ear and a student to start from, or one that does not fit; noise that
            cannot be used; the loss is not finite.
    """
    config = config or StudentTrainConfig()
    if ear is not None and initial is not None:
        raise ValueError(
            f"both {ear} and {initial} to start from; a trained student has its ear: leave one out"
        )
    reader, reader_sha256 = _lip_reader(config)
    expert, expert_info = None, None
    if sync_expert is not None:
        expert, expert_info = load_sync_expert(sync_expert, "loss")
    encoder, encoder_weights = load_encoder(config.hearing, weighted_layers=True)
    assert config.model.num_mels is not None  # see check_counted
    read = partial(
        MotionClips,
        prepared,
        num_mels=config.model.num_mels,
        window_frames=expert.config.window_frames if expert is not None else 1,
        waveforms=encoder is not None,
    )
    mixer = noise_mixer(noise, config.hearing)
    clips = read(
        "train",
        augment=config.augment,
        seed=config.train.seed,
        mouth_crops=reader is not None,
        mix_noise=mixer,
        silence_share=config.silence_share,
    )
    valid = read("valid")
    template = mean_template([clips.templates[name] for name in speakers_of(clips)])
    lip_positions = np.searchsorted(clips.animated_ids, template.lip_ids)
    styles = SpeakerStyles(clips.clips, config.styles) if config.styles.per_speaker else None
    lip_reading = None
    if reader is not None:
        lip_reading = LipReading(template, clips.animated_ids, reader, config.lip_reading_frames)
    batch_loss = StudentLoss(config, lip_positions, expert, styles, lip_reading)
    origin = origin_of(prepared, train=clips, valid=valid) | noise_facts(noise)
    origin["sync_expert_sha256"] = expert_info and expert_info["weights_sha256"]
    origin["lip_reader_sha256"] = reader_sha256
    seed_everything(config.train.seed, 0)
    shape = replace(config.model, num_styles=len(styles.names) if styles else 0)
    if encoder is not None:
        shape = replace(shape, num_mels=None, speech_encoder=encoder)
    model = Student(shape, len(clips.animated_ids))
    prepare_model(model, clips, styles, encoder_weights)
    start_at_mean(model, clips)
    if ear is not None:  # with the statistics of the sounds that it knows
        origin["ear_sha256"] = start_with_ear(model, ear)["weights_sha256"]
    if initial is not None:
        origin |= start_from_student(model, initial, clips.animated_ids)
    write_run_info(run_folder, {"student": config}, origin)

    def save_best(best: nn.Module, metrics: dict[str, float]) -> None:
        assert isinstance(best, Student)
        told = asdict(config)
        if told["lip_reader"] is not None:  # a student is passed on, its maker's folders are not
            told["lip_reader"] = "/".join(Path(told["lip_reader"]).parts[-2:])
        info = {**origin, **provenance(), "training": told, "valid": metrics}
        names = styles.names if styles else ()
        save_student(run_folder, best, template, clips.animated_ids, info, names)

    return train(
        model,
        batch_loss,
        clips,
        collate_motion,
        lambda network: validate_student(network, valid, lip_positions),
        selection="lip_error_mm",
        save_best=save_best,
        config=config.train,
        run_folder=run_folder,
        accelerator=make_accelerator(config.train, cpu=cpu),
    )


def start_from_student(
    model: Student, folder: Path, animated_ids: np.ndarray
) -> dict[str, str | None]:
    """Give a new student the weights of a trained one.

    Returns:
        hashes of the trained one and of what it was made with, for the provenance.

    Raises:
        ValueError: another kind, size, or other vertices; names the folder.
    """
    before = load_student(folder)
    same = isinstance(before.model, Student) and (
        # Dropout is a matter of training.
        replace(before.model.config, dropout=model.config.dropout) == model.config
        and np.array_equal(before.animated_ids, animated_ids)
    )
    if not same:
        raise ValueError(
            f"{folder}: was trained as {before.model.config} for {len(before.animated_ids)} "
            f"vertices, the new student is {model.config} for {len(animated_ids)}; go on with the "
            "same sizes and topology"
        )
    model.load_state_dict(before.model.state_dict())
    told = before.provenance
    return {
        "initial_sha256": told["student_sha256"],
        "ear_sha256": told.get("ear_sha256"),
    }


def _lip_reader(config: StudentTrainConfig) -> tuple[LipReadNet | None, str | None]:
    """The lip reader and its file's hash; None, None where the weight is 0."""
    if config.lip_reading_weight == 0 or config.lip_reader is None:
        return None, None
    recognizer, _ = load_recognizer(config.lip_reader)
    return LipReadNet(recognizer), sha256_file(recognizer_file(config.lip_reader))


def prepare_model(
    model: Student | AutoregressiveStudent,
    clips: MotionClips,
    styles: SpeakerStyles | None,
    encoder_weights: Mapping[str, Tensor] | None,
) -> None:
    """Give a new student its speech encoder's weights, or the statistics of its features."""
    if encoder_weights is None:
        model.mel_mean, model.mel_std = mel_statistics(clips)
    else:
        model.speech.backbone.load_state_dict(dict(encoder_weights))
    if styles is not None and model.styles is not None:
        mean, std = styles.normalisation()
        model.styles.statistics_mean, model.styles.statistics_std = mean, std


def noise_facts(noise: NoiseConfig | None) -> dict[str, Any]:
    """What a run says about its noise; nothing where there is none."""
    return {} if noise is None else {"noise_types": list(noise.train.types)}


def speakers_of(clips: MotionClips) -> list[str]:
    """Speakers with a clip in a split, sorted."""
    return sorted({clip.speaker_id for clip in clips.clips})


def start_at_mean(model: Student, clips: MotionClips) -> None:
    """Let an untrained student answer with the mean face of its training set."""
    tracked = [clip.displacement[clip.tracked] for clip in clips.clips]
    total = sum(frames.sum(axis=0, dtype=np.float64) for frames in tracked)
    mean = np.asarray(total) / sum(len(frames) for frames in tracked)
    with torch.no_grad():
        model.vertices.bias.copy_(torch.from_numpy(mean.astype(np.float32)).flatten())
        model.vertices.weight.mul_(0.1)
