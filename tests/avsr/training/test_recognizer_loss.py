"""The hybrid loss: its parts, their weights, and sums over a batch."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from avsr.data.collate import collate
from avsr.losses import after_begin, attention_loss_sum, ctc_loss_sum
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.schema import Batch
from avsr.training.loop import TrainConfig, make_accelerator, update_step
from avsr.training.recognizer import plain_example
from avsr.training.recognizer_loss import RecognizerLoss, TrainedForward


@pytest.fixture(scope="module")
def hybrid(recognizer: Any) -> Recognizer:
    torch.manual_seed(0)
    return Recognizer(replace(recognizer.config, decoder_layers=1)).eval()


@pytest.fixture(scope="module")
def batches(tokenizer: Any, test_rows: Any) -> list[Batch]:
    """All utterances together, then one by one."""
    examples = [
        replace(
            plain_example(row, ("audio", "lips"), num_mels=80),
            tokens=tuple(tokenizer.encode(row["text"])[: 3 + number]),
        )
        for number, row in enumerate(test_rows)
    ]
    return [collate(examples), *(collate([one]) for one in examples)]


def test_the_weights_mix_the_two_losses(hybrid: Recognizer, batches: list[Batch]) -> None:
    batch = batches[0]
    assert batch.tokens is not None and batch.token_lengths is not None
    memory, valid = hybrid.memory_of(batch), hybrid.encode_batch(batch)[1]
    ctc = ctc_loss_sum(hybrid.ctc_logits(memory), batch.lengths, batch.tokens, batch.token_lengths)
    assert hybrid.decoder is not None
    logits = hybrid.decoder(after_begin(batch.tokens), memory, valid)
    attention = attention_loss_sum(logits, batch.tokens, batch.token_lengths, 0.1)
    model = TrainedForward(hybrid)
    for weight in (0.0, 0.3, 1.0):
        loss = RecognizerLoss(0.0, weight)(model, batch)
        expected = (1 - weight) * ctc.total + weight * attention.total
        torch.testing.assert_close(loss.total, expected)
        assert loss.count == batch.num_targets
        assert loss.logs["ctc"] == pytest.approx(float(ctc.total.detach()))
        assert ("attention" in loss.logs) == (weight > 0)


def test_loss_of_a_batch_is_the_sum_of_its_utterances(
    hybrid: Recognizer, batches: list[Batch]
) -> None:
    loss, model = RecognizerLoss(0.0, 0.5), TrainedForward(hybrid)
    together, *alone = (loss(model, batch) for batch in batches)
    torch.testing.assert_close(
        together.total, torch.stack([one.total for one in alone]).sum(), rtol=1e-4, atol=1e-3
    )
    assert together.count == sum(one.count for one in alone)
    correct = [one.logs["attention_correct"] for one in (together, *alone)]
    assert correct[0] == sum(correct[1:])


def test_every_parameter_of_the_decoder_learns(hybrid: Recognizer, batches: list[Batch]) -> None:
    hybrid.zero_grad()
    RecognizerLoss(0.0, 0.5)(TrainedForward(hybrid), batches[0]).total.backward()
    assert hybrid.decoder is not None
    assert all(p.grad is not None for p in hybrid.decoder.parameters())
    assert hybrid.to_logits.weight.grad is not None
    hybrid.zero_grad()


def test_the_transducers_loss_joins_and_sums_over_the_batch(
    recognizer: Any, batches: list[Batch]
) -> None:
    torch.manual_seed(0)
    network = Recognizer(replace(recognizer.config, transducer=True)).eval()
    model = TrainedForward(network)
    without = RecognizerLoss(0.0)(model, batches[0])
    loss = RecognizerLoss(0.0, transducer_weight=0.5)
    together, *alone = (loss(model, batch) for batch in batches)
    assert "transducer" not in without.logs
    assert together.count == batches[0].num_targets
    expected = float(without.total.detach()) + 0.5 * together.logs["transducer"]
    assert float(together.total.detach()) == pytest.approx(expected, rel=1e-5)
    assert together.logs["transducer"] == pytest.approx(
        sum(one.logs["transducer"] for one in alone), rel=1e-4
    )
    together.total.backward()
    assert network.transducer is not None
    assert all(p.grad is not None for p in network.transducer.parameters())
    with pytest.raises(ValueError, match="transducer_weight 0.5 needs a transducer"):
        loss(TrainedForward(recognizer), batches[0])
    with pytest.raises(ValueError, match="transducer_weight -1"):
        RecognizerLoss(0.0, transducer_weight=-1.0)


def test_weights_that_cannot_be_are_refused(recognizer: Any, batches: list[Batch]) -> None:
    for weights in ((-1.0, 0.0), (0.0, 1.5), (0.0, -0.1), (0.0, 0.5, 1.0)):
        with pytest.raises(ValueError, match="must be"):
            RecognizerLoss(*weights)
    with pytest.raises(ValueError, match="decoder_layers above 0"):
        RecognizerLoss(0.0, 0.5)(TrainedForward(recognizer), batches[0])


def drawn_model() -> TrainedForward:
    torch.manual_seed(0)
    config = RecognizerConfig(
        8, ("audio",), width=16, num_heads=2, fused_layers=1, dropout=0.0, decoder_layers=1
    )
    return TrainedForward(Recognizer(config))


def drawn_batch(lengths: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(sum(lengths))
    size, frames = len(lengths), max(lengths)
    token_lengths = torch.tensor([length // 4 for length in lengths])
    tokens = torch.randint(1, 8, (size, int(token_lengths.max())), generator=generator)
    absent = torch.zeros(size, frames, dtype=torch.bool)
    return Batch(
        utterance_ids=tuple(map(str, range(size))),
        lengths=torch.tensor(lengths),
        features=torch.randn(size, 4 * frames, 80, generator=generator),
        mouth_crops=None,
        lips=None,
        audio_present=torch.ones(size, dtype=torch.bool),
        crops_present=absent,
        lips_present=absent,
        tokens=tokens * (torch.arange(tokens.shape[1]) < token_lengths[:, None]),
        token_lengths=token_lengths,
    )


PARTS = ([[8, 12], [20]], [[9, 16, 11], [30, 4]])  # micro-batches of each process
TWO_PROCESSES = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_recognizer_loss import PARTS, drawn_batch, drawn_model
from avsr.training.loop import TrainConfig, make_accelerator, update_step
from avsr.training.recognizer_loss import RecognizerLoss
accelerator = make_accelerator(TrainConfig(), cpu=True)
model = drawn_model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
wrapped, optimizer = accelerator.prepare(model, optimizer)
batches = [drawn_batch(lengths) for lengths in PARTS[accelerator.process_index]]
for _ in range(2):
    update_step(wrapped, optimizer, RecognizerLoss(0.0, 0.4), batches, accelerator, 1e9)
if accelerator.is_main_process:
    torch.save(model.state_dict(), {out!r})
accelerator.wait_for_everyone()
# Now and then torch's threads abort an interpreter that ends, also after the group is left.
import os
os._exit(0)
"""


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Uneven micro-batches over two processes: the weights of one process with all of them."""
    out, script = tmp_path / "weights.pt", tmp_path / "two.py"
    script.write_text(TWO_PROCESSES.format(tests=str(Path(__file__).parent), out=str(out)))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, *command], check=True, timeout=180, env=environment)
    model = drawn_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [drawn_batch(lengths) for part in PARTS for lengths in part]
    accelerator = make_accelerator(TrainConfig(), cpu=True)
    for _ in range(2):
        update_step(model, optimizer, RecognizerLoss(0.0, 0.4), batches, accelerator, 1e9)
    for name, tensor in torch.load(out, weights_only=True).items():
        torch.testing.assert_close(tensor, model.state_dict()[name], rtol=1e-4, atol=1e-6)
