from __future__ import annotations

import argparse
import io
import os
import pickle
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from avsr.files import save_weights
from avsr.pretrained.checkpoint_reading import (
    Described,
    plain,
    read_checkpoint,
    read_folder,
    tensors_of,
)


class Marks:
    """Unpickled for real, it makes a file: the sign that code of a checkpoint has run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("settings", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_malicious_pickle_is_refused_and_does_not_run(
    tmp_path: Path, settings: bool, zipped: bool
) -> None:
    mark, path = tmp_path / "ran", tmp_path / "weights.pt"
    content = {"model": {"w": torch.zeros(2)}, "cfg": Marks(mark)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"not a whole zip|mkdir, which is not plain data") as said:
        read_checkpoint(path, settings=settings)
    assert not mark.exists()
    assert "\n" not in str(said.value)
    # The mark works: the same file read without care leaves it.
    torch.load(path, weights_only=False)
    assert mark.exists()


def test_a_bare_malicious_pickle_is_refused(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"w": Marks(mark)}, protocol=2))
    for settings in (False, True):
        with pytest.raises(ValueError, match=r"weights.pth: "):
            read_checkpoint(path, settings=settings)
    assert not mark.exists()


def test_a_call_hidden_behind_a_settings_object_does_not_run(tmp_path: Path) -> None:
    """A harmless class may be named; what is done with it stays data."""
    mark, path = tmp_path / "ran", tmp_path / "weights.pt"
    settings = argparse.Namespace(heads=4, hook=Marks(mark))
    torch.save({"args": settings, "model": {}}, path)
    with pytest.raises(ValueError, match="mkdir"):
        read_checkpoint(path, settings=True)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["builtins.eval", "builtins.getattr", "os.system", "torch.load"])
def test_dangerous_names_are_not_settings(tmp_path: Path, name: str) -> None:
    module, function = name.split(".")
    body = b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"X\x01\x00\x00\x00x\x85R."
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(1)}, path)
    with_payload = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(with_payload, "w") as target:
        for item in source.namelist():
            target.writestr(item, body if item.endswith("data.pkl") else source.read(item))
    path.write_bytes(with_payload.getvalue())
    for settings in (False, True):
        with pytest.raises(ValueError, match="not plain data|not plain weights"):
            read_checkpoint(path, settings=settings)


def test_settings_come_back_as_data(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    content = {
        "args": argparse.Namespace(heads=4, inner=argparse.Namespace(first=True)),
        "history": defaultdict(list),
        "model": {"w": torch.ones(2)},
    }
    torch.save(content, path)
    read = read_checkpoint(path, settings=True)
    assert isinstance(read["args"], Described)
    assert plain(read["args"]) == {"heads": 4, "inner": {"first": True}}
    assert plain({"x": (1, Described("member")), "y": Described()}) == {
        "x": [1, "member"],
        "y": None,
    }
    assert torch.equal(tensors_of(path, read)["w"], torch.ones(2))
    with pytest.raises(ValueError, match="argparse.Namespace, which is not plain data"):
        read_checkpoint(path)


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    for name, content, said in (
        ("gone.pth", None, "no such checkpoint"),
        ("empty.pth", b"", "0 bytes"),
        ("page.pth", b"<html>Not found</html>" * 9, "weights|checkpoint"),
        ("zip.pth", b"PK\x03\x04" + b"x" * 50, "checkpoint"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        for settings in (False, True):
            with pytest.raises(ValueError, match=said) as caught:
                read_checkpoint(path, settings=settings)
            assert str(caught.value).startswith(str(path))
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, zipped: bool, kept: float) -> None:
    path = tmp_path / "weights.pth"
    state = {f"layer{i}.weight": torch.randn(30, 30) for i in range(5)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    for settings in (False, True):
        with pytest.raises(ValueError, match=r"weights.pth: ") as caught:
            read_checkpoint(path, settings=settings)
        assert "\n" not in str(caught.value)


def test_only_names_with_tensors_are_weights(tmp_path: Path) -> None:
    w = torch.zeros(1)
    assert list(tensors_of("x", {"state_dict": {"model.a": w, "model.b": w}})) == ["a", "b"]
    assert list(tensors_of("x", {"model_state_dict": {"a": w}})) == ["a"]
    assert list(tensors_of("x", {"model.a": w, "b": w})) == ["model.a", "b"]
    with pytest.raises(ValueError, match="x: holds a list"):
        tensors_of("x", [w])
    with pytest.raises(ValueError, match="x: b, c, d and 1 more is not a tensor"):
        tensors_of("x", {"a": w, "b": 1, "c": 2, "d": 3, "e": 4})


def test_folders_of_the_hugging_face_layout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no config.json"):
        read_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"d_model": 4}')
    with pytest.raises(ValueError, match="neither"):
        read_folder(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert list(read_folder(tmp_path)[0]) == ["a"]
    save_weights(tmp_path / "model-1.safetensors", {"a": torch.ones(1)})
    save_weights(tmp_path / "model-2.safetensors", {"b": torch.ones(1)})
    tensors, config = read_folder(tmp_path)
    assert (sorted(tensors), config) == (["a", "b"], {"d_model": 4})
    save_weights(tmp_path / "model-3.safetensors", {"b": torch.ones(1)})
    with pytest.raises(ValueError, match="b is in another file"):
        read_folder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="not a JSON object"):
        read_folder(tmp_path)
