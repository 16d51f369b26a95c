"""Training and decoding on a GPU; the same code runs here on the CPU, in bfloat16 too."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState

from avsr.data.collate import collate
from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.models.recognizer import Recognizer
from avsr.schema import Batch
from avsr.training.loop import TrainConfig, make_accelerator, update_step
from avsr.training.optim import make_optimizer
from avsr.training.recognizer import plain_example
from avsr.training.recognizer_loss import RecognizerLoss, TrainedForward

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(autouse=True)
def accelerate_forgets() -> Iterator[None]:
    """Accelerate keeps one precision and device for a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def network(recognizer: Any) -> Recognizer:
    """With every head."""
    torch.manual_seed(0)
    return Recognizer(replace(recognizer.config, decoder_layers=1, transducer=True, dropout=0.0))


@pytest.fixture(scope="module")
def batch(tokenizer: Any, test_rows: Any) -> Batch:
    streams = ("audio", "crops", "lips")
    return collate(
        [
            replace(
                plain_example(row, streams, num_mels=80),
                tokens=tuple(tokenizer.encode(row["text"])),
            )
            for row in test_rows
        ]
    )


def accelerator_of(device: str, precision: Any) -> Any:
    return make_accelerator(TrainConfig(precision=precision), cpu=device == "cpu")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_updates_bring_the_loss_down(
    network: Recognizer, batch: Batch, device: str, precision: str
) -> None:
    accelerator = accelerator_of(device, precision)
    model = copy.deepcopy(network).train()
    optimizer = make_optimizer(model, 3e-3, 0.0)
    wrapped, optimizer = accelerator.prepare(TrainedForward(model), optimizer)
    loss = RecognizerLoss(0.1, 0.3, transducer_weight=0.3)
    there = batch.to(accelerator.device)
    assert there.lengths.device.type == device
    losses = [
        update_step(wrapped, optimizer, loss, [there], accelerator, 5.0)["loss"] for _ in range(4)
    ]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.gpu
def test_the_loss_on_a_gpu_is_that_of_the_cpu(network: Recognizer, batch: Batch) -> None:
    loss = RecognizerLoss(0.1, 0.3, transducer_weight=0.3)
    here = loss(TrainedForward(network), batch)
    there = loss(TrainedForward(copy.deepcopy(network).cuda()), batch.to("cuda"))
    assert float(there.total) == pytest.approx(float(here.total), rel=1e-3)
    assert there.count == here.count


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["greedy", "ctc", "joint", "transducer"])
@torch.no_grad()
def test_texts_on_a_gpu_are_those_of_the_cpu(
    network: Recognizer, batch: Batch, method: Any
) -> None:
    model, config = copy.deepcopy(network).eval(), DecodingConfig(method, 4)
    here = decode_memory(model, model.memory_of(batch), batch.lengths, config)
    model, moved = model.cuda(), batch.to("cuda")
    assert decode_memory(model, model.memory_of(moved), moved.lengths, config) == here


@pytest.mark.gpu
def test_the_loaders_batches_are_pinned(batch: Batch) -> None:
    loader = torch.utils.data.DataLoader([batch], batch_size=None, pin_memory=True)
    (loaded,) = loader
    assert loaded.lengths.is_pinned() and loaded.features.is_pinned()
    torch.testing.assert_close(loaded.to("cuda").features.cpu(), batch.features)
