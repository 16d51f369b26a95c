"""Train a small language model on a recogniser's tokens, with the loop that trains recognisers."""

# B sentences, U tokens

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from avsr.losses import LossSum, after_begin, attention_loss_sum
from avsr.models.language_model import LanguageModelConfig, TransformerLanguageModel
from avsr.text import Tokenizer
from avsr.training.loop import TrainConfig, train
from avsr.training.run_folder import load_model, same_run, save_model, write_run_info
from avsr.training.seed import seed_everything
from avsr.weights import fill, one_line

if TYPE_CHECKING:
    from accelerate import Accelerator

VALIDATION_BATCH = 64  # sentences


@dataclass(frozen=True)
class TextBatch:
    """Sentences as tokens."""

    utterance_ids: tuple[str, ...]  # "sentence 17": a sentence's place among the training texts
    tokens: Tensor  # (B, U) int64 in [1, K), 0 after the end
    token_lengths: Tensor  # (B,) int64

    @property
    def num_targets(self) -> int:
        """Tokens and sentence ends of the batch."""
        return int(self.token_lengths.sum()) + len(self.token_lengths)

    def to(self, device: Any) -> TextBatch:
        """The batch on another device."""
        return replace(
            self, tokens=self.tokens.to(device), token_lengths=self.token_lengths.to(device)
        )


class TextExamples:
    """Sentences as a training set; the "frames" of the loop are tokens with the sentence's end.

    Raises:
        ValueError: no sentence, or an empty one (its index).
    """

    def __init__(self, texts: Iterable[str], tokenizer: Tokenizer) -> None:
        self.tokens = [np.asarray(tokenizer.encode(text), dtype=np.int32) for text in texts]
        if not self.tokens:
            raise ValueError("no sentence to train a language model on; give it texts")
        empty = [index for index, tokens in enumerate(self.tokens) if not len(tokens)]
        if empty:
            raise ValueError(
                f"{len(empty)} texts are empty once normalised, the first is text {empty[0]}; "
                "remove them"
            )

    @property
    def num_frames(self) -> list[int]:
        """Tokens of each sentence, its end included."""
        return [len(tokens) + 1 for tokens in self.tokens]

    def example(self, index: int, epoch: int) -> tuple[int, np.ndarray]:
        """Sentence ``index`` with its number; the same in every epoch."""
        return index, self.tokens[index]


def collate_texts(examples: Sequence[tuple[int, np.ndarray]]) -> TextBatch:
    """Sentences padded with zeros to the longest."""
    lengths = [len(tokens) for _, tokens in examples]
    padded = np.zeros((len(examples), max(lengths)), dtype=np.int64)
    for row, (_, tokens) in enumerate(examples):
        padded[row, : len(tokens)] = tokens
    names = tuple(f"sentence {index}" for index, _ in examples)
    return TextBatch(names, torch.from_numpy(padded), torch.tensor(lengths))


def language_model_loss(model: nn.Module, batch: TextBatch) -> LossSum:
    """Cross-entropy of tokens and sentence ends, in nats, summed."""
    logits = model(after_begin(batch.tokens))
    return attention_loss_sum(logits, batch.tokens, batch.token_lengths)


def text_validator(
    texts: Sequence[str], tokenizer: Tokenizer, accelerator: Accelerator
) -> Callable[[nn.Module], dict[str, float]]:
    """Function to ``nats_per_token``, sentence ends counted, shared out among the processes."""
    every = TextExamples(texts, tokenizer)
    mine = range(accelerator.process_index, len(every.tokens), accelerator.num_processes)

    @torch.no_grad()
    def validate(model: nn.Module) -> dict[str, float]:
        sums = torch.zeros(2, dtype=torch.float64, device=accelerator.device)
        for start in range(0, len(mine), VALIDATION_BATCH):
            chosen = mine[start : start + VALIDATION_BATCH]
            batch = collate_texts([every.example(index, 0) for index in chosen])
            loss = language_model_loss(model, batch.to(accelerator.device))
            sums += torch.tensor([float(loss.total), loss.count]).to(sums)
        total, count = accelerator.reduce(sums, "sum").tolist()
        return {"nats_per_token": total / count}

    return validate


def train_language_model(
    texts: Iterable[str],
    valid_texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    model_config: LanguageModelConfig,
    train_config: TrainConfig,
    run_folder: Path,
    accelerator: Accelerator,
    info: dict[str, Any],
) -> Path:
    """Train, keep the best by validation; returns the path of its weights.

    Args:
        texts: sentences, normalised by the tokenizer; never those of a test set.
        valid_texts: other sentences, which choose the checkpoint.
        tokenizer: the recogniser's; its size is the vocabulary's.
        model_config: shape of the network.
        train_config: how to optimise; its "frames" are tokens.
        run_folder: gets ``best.safetensors``, ``run.json``, metrics and checkpoints.
        accelerator: of :func:`make_accelerator`.
        info: kept in ``run.json``: what identifies the texts.

    Raises:
        ValueError: no or empty sentences; what training refuses.
    """
    seed_everything(train_config.seed)
    config = replace(model_config, vocabulary_size=tokenizer.size)
    model = TransformerLanguageModel(config)
    best = run_folder / "best.safetensors"
    if accelerator.is_main_process:
        configs = {"model": asdict(config), "train": asdict(train_config)}
        same_run(run_folder / "config.json", {**configs, "data": info}, "checkpoints")
        parameters = sum(p.numel() for p in model.parameters())
        write_run_info(run_folder, configs, {"parameters": parameters, **info})
    train(
        model,
        language_model_loss,
        TextExamples(texts, tokenizer),
        collate_texts,
        text_validator(valid_texts, tokenizer, accelerator),
        selection="nats_per_token",
        save_best=lambda _, metrics: save_model(
            best,
            model.state_dict(),
            config,
            {
                "tokenizer": tokenizer.model.hex(),
                "valid_nats_per_token": f"{metrics['nats_per_token']:.6f}",
            },
        ),
        config=train_config,
        run_folder=run_folder,
        accelerator=accelerator,
    )
    return best


def load_language_model(path: Path | str, tokenizer: Tokenizer) -> TransformerLanguageModel:
    """The network of a :func:`train_language_model` file, in eval mode.

    Args:
        path: its ``best.safetensors``.
        tokenizer: the recogniser's, which must be the one that the model was trained with.

    Raises:
        ValueError: not such a file, another tokenizer, or weights that do not fit the config.
    """
    state, config, info = load_model(Path(path))
    if info.get("tokenizer") != tokenizer.model.hex():
        raise ValueError(
            f"{path}: is not a language model over this recogniser's tokens; train one with the "
            "recogniser's tokenizer"
        )
    try:
        model = TransformerLanguageModel(LanguageModelConfig(**config))
    except (TypeError, ValueError) as error:
        said = one_line(error)
        raise ValueError(f"{path}: its config is not a language model's ({said})") from error
    fill(model, state, path)
    return model.eval()
