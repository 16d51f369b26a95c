"""Batches of an epoch: complete, within the limit, the same everywhere."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from avsr.data.sampler import batches_of_epoch

LENGTHS = np.random.default_rng(0).integers(20, 100, 137).tolist()


def test_every_utterance_once_and_within_the_limit() -> None:
    batches = batches_of_epoch(LENGTHS, max_frames=400, seed=1, epoch=0)
    assert sorted(index for batch in batches for index in batch) == list(range(137))
    padded = [len(batch) * max(LENGTHS[i] for i in batch) for batch in batches]
    assert max(padded) <= 400
    # Batches are of similar lengths: little padding, and few of them.
    assert sum(padded) < 1.3 * sum(LENGTHS)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def batches(seed: int, epoch: int) -> list[list[int]]:
        return batches_of_epoch(LENGTHS, max_frames=400, seed=seed, epoch=epoch)

    assert batches(1, 0) == batches(1, 0)
    assert batches(1, 0) != batches(1, 1) != batches(2, 1)
    assert batches(0, 1) != batches(1, 0)


def test_the_same_in_another_process() -> None:
    """Neither the hash seed nor the history of the process matters."""
    code = (
        "from avsr.data.sampler import batches_of_epoch;"
        "print(batches_of_epoch([5, 9, 7, 3, 8], max_frames=20, seed=3, epoch=2))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.random.default_rng().random(3)
    here = batches_of_epoch([5, 9, 7, 3, 8], max_frames=20, seed=3, epoch=2)
    assert found.stdout.strip() == str(here)


def test_an_utterance_as_long_as_the_limit_is_a_batch_of_its_own() -> None:
    assert batches_of_epoch([10], max_frames=10, seed=0, epoch=0) == [[0]]


def test_too_long_and_empty_are_refused() -> None:
    with pytest.raises(ValueError, match="utterance 1 has 12 frames, a batch holds 10"):
        batches_of_epoch([5, 12], max_frames=10, seed=0, epoch=0)
    with pytest.raises(ValueError, match="no utterances"):
        batches_of_epoch([], max_frames=10, seed=0, epoch=0)
