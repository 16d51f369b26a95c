"""Updates of the recogniser in one process and in two: the project's choice of processes.

Run as a script it is one of the processes: ``training.py <result.json> <threads> <updates>``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import torch  # noqa: E402
from torch import nn  # noqa: E402

from avsr.files import read_json, write_json  # noqa: E402
from avsr.losses import LossSum, ctc_loss_sum  # noqa: E402
from avsr.schema import Batch  # noqa: E402
from avsr.training.command import launch  # noqa: E402
from avsr.training.loop import TrainConfig, make_accelerator, update_step  # noqa: E402
from avsr.training.optim import make_optimizer  # noqa: E402
from benchmarks.timing.clock import Row  # noqa: E402
from benchmarks.timing.recognition import CLIP_S, example_batch, recogniser_of  # noqa: E402

CLIPS = 8  # of a micro-batch: 600 frames, as in the GRID recipe
BATCHES_PER_UPDATE = 2
LAYOUTS = ((1, 1), (1, 2), (2, 1))  # processes, threads of each


def training(updates: int, layouts: Sequence[tuple[int, int]] = LAYOUTS) -> list[Row]:
    """Examples a second, the batches ready in memory: networks and optimiser, not the loading."""
    rows: list[Row] = []
    for processes, threads in layouts:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "seconds.json"
            launch([str(Path(__file__)), str(out), str(threads), str(updates)], processes)
            seconds = sorted(read_json(out))
        name = f"{processes} process{'' if processes == 1 else 'es'} x {threads} thread"
        name += "" if threads == 1 else "s"
        rows.append(
            Row(
                "Training the recogniser, one update",
                name,
                seconds[len(seconds) // 2],
                seconds[0],
                seconds[-1],
                len(seconds),
                CLIPS * BATCHES_PER_UPDATE,
                "examples",
                rows[0].what if rows else None,
            )
        )
    return rows


def ctc(model: nn.Module, batch: Batch) -> LossSum:
    """CTC loss alone: word times, which a recipe may use as well, cost next to nothing."""
    assert batch.tokens is not None and batch.token_lengths is not None
    return ctc_loss_sum(model(batch), batch.lengths, batch.tokens, batch.token_lengths)


def work(out: Path, threads: int, updates: int) -> None:
    """One process's share of the updates; the first process writes the seconds of each."""
    torch.set_num_threads(threads)
    config = TrainConfig(batches_per_update=BATCHES_PER_UPDATE)
    accelerator = make_accelerator(config, cpu=True)
    model = recogniser_of(None)[0].train()
    optimizer = make_optimizer(model, config.learning_rate, config.weight_decay)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    share = BATCHES_PER_UPDATE // accelerator.num_processes
    batches = [example_batch(("audio", "crops"), CLIP_S, CLIPS) for _ in range(share)]
    seconds = []
    for _ in range(updates + 1):  # the first is a warm-up
        started = time.perf_counter()
        update_step(wrapped, optimizer, ctc, batches, accelerator, config.max_grad_norm)
        seconds.append(time.perf_counter() - started)
    if accelerator.is_main_process:
        write_json(out, seconds[1:])


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
