"""A recogniser as a file, its loss and its validation, and a short training."""

from __future__ import annotations

import os
import pickle
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.data.collate import collate
from avsr.data.dataset import AUDIO_VISUAL_MIX, TrainingDataset
from avsr.data.manifest import decode_array
from avsr.decode.greedy import ctc_greedy
from avsr.files import load_weights, read_json, read_jsonl, save_weights
from avsr.metrics import corpus_errors, word_errors
from avsr.text import train_tokenizer
from avsr.training.checkpoint import checkpoint_name
from avsr.training.loop import TrainConfig, make_accelerator
from avsr.training.recognizer import (
    RecognizerLoss,
    TrainedForward,
    ValidationCondition,
    is_trained,
    load_recognizer,
    plain_example,
    train_recognizer,
    validator,
)
from avsr.training.run_folder import load_model, same_run

ALL = ("audio", "crops", "lips")


def test_a_saved_recogniser_is_the_same_network(
    recognizer: Any, tokenizer: Any, recognizer_file: Path, test_rows: Any
) -> None:
    loaded, words = load_recognizer(recognizer_file)
    assert not loaded.training and loaded.config == recognizer.config
    batch = collate([plain_example(row, ALL, num_mels=80) for row in test_rows])
    with torch.no_grad():
        assert torch.equal(loaded(batch), recognizer(batch))
    text = "set red by b two please"
    assert words.encode(text) == tokenizer.encode(text) and words.decode(words.encode(text)) == text


def test_damaged_and_foreign_files_are_named(
    recognizer: Any, tokenizer: Any, recognizer_file: Path, tmp_path: Path
) -> None:
    state, info = load_weights(recognizer_file)
    half = tmp_path / "half.safetensors"
    half.write_bytes(recognizer_file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"half.safetensors: not a complete safetensors file"):
        load_recognizer(half)
    with pytest.raises(ValueError, match=r"none.safetensors: no such weights file"):
        load_recognizer(tmp_path / "none.safetensors")
    wrong = tmp_path / "wrong.safetensors"
    for change, message in [
        ({"config": None}, "has no network config"),
        ({"tokenizer": None}, "has no tokenizer"),
        ({"tokenizer": "zz"}, "tokenizer"),
        ({"config": '{"vocabulary_size": 9, "wings": 2}'}, "config"),
        ({"config": '{"vocabulary_size": 9}'}, "weights do not fit"),
        ({"config": '{"vocabulary_size": 9, "num_heads": 0}'}, "config"),
        ({"config": '{"vocabulary_size": 9, "streams": 3}'}, "config"),
        ({"config": "{"}, "config"),
        ({"config": "[3]"}, "config is a list"),
        ({"tokenizer": train_tokenizer(["zebra crossing"], 14).hex()}, "tokenizer has .* classes"),
    ]:
        merged = {**info, **change}
        save_weights(wrong, state, {k: v for k, v in merged.items() if v is not None})
        with pytest.raises(ValueError, match=rf"wrong.safetensors: .*{message}") as error:
            load_recognizer(wrong)
        assert "\n" not in str(error.value)
    save_weights(wrong, {**state, "wings": torch.zeros(2)}, info)
    with pytest.raises(ValueError, match=r"do not fit the network: 1 unknown \(wings\)"):
        load_recognizer(wrong)


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("archive", [True, False])
def test_pickles_are_refused_and_not_executed(archive: bool, tmp_path: Path) -> None:
    path, target = tmp_path / "best.safetensors", tmp_path / "executed"
    if archive:
        torch.save({"weights": Evil(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(target)))
    for load in (load_recognizer, load_model):
        with pytest.raises(ValueError, match="best.safetensors: is a pickle .* was not opened"):
            load(path)
    assert not target.exists()


def test_loss_of_a_batch_is_the_sum_of_its_utterances(
    recognizer: Any, tokenizer: Any, test_rows: Any
) -> None:
    examples = [
        replace(plain_example(row, ALL, num_mels=80), tokens=tuple(tokenizer.encode(row["text"])))
        for row in test_rows
    ]
    loss, model = RecognizerLoss(0.0), TrainedForward(recognizer)
    together = loss(model, collate(examples))
    alone = [loss(model, collate([one])) for one in examples]
    assert together.count == sum(one.count for one in alone)
    torch.testing.assert_close(together.total, torch.stack([one.total for one in alone]).sum())


def test_plain_example_has_the_streams_that_were_asked(test_rows: Any) -> None:
    row = test_rows[0]
    audio = plain_example(row, ("audio",), num_mels=40)
    assert audio.features is not None and audio.features.shape == (4 * row["num_frames"], 40)
    assert audio.mouth_crops is None and audio.lips is None
    both = plain_example(row, ("crops", "lips"), num_mels=80)
    assert both.features is None and both.mouth_crops is not None
    assert both.mouth_crops.shape == (row["num_frames"], 88, 88)
    np.testing.assert_array_equal(both.lips, decode_array(row["lips"]))
    assert not both.lips_valid[0]  # as tracked
    made = np.zeros((row["num_frames"], 40, 3), np.float32)
    given = plain_example(row, ("lips",), num_mels=80, lips=made)
    assert given.lips is made and given.lips_valid.all() and not given.crops_valid[0]
    louder = plain_example(
        row, ("audio",), num_mels=40, waveform=3 * decode_array(row["audio"])
    ).features
    np.testing.assert_allclose(louder - audio.features, np.log(9), atol=1e-3)


def test_validation_counts_words_over_the_corpus(
    recognizer: Any, tokenizer: Any, test_rows: Any
) -> None:
    silent = {name: np.zeros(640 * 30) for name in test_rows["utterance_id"]}
    silent = {
        row["utterance_id"]: silent[row["utterance_id"]][: row["num_samples"]] for row in test_rows
    }
    conditions = [
        ValidationCondition("clean", ("audio",), None),
        ValidationCondition("silent", ("audio",), silent),
        ValidationCondition("crops", ("crops",), None),
    ]
    accelerator = make_accelerator(TrainConfig(), cpu=True)
    found = validator(test_rows, conditions, tokenizer, accelerator, 80, batch_size=2)(recognizer)
    assert set(found) == {"wer_clean", "wer_silent", "wer_crops", "wer"}
    assert found["wer"] == pytest.approx(np.mean([v for k, v in found.items() if k != "wer"]))
    counts = []
    for row in test_rows:
        batch = collate([plain_example(row, ("crops",), num_mels=80)])
        with torch.no_grad():
            text = tokenizer.decode(ctc_greedy(recognizer(batch), batch.lengths)[0])
        counts.append(word_errors(reference=row["text"], hypothesis=text))
    assert found["wer_crops"] == corpus_errors(counts).rate


def test_training_writes_the_best_network_and_resumes_to_it(
    recognizer: Any,
    tokenizer: Any,
    train_rows: Any,
    test_rows: Any,
    make_row: Any,
    tmp_path: Path,
) -> None:
    from datasets import Dataset

    short = make_row("train/short", 3, train_rows[0]["text"])
    train_rows = Dataset.from_list([short, *train_rows.select(range(3))])
    config = TrainConfig(max_updates=2, warmup_updates=1, validate_every=1, max_frames=60)
    accelerator = make_accelerator(config, cpu=True)
    data = TrainingDataset(
        train_rows,
        encode=tokenizer.encode,
        stream_mix=AUDIO_VISUAL_MIX,
        mix_noise=None,
        augment=None,
    )
    conditions = [ValidationCondition("clean", ("audio",), None)]
    validate = validator(test_rows, conditions, tokenizer, accelerator, 80)

    def run(folder: Path, settings: TrainConfig) -> dict[str, torch.Tensor]:
        best = train_recognizer(
            data,
            validate,
            tokenizer,
            model_config=replace(recognizer.config, vocabulary_size=2),
            train_config=settings,
            run_folder=folder,
            accelerator=accelerator,
            info={"corpus": "tests"},
        )
        assert best == folder / "best.safetensors"
        return load_recognizer(best)[0].state_dict()

    whole = run(tmp_path / "whole", config)
    info = read_json(tmp_path / "whole" / "run.json")
    assert info["configs"]["model"]["vocabulary_size"] == tokenizer.size
    assert info["corpus"] == "tests" and info["configs"]["train"]["max_updates"] == 2
    assert (info["trained_on"], info["left_out"]) == (3, 1)
    left_out = list(read_jsonl(tmp_path / "whole" / "left_out.jsonl"))
    assert [row["utterance_id"] for row in left_out] == ["train/short"]
    assert left_out[0]["kind"] == "more tokens than frames"
    log = list(read_jsonl(tmp_path / "whole" / "metrics.jsonl"))
    assert [row["update"] for row in log] == [1, 2] and "valid_wer_clean" in log[0]
    metadata = load_weights(tmp_path / "whole" / "best.safetensors")[1]
    assert float(metadata["valid_wer"]) == pytest.approx(
        read_json(tmp_path / "whole" / "best.json")["wer"], abs=1e-6
    )
    again = run(tmp_path / "whole", config)  # finished: nothing left to do
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_only_the_last_update_of_the_same_config_is_finished(tmp_path: Path) -> None:
    config = TrainConfig(max_updates=3)
    assert not is_trained(tmp_path, config)
    (tmp_path / checkpoint_name(2)).mkdir()
    same_run(tmp_path / "config.json", {"train": asdict(config)}, "checkpoints")
    assert not is_trained(tmp_path, config)
    (tmp_path / checkpoint_name(3)).mkdir()
    assert is_trained(tmp_path, config)
    assert not is_trained(tmp_path, replace(config, seed=1))
