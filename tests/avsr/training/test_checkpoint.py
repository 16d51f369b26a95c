"""Checkpoints: whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from avsr.training.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint

MODEL = {"w": torch.arange(4.0)}
AVERAGE = {"w": torch.arange(4.0) / 2}
STATE = {
    "update": 5,
    "best": {"wer": 0.5},
    "random": [{"cpu": torch.get_rng_state()}],
    "optimizer": {"state": {}},
}


def test_round_trip(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    folder = save_checkpoint(tmp_path, 5, MODEL, AVERAGE, STATE)
    assert latest_checkpoint(tmp_path) == folder
    model, average, state = load_checkpoint(folder)
    assert torch.equal(model["w"], MODEL["w"]) and torch.equal(average["w"], AVERAGE["w"])
    assert state["update"] == 5 and state["best"] == {"wer": 0.5}
    assert torch.equal(state["random"][0]["cpu"], STATE["random"][0]["cpu"])  # type: ignore[index]


def test_only_the_newest_is_kept_and_numbers_are_compared_as_numbers(tmp_path: Path) -> None:
    for update in (9, 10, 1000):
        newest = save_checkpoint(tmp_path, update, MODEL, AVERAGE, {"update": update})
    assert [path.name for path in tmp_path.iterdir()] == [newest.name] == ["checkpoint-00001000"]
    (tmp_path / "checkpoint-00000999").mkdir()
    assert latest_checkpoint(tmp_path) == newest


def test_half_written_checkpoints_are_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save_checkpoint(tmp_path, 5, MODEL, AVERAGE, STATE)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", stopped)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path, 6, MODEL, AVERAGE, STATE)
    assert latest_checkpoint(tmp_path) == first
    assert load_checkpoint(first)[2]["update"] == 5
    second = save_checkpoint(tmp_path, 6, MODEL, AVERAGE, STATE)  # the leftover is no obstacle
    assert list(tmp_path.iterdir()) == [second]


def test_the_same_update_again_replaces_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 5, MODEL, AVERAGE, STATE)
    folder = save_checkpoint(tmp_path, 5, AVERAGE, AVERAGE, STATE)
    assert torch.equal(load_checkpoint(folder)[0]["w"], AVERAGE["w"])


@pytest.mark.parametrize("name", ["state.pt", "model.safetensors", "average.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "half", "empty"])
def test_damaged_parts_are_named(tmp_path: Path, name: str, damage: str) -> None:
    path = save_checkpoint(tmp_path, 5, MODEL, AVERAGE, STATE) / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    with pytest.raises(ValueError, match=name):
        load_checkpoint(path.parent)


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_foreign_classes_are_refused_and_not_executed(tmp_path: Path) -> None:
    folder, target = save_checkpoint(tmp_path, 5, MODEL, AVERAGE, STATE), tmp_path / "executed"
    torch.save({**STATE, "best": Evil(target)}, folder / "state.pt")
    with pytest.raises(ValueError, match="state.pt: not a readable training state") as error:
        load_checkpoint(folder)
    assert "\n" not in str(error.value)
    torch.save(MODEL, folder / "model.safetensors")
    with pytest.raises(ValueError, match="model.safetensors: is a pickle"):
        load_checkpoint(folder)
    assert not target.exists()


@pytest.mark.parametrize("state", [{"update": 5}, [1, 2], torch.zeros(2)])
def test_other_states_are_refused(tmp_path: Path, state: object) -> None:
    folder = save_checkpoint(tmp_path, 5, MODEL, AVERAGE, STATE)
    torch.save(state, folder / "state.pt")
    with pytest.raises(ValueError, match="state.pt: is no training state of ours"):
        load_checkpoint(folder)


def test_full_disk_is_a_users_error(tmp_path: Path) -> None:
    """A file-size limit stands for the disk: the state is over it, the weights are not."""
    code = f"""
import resource, signal, torch
from pathlib import Path
from avsr.training.checkpoint import latest_checkpoint, save_checkpoint
weights = {{"w": torch.zeros(4)}}
kept = save_checkpoint(Path({str(tmp_path)!r}), 1, weights, weights, {{"update": 1}})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    save_checkpoint(Path({str(tmp_path)!r}), 2, weights, weights, {{"big": torch.zeros(100_000)}})
except OSError:
    print(latest_checkpoint(Path({str(tmp_path)!r})) == kept)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    assert done.stdout.strip() == "True"
