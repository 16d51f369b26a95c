"""Which utterances go together, and in which order: the same on every machine for a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def batches_of_epoch(
    num_frames: Sequence[int], *, max_frames: int, seed: int, epoch: int
) -> list[list[int]]:
    """Micro-batches of one epoch: every utterance once, neighbours of similar length.

    Utterances are shuffled, cut into blocks of 50 batches' worth, sorted by length within a block,
    and grouped so that padded frames stay within ``max_frames``; then the batches are shuffled.

    Args:
        num_frames: length of each utterance in frames.
        max_frames: longest utterance of a batch times its size.

    Raises:
        ValueError: no utterance, or one longer than ``max_frames``.
    """
    if not len(num_frames):
        raise ValueError("no utterances to make batches of; is the training split empty?")
    longest = int(np.argmax(num_frames))
    if num_frames[longest] > max_frames:
        raise ValueError(
            f"utterance {longest} has {num_frames[longest]} frames, a batch holds {max_frames}; "
            "raise max_frames or cut the utterance"
        )
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(num_frames)).tolist()
    block = max(1, 50 * max_frames // max(1, int(np.mean(num_frames))))
    batches: list[list[int]] = []
    for start in range(0, len(order), block):
        current: list[int] = []
        for index in sorted(order[start : start + block], key=lambda i: num_frames[i]):
            if current and (len(current) + 1) * num_frames[index] > max_frames:
                batches.append(current)
                current = []
            current.append(index)
        batches.append(current)
    return [batches[i] for i in rng.permutation(len(batches))]
