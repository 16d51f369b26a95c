"""Students and sync experts on disk: what is damaged or foreign is one line that names the file."""

from __future__ import annotations

import io
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.files import load_weights, save_weights, sha256_file
from learn2talk.files import load_student, load_sync_expert, save_student, save_sync_expert
from learn2talk.models.autoregressive import AutoregressiveConfig, AutoregressiveStudent
from learn2talk.models.student import Student, StudentConfig
from learn2talk.models.sync_expert import SyncExpertConfig, SyncNet3D

from .conftest import tiny_template

IDS = np.arange(4, dtype=np.int32)


@pytest.fixture
def student(tmp_path: Path) -> Path:
    folder = tmp_path / "student"
    torch.manual_seed(0)
    save_student(folder, Student(StudentConfig(), 4), tiny_template(), IDS, {"corpus": "tests"})
    return folder


def test_a_saved_student_is_the_same_network(student: Path) -> None:
    loaded = load_student(student)
    torch.manual_seed(0)
    for name, tensor in Student(StudentConfig(), 4).state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)
    assert not loaded.model.training and loaded.animated_ids.tolist() == [0, 1, 2, 3]


def test_a_student_from_before_styles_and_encoders_is_read(student: Path) -> None:
    expected = load_student(student).model
    info = json.loads((student / "student.json").read_text())
    for name in ("num_styles", "speech_encoder"):
        del info["config"][name]
    change(student, config=info["config"])
    loaded = load_student(student)
    features = torch.randn(1, 80, 80, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.model(features), expected(features))
    assert loaded.style_names == () and "style_names" not in info


def test_style_names_and_the_baseline_are_kept(tmp_path: Path) -> None:
    config = AutoregressiveConfig(num_styles=2)
    model = AutoregressiveStudent(config, 4)
    save_student(tmp_path, model, tiny_template(), IDS, {}, ("anna", "zo\u00eb"))
    loaded = load_student(tmp_path)
    assert loaded.style_names == ("anna", "zo\u00eb") and loaded.model.config == config
    assert isinstance(loaded.model, AutoregressiveStudent)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)
    with pytest.raises(ValueError, match="1 names for 2 styles"):
        save_student(tmp_path, model, tiny_template(), IDS, {}, ("anna",))
    for names in (["anna", "anna"], ["anna"], ["anna", 3]):
        change(tmp_path, style_names=names)
        refused(tmp_path, "style_names are not 2 different names")


def test_the_folder_of_a_sync_expert_is_no_student(tmp_path: Path) -> None:
    save_sync_expert(tmp_path, SyncNet3D(SyncExpertConfig()), {})
    refused(tmp_path, "has no student.json; give the folder of a trained student")


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def put(student: Path, content: bytes) -> None:
    """Other weights, with the hash of them in the JSON, as who means harm would do it."""
    path = student / "student.safetensors"
    path.write_bytes(content)
    change(student, weights_sha256=sha256_file(path))


def change(student: Path, **changes: Any) -> None:
    path = student / "student.json"
    info = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: v for name, v in info.items() if v is not ...}))


def refused(student: Path, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        load_student(student)
    assert "\n" not in str(error.value) and str(student) in str(error.value)


def test_pickles_are_refused_and_not_executed(student: Path, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    put(student, pickle.dumps(Evil(target)))
    refused(student, "student.safetensors: is a pickle .* was not opened")
    stream = io.BytesIO()
    torch.save({"weights": Evil(target)}, stream)
    put(student, stream.getvalue())
    refused(student, "student.safetensors: is a pickle .* was not opened")
    assert not target.exists()


def test_truncated_and_changed_weights_are_refused(student: Path) -> None:
    whole = (student / "student.safetensors").read_bytes()
    for length in (0, 4, 100, len(whole) - 1):
        put(student, whole[:length])
        refused(student, "student.safetensors: not a complete safetensors file")
    (student / "student.safetensors").write_bytes(whole)
    refused(student, "sha256 differs")


def test_wrong_keys_and_shapes_are_refused(student: Path) -> None:
    path = student / "student.safetensors"
    state, _ = load_weights(path)
    name = next(iter(state))
    for changed, said in (
        ({**state, "wings": torch.zeros(1)}, r"1 unknown \(wings\)"),
        ({n: t for n, t in state.items() if n != name}, "1 missing"),
        ({**state, name: torch.zeros(7, 7, 7)}, r"1 of another shape .* \(7, 7, 7\) in place of"),
    ):
        save_weights(path, changed)
        put(student, path.read_bytes())
        refused(student, said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config": ...}, "config missing or of a wrong type"),
        ({"config": [1]}, "config missing or of a wrong type"),
        ({"weights_sha256": 3}, "weights_sha256 missing"),
        ({"animated_ids": ...}, "animated_ids missing"),
        ({"config": {"wings": 2}}, "its config does not fit"),
        ({"config": {"width": "wide"}}, "its config does not fit"),
        ({"animated_ids": [0, 1, 2, 10_000]}, "animated_ids are not vertices"),
        ({"animated_ids": [0, 1, 2, -1]}, "animated_ids are not vertices"),
        ({"animated_ids": [0, 1]}, "of another shape"),
        ({"kind": "sync_expert"}, "holds a 'sync_expert', not one of student, autoregressive"),
        ({"kind": ...}, "holds a None"),
        ({"kind": "autoregressive"}, "do not fit the network"),
        ({"style_names": ["s1"]}, "style_names are not 0 different names"),
        ({"style_names": "s1"}, "style_names are not 0 different names"),
    ],
)
def test_damaged_descriptions_are_refused(student: Path, changes: dict, said: str) -> None:
    change(student, **changes)
    refused(student, said)


def test_sync_experts_are_refused_in_the_same_way(tmp_path: Path) -> None:
    folder = tmp_path / "expert"
    config = SyncExpertConfig()
    save_sync_expert(folder, SyncNet3D(config), {})
    load_sync_expert(folder, config.role)
    path = folder / "sync_expert.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "config": {**info["config"], "wings": 2}}))
    with pytest.raises(ValueError, match="sync_expert.json: its config does not fit"):
        load_sync_expert(folder, config.role)
    path.write_text("[]")
    with pytest.raises(ValueError, match="config, weights_sha256, provenance missing"):
        load_sync_expert(folder, config.role)
    save_sync_expert(folder, SyncNet3D(replace(config)), {})
    weights = folder / "sync_expert.safetensors"
    weights.write_bytes(pickle.dumps(Evil(tmp_path / "executed")))
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "weights_sha256": sha256_file(weights)}))
    with pytest.raises(ValueError, match="is a pickle"):
        load_sync_expert(folder, config.role)
    assert not (tmp_path / "executed").exists()
