"""The benchmark of the engine: its parts run, and say what they measured. No time is judged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.timing import engine


@pytest.fixture(autouse=True)
def threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_sizes_hold_each_number_of_threads_against_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BATCH", 2)
    rows, chosen = engine.sizes(1, ("tiny",), (1,), seconds=0.2)
    assert [(row.what, row.amount) for row in rows] == [
        ("tiny, 1 thread", 0.2),
        ("tiny, 1 thread", 0.4),
    ]
    assert set(chosen.values()) == {"1 of 1 threads"}


def test_every_decoder_and_modality_is_there() -> None:
    rows = engine.decoders(1, 1, "tiny", seconds=0.12, copies=1)
    names = {row.what for row in rows}
    assert {"audio, greedy", "video, greedy", "audio-visual, transducer beam 10"} <= names
    assert "audio-visual, joint beam 10" not in names  # tiny has no attention decoder


def test_front_ends_tell_their_operations() -> None:
    rows, costs = engine.front_ends(1, 0.2, shapes=(((8, 8), 1), ((8, 16), 1)))
    assert [row.against for row in rows] == [None, "8-8, 1 a stage"]
    light, heavy = (float(costs[row.what].split()[0]) for row in rows)
    assert 0 < light < heavy
