"""Killed at any moment, in one process or in two: the resumed run ends with identical weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from avsr.training.checkpoint import checkpoint_name, latest_checkpoint, load_checkpoint

REPOSITORY = Path(__file__).parents[3]

# Dropout draws from the random state, AdamW keeps moments, the learning rate follows the update,
# every epoch has another order: a resumed run that lost any of these ends elsewhere.
TRAINING = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_loop
from avsr.training import checkpoint
folder, moment, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def kill_when(module, name, wanted):
    real = getattr(module, name)
    calls = iter(range(1000))
    def watched(*args, **options):
        if next(calls) == wanted:
            die()
        return real(*args, **options)
    setattr(module, name, watched)

main = os.environ.get("RANK", "0") == "0"
if main and moment == "in an update":
    kill_when(test_loop, "loss", 9 // int(os.environ.get("WORLD_SIZE", "1")))
if main and moment == "writing weights":  # each checkpoint writes two such files: the second's
    kill_when(checkpoint, "save_weights", 3)
if main and moment == "writing state":
    kill_when(checkpoint.torch, "save", 1)
if main and moment == "renaming":
    real_replace = os.replace
    def replace_or_die(source, target):
        if Path(target).name == checkpoint.checkpoint_name(4):
            die()
        real_replace(source, target)
    os.replace = replace_or_die
if main and moment == "removing the older":
    kill_when(checkpoint.shutil, "rmtree", 2)
config = replace(test_loop.CONFIG, batches_per_update=2, num_workers=workers)
test_loop.run(folder, config, test_loop.fresh(0.5), lambda *given: test_loop.loss(*given))
# Now and then torch's threads abort an interpreter that ends, also after the group is left.
import os
os._exit(0)
"""


def start(tmp_path: Path, folder: Path, moment: str, processes: int, workers: int = 0) -> int:
    script = tmp_path / "training.py"
    script.write_text(TRAINING.format(tests=str(Path(__file__).parent)))
    argv = [sys.executable]
    if processes > 1:
        argv += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    done = subprocess.run(
        [*argv, str(script), str(folder), moment, str(workers)],
        timeout=300,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    if moment == "never":
        assert done.returncode == 0, done.stderr[-2000:]
    return done.returncode


def end_of(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict]:
    last = latest_checkpoint(folder)
    assert last is not None and last.name == checkpoint_name(6)
    return load_checkpoint(last)


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def comparable(state: dict) -> dict:
    """Without the validation's figures, which count the calls of the toy's validation."""
    return {name: value for name, value in state.items() if name != "best"}


def losses(folder: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["update"], row["loss"]) for row in rows]


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The run that nobody stopped, in one process and in two."""
    base = tmp_path_factory.mktemp("through")
    for processes in (1, 2):
        start(base, base / str(processes), "never", processes)
    return {processes: base / str(processes) for processes in (1, 2)}


MOMENTS = ("in an update", "writing weights", "writing state", "renaming", "removing the older")


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed_is_identical(
    moment: str, through: dict[int, Path], tmp_path: Path
) -> None:
    """Weights, averages, optimiser, random states, data position and log, bit for bit."""
    folder = tmp_path / "run"
    assert start(tmp_path, folder, moment, 1) == -signal.SIGKILL
    kept = latest_checkpoint(folder)
    # The checkpoint of update 2 is whole; that of 4 only where the kill came after its renaming.
    update = {"removing the older": 4}.get(moment, 4 if moment == "in an update" else 2)
    assert kept is not None and kept.name == checkpoint_name(update)
    start(tmp_path, folder, "never", 1)
    wanted, found = end_of(through[1]), end_of(folder)
    assert same(wanted[:2], found[:2])
    assert same(comparable(wanted[2]), comparable(found[2]))
    assert losses(folder) == losses(through[1])
    assert [path.name for path in folder.glob("*checkpoint*")] == [checkpoint_name(6)]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["in an update", "writing state"])
def test_killed_and_resumed_in_two_processes(
    moment: str, through: dict[int, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert start(tmp_path, folder, moment, 2) != 0
    start(tmp_path, folder, "never", 2)
    wanted, found = end_of(through[2]), end_of(folder)
    assert same(wanted[:2], found[:2])
    assert same(comparable(wanted[2]), comparable(found[2]))
    assert len(found[2]["random"]) == 2 and not same(*found[2]["random"])


@pytest.mark.slow
def test_loader_processes_change_nothing(through: dict[int, Path], tmp_path: Path) -> None:
    start(tmp_path, tmp_path / "run", "never", 1, workers=2)
    assert same(end_of(through[1])[:2], end_of(tmp_path / "run")[:2])


STOPPED = """
import math, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_loop
from avsr.losses import LossSum
from avsr.training.loop import TrainingStoppedError

def broken(model, batch):
    good = test_loop.loss(model, batch)
    # Only what one of the processes sees is broken; the other must stop with it.
    return LossSum(good.total * (math.nan if "u0" in batch.utterance_ids else 1.0), good.count)

config = replace(test_loop.CONFIG, batches_per_update=2)
try:
    test_loop.run(Path(sys.argv[1]), config, test_loop.fresh(), broken)
except TrainingStoppedError as error:
    print(f"stopped: {{error}}", flush=True)
# Now and then torch's threads abort an interpreter that ends, also after the group is left.
import os
os._exit(0)
"""


@pytest.mark.slow
def test_nan_in_one_process_stops_both_and_saves_the_ids(tmp_path: Path) -> None:
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED.format(tests=str(Path(__file__).parent)))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        + [str(script), str(tmp_path / "run")],
        timeout=300,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("stopped: ") == 2
    saved = [json.loads((tmp_path / "run" / f"stopped_{i}.json").read_text()) for i in (0, 1)]
    assert saved[0]["update"] == saved[1]["update"]
    named = [set(sum(one["utterance_ids"], [])) for one in saved]
    assert ("u0" in named[0]) != ("u0" in named[1]) and not named[0] & named[1]
    assert latest_checkpoint(tmp_path / "run") is None or saved[0]["update"] >= 2
