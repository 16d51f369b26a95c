"""A language model is trained on texts, kept, loaded again, and helps a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from avsr.decode.config import DecodingConfig
from avsr.decode.joint import joint_beam_search
from avsr.files import load_weights, read_json, save_weights
from avsr.models.language_model import LanguageModelConfig
from avsr.text import Tokenizer, train_tokenizer
from avsr.training.language_model import (
    TextExamples,
    collate_texts,
    language_model_loss,
    load_language_model,
    text_validator,
    train_language_model,
)
from avsr.training.loop import TrainConfig, make_accelerator

TEXTS = ("bin blue at a one now", "set red by b two please", "lay green in c three soon")
SHAPE = LanguageModelConfig(2, width=32, num_heads=2, num_layers=1, dropout=0.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    config = TrainConfig(
        max_updates=60,
        warmup_updates=5,
        learning_rate=1e-2,
        validate_every=30,
        max_frames=60,
        batches_per_update=1,
        average_decay=0.5,
    )
    return train_language_model(
        TEXTS,
        TEXTS[:2],
        tokenizer,
        model_config=SHAPE,
        train_config=config,
        run_folder=tmp_path_factory.mktemp("lm"),
        accelerator=make_accelerator(config, cpu=True),
        info={"texts": "tests"},
    )


def test_training_learns_the_sentences(trained: Path, tokenizer: Any) -> None:
    model = load_language_model(trained, tokenizer)
    assert not model.training and model.config.vocabulary_size == tokenizer.size
    accelerator = make_accelerator(TrainConfig(), cpu=True)
    found = text_validator(TEXTS[:2], tokenizer, accelerator)(model)["nats_per_token"]
    assert found < 0.5  # three sentences: log(3) nats for the first piece, nothing after it
    best = read_json(trained.parent / "best.json")
    assert found == pytest.approx(best["nats_per_token"], rel=1e-3)


def test_loss_counts_ends_and_sums_over_the_batch(trained: Path, tokenizer: Any) -> None:
    model = load_language_model(trained, tokenizer)
    examples = TextExamples(("bin blue", "set red by b two please"), tokenizer)
    both = [examples.example(index, 0) for index in range(2)]
    together = language_model_loss(model, collate_texts(both))
    alone = [language_model_loss(model, collate_texts([one])) for one in both]
    assert together.count == collate_texts(both).num_targets == sum(examples.num_frames)
    torch.testing.assert_close(together.total, alone[0].total + alone[1].total)


def test_the_model_decides_what_sound_leaves_open(trained: Path, tokenizer: Any) -> None:
    model = load_language_model(trained, tokenizer)
    heard = [tokenizer.encode(text) for text in TEXTS]
    frames = 2 * max(map(len, heard))
    logits = torch.zeros(1, frames, tokenizer.size, dtype=torch.float64)
    for tokens in heard:
        for place, token in enumerate(tokens):
            logits[0, 2 * place, token] += 6.0
    lengths = torch.tensor([frames])

    def best(lm_weight: float) -> str:
        config = DecodingConfig("joint", 12, ctc_weight=1.0, lm_weight=lm_weight)
        (found,) = joint_beam_search(logits, lengths, config, language_model=model)
        return tokenizer.decode(found[0][0])

    assert best(0.0) not in TEXTS
    assert best(1.0) in TEXTS


def test_other_files_and_texts_are_refused(trained: Path, tokenizer: Any, tmp_path: Path) -> None:
    other = Tokenizer(train_tokenizer(["another language"], 20))
    with pytest.raises(ValueError, match=r"best.safetensors: is not a language model over this"):
        load_language_model(trained, other)
    state, info = load_weights(trained)
    state.pop("norm.weight")
    save_weights(tmp_path / "half.safetensors", state, info)
    with pytest.raises(ValueError, match=r"half.safetensors: .*norm.weight"):
        load_language_model(tmp_path / "half.safetensors", tokenizer)
    with pytest.raises(ValueError, match="no sentence"):
        TextExamples([], tokenizer)
    with pytest.raises(ValueError, match=r"1 texts are empty .* text 1"):
        TextExamples(["bin", "?!"], tokenizer)
