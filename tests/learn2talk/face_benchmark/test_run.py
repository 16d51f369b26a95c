"""The whole benchmark with real, tiny networks: bundled and imported ones, in several processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from avsr.pretrained.imported import import_weights
from learn2talk import default_judge, default_lip_reader
from learn2talk.cli import main
from learn2talk.face_benchmark.run import FaceBenchmark, benchmark_faces
from learn2talk.files import save_sync_expert
from learn2talk.models.sync_expert import SyncExpertConfig, SyncNet3D
from tests.learn2talk.face_benchmark.talkers import World, make_world
from tests.learn2talk.face_benchmark.test_recognisers import published, save_tiny


@pytest.fixture
def bundled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Tiny networks in place of those that come with the package."""
    reader, judge = tmp_path / "reader", tmp_path / "judge"
    save_tiny(reader / "best.safetensors")
    torch.manual_seed(0)
    config = SyncExpertConfig(role="judge", width=8, embedding=8)
    save_sync_expert(judge, SyncNet3D(config), {})
    monkeypatch.setattr(default_lip_reader, "FOLDER", reader)
    monkeypatch.setattr(default_judge, "FOLDER", judge)
    return tmp_path


def test_tiny_bundled_and_imported_networks(bundled: Path, tmp_path: Path) -> None:
    small = make_world(tmp_path / "world", 2)
    units = tmp_path / "units.txt"
    units.write_text("<unk> 1\n" + "".join(f"\u2581W{i} {i}\n" for i in range(2, 10)))
    weights = published("auto_avsr_video", tmp_path / "vsr.pth")
    out = import_weights("auto_avsr", weights, tmp_path / "vsr", units=units, accept_licence=True)
    asked = FaceBenchmark(
        audio=small.audio,
        text=small.text,
        out=tmp_path / "out",
        motions=(small.mine,),
        lip_readers=(out,),
    )
    found = benchmark_faces(asked, say=lambda line: None)
    assert list(found["readings"]) == ["bundled", "vsr"]
    assert found["lip_readers"]["vsr"]["kind"] == "auto_avsr"
    assert found["motion"]["systems"]["mine"]["lse_d"]["utterances"] == 2
    assert (tmp_path / "out" / "confusion_mine_vsr.png").is_file()


@pytest.mark.slow
def test_several_processes_make_the_same_report(
    bundled: Path, shared_world: World, tmp_path: Path
) -> None:
    asked = FaceBenchmark(
        audio=shared_world.audio,
        text=shared_world.text,
        out=tmp_path / "one",
        motions=(shared_world.mine,),
        truth=shared_world.truth,
    )
    one = benchmark_faces(asked, say=lambda line: None)
    two = benchmark_faces(replace(asked, out=tmp_path / "two", processes=2), say=lambda line: None)
    assert two["readings"] == one["readings"] and two["motion"] == one["motion"]


@pytest.mark.slow
def test_an_error_of_another_process_is_one_line(
    bundled: Path, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.mine / "u4.npz").write_bytes(b"no motion")
    command = ["readability", "--motions", str(world.mine), "--audio", str(world.audio)]
    command += ["--text", str(world.text), "--out", str(tmp_path / "out"), "--processes", "2"]
    with pytest.raises(SystemExit):
        main(command)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("learn2talk: error:") and "u4.npz: not a complete .npz" in said


def test_a_judge_of_ones_own(bundled: Path, shared_world: World, tmp_path: Path) -> None:
    torch.manual_seed(1)
    loss = SyncNet3D(SyncExpertConfig(role="loss", width=8, embedding=8))
    save_sync_expert(tmp_path / "loss", loss, {})
    asked = FaceBenchmark(
        audio=shared_world.audio,
        text=shared_world.text,
        out=tmp_path / "out",
        motions=(shared_world.mine,),
        judge=tmp_path / "loss",
    )
    with pytest.raises(ValueError, match="is a 'loss' and was asked to be a 'judge'"):
        benchmark_faces(asked)
