"""What a region of vertices is called, where it comes from, and how it is told from others.

The masks that circulate differ: FLAME's "lips" lists 254 ids of which 250 differ, BIWI's mouth has
4996, and a larger region gives a larger LVE. So a figure names its region, with count and hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RegionFacts:
    """A region of vertices as a report names it."""

    name: str
    source: str
    """Where the list comes from: a file, or a topology and the code that defines it."""
    entries: int
    """Length of the list as it came."""
    count: int
    """Vertices that differ; means are taken over these, each once."""
    sha256: str
    """Of the ascending unique ids as little-endian int32."""


def unique_ids(ids: NDArray[np.integer]) -> NDArray[np.int32]:
    """Vertex ids ascending, each once: a repeated id would weigh twice in every mean."""
    return np.unique(ids).astype(np.int32)


def region_facts(name: str, source: str, ids: NDArray[np.integer]) -> RegionFacts:
    """Name, source, size and hash of a region.

    Args:
        name: of the region.
        source: where its list comes from.
        ids: integer (N,), as listed; order and repetition do not change the hash.
    """
    unique = unique_ids(ids)
    digest = hashlib.sha256(unique.astype("<i4").tobytes()).hexdigest()
    return RegionFacts(name, source, len(ids), len(unique), digest)
