"""Weights and inputs made by a rule from names: the same on both sides of a comparison.

Whoever runs a published implementation for a golden file fills its ``state_dict`` by this rule, and
the test fills the same names again, so that no weights need to be kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import numpy as np


def seeded_weights(shapes: Mapping[str, Iterable[int]]) -> dict[str, np.ndarray]:
    """float32 arrays by name; running statistics and gains are far from 0 and 1."""
    weights = {}
    for name, listed in shapes.items():
        shape = tuple(listed)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        if name.endswith("num_batches_tracked"):
            values = np.zeros(shape)
        elif name.endswith(("running_var", "weight_g", "original0")):
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1 and name.endswith("weight"):
            values = rng.uniform(0.2, 1.3, shape)
        elif len(shape) < 2:
            values = 0.2 * rng.normal(size=shape)
        else:
            values = rng.normal(size=shape) * np.sqrt(1.5 / np.prod(shape[1:]))
        weights[name] = values.astype(np.float32)
    return weights


def seeded_video(num_frames: int) -> np.ndarray:
    """float32 (T, 88, 88): squares of 8 pixels, so that averages over the image differ by frame."""
    squares = np.random.default_rng(1).normal(size=(num_frames, 11, 11))
    return (2 * squares).repeat(8, 1).repeat(8, 2).astype(np.float32)


def seeded_audio(num_frames: int) -> np.ndarray:
    """float32 (640 T,): steps of 16 samples, louder in every other frame."""
    steps = np.random.default_rng(2).normal(size=(num_frames, 40))
    steps[::2] *= 3
    return steps.ravel().repeat(16).astype(np.float32)


def seeded_features(num_frames: int, width: int) -> np.ndarray:
    """float32 (T, F) standard normal numbers."""
    return np.random.default_rng(3).normal(size=(num_frames, width)).astype(np.float32)
