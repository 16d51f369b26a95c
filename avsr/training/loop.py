"""The training loop.

The loss of an update is the sum over all its micro-batches and processes divided by its number of
targets, so the gradient of 1 x 8 utterances equals that of 4 x 2 and of 2 processes x 4.
Micro-batches form one endless stream (epoch after epoch); each update takes the next
``batches_per_update`` of them, shared out among the processes. Hence nothing is dropped at an
epoch's end, the number of processes changes only the time, and a resumed run takes the identical
next step.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from avsr.data.sampler import BatchStream
from avsr.files import read_json, write_json
from avsr.losses import LossSum
from avsr.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from avsr.training.optim import AveragedWeights, learning_rate_factor, make_optimizer
from avsr.training.reporting import MetricsLog
from avsr.training.seed import random_state, restore_random_state, seed_everything
from avsr.weights import differences, fill

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class TrainConfig:
    """How to optimise; all counts are in updates (optimiser steps)."""

    max_updates: int = 2000
    learning_rate: float = 1e-3  # peak
    warmup_updates: int = 200
    weight_decay: float = 0.01
    max_grad_norm: float = 5.0
    max_frames: int = 1200  # padded frames of a micro-batch
    batches_per_update: int = 2  # micro-batches of an update, over all processes
    average_decay: float = 0.995  # of the running weight average that is validated and kept
    validate_every: int = 200
    num_workers: int = 0  # loader processes; 0 loads in the training process
    precision: Literal["auto", "float32", "bfloat16"] = (
        "auto"  # auto: bfloat16 on GPUs that have it
    )
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_updates", "batches_per_update", "validate_every", "max_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"training {name} {getattr(self, name)} must be at least 1")
        if not 0.0 <= self.average_decay < 1.0:
            raise ValueError(f"average_decay {self.average_decay} must be in [0, 1)")


class Examples(Protocol):
    """A training set: lengths in frames, and example ``index`` as it looks in ``epoch``."""

    @property
    def num_frames(self) -> Sequence[int] | NDArray[np.integer]:
        """Length of each example in frames."""
        ...

    def example(self, index: int, epoch: int) -> Any:
        """Example ``index``."""
        ...


class TrainingStoppedError(ValueError):
    """The loss is not finite; the ids of the batch are in the run folder."""


def make_accelerator(config: TrainConfig, *, cpu: bool = False) -> Accelerator:
    """Accelerator with the config's precision; under torchrun it joins the other processes.

    The toolkit's commands and recipes leave them at their end (`avsr.command_line`); a script of
    one's own calls the accelerator's ``end_training()``, or may be aborted on its way out.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    on_gpu = torch.cuda.is_available() and not cpu
    wants = config.precision == "bfloat16" or (
        config.precision == "auto" and on_gpu and torch.cuda.is_bf16_supported()
    )
    # A micro-batch may lack a stream, and so leave its encoder without a gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(
        cpu=not on_gpu, mixed_precision="bf16" if wants else "no", kwargs_handlers=[unused]
    )


class _Loaded(torch.utils.data.Dataset):
    """Micro-batches by (epoch, indices): which come when is decided in the training process."""

    def __init__(self, examples: Examples, collate: Callable[[list[Any]], Any]) -> None:
        self.examples, self.collate = examples, collate

    def __getitem__(self, which: tuple[int, list[int]]) -> tuple[int, Any]:
        epoch, indices = which
        return epoch, self.collate([self.examples.example(i, epoch) for i in indices])


def _updates(
    stream: BatchStream,
    loaded: _Loaded,
    config: TrainConfig,
    accelerator: Accelerator,
    first: int,
) -> Iterator[tuple[int, int, list[Any]]]:
    """Yield (update, epoch, micro-batches of this process)."""
    size, rank = accelerator.num_processes, accelerator.process_index
    share, rest = divmod(config.batches_per_update, size)
    if rest or not share:
        raise ValueError(
            f"batches_per_update {config.batches_per_update} cannot be shared out among {size} "
            "processes; make it a multiple of their number"
        )
    positions = (
        update * config.batches_per_update + step * size + rank
        for update in range(first, config.max_updates)
        for step in range(share)
    )
    loader = torch.utils.data.DataLoader(
        loaded,
        sampler=map(stream.locate, positions),  # lazily: the run's order is never one list
        batch_size=None,
        num_workers=config.num_workers,
        pin_memory=accelerator.device.type == "cuda",
        # Its own generator: the loader would otherwise draw from the one that dropout uses, once
        # more in a resumed run than in one that was not stopped.
        generator=torch.Generator(),
    )
    pending = []
    for number, (epoch, batch) in enumerate(loader):
        pending.append(batch.to(accelerator.device))
        if len(pending) == share:
            yield first + number // share, epoch, pending
            pending = []


def _loss_of(
    batch: Any, model: nn.Module, batch_loss: Callable[[nn.Module, Any], LossSum]
) -> LossSum:
    try:
        return batch_loss(model, batch)
    except ValueError as error:  # a loss knows places in the batch, not names
        raise ValueError(f"utterances {', '.join(batch.utterance_ids)}: {error}") from error


def update_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch_loss: Callable[[nn.Module, Any], LossSum],
    batches: list[Any],
    accelerator: Accelerator,
    max_grad_norm: float,
) -> dict[str, float]:
    """One optimiser step over the micro-batches of all processes; returns means over targets.

    Raises:
        TrainingStoppedError: the loss is NaN or infinite; nothing was changed.
    """
    counts = torch.tensor([float(sum(b.num_targets for b in batches))], device=accelerator.device)
    # At least 1: an update in which nothing counts changes nothing, and is not 0 / 0.
    total_count = max(1.0, float(accelerator.reduce(counts, "sum")))
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, float] = {"loss": 0.0}
    for step, batch in enumerate(batches):
        last = step == len(batches) - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(model):
            with accelerator.autocast():
                loss = _loss_of(batch, model, batch_loss)
            # Processes' gradients are averaged, so each gives its sum times their number.
            accelerator.backward(loss.total * (accelerator.num_processes / total_count))
        sums["loss"] += float(loss.total.detach())
        for name, value in loss.logs.items():
            sums[name] = sums.get(name, 0.0) + value
    values = torch.tensor(list(sums.values()), dtype=torch.float64, device=accelerator.device)
    means = (accelerator.reduce(values, "sum") / total_count).tolist()
    norm = accelerator.clip_grad_norm_(model.parameters(), max_grad_norm)
    result = {**dict(zip(sums, means, strict=True)), "grad_norm": float(norm)}
    if not (math.isfinite(result["loss"]) and math.isfinite(result["grad_norm"])):
        raise TrainingStoppedError(f"loss {result['loss']} and gradient norm {result['grad_norm']}")
    optimizer.step()
    return result


def train(
    model: nn.Module,
    batch_loss: Callable[[nn.Module, Any], LossSum],
    examples: Examples,
    collate: Callable[[list[Any]], Any],
    validate: Callable[[nn.Module], dict[str, float]],
    *,
    selection: str,
    save_best: Callable[[nn.Module, dict[str, float]], None],
    config: TrainConfig,
    run_folder: Path,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Train to ``config.max_updates``, resuming from ``run_folder`` where a run stopped.

    Args:
        model: network with its initial weights (the same on all processes).
        batch_loss: (model, batch) to a :class:`LossSum`; calls the model once.
        examples: training set.
        collate: examples to a batch that has ``num_targets``, ``utterance_ids`` and ``to(device)``.
        validate: network in eval mode with averaged weights to metrics, the same on all processes.
        selection: name of the validation metric whose smallest value makes the best network.
        save_best: called on the main process when the metric improved.
        run_folder: gets checkpoints, ``metrics.jsonl`` and ``best.json``.

    Returns:
        the content of ``best.json``: update and validation metrics of the best network.

    Raises:
        TrainingStoppedError: a loss is not finite; ``stopped_<process>.json`` lists the ids.
    """
    optimizer = make_optimizer(model, config.learning_rate, config.weight_decay)
    average = AveragedWeights(model, config.average_decay)
    first, best = 0, {"update": -1, selection: math.inf}
    epoch_sizes: Sequence[int] = ()
    seed_everything(config.seed, accelerator.process_index)
    run_folder.mkdir(parents=True, exist_ok=True)
    if (folder := latest_checkpoint(run_folder)) is not None:
        weights, averaged, state = load_checkpoint(folder)
        fill(model, weights, folder / "model.safetensors")
        if wrong := differences(average.weights, averaged):
            raise ValueError(
                f"{folder / 'average.safetensors'}: {'; '.join(wrong)}; remove {folder}"
            )
        average.weights = averaged
        optimizer.load_state_dict(state["optimizer"])
        if accelerator.process_index < len(state["random"]):  # a process more has its own seed
            restore_random_state(state["random"][accelerator.process_index])
        first, best = state["update"], state["best"]
        epoch_sizes = state.get("epoch_sizes", ())  # counted again for older checkpoints
    average.weights = {k: v.to(accelerator.device) for k, v in average.weights.items()}
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    log = MetricsLog(run_folder / "metrics.jsonl", first) if accelerator.is_main_process else None
    stream = BatchStream(
        examples.num_frames,
        max_frames=config.max_frames,
        seed=config.seed,
        epoch_sizes=epoch_sizes,
    )
    loaded = _Loaded(examples, collate)
    progress = tqdm(
        total=config.max_updates,
        initial=first,
        desc=f"train {run_folder.name}",
        unit="update",
        disable=not accelerator.is_main_process,
        mininterval=2.0,
    )
    started = time.monotonic()
    wrapped.train()
    for update, epoch, batches in _updates(stream, loaded, config, accelerator, first):
        factor = learning_rate_factor(update, config.warmup_updates, config.max_updates)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * factor
        try:
            means = update_step(
                wrapped, optimizer, batch_loss, batches, accelerator, config.max_grad_norm
            )
        except TrainingStoppedError as error:
            ids = [list(batch.utterance_ids) for batch in batches]
            path = run_folder / f"stopped_{accelerator.process_index}.json"
            write_json(path, {"update": update, "utterance_ids": ids})
            raise TrainingStoppedError(
                f"{run_folder}: {error} at update {update}; the batch's utterances are in {path}; "
                "check them, or lower the learning rate"
            ) from error
        bare = accelerator.unwrap_model(wrapped)
        average.update(bare, update)
        progress.update()
        progress.set_postfix(loss=f"{means['loss']:.3f}", refresh=False)
        done = update + 1
        row = {"update": done, "epoch": epoch, "seconds": time.monotonic() - started, **means}
        checked = done % config.validate_every == 0 or done == config.max_updates
        if checked:
            kept = average.swap(bare)
            bare.eval()
            metrics = validate(bare)
            if metrics[selection] < best[selection]:
                best = {"update": done, **metrics}
                if accelerator.is_main_process:
                    save_best(bare, metrics)
                    write_json(run_folder / "best.json", best)
            bare.load_state_dict(kept)
            wrapped.train()
            row.update({f"valid_{name}": value for name, value in metrics.items()})
            if accelerator.is_main_process:
                said = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
                progress.write(f"update {done}: loss {row['loss']:.3f}, {said}")
        if log is not None:  # before the checkpoint: a resumed run cuts the log, and cannot add
            log.append(row)
        if checked:
            counters = {"update": done, "best": best, "epoch_sizes": stream.epoch_sizes}
            _checkpoint(run_folder, counters, bare, average, optimizer, accelerator)
    progress.close()
    accelerator.wait_for_everyone()
    return dict(read_json(run_folder / "best.json"))


def _checkpoint(
    run_folder: Path,
    counters: dict[str, Any],
    model: nn.Module,
    average: AveragedWeights,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
) -> None:
    from accelerate.utils import gather_object

    random = gather_object([random_state()])
    if accelerator.is_main_process:
        state = {**counters, "random": random, "optimizer": optimizer.state_dict()}
        save_checkpoint(run_folder, counters["update"], model.state_dict(), average.weights, state)
    accelerator.wait_for_everyone()
