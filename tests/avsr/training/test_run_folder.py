"""What a run leaves behind: enough to trace every figure."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
import torch

from avsr.files import read_json, read_jsonl, save_weights
from avsr.training.reporting import MetricsLog
from avsr.training.run_folder import (
    current_commit,
    load_model,
    provenance,
    same_run,
    save_model,
    write_run_info,
)


@dataclass(frozen=True)
class Config:
    size: int = 0
    names: tuple[str, ...] = ("a", "b")


def test_provenance_says_command_commit_and_versions(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["recipe.py", "all", "--out", "x"])
    monkeypatch.chdir("/")  # of the code's checkout, not of the folder one stands in
    origin = provenance()
    assert origin["command"].endswith("recipe.py all --out x")
    assert origin["versions"]["torch"] == metadata.version("torch")
    assert origin["cpu_count"] >= 1 and origin["processor"]
    if (repository / ".git").exists():
        head, _, changes = (current_commit() or "").partition("+")
        assert len(head) == 40 and changes in ("", "changes")


def test_without_git_the_commit_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert current_commit() is None


def test_run_info_holds_the_resolved_configuration(tmp_path: Path) -> None:
    write_run_info(tmp_path / "run", {"model": Config(), "plain": 3}, {"parameters": 7})
    info = read_json(tmp_path / "run" / "run.json")
    assert info["configs"] == {"model": {"size": 0, "names": ["a", "b"]}, "plain": 3}
    assert info["parameters"] == 7 and info["versions"]


def test_model_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, {"w": torch.ones(2)}, Config(size=0), {"note": "x"})
    state, config, info = load_model(path)
    assert state["w"].tolist() == [1, 1]
    assert config == {"size": 0, "names": ["a", "b"]} and info == {"note": "x"}


def test_weights_without_a_config_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_weights(path, {"w": torch.ones(2)})
    with pytest.raises(ValueError, match=r"bare.safetensors: has no network config"):
        load_model(path)


def test_metrics_go_on_where_the_run_resumed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0)
    for update in range(1, 5):
        log.append({"update": update, "loss": 1.0 / update})
    with open(path, "a", encoding="utf-8") as out:
        out.write('{"update": 5, "lo')  # killed while writing
    log = MetricsLog(path, 3)  # the checkpoint was at 3
    log.append({"update": 4, "loss": 9.0})
    rows = list(read_jsonl(path))
    assert [row["update"] for row in rows] == [1, 2, 3, 4] and rows[-1]["loss"] == 9.0


def test_a_log_that_is_only_half_a_line_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"upd')
    MetricsLog(path, 0).append({"update": 1})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"update": 1}]


def test_a_folder_of_another_configuration_is_refused(tmp_path: Path) -> None:
    facts = {"snrs_db": (0.0, 5.0), "seed": 1}
    same_run(tmp_path / "config.json", facts, "mixtures")
    same_run(tmp_path / "config.json", facts, "mixtures")
    with pytest.raises(ValueError, match=r"its mixtures come from another seed \(now \[2\], then"):
        same_run(tmp_path / "config.json", {**facts, "seed": 2}, "mixtures")
