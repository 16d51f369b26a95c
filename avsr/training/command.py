"""Start a stage on all the processor's cores.

Small networks train faster with one torch thread a process and one process a core than with many
threads (measured: 2.5x an epoch on two cores), so on a CPU a stage restarts itself under torchrun.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import torch

STAGE_VARIABLE = "AVSR_STAGE"


def is_launched() -> bool:
    """True inside torchrun or accelerate, whose processes know their rank."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def available_cores() -> int:
    """Cores that this process may use (container limits included)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_num_processes(batches_per_update: int) -> int:
    """One process a GPU, else one a core; only as many as share an update evenly."""
    workers = torch.cuda.device_count() if torch.cuda.is_available() else available_cores()
    wanted = min(workers, batches_per_update)
    return max(n for n in range(1, wanted + 1) if batches_per_update % n == 0)


def use_one_thread() -> None:
    """One torch thread in this process; the cores are shared out among processes."""
    torch.set_num_threads(1)


def launch_stage(script: str, stage: str, num_processes: int) -> None:
    """Start ``script`` with this process's own words for one stage of it, see :func:`launch`.

    The stage travels in the environment: among the words it could not be told from the value of an
    option (``audio`` is a stage and a recogniser).
    """
    launch([script, *sys.argv[1:]], num_processes, {STAGE_VARIABLE: stage})


def launched_stage(stage: str) -> str:
    """The stage that :func:`launch_stage` started this process for; else ``stage``."""
    return os.environ.get(STAGE_VARIABLE, stage)


def launch(
    command: Sequence[str], num_processes: int, variables: Mapping[str, str] | None = None
) -> None:
    """Run ``python command...`` in ``num_processes`` processes and wait.

    Args:
        command: script and its arguments, without the interpreter.
        num_processes: 1 runs it plainly.
        variables: of the environment, beside this process's own.

    Raises:
        SystemExit: the command failed; carries its exit code. Its own message is on stderr.
        KeyboardInterrupt: Ctrl-C, after the children have stopped.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment |= variables or {}
    argv = [sys.executable]
    if num_processes == 1:
        environment |= {"RANK": "0", "WORLD_SIZE": "1"}
    else:
        argv += ["-m", "torch.distributed.run", "--standalone"]
        argv += ["--nproc_per_node", str(num_processes)]
    process = subprocess.Popen([*argv, *command], env=environment)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # A terminal sends the signal to the children as well; another sender may not have.
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        raise
    if code:
        raise SystemExit(code)
