"""A small benchmark with a lip reader and a judge that are right by construction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from learn2talk import default_judge, default_lip_reader
from learn2talk.face_benchmark import measuring, run
from learn2talk.face_benchmark.run import FaceBenchmark, benchmark_faces
from tests.learn2talk.face_benchmark.talkers import (
    World,
    height_reader,
    loudness_judge,
    make_world,
)


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Not to be changed."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A test's own."""
    return make_world(tmp_path / "world")


def by_construction(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The bundled reader and judge are those of `talkers`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("best.safetensors", "sync_expert.json"):
        (folder / name).write_text("")
    monkeypatch.setattr(default_lip_reader, "FOLDER", folder)
    monkeypatch.setattr(default_judge, "FOLDER", folder)
    for module in (run, measuring):
        monkeypatch.setattr(module, "load_lip_reader", height_reader)
        monkeypatch.setattr(module, "load_sync_expert", loudness_judge)


Benchmark = Callable[..., dict[str, Any]]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Benchmark:
    """Runs a benchmark of a world with networks that are right by construction."""
    by_construction(monkeypatch, tmp_path / "networks")

    def go(world: World, **more: Any) -> dict[str, Any]:
        given: dict[str, Any] = {"out": tmp_path / "out", "motions": (world.mine,)}
        asked = FaceBenchmark(audio=world.audio, text=world.text, **{**given, **more})
        return benchmark_faces(asked, say=lambda line: None)

    return go
