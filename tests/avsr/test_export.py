"""A recogniser for ONNX Runtime and with int8 weights: the same reading, or the reason why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr import export
from avsr.data.collate import collate
from avsr.export import (
    TOLERANCE,
    ExportError,
    PlainForward,
    export_onnx,
    inputs_of,
    load_onnx,
    quantise,
)
from avsr.models.layers import mask_of_lengths
from avsr.models.recognizer import Recognizer
from avsr.schema import Batch
from avsr.training.recognizer import plain_example

ALL = ("audio", "crops", "lips")


def mixed_batch(rows: Any) -> Batch:
    """Each utterance with other streams: all, sound alone, pictures alone."""
    streams = (ALL, ("audio",), ("crops",))
    pairs = zip(rows, streams, strict=True)
    return collate([plain_example(row, names, num_mels=80) for row, names in pairs])


def differences(a: torch.Tensor, b: torch.Tensor, batch: Batch) -> float:
    valid = mask_of_lengths(batch.lengths, int(batch.lengths.max()))
    return float((a - b)[valid].abs().max())


def test_computing_every_frame_changes_nothing(recognizer: Recognizer, test_rows: Any) -> None:
    batch = mixed_batch(test_rows)
    inputs = inputs_of(batch, recognizer.config.streams, 80)
    with torch.no_grad():
        wanted = recognizer(batch).log_softmax(-1)
        found = PlainForward(recognizer)(*(torch.from_numpy(x) for x in inputs.values()))
    assert torch.isfinite(found).all()
    assert differences(wanted, found, batch) < TOLERANCE


def test_what_absent_frames_hold_does_not_matter(recognizer: Recognizer, test_rows: Any) -> None:
    inputs = inputs_of(mixed_batch(test_rows), recognizer.config.streams, 80)
    other = {name: array.copy() for name, array in inputs.items()}
    other["lips"][1:] += 7.0
    other["crops"][1] = 0.5
    with torch.no_grad():
        plain = PlainForward(recognizer)
        a, b = (plain(*(torch.from_numpy(x) for x in one.values())) for one in (inputs, other))
    assert torch.equal(a, b)


def test_int8_is_near_and_leaves_the_network_as_it_was(
    recognizer: Recognizer, test_rows: Any
) -> None:
    batch = mixed_batch(test_rows)
    with torch.no_grad():
        before = recognizer(batch)
        small = quantise(recognizer)(batch)
        assert torch.equal(recognizer(batch), before)
        alone = collate([plain_example(test_rows[0], ("audio",), num_mels=80)])
        empty = replace(alone, audio_present=torch.tensor([False]))
        assert torch.isfinite(quantise(recognizer)(empty)).all()
    assert 0 < differences(before, small, batch) < 0.1 * float(before.abs().max())


@pytest.fixture(scope="module")
def exported(
    recognizer: Recognizer, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    return export_onnx(recognizer, tokenizer, tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.mark.slow
def test_onnx_runtime_reads_the_same(
    exported: Path, recognizer: Recognizer, tokenizer: Any, test_rows: Any
) -> None:
    runner, words = load_onnx(exported, num_threads=1)
    assert words.model == tokenizer.model and runner.streams == recognizer.config.streams
    facts = json.loads(exported.with_suffix(".json").read_text())
    assert 0 <= facts["largest_difference"] <= TOLERANCE and facts["int8"] is False
    for rows in (test_rows, test_rows.select([1, 2, 0])):
        batch = mixed_batch(rows)
        with torch.no_grad():
            wanted = recognizer(batch).log_softmax(-1)
        assert differences(wanted, runner(batch), batch) <= TOLERANCE
    for index, streams in enumerate((ALL, ("audio",), ("lips",))):  # another size and length
        one = collate([plain_example(test_rows[index], streams, num_mels=80)])
        with torch.no_grad():
            assert differences(recognizer(one).log_softmax(-1), runner(one), one) <= TOLERANCE


@pytest.mark.slow
def test_int8_onnx_is_smaller_and_says_how_far_it_is(
    exported: Path, recognizer: Recognizer, tokenizer: Any, tmp_path: Path
) -> None:
    small = export_onnx(recognizer, tokenizer, tmp_path / "small.onnx", int8=True)
    facts = json.loads(small.with_suffix(".json").read_text())
    assert facts["int8"] is True and TOLERANCE < facts["largest_difference"] < 10
    load_onnx(small)


@pytest.mark.slow
def test_files_that_do_not_belong_together_are_refused(exported: Path, tmp_path: Path) -> None:
    path, description = tmp_path / "m.onnx", tmp_path / "m.json"
    with pytest.raises(ExportError, match="m.onnx: no such file"):
        load_onnx(path)
    path.write_bytes(exported.read_bytes()[:-5])
    with pytest.raises(ExportError, match="m.json: no such file"):
        load_onnx(path)
    facts = json.loads(exported.with_suffix(".json").read_text())
    description.write_text(json.dumps(facts))
    with pytest.raises(ExportError, match="sha256 differs"):
        load_onnx(path)
    path.write_bytes(exported.read_bytes())
    for change in ({"tokenizer": "zz"}, {"config": 3}, {"config": {}}):
        description.write_text(json.dumps({**facts, **change}))
        with pytest.raises(ExportError, match="m.json: is damaged"):
            load_onnx(path)
    description.write_text("[]")
    with pytest.raises(ExportError, match="does not describe"):
        load_onnx(path)


@pytest.mark.slow
def test_an_export_that_differs_is_not_written(
    recognizer: Recognizer, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_write_onnx", lambda model, path, int8: path.write_bytes(b"x"))
    for difference in (2 * TOLERANCE, float("nan")):
        monkeypatch.setattr(export, "largest_difference", lambda *_, d=difference: d)
        with pytest.raises(ExportError, match="log probabilities differ from torch's"):
            export_onnx(recognizer, tokenizer, tmp_path / "m.onnx")
        assert list(tmp_path.iterdir()) == []


def test_other_names_and_networks_are_refused(
    recognizer: Recognizer, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExportError, match="ends in .onnx"):
        export_onnx(recognizer, tokenizer, tmp_path / "m.pt")
    with monkeypatch.context() as patch:
        patch.setattr(recognizer, "config", replace(recognizer.config))
        object.__setattr__(recognizer.config, "speech_encoder", "{}")
        with pytest.raises(ExportError, match="pretrained speech encoder is not exported"):
            export_onnx(recognizer, tokenizer, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_named_and_complete(test_rows: Any) -> None:
    one = collate([plain_example(test_rows[0], ("crops",), num_mels=80)])
    inputs = inputs_of(one, ("audio", "crops"), 80)
    frames = test_rows[0]["num_frames"]
    assert list(inputs) == ["audio", "audio_present", "crops", "crops_present", "valid"]
    assert inputs["audio"].shape == (1, 4 * frames, 80) and not inputs["audio_present"].any()
    assert inputs["crops"].dtype == np.float32 and inputs["crops"].max() <= 1
    assert inputs["crops_present"][0].tolist() == [False] + [True] * (frames - 1)
