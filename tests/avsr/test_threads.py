"""The choice of torch threads: by measurement, and not against the user."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from avsr import threads
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.threads import fastest_threads, silent_batch, use_fastest_threads


@pytest.fixture(autouse=True)
def threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [({1: 0.02, 2: 0.01}, 2), ({1: 0.01, 2: 0.02}, 1), ({1: 0.02, 2: 0.0199}, 1)],
)
def test_the_faster_number_is_taken_if_it_is_worth_it(
    seconds: dict[int, float], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def work() -> None:
        clock[0] += seconds[torch.get_num_threads()]

    torch.set_num_threads(1)
    assert fastest_threads(work, (1, 2)) == expected
    assert torch.get_num_threads() == 1


def test_long_work_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def work() -> None:
        calls.append(torch.get_num_threads())
        clock[0] += 5.0

    fastest_threads(work, (1, 2))
    assert calls == [1, 2, 1, 2]


def test_torch_gets_its_setting_back_after_an_error() -> None:
    torch.set_num_threads(1)

    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fastest_threads(fails, (2, 1))
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("streams", [("audio",), ("crops", "lips"), ("audio", "crops", "lips")])
def test_the_sample_is_what_the_network_takes(streams: Any) -> None:
    config = RecognizerConfig(5, streams, width=16, num_heads=2, video_channels=(8, 8))
    model = Recognizer(config).eval()
    with torch.no_grad():
        assert model(silent_batch(model)).shape == (1, 25, 5)
        waveform_free = replace(config, streams=("lips",))
        assert silent_batch(Recognizer(waveform_free)).features is None


def test_the_users_setting_and_single_cores_are_left_alone(
    recognizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "fastest_threads", lambda *_: 1)
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert use_fastest_threads(recognizer) == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert use_fastest_threads(recognizer) == 1
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "available_cores", lambda: 1)
    assert use_fastest_threads(recognizer) == 2
