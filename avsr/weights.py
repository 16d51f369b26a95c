"""Weights of a file into a network, or one line that says why they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

_NAMED = 3  # of the tensors that do not fit


def differences(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What of ``found`` is not as in ``wanted``: missing, unknown and other shapes, some named."""
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    other = [
        f"{name} {tuple(found[name].shape)} in place of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    kinds = {"missing": missing, "unknown": unknown, "of another shape": other}
    return [
        f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{', ...' if names[_NAMED:] else ''})"
        for kind, names in kinds.items()
        if names
    ]


def fill(model: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Put ``state``, the weights of file ``path``, into ``model``: all of them, or none.

    Raises:
        ValueError: a tensor is missing, unknown or has another shape; one line.
    """
    if wrong := differences(model.state_dict(), state):
        raise ValueError(
            f"{path}: weights do not fit the network: {'; '.join(wrong)}; "
            "is it the file of another network?"
        )
    model.load_state_dict(dict(state))


def one_line(error: BaseException) -> str:
    """The first line of an error's message, for errors of libraries that say much."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
