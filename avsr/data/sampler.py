"""Which utterances go together, and in which order: the same on every machine for a seed.

One epoch is kept as three integer arrays (12 bytes an utterance), never as lists of lists, and no
epoch but the present one is kept: a corpus of millions of utterances costs megabytes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_BATCHES = 50  # batches' worth of utterances that are sorted by length together


@dataclass(frozen=True, eq=False)
class EpochOrder:
    """The micro-batches of one epoch.

    order: int32 (N,) utterances, those of a batch side by side. starts: int32 (M + 1,) where each
    batch begins in ``order``. sequence: int32 (M,) which batch comes when.
    """

    order: NDArray[np.int32]
    starts: NDArray[np.int32]
    sequence: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, position: int) -> list[int]:
        batch = self.sequence[position]
        return self.order[self.starts[batch] : self.starts[batch + 1]].tolist()


def epoch_order(
    num_frames: Sequence[int] | NDArray[np.integer], *, max_frames: int, seed: int, epoch: int
) -> EpochOrder:
    """Micro-batches of one epoch: every utterance once, neighbours of similar length.

    Utterances are shuffled, cut into blocks of 50 batches' worth, sorted by length within a block,
    and grouped so that padded frames stay within ``max_frames``; then the batches are shuffled.

    Args:
        num_frames: length of each utterance in frames.
        max_frames: longest utterance of a batch times its size.

    Raises:
        ValueError: no utterance, or one longer than ``max_frames``.
    """
    lengths = np.asarray(num_frames)
    if not len(lengths):
        raise ValueError("no utterances to make batches of; is the training split empty?")
    longest = int(np.argmax(lengths))
    if lengths[longest] > max_frames:
        raise ValueError(
            f"utterance {longest} has {lengths[longest]} frames, a batch holds {max_frames}; "
            "raise max_frames or cut the utterance"
        )
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths)).astype(np.int32)
    block = max(1, BLOCK_BATCHES * max_frames // max(1, int(np.mean(lengths))))
    starts = [np.zeros(1, dtype=np.int32)]
    for first in range(0, len(order), block):
        part = order[first : first + block]
        part = part[np.argsort(lengths[part], kind="stable")]
        order[first : first + block] = part
        starts.append(first + _ends_of_batches(lengths[part].tolist(), max_frames))
    bounds = np.concatenate(starts)
    return EpochOrder(order, bounds, rng.permutation(len(bounds) - 1).astype(np.int32))


def _ends_of_batches(ascending: list[int], max_frames: int) -> NDArray[np.int32]:
    """Where batches end when ascending lengths are grouped greedily."""
    ends, begin = [], 0
    for index, length in enumerate(ascending):
        if index > begin and (index + 1 - begin) * length > max_frames:
            ends.append(index)
            begin = index
    return np.asarray([*ends, len(ascending)], dtype=np.int32)


class BatchStream:
    """The endless stream of micro-batches, epoch after epoch, addressed by position.

    A position names the same batch whatever was read before: a resumed run and any number of
    processes see one stream.

    Args:
        num_frames: length of each utterance in frames.
        max_frames: see :func:`epoch_order`.
        seed: of the order.
        epoch_sizes: number of batches of the first epochs, where they are known: a run resumed in
            a late epoch need not count the earlier ones again.
    """

    def __init__(
        self,
        num_frames: Sequence[int] | NDArray[np.integer],
        *,
        max_frames: int,
        seed: int,
        epoch_sizes: Sequence[int] = (),
    ) -> None:
        self.lengths = np.asarray(num_frames)
        self.max_frames, self.seed = max_frames, seed
        self.epoch_sizes = list(epoch_sizes)
        self._present: tuple[int, EpochOrder] | None = None

    def _epoch(self, epoch: int) -> EpochOrder:
        if self._present is None or self._present[0] != epoch:
            self._present = None  # before the next is made: never two at a time
            order = epoch_order(
                self.lengths, max_frames=self.max_frames, seed=self.seed, epoch=epoch
            )
            self._present = epoch, order
        return self._present[1]

    def locate(self, position: int) -> tuple[int, list[int]]:
        """Epoch and utterances of the batch at ``position``, 0 or more."""
        epoch = 0
        while True:
            if epoch == len(self.epoch_sizes):
                self.epoch_sizes.append(len(self._epoch(epoch)))
            if position < self.epoch_sizes[epoch]:
                return epoch, self._epoch(epoch)[position]
            position -= self.epoch_sizes[epoch]
            epoch += 1
