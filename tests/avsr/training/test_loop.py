"""The training loop: exact gradients however an update is split, exact resumption, clean stops."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avsr.losses import LossSum
from avsr.training.loop import TrainConfig, TrainingStoppedError, make_accelerator, train
from avsr.training.seed import seed_everything

CONFIG = TrainConfig(
    max_updates=6,
    learning_rate=0.01,
    warmup_updates=2,
    max_frames=8,
    batches_per_update=1,
    validate_every=2,
    average_decay=0.5,
)


@dataclass(frozen=True)
class ToyBatch:
    utterance_ids: tuple[str, ...]
    x: Tensor  # (B, 4)
    y: Tensor  # (B, U) with NaN where there is no target: counts differ between batches

    @property
    def num_targets(self) -> int:
        return int((~self.y.isnan()).sum())

    def to(self, device: Any) -> ToyBatch:
        return replace(self, x=self.x.to(device), y=self.y.to(device))


class ToyExamples:
    def __init__(self, size: int = 24) -> None:
        self.num_frames = [1] * size

    def example(self, index: int, epoch: int) -> tuple[str, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1000 * epoch + index)
        y = torch.randn(3, generator=generator)
        y[index % 3 + 1 :] = math.nan
        return f"u{index}", torch.randn(4, generator=generator), y


def collate(examples: list[Any]) -> ToyBatch:
    ids, x, y = zip(*examples, strict=True)
    return ToyBatch(tuple(ids), torch.stack(x), torch.stack(y))


class ToyModel(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 8), nn.Linear(8, 3)
        self.sometimes = nn.Linear(
            4, 3
        )  # used by some micro-batches only, as a stream's encoder is
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: ToyBatch) -> Tensor:
        y = self.out(self.dropout(self.hidden(batch.x).tanh()))
        return y + self.sometimes(batch.x) if "u0" in batch.utterance_ids else y


def loss(model: nn.Module, batch: ToyBatch) -> LossSum:
    real = ~batch.y.isnan()
    total = ((model(batch) - batch.y.nan_to_num()) ** 2)[real].sum()
    return LossSum(total, int(real.sum()))


def run(folder: Path, config: TrainConfig, model: nn.Module, batch_loss: Any = loss) -> nn.Module:
    calls = iter(range(1000))
    train(
        model,
        batch_loss,
        ToyExamples(),
        collate,
        lambda _: {"error": 1.0 / (1 + next(calls))},
        selection="error",
        save_best=lambda *_: None,
        config=config,
        run_folder=folder,
        accelerator=make_accelerator(config, cpu=True),
    )
    return model


def fresh(dropout: float = 0.0) -> ToyModel:
    seed_everything(0)
    return ToyModel(dropout)


def losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def same_weights(a: nn.Module, b: nn.Module, **tolerance: float) -> None:
    for (name, x), (_, y) in zip(a.named_parameters(), b.named_parameters(), strict=True):
        torch.testing.assert_close(x, y, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def plain_loss(model: nn.Module, batch: ToyBatch) -> LossSum:
    """Without the branch that depends on which utterances share a micro-batch."""
    anonymous = replace(batch, utterance_ids=tuple("-" for _ in batch.utterance_ids))
    return loss(model, anonymous)


def gradient_of(splits: list[list[int]]) -> list[Tensor]:
    """Gradient of one update over micro-batches ``splits``, by the loop's own step."""
    from avsr.training.loop import update_step

    model, examples = fresh(), ToyExamples()
    accelerator = make_accelerator(CONFIG, cpu=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = [p.detach().clone() for p in model.parameters()]
    batches = [collate([examples.example(i, 0) for i in part]) for part in splits]
    update_step(model, optimizer, plain_loss, batches, accelerator, max_grad_norm=1e9)
    return [a - b.detach() for a, b in zip(before, model.parameters(), strict=True)]


def test_gradient_of_1x8_equals_4x2_and_an_uneven_split() -> None:
    whole = gradient_of([list(range(8))])
    for splits in ([[0, 1], [2, 3], [4, 5], [6, 7]], [[0], [1, 2, 3, 4, 5], [6, 7]]):
        for a, b in zip(whole, gradient_of(splits), strict=True):
            torch.testing.assert_close(a, b)


def test_killed_run_resumes_to_identical_weights(tmp_path: Path) -> None:
    """With dropout: the random state is part of the checkpoint."""
    through = run(tmp_path / "through", CONFIG, fresh(0.5))

    class KilledError(Exception):
        pass

    count = iter(range(1000))

    def until_killed(model: nn.Module, batch: ToyBatch) -> LossSum:
        if next(count) == 5:  # after the checkpoint of update 4
            raise KilledError
        return loss(model, batch)

    with pytest.raises(KilledError):
        run(tmp_path / "killed", CONFIG, fresh(0.5), until_killed)
    torch.manual_seed(99)
    resumed = run(tmp_path / "killed", CONFIG, fresh(0.5))
    same_weights(through, resumed, rtol=0, atol=0)
    assert losses(tmp_path / "killed") == losses(tmp_path / "through")


def test_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    run(tmp_path, CONFIG, fresh())
    before = (tmp_path / "metrics.jsonl").read_text()

    def fails(*_: Any) -> LossSum:
        raise AssertionError("trained again")

    run(tmp_path, CONFIG, fresh(), fails)
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_nan_loss_stops_the_run_and_saves_the_ids(tmp_path: Path) -> None:
    def broken(model: nn.Module, batch: ToyBatch) -> LossSum:
        good = loss(model, batch)
        return LossSum(good.total * math.nan, good.count)

    with pytest.raises(TrainingStoppedError, match="stopped_0.json"):
        run(tmp_path, CONFIG, fresh(), broken)
    saved = json.loads((tmp_path / "stopped_0.json").read_text())
    assert saved["update"] == 0 and len(saved["utterance_ids"][0]) == 8


def test_batches_that_cannot_be_shared_out_are_refused(tmp_path: Path) -> None:
    from avsr.training import loop

    class ThreeProcesses:
        num_processes, process_index = 3, 0

    with pytest.raises(ValueError, match="batches_per_update 2 .* 3 processes"):
        next(loop._updates(None, None, replace(CONFIG, batches_per_update=2), ThreeProcesses(), 0))


def test_half_written_checkpoint_is_not_read(tmp_path: Path) -> None:
    run(tmp_path, CONFIG, fresh())
    half = tmp_path / ".checkpoint-00000099.tmp"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    again = run(tmp_path, replace(CONFIG, max_updates=8), fresh())
    assert all(torch.isfinite(p).all() for p in again.parameters())
    assert len(losses(tmp_path)) == 8


@pytest.mark.parametrize(
    "change", [{"max_updates": 0}, {"batches_per_update": 0}, {"average_decay": 1.0}]
)
def test_impossible_config_is_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(CONFIG, **change)


TWO_PROCESSES = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_loop import CONFIG, ToyExamples, collate, fresh, loss
from avsr.training.loop import make_accelerator, update_step
accelerator = make_accelerator(CONFIG, cpu=True)
model = fresh()
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
wrapped, optimizer = accelerator.prepare(model, optimizer)
assert accelerator.num_processes == 2
parts = [[[0, 1], [2, 3]], [[4, 5, 6], [7]]][accelerator.process_index]
examples = ToyExamples()
batches = [collate([examples.example(i, 0) for i in part]) for part in parts]
update_step(wrapped, optimizer, loss, batches, accelerator, max_grad_norm=1e9)
if accelerator.is_main_process:
    torch.save(model.state_dict(), {out!r})
accelerator.wait_for_everyone()
# Now and then torch's threads abort an interpreter that ends, also after the group is left.
import os
os._exit(0)
"""


@pytest.mark.slow
def test_gradient_of_two_processes_equals_one(tmp_path: Path) -> None:
    """2 processes x 2 micro-batches, uneven, one branch unused in most: as 4 in one process."""
    from avsr.training.loop import update_step

    out = tmp_path / "weights.pt"
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES.format(tests=str(Path(__file__).parent), out=str(out)))
    repository = str(Path(__file__).parents[3])
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        + [str(script)],
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": repository},
    )
    model, examples = fresh(), ToyExamples()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    parts = [[0, 1], [2, 3], [4, 5, 6], [7]]
    batches = [collate([examples.example(i, 0) for i in part]) for part in parts]
    accelerator = make_accelerator(CONFIG, cpu=True)
    update_step(model, optimizer, loss, batches, accelerator, max_grad_norm=1e9)
    for name, tensor in torch.load(out, weights_only=True).items():
        torch.testing.assert_close(tensor, model.state_dict()[name])


def test_weights_of_another_network_are_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, CONFIG, fresh())
    other = fresh()
    other.hidden = nn.Linear(4, 9)
    other.out = nn.Linear(9, 3)
    with pytest.raises(ValueError, match=r"model.safetensors: weights do not fit .*hidden.weight"):
        run(tmp_path, replace(CONFIG, max_updates=8), other)


def test_a_refused_batch_is_named(tmp_path: Path) -> None:
    def refuses(model: nn.Module, batch: ToyBatch) -> LossSum:
        raise ValueError("row 2 has more tokens than frames")

    with pytest.raises(ValueError, match=r"utterances u\d+, .*: row 2 has more tokens"):
        run(tmp_path, CONFIG, fresh(), refuses)


def test_an_update_without_targets_changes_nothing() -> None:
    def nothing(model: nn.Module, batch: ToyBatch) -> LossSum:
        return LossSum(0.0 * model(batch).sum(), 0)

    from avsr.training.loop import update_step

    model, examples = fresh(), ToyExamples()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    batch = collate([examples.example(1, 0)])
    empty = replace(batch, y=torch.full_like(batch.y, math.nan))
    assert empty.num_targets == 0
    accelerator = make_accelerator(CONFIG, cpu=True)
    means = update_step(model, optimizer, nothing, [empty], accelerator, max_grad_norm=1.0)
    assert means["loss"] == 0.0
    for a, b in zip(before, model.parameters(), strict=True):
        assert torch.equal(a, b)
