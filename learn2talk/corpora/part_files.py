"""A row of a prepared corpus in a file of its own, until all rows are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from avsr.files import write_atomically


def write_part(path: Path, row: Mapping[str, Any]) -> None:
    """Write a row of `avsr.data.manifest.encode_utterance` as ``.npz``, atomically."""
    stored = {
        name: np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.array(value)
        for name, value in row.items()
    }
    with write_atomically(path) as temporary:
        np.savez(temporary, allow_pickle=False, **stored)


def read_part(path: Path) -> dict[str, Any]:
    """The row that `write_part` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return {
            name: stored[name].tobytes() if stored[name].dtype == np.uint8 else stored[name].item()
            for name in stored.files
        }
