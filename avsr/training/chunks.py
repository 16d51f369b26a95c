"""Dynamic chunk training: one network learns to work with full attention and with any chunk.

Each micro-batch gets a chunk of its own or none (Zhang et al. 2020, arXiv 2012.05481). The draw
depends on the seed, the epoch and the batch's first utterance alone: not on the process, on the
order of loading, or on whether the run was resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.data.collate import collate
from avsr.data.dataset import generator_of
from avsr.schema import Batch
from avsr.training.loop import Examples

ALL_LEFT_SHARE = 0.5  # of the chunks: they see all that came before


@dataclass(frozen=True)
class ChunkTrainingConfig:
    """How often a micro-batch is seen in chunks, and in which."""

    share: float = 0.0  # of the micro-batches; the others see everything; 0 is off
    frames: tuple[int, int] = (
        4,
        25,
    )  # the smallest and the largest chunk; any between is as likely
    max_left_chunks: int = 8  # half of the chunks see this many before them or fewer, half see all
    # What CTC loses at each frame at which a token is told before it is said (needs word times; 0
    # is off): with whole utterances a network learns to tell early, which in a stream is a guess.
    early_nats: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"chunk share {self.share} must be in [0, 1]; 0 is off")
        if not self.early_nats >= 0:
            raise ValueError(f"early_nats {self.early_nats} must be 0 (off) or more")
        low, high = self.frames
        if not 1 <= low <= high:
            raise ValueError(
                f"chunk frames {self.frames} must be two numbers, 1 or more, ascending"
            )
        if self.max_left_chunks < 0:
            raise ValueError(f"max_left_chunks {self.max_left_chunks} must be 0 (none) or more")


def draw_chunks(
    config: ChunkTrainingConfig, seed: int, epoch: int, utterance_id: str
) -> tuple[int, int | None] | None:
    """Chunk frames and chunks to the left (``None`` all) of a micro-batch; ``None`` is no chunks.

    Args:
        seed: of the training.
        epoch: of the micro-batch.
        utterance_id: of its first utterance.
    """
    rng = generator_of(seed, epoch, f"chunks/{utterance_id}")
    if rng.random() >= config.share:
        return None
    frames = int(rng.integers(config.frames[0], config.frames[1] + 1))
    if rng.random() < ALL_LEFT_SHARE:
        return frames, None
    return frames, int(rng.integers(0, config.max_left_chunks + 1))


class ChunkedExamples:
    """A training set whose examples know the chunks that their micro-batch would have."""

    def __init__(self, examples: Examples, config: ChunkTrainingConfig, seed: int) -> None:
        self.examples, self.config, self.seed = examples, config, seed

    @property
    def num_frames(self) -> Sequence[int] | NDArray[np.integer]:
        """Length of each example in frames."""
        return self.examples.num_frames

    def example(self, index: int, epoch: int) -> tuple[Any, tuple[int, int | None] | None]:
        """Example ``index`` and the chunks drawn for it."""
        example = self.examples.example(index, epoch)
        return example, draw_chunks(self.config, self.seed, epoch, example.utterance_id)


def collate_chunked(examples: Sequence[tuple[Any, tuple[int, int | None] | None]]) -> Batch:
    """A padded batch with the chunks of its first example."""
    return replace(collate([example for example, _ in examples]), chunks=examples[0][1])
