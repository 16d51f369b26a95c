"""Train Whisper on noisy sound, and then its view of the mouth, on a prepared corpus."""

# B batch, U tokens

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from avsr.data.collate import collate
from avsr.decode.token_beam import TokenBeamConfig, token_beam
from avsr.losses import LossSum, next_token_loss_sum
from avsr.models.fusion import Stream
from avsr.models.recognizer import Recognizer
from avsr.models.whisper import WhisperConfig
from avsr.models.whisper_flamingo import WhisperFlamingo, WhisperFlamingoConfig
from avsr.pretrained.whisper import WhisperTokenizer
from avsr.text import normalise
from avsr.training.loop import Examples, TrainConfig, train
from avsr.training.run_folder import load_model, same_run, save_model, write_run_info

if TYPE_CHECKING:
    from accelerate import Accelerator

    from avsr.schema import Batch

TOKENS_PER_SECOND = 12.0  # nobody speaks faster; keeps a search that does not end short


def with_view(tuned: WhisperFlamingo, reader: Recognizer, visual: Stream) -> WhisperFlamingo:
    """A Whisper, frozen, with gated layers and the visual encoder of a trained recogniser."""
    shape = reader.config
    model = WhisperFlamingo(
        replace(
            tuned.config,
            visual=visual,
            visual_width=shape.width,
            visual_heads=shape.num_heads,
            visual_layers=shape.stream_layers,
            kernel=shape.kernel,
            video_channels=shape.video_channels,
            dropout=shape.dropout,
        )
    )
    model.whisper.load_state_dict(tuned.whisper.state_dict())
    model.take_visual_encoder(reader.state_dict())
    model.take_whispers_attention()
    model.freeze_whisper()
    return model


class WhisperLoss:
    """Cross-entropy of the tokens after the prompt, the end included, in nats, summed."""

    def __init__(self, prompt: tuple[int, ...]) -> None:
        self.prompt = prompt

    def __call__(self, model: nn.Module, batch: Batch) -> LossSum:
        """Loss of a batch; ``model`` is a :class:`WhisperFlamingo`, maybe wrapped."""
        tokens, lengths = batch.tokens, batch.token_lengths
        assert tokens is not None and lengths is not None
        prompt = torch.tensor([self.prompt], device=tokens.device).expand(len(tokens), -1)
        logits = model(batch, torch.cat([prompt, tokens[:, :-1]], dim=1))
        return next_token_loss_sum(logits[:, len(self.prompt) - 1 :], tokens, lengths)


def read_batch(
    model: WhisperFlamingo, batch: Batch, tokenizer: WhisperTokenizer, beam_size: int = 1
) -> list[str]:
    """Normalised texts of a batch; see :func:`avsr.decode.token_beam.token_beam`."""
    seconds = int(batch.lengths.max()) / 25
    config = TokenBeamConfig(
        prompt=tokenizer.prompt,
        end=tokenizer.end,
        beam_size=beam_size,
        max_tokens=min(
            int(10 + TOKENS_PER_SECOND * seconds),
            model.config.whisper.max_tokens - len(tokenizer.prompt),
        ),
        not_first=(tokenizer.end,),
    )
    with torch.no_grad():
        found = token_beam(model.step, model.start(batch), len(batch.lengths), config)
    return [normalise(tokenizer.decode(best[0][0])) for best in found]


def save_whisper(
    path: Path, model: WhisperFlamingo, tokenizer: WhisperTokenizer, note: dict[str, str]
) -> None:
    """One safetensors file that holds weights, config and the tokenizer."""
    extra = {"whisper_tokenizer": tokenizer.text, **note}
    save_model(path, model.state_dict(), model.config, extra)


def load_trained_whisper(path: Path | str) -> tuple[WhisperFlamingo, WhisperTokenizer]:
    """Network, in eval mode, and tokenizer of a :func:`save_whisper` file.

    Raises:
        ValueError: not such a file, or weights that do not fit the config.
    """
    state, fields, info = load_model(Path(path))
    if "whisper_tokenizer" not in info:
        raise ValueError(f"{path}: has no Whisper tokenizer in it; give a trained Whisper's file")
    try:
        listed: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
        }
        listed["whisper"] = WhisperConfig(**fields["whisper"])
        model = WhisperFlamingo(WhisperFlamingoConfig(**listed))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its config is not a Whisper's ({error})") from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: weights do not fit the file's config ({error})") from error
    return model.eval(), WhisperTokenizer(info["whisper_tokenizer"])


def train_whisper(
    model: WhisperFlamingo,
    examples: Examples,
    validate: Callable[[nn.Module], dict[str, float]],
    tokenizer: WhisperTokenizer,
    *,
    train_config: TrainConfig,
    run_folder: Path,
    accelerator: Accelerator,
    info: dict[str, Any],
) -> Path:
    """Train what is not frozen, keep the best by ``wer``; returns the path of its weights.

    Args:
        model: with its first weights; for the second step with Whisper frozen.
        examples: training set, ``encode`` of the tokenizer and ``num_mels=None``.
        validate: of :func:`avsr.training.recognizer.reading_validator`.
        tokenizer: of the checkpoint.
        train_config: how to optimise.
        run_folder: gets ``best.safetensors``, ``run.json``, metrics and checkpoints.
        accelerator: of :func:`avsr.training.loop.make_accelerator`.
        info: kept in ``run.json``: what identifies data and first weights.
    """
    best = run_folder / "best.safetensors"
    if accelerator.is_main_process:
        counts = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        }
        configs = {"model": asdict(model.config), "train": asdict(train_config), "data": info}
        same_run(run_folder / "config.json", configs, "checkpoints")
        write_run_info(run_folder, configs, {**counts, **info})
    train(
        model,
        WhisperLoss(tokenizer.prompt),
        examples,
        collate,
        validate,
        selection="wer",
        save_best=lambda _, metrics: save_whisper(
            best, model, tokenizer, {"valid_wer": f"{metrics['wer']:.6f}"}
        ),
        config=train_config,
        run_folder=run_folder,
        accelerator=accelerator,
    )
    return best
