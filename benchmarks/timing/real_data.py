"""Where the real data of a measurement lie."""

from __future__ import annotations

import os
from pathlib import Path


class NoDataError(ValueError):
    """There is no real data to measure on."""


def real_data() -> Path:
    """The folder that AVSR_DATA names.

    Raises:
        NoDataError: it names none with GRID in it.
    """
    folder = os.environ.get("AVSR_DATA", "")
    if not folder or not (Path(folder) / "grid" / "s1" / "video").is_dir():
        raise NoDataError("AVSR_DATA names no folder with grid/s1/video in it")
    return Path(folder)
