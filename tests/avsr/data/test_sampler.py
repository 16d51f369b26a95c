"""Batches of an epoch: complete, within the limit, the same everywhere, and small in memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from avsr.data.sampler import BatchStream, epoch_order

LENGTHS = np.random.default_rng(0).integers(20, 100, 137).tolist()


def batches(seed: int, epoch: int, lengths: list[int] = LENGTHS) -> list[list[int]]:
    return list(epoch_order(lengths, max_frames=400, seed=seed, epoch=epoch))


def test_every_utterance_once_and_within_the_limit() -> None:
    found = batches(1, 0)
    assert sorted(index for batch in found for index in batch) == list(range(137))
    padded = [len(batch) * max(LENGTHS[i] for i in batch) for batch in found]
    assert max(padded) <= 400
    # Batches are of similar lengths: little padding, and few of them.
    assert sum(padded) < 1.3 * sum(LENGTHS)


def obvious(lengths: list[int], max_frames: int, seed: int, epoch: int) -> list[list[int]]:
    """The order as lists of lists, written as it is described."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths)).tolist()
    block = max(1, 50 * max_frames // max(1, int(np.mean(lengths))))
    found: list[list[int]] = []
    for start in range(0, len(order), block):
        current: list[int] = []
        for index in sorted(order[start : start + block], key=lambda i: lengths[i]):
            if current and (len(current) + 1) * lengths[index] > max_frames:
                found.append(current)
                current = []
            current.append(index)
        found.append(current)
    return [found[i] for i in rng.permutation(len(found))]


@pytest.mark.parametrize("size", [1, 2, 50, 3000])
def test_equals_the_order_as_it_is_described(size: int) -> None:
    lengths = np.random.default_rng(size).integers(1, 90, size).tolist()
    for epoch in range(2):
        wanted = obvious(lengths, 90, 5, epoch)
        assert list(epoch_order(lengths, max_frames=90, seed=5, epoch=epoch)) == wanted


def test_epochs_and_seeds_differ_and_repeat() -> None:
    assert batches(1, 0) == batches(1, 0)
    assert batches(1, 0) != batches(1, 1) != batches(2, 1)
    assert batches(0, 1) != batches(1, 0)


def test_the_same_in_another_process() -> None:
    """Neither the hash seed nor the history of the process matters."""
    code = (
        "from avsr.data.sampler import epoch_order;"
        "print(list(epoch_order([5, 9, 7, 3, 8], max_frames=20, seed=3, epoch=2)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.random.default_rng().random(3)
    here = list(epoch_order([5, 9, 7, 3, 8], max_frames=20, seed=3, epoch=2))
    assert found.stdout.strip() == str(here)


def test_an_utterance_as_long_as_the_limit_is_a_batch_of_its_own() -> None:
    assert list(epoch_order([10], max_frames=10, seed=0, epoch=0)) == [[0]]


def test_too_long_and_empty_are_refused() -> None:
    with pytest.raises(ValueError, match="utterance 1 has 12 frames, a batch holds 10"):
        epoch_order([5, 12], max_frames=10, seed=0, epoch=0)
    with pytest.raises(ValueError, match="no utterances"):
        epoch_order([], max_frames=10, seed=0, epoch=0)


def stream(**options: list[int]) -> BatchStream:
    return BatchStream(LENGTHS, max_frames=400, seed=1, **options)


def test_positions_run_through_the_epochs() -> None:
    wanted = [(epoch, batch) for epoch in range(3) for batch in batches(1, epoch)]
    assert [stream().locate(p) for p in (0, 40, len(wanted) - 1)] == [
        wanted[p] for p in (0, 40, len(wanted) - 1)
    ]
    one = stream()
    assert [one.locate(p) for p in range(len(wanted))] == wanted


def test_known_epoch_sizes_change_nothing_but_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = stream()
    last = sum(len(batches(1, epoch)) for epoch in range(4)) - 1
    wanted = counted.locate(last)
    assert len(counted.epoch_sizes) == 4
    from avsr.data import sampler

    made: list[int] = []

    def watched(*args: object, epoch: int, **options: object) -> sampler.EpochOrder:
        made.append(epoch)
        return epoch_order(*args, epoch=epoch, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sampler, "epoch_order", watched)
    assert stream(epoch_sizes=counted.epoch_sizes).locate(last) == wanted
    assert made == [3]


def test_an_epoch_of_a_large_corpus_is_small_and_only_one_is_kept() -> None:
    lengths = np.random.default_rng(0).integers(20, 400, 300_000).astype(np.int32)
    order = epoch_order(lengths, max_frames=4000, seed=0, epoch=0)
    held = order.order.nbytes + order.starts.nbytes + order.sequence.nbytes
    assert held <= 12 * len(lengths)
    many = BatchStream(lengths[:3000], max_frames=4000, seed=0)
    for position in (0, 200, 600):
        many.locate(position)
    kept = [value for value in vars(many).values() if not isinstance(value, (int, list))]
    assert len(kept) == 2  # the lengths and the present epoch
    assert len(many.epoch_sizes) > 2
