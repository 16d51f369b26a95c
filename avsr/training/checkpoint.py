"""What a run needs to go on with the identical next step.

A checkpoint is a folder ``checkpoint-<update>`` that appears under its name only when complete:
``model.safetensors``, ``average.safetensors``, and ``state.pt`` (optimiser, random states,
counters), read with ``weights_only=True``.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avsr.files import load_weights, save_weights, write_atomically
from avsr.weights import one_line

PREFIX = "checkpoint-"
STATE_KEYS = ("update", "best", "random", "optimizer")  # what a run cannot go on without


def checkpoint_name(update: int) -> str:
    """Name of the folder of the checkpoint after ``update`` updates."""
    return f"{PREFIX}{update:08d}"


def save_checkpoint(
    run_folder: Path,
    update: int,
    model: dict[str, Tensor],
    average: dict[str, Tensor],
    state: dict[str, Any],
) -> Path:
    """Write ``checkpoint-<update>`` and then remove older ones; returns its path."""
    final = run_folder / checkpoint_name(update)
    temporary = run_folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed writer
    temporary.mkdir(parents=True)
    save_weights(temporary / "model.safetensors", model)
    save_weights(temporary / "average.safetensors", average)
    # Through memory: torch's own writer turns a full disk into an error that does not say so.
    content = io.BytesIO()
    torch.save(state, content)
    with write_atomically(temporary / "state.pt") as path:
        path.write_bytes(content.getbuffer())
    if final.exists():  # the same update again, after a resume
        shutil.rmtree(final)
    os.replace(temporary, final)
    for old in run_folder.glob(f"{PREFIX}*"):
        if old != final:
            shutil.rmtree(old)
    return final


def latest_checkpoint(run_folder: Path) -> Path | None:
    """The newest complete checkpoint of a run, ``None`` where there is none yet."""
    return max(run_folder.glob(f"{PREFIX}*"), default=None)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Model weights, averaged weights and state of a checkpoint folder.

    Raises:
        ValueError: a part is missing or damaged, or holds other than tensors and plain values (it
            is then refused, not executed); the message names it.
    """
    model, _ = load_weights(folder / "model.safetensors")
    average, _ = load_weights(folder / "average.safetensors")
    path = folder / "state.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged archive
        raise ValueError(
            f"{path}: not a readable training state ({one_line(error)}); remove {folder} to go on "
            "from an older checkpoint"
        ) from error
    if not isinstance(state, dict) or (missing := [n for n in STATE_KEYS if n not in state]):
        lacks = missing if isinstance(state, dict) else f"a {type(state).__name__}"
        raise ValueError(f"{path}: is no training state of ours ({lacks}); remove {folder}")
    return model, average, state
