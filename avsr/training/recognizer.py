"""Train a recogniser on a prepared corpus, selected by noisy validation."""

# T frames, K vocabulary with blank 0

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from avsr.data.collate import collate
from avsr.data.dataset import COLUMNS_READ, Example, TrainingDataset, features_of, middle_crop
from avsr.data.manifest import decode_array
from avsr.data.trainable import summary
from avsr.decode.greedy import ctc_greedy
from avsr.files import read_json, sha256_file, write_jsonl
from avsr.metrics import corpus_errors, word_errors
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.schema import Batch, ErrorCounts
from avsr.text import Tokenizer, normalise
from avsr.training.checkpoint import checkpoint_name, latest_checkpoint
from avsr.training.chunks import ChunkedExamples, ChunkTrainingConfig, collate_chunked
from avsr.training.hub import check_config, recognizer_file
from avsr.training.loop import Examples, TrainConfig, train
from avsr.training.recognizer_loss import RecognizerLoss, TrainedForward
from avsr.training.run_folder import load_model, same_run, save_model, write_run_info
from avsr.training.seed import seed_everything
from avsr.training.warm_start import start_from
from avsr.video_conditions import CLEAN_VIDEO, disturbance
from avsr.weights import fill, one_line

if TYPE_CHECKING:
    import datasets
    from accelerate import Accelerator

NO_CHUNKS = ChunkTrainingConfig()


@dataclass(frozen=True)
class ValidationCondition:
    """Validation utterances as seen in one condition."""

    name: str
    streams: tuple[str, ...]
    # Utterance id to mixture (S,), maybe made when asked for; None takes the sound as it is.
    waveforms: Mapping[str, np.ndarray] | None


def plain_example(
    row: dict[str, Any],
    streams: Sequence[str],
    *,
    num_mels: int | None,
    waveform: np.ndarray | None = None,
    lips: np.ndarray | None = None,
    video_condition: str = CLEAN_VIDEO,
) -> Example:
    """A prepared row without augmentation, with some of its streams.

    Args:
        row: of a prepared split.
        streams: some of "audio", "crops", "lips".
        num_mels: mel bands; ``None`` gives the waveform itself.
        waveform: (S,) in place of the row's own audio, for example a mixture.
        lips: (T, 40, 3) mm in place of the tracked ones, then present in every frame.
        video_condition: what is done to crops and lips, see :mod:`avsr.video_conditions`.
    """
    valid = decode_array(row["video_valid"])
    audio = None
    if "audio" in streams:
        audio = features_of(decode_array(row["audio"]) if waveform is None else waveform, num_mels)
    lips_valid = valid
    if "lips" in streams:
        if lips is None:
            lips = decode_array(row["lips"])
        else:
            lips_valid = np.ones(len(lips), dtype=bool)
    crops, crops_valid = None, valid
    if "crops" in streams:
        crops = middle_crop(decode_array(row["mouth_crops"]))
    if video_condition != CLEAN_VIDEO:
        disturbed = disturbance(video_condition, row["num_frames"], row["utterance_id"])
        if crops is not None:
            crops, crops_valid = disturbed.apply(crops, valid)
        if "lips" in streams and lips is not None:
            lips, lips_valid = disturbed.apply(lips, lips_valid)
    return Example(
        utterance_id=row["utterance_id"],
        num_frames=row["num_frames"],
        features=audio,
        mouth_crops=crops,
        lips=lips if "lips" in streams else None,
        crops_valid=crops_valid,
        lips_valid=lips_valid,
        tokens=(),
    )


def save_recognizer(
    path: Path, model: Recognizer, tokenizer: Tokenizer, note: dict[str, str]
) -> None:
    """One safetensors file that holds weights, config and the tokenizer."""
    extra = {"tokenizer": tokenizer.model.hex(), **note}
    save_model(path, model.state_dict(), model.config, extra)


def load_recognizer(path: Path | str) -> tuple[Recognizer, Tokenizer]:
    """The network, in eval mode, and the tokenizer of a :func:`save_recognizer` file.

    Args:
        path: the file, a folder that ``avsr publish`` wrote, or ``owner/name`` on the Hub.

    Raises:
        ValueError: not such a file, or weights that do not fit the config.
    """
    path = recognizer_file(path)
    state, config, info = load_model(path)
    check_config(path, config)
    if "tokenizer" not in info:
        raise ValueError(f"{path}: has no tokenizer in it; give a recogniser's best.safetensors")
    listed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    try:
        model = Recognizer(RecognizerConfig(**listed))
    except (TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        # Fields of another version, or impossible values.
        said = one_line(error)
        raise ValueError(f"{path}: its config is not a recogniser's ({said})") from error
    fill(model, state, path)
    try:
        tokenizer = Tokenizer(bytes.fromhex(info["tokenizer"]))
    except ValueError as error:
        raise ValueError(f"{path}: its tokenizer is damaged ({error})") from error
    if tokenizer.size != model.config.vocabulary_size:
        raise ValueError(
            f"{path}: its tokenizer has {tokenizer.size} classes, its network "
            f"{model.config.vocabulary_size}; save it again with the tokenizer it was trained with"
        )
    return model.eval(), tokenizer


def validator(
    rows: datasets.Dataset,
    conditions: Sequence[ValidationCondition],
    tokenizer: Tokenizer,
    accelerator: Accelerator,
    num_mels: int | None,
    batch_size: int = 16,
) -> Callable[[nn.Module], dict[str, float]]:
    """:func:`reading_validator` of CTC's best path."""

    def read(model: nn.Module, batch: Batch) -> list[str]:
        return [tokenizer.decode(ids) for ids in ctc_greedy(model(batch), batch.lengths)]

    return reading_validator(read, rows, conditions, accelerator, num_mels, batch_size)


def reading_validator(
    read: Callable[[nn.Module, Batch], list[str]],
    rows: datasets.Dataset,
    conditions: Sequence[ValidationCondition],
    accelerator: Accelerator,
    num_mels: int | None,
    batch_size: int = 16,
) -> Callable[[nn.Module], dict[str, float]]:
    """Function that decodes the validation split in each condition and gives WERs as fractions.

    ``read`` gives the texts of a batch on the accelerator's device. The utterances are shared out
    among the processes and the counts summed, so that all processes get the same figures. ``wer``
    is the mean over the conditions. One batch at a time is in memory: reading it again costs little
    beside the network.
    """
    rows = rows.select_columns(list(COLUMNS_READ))
    mine = range(accelerator.process_index, len(rows), accelerator.num_processes)
    parts = [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]

    def batches(condition: ValidationCondition) -> Iterator[tuple[Batch, list[str]]]:
        mixtures = condition.waveforms
        for part in parts:
            chosen = [rows[index] for index in part]
            examples = [
                plain_example(
                    row,
                    condition.streams,
                    num_mels=num_mels,
                    waveform=None if mixtures is None else mixtures[row["utterance_id"]],
                )
                for row in chosen
            ]
            yield collate(examples), [normalise(row["text"]) for row in chosen]

    @torch.no_grad()
    def validate(model: nn.Module) -> dict[str, float]:
        counts = np.zeros((len(conditions), 4))
        for number, condition in enumerate(conditions):
            for batch, references in batches(condition):
                texts = read(model, batch.to(accelerator.device))
                total = corpus_errors(
                    word_errors(reference=r, hypothesis=h)
                    for r, h in zip(references, texts, strict=True)
                )
                counts[number] += (
                    total.substitutions,
                    total.insertions,
                    total.deletions,
                    total.reference_length,
                )
        summed = accelerator.reduce(torch.from_numpy(counts).to(accelerator.device), "sum")
        rates = [ErrorCounts(*(int(n) for n in row)).rate for row in summed.tolist()]
        named = {f"wer_{c.name}": rate for c, rate in zip(conditions, rates, strict=True)}
        return {**named, "wer": float(np.mean(rates))}

    return validate


def is_trained(run_folder: Path, config: TrainConfig) -> bool:
    """Whether a run has reached the last update of this very training configuration."""
    kept, last = run_folder / "config.json", latest_checkpoint(run_folder)
    if not kept.exists() or last is None:
        return False
    same = read_json(kept)["train"] == asdict(config)
    return same and last.name == checkpoint_name(config.max_updates)


def train_recognizer(
    examples: Examples,
    validate: Callable[[nn.Module], dict[str, float]],
    tokenizer: Tokenizer,
    *,
    model_config: RecognizerConfig,
    train_config: TrainConfig,
    run_folder: Path,
    accelerator: Accelerator,
    info: dict[str, Any],
    frame_weight: float = 0.0,
    attention_weight: float = 0.0,
    transducer_weight: float = 0.0,
    chunk_training: ChunkTrainingConfig = NO_CHUNKS,
    initial: Path | str | None = None,
    speech_weights: Mapping[str, Tensor] | None = None,
) -> Path:
    """Train, keep the best by ``wer`` of ``validate``; returns the path of its weights.

    Args:
        examples: training set.
        validate: see :func:`validator`.
        tokenizer: of the texts; its size is the vocabulary's.
        model_config: shape of the network.
        train_config: how to optimise.
        run_folder: gets ``best.safetensors``, ``run.json``, metrics, checkpoints and, in
            ``left_out.jsonl``, the utterances of a :class:`TrainingDataset` that cannot be trained
            on, with the reasons.
        accelerator: of :func:`make_accelerator`.
        info: kept in ``run.json``: what identifies the data.
        frame_weight: see :class:`RecognizerLoss`.
        attention_weight: see :class:`RecognizerLoss`; above 0 it needs a decoder in the config.
        transducer_weight: see :class:`RecognizerLoss`; above 0 it needs a transducer in the config.
        chunk_training: attention in chunks of drawn sizes; it needs a causal network.
        initial: a recogniser's file whose weights training starts from, ``None`` from chance; see
            :func:`avsr.training.warm_start.start_from` for what may differ.
        speech_weights: of the config's pretrained speech encoder, as
            :func:`avsr.pretrained.speech_encoders.load_speech_encoder` gives them.

    Raises:
        ValueError: ``initial`` does not fit; what training refuses.
    """
    batch_loss = RecognizerLoss(
        frame_weight,
        attention_weight,
        transducer_weight=transducer_weight,
        early_nats=chunk_training.early_nats,
    )
    if attention_weight > 0 and not model_config.decoder_layers:
        raise ValueError(
            f"attention_weight {attention_weight} needs an attention decoder; set the model's "
            "decoder_layers above 0"
        )
    if transducer_weight > 0 and not model_config.transducer:
        raise ValueError(
            f"transducer_weight {transducer_weight} needs a transducer; set the model's transducer "
            "to True"
        )
    if chunk_training.share > 0 and not model_config.causal:
        raise ValueError(
            f"chunk share {chunk_training.share} needs a causal network; set the model's causal to "
            "True"
        )
    seed_everything(train_config.seed)
    model = Recognizer(replace(model_config, vocabulary_size=tokenizer.size))
    if speech_weights is not None:
        model.encoders["audio"].backbone.load_state_dict(speech_weights)  # type: ignore[union-attr]
    if initial is not None:
        start, words = load_recognizer(initial)
        if words.model != tokenizer.model:
            raise ValueError(
                f"{initial}: has another vocabulary than the texts to train on; prepare them with "
                "this recogniser's, or start from nothing"
            )
        taken = start_from(model, start, initial)
        if accelerator.is_main_process:
            print(f"{run_folder}: starts from {initial}: {taken}", flush=True)
        info = {
            **info,
            "initial_sha256": sha256_file(recognizer_file(initial)),
            "initial_taken": str(taken),
        }
    counts: dict[str, int] = {}
    if isinstance(examples, TrainingDataset):
        total, left_out = len(examples), examples.leave_out_untrainable(tokenizer)
        counts = {"trained_on": len(examples), "left_out": len(left_out)}
        if accelerator.is_main_process:
            print(f"{run_folder}: {summary(left_out, total)}", flush=True)
            write_jsonl(run_folder / "left_out.jsonl", (one.to_row() for one in left_out))
    best = run_folder / "best.safetensors"
    if accelerator.is_main_process:
        weights = {"frame_weight": frame_weight}
        if attention_weight > 0:  # absent where it is off, as in the runs from before it was there
            weights["attention_weight"] = attention_weight
        if transducer_weight > 0:
            weights["transducer_weight"] = transducer_weight
        drawn = {"chunks": asdict(chunk_training)} if chunk_training != NO_CHUNKS else {}
        configs = {"model": model.config, "train": train_config, **weights, **drawn}
        parameters = sum(p.numel() for p in model.parameters())
        resolved = {
            "model": asdict(model.config),
            "train": asdict(train_config),
            **weights,
            **drawn,
            "data": info,
        }
        same_run(run_folder / "config.json", resolved, "checkpoints")
        write_run_info(run_folder, configs, {"parameters": parameters, **counts, **info})
    chunked = chunk_training.share > 0
    train(
        TrainedForward(model, with_attention=attention_weight > 0),
        batch_loss,
        ChunkedExamples(examples, chunk_training, train_config.seed) if chunked else examples,
        collate_chunked if chunked else collate,
        lambda trained: validate(trained.recognizer),  # type: ignore[arg-type]
        selection="wer",
        save_best=lambda _, metrics: save_recognizer(
            best,
            model,
            tokenizer,
            {"valid_wer": f"{metrics['wer']:.6f}"},
        ),
        config=train_config,
        run_folder=run_folder,
        accelerator=accelerator,
    )
    return best
