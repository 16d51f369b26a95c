"""Some of many frames, evenly taken."""

from __future__ import annotations

import numpy as np


def evenly(count: int, most: int) -> list[int]:
    """Up to ``most`` places out of ``count``, first and last among them, ascending.

    Args:
        count: 0 or more; of 0 there are none.
        most: 1 or more; of 1 the first is taken.
    """
    places: list[int] = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return places
