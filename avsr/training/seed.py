"""Random state: set from one seed, saved and restored without pickles."""

from __future__ import annotations

import torch
from torch import Tensor


def seed_everything(seed: int, process_index: int = 0) -> None:
    """Seed torch for network initialisation and dropout; data draws have generators of their own.

    Initialisation must be the same on all processes, so call with ``process_index`` 0 before the
    network is built, and with the process's index after it (dropout must then differ).
    """
    torch.manual_seed(seed * 1009 + process_index)


def random_state() -> dict[str, Tensor]:
    """States of torch's CPU and, where there is one, GPU generator."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Tensor]) -> None:
    """The inverse of :func:`random_state`."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
