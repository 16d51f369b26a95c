"""Whisper trained in two steps on a tiny corpus: saved, loaded, resumed steps, exact losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from avsr.data.collate import collate
from avsr.data.dataset import TrainingDataset
from avsr.models.whisper import WhisperConfig
from avsr.models.whisper_flamingo import WhisperFlamingo, WhisperFlamingoConfig
from avsr.pretrained.whisper import WhisperTokenizer
from avsr.training.loop import TrainConfig, make_accelerator
from avsr.training.recognizer import ValidationCondition, plain_example, reading_validator
from avsr.training.whisper import (
    WhisperLoss,
    load_trained_whisper,
    read_batch,
    save_whisper,
    train_whisper,
)

AUDIO_VISUAL = ("audio", "crops")


@pytest.fixture(scope="module")
def words() -> WhisperTokenizer:
    """A byte-level tokenizer with Whisper's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(
        ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    )
    return WhisperTokenizer(bpe.to_str())


@pytest.fixture
def model(words: WhisperTokenizer) -> WhisperFlamingo:
    torch.manual_seed(0)
    whisper = WhisperConfig(
        width=16,
        encoder_layers=1,
        encoder_heads=2,
        decoder_layers=1,
        decoder_heads=2,
        hidden=24,
        max_frames=100,
        max_tokens=60,
        vocabulary_size=270,
    )
    return WhisperFlamingo(
        WhisperFlamingoConfig(
            whisper=whisper, visual_width=16, visual_heads=2, video_channels=(8, 8, 8)
        )
    )


def example_of(row: dict[str, Any], words: WhisperTokenizer) -> Any:
    plain = plain_example(row, AUDIO_VISUAL, num_mels=None)
    return replace(plain, tokens=tuple(words.encode(row["text"])))


def test_multilingual_prompt_and_unknown_language(words: WhisperTokenizer) -> None:
    assert words.prompt == (257, 258, 259, 260) and words.end == 256
    with pytest.raises(ValueError, match=r"no <\|xx\|>; give a Whisper"):
        WhisperTokenizer(words.text, language="xx")


def test_loss_of_a_batch_is_the_sum_of_its_utterances(
    model: WhisperFlamingo, words: WhisperTokenizer, test_rows: Any
) -> None:
    model.eval()
    examples = [example_of(row, words) for row in test_rows]
    loss = WhisperLoss(words.prompt)
    together, alone = loss(model, collate(examples)), [loss(model, collate([e])) for e in examples]
    assert together.count == sum(one.count for one in alone) == sum(len(e.tokens) for e in examples)
    torch.testing.assert_close(together.total, torch.stack([one.total for one in alone]).sum())


def test_reading_in_a_batch_is_reading_alone(
    model: WhisperFlamingo, words: WhisperTokenizer, test_rows: Any
) -> None:
    model.eval()
    examples = [example_of(row, words) for row in test_rows]
    texts = read_batch(model, collate(examples), words, beam_size=2)
    longest = max(e.num_frames for e in examples)
    (index,) = [i for i, e in enumerate(examples) if e.num_frames == longest][:1]
    assert read_batch(model, collate([examples[index]]), words, beam_size=2)[0] == texts[index]


def test_two_steps_are_trained_saved_and_loaded(
    model: WhisperFlamingo,
    words: WhisperTokenizer,
    train_rows: Any,
    test_rows: Any,
    tmp_path: Path,
) -> None:
    model.freeze_whisper()
    config = TrainConfig(
        max_updates=3, validate_every=3, max_frames=100, average_decay=0.0, learning_rate=1e-2
    )
    accelerator = make_accelerator(config, cpu=True)
    examples = TrainingDataset(
        train_rows,
        encode=words.encode,
        stream_mix=((AUDIO_VISUAL, 1.0),),
        mix_noise=None,
        augment=None,
        num_mels=None,
    )
    validate = reading_validator(
        lambda network, batch: read_batch(network, batch, words),  # type: ignore[arg-type]
        test_rows,
        [ValidationCondition("audio_crops", AUDIO_VISUAL, None)],
        accelerator,
        num_mels=None,
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = train_whisper(
        model,
        examples,
        validate,
        words,
        train_config=config,
        run_folder=tmp_path / "run",
        accelerator=accelerator,
        info={"first": "chance"},
    )
    loaded, again = load_trained_whisper(path)
    assert again.prompt == words.prompt and loaded.config == model.config and not loaded.training
    changed = {
        name.split(".")[0]
        for name, value in loaded.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert "gates" in changed and "whisper" not in changed
    batch = collate([example_of(row, words) for row in test_rows])
    assert read_batch(loaded, batch, again) == read_batch(model.eval(), batch, words)


def test_other_files_are_refused(
    model: WhisperFlamingo, words: WhisperTokenizer, recognizer_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="has no Whisper tokenizer in it"):
        load_trained_whisper(recognizer_file)
    path = tmp_path / "whisper.safetensors"
    save_whisper(path, model, words, {})
    model.config.__dict__["visual_width"] = 32
    save_whisper(path, model, words, {})
    with pytest.raises(ValueError, match="weights do not fit the file's config"):
        load_trained_whisper(path)
