"""How compiled loops over splats and tiles are spread over threads on a CPU.

The loops hold no lock and write rows of their own, so the result does not depend on the number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

COMPILED_DTYPES = (torch.float32, torch.float64)
WORTH_A_THREAD = 4096  # splats; fewer are done before a thread has started


def compiled_for(values: Tensor) -> bool:
    """Whether our compiled loops take such a tensor: on the CPU, float32 or float64."""
    return values.device.type == "cpu" and values.dtype in COMPILED_DTYPES


def thread_count(num_threads: int | None) -> int:
    """The number asked for, or torch's own. Raises ValueError when it is below 1."""
    threads = torch.get_num_threads() if num_threads is None else num_threads
    if threads < 1:
        raise ValueError(f"num_threads is {threads}; give 1 or more, or None for torch's own")
    return threads


def over_ranges(call: Callable[[int, int], None], edges: Sequence[int], threads: int) -> None:
    """Call with each two neighbouring edges (first, past the last), on so many threads at most."""
    if threads == 1 or len(edges) <= 2:
        for first, last in zip(edges[:-1], edges[1:], strict=True):
            call(first, last)
        return
    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(call, edges[:-1], edges[1:]))


def over_splats(call: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call with ranges of splats that cover all of them."""
    parts = max(1, min(threads, count // WORTH_A_THREAD))
    over_ranges(call, [count * part // parts for part in range(parts + 1)], threads)
