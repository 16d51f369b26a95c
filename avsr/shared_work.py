"""Work on a list of names, shared out among processes: the same result for any number of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

Result = TypeVar("Result")
PARTS = 8  # a process gets: some are quicker than others


def in_processes(
    work: Callable[[Sequence[str]], Result],
    names: Sequence[str],
    processes: int,
    what: str,
) -> list[Result]:
    """``work`` on consecutive parts of ``names``, in the parts' order.

    Args:
        work: picklable; takes some names. Each process is a fresh one with one torch thread.
        names: what there is to do.
        processes: 1 stays in this process.
        what: names the progress bar.

    Raises:
        ValueError: fewer than one process; and what ``work`` raises.
    """
    if processes < 1:
        raise ValueError(f"{processes} processes cannot work; give 1 or more")
    size = max(1, -(-len(names) // (processes * PARTS)))
    parts = [names[first : first + size] for first in range(0, len(names), size)]
    bar = {"desc": what, "total": len(parts), "unit": "part", "disable": None}
    if processes == 1:
        return [work(part) for part in tqdm(parts, **bar)]
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
        return list(tqdm(pool.map(work, parts), **bar))


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
