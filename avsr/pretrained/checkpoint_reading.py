"""Checkpoints of others as plain data: tensors, containers, and nothing that runs.

A ``.pth`` or ``.pt`` file is a pickle, and unpickling calls whatever the file names. Here PyTorch's
weights-only reader does the work. It knows tensors and plain containers; a fairseq checkpoint also
holds settings objects (argparse, omegaconf, fairseq), and for these the reader is handed
:class:`Described`, which keeps what the object was made of and does nothing. Every other class in
a file is a refusal, before anything of it is read.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsr.files import load_weights, read_json

if TYPE_CHECKING:
    import torch

# Modules whose objects appear as settings in fairseq checkpoints. They need not be installed.
SETTINGS_MODULES = ("argparse", "omegaconf", "fairseq", "avhubert", "hubert_pretraining")
HARMLESS_NAMES = {
    "typing.Any",
    "collections.defaultdict",
    "_codecs.encode",
    "numpy.dtype",
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
    *(f"builtins.{name}" for name in ("int", "float", "str", "bool", "list", "dict", "tuple")),
}
MAX_NAMED = 3  # offenders in an error message


class Described:
    """What a settings object was made of: its constructor's arguments and its state."""

    def __new__(cls, *arguments: Any) -> Described:  # noqa: D102
        made = super().__new__(cls)
        made.arguments = arguments
        return made

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


def first_few(names: list[str]) -> str:
    """Up to three of the names for an error message, and how many more there are."""
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def read_checkpoint(path: Path | str, *, settings: bool = False) -> Any:
    """Content of a PyTorch checkpoint as tensors, plain containers and :class:`Described`.

    Args:
        path: ``.pth`` or ``.pt`` written by ``torch.save``.
        settings: also take the settings objects of fairseq, as :class:`Described`; only in the
            zip format (PyTorch 1.6 and later), whose classes can be listed before reading.

    Raises:
        ValueError: missing, empty, truncated, another format, or a class that is not plain data;
            the message names file and class. Nothing from the file has been called then.
    """
    import torch

    path = Path(path)
    _check_there(path)
    allowed: list[Any] = []
    if settings:
        names = _classes_in(path)
        foreign = sorted(name for name in names if not _is_setting(name))
        if foreign:
            raise ValueError(_foreign_message(path, foreign))
        allowed = [(_stand_in(name), name) for name in names]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_refusal(path, str(error))) from error
    except (RuntimeError, EOFError, OSError, KeyError, IndexError, ValueError, TypeError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path}: not a whole PyTorch checkpoint ({first_line[:120]}); copy or download it "
            "again"
        ) from error
    except Exception as error:  # a damaged pickle fails anywhere in its reader, in any way
        raise ValueError(
            f"{path}: not a PyTorch checkpoint ({type(error).__name__}); give the file that the "
            "project published"
        ) from error


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint file; check the path")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: checkpoint is empty (0 bytes); copy or download it again")


def _classes_in(path: Path) -> list[str]:
    """Classes beyond tensors that a zip checkpoint names, found without unpickling it."""
    import torch

    try:
        whole = zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # Python 3.11 raises of some damaged ends, 3.13 says no
        whole = False
    if not whole:
        raise ValueError(
            f"{path}: not a whole zip checkpoint as torch.save of PyTorch 1.6 and later writes it; "
            "copy it again, or save an older file anew with a current PyTorch"
        )
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(os.fspath(path))
    except Exception as error:  # as below: damage fails in any way
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path}: not a checkpoint that can be listed ({first_line[:120]}); copy or download "
            "it again"
        ) from error


def _is_setting(name: str) -> bool:
    return name in HARMLESS_NAMES or name.split(".")[0] in SETTINGS_MODULES


def _stand_in(name: str) -> Any:
    return _plain_dict if name == "collections.defaultdict" else type("Named", (Described,), {})


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _refusal(path: Path, said: str) -> str:
    for mark in ("GLOBAL ", "function "):
        if mark in said:
            return _foreign_message(path, [said.split(mark, 1)[1].split()[0].strip("`.,")])
    first_line = said.splitlines()[0] if said else "no reason given"
    return f"{path}: not plain weights ({first_line[:120]}); nothing of it was run"


def _foreign_message(path: Path, names: list[str]) -> str:
    return (
        f"{path}: holds {first_few(names)}, which is not plain data; refused, nothing of it was "
        "run; give the file that the project published"
    )


def plain(value: Any) -> Any:
    """Settings as dicts, lists and scalars: looks through argparse, omegaconf and enumerations.

    A :class:`Described` object without a state it knows becomes ``None``.
    """
    if isinstance(value, Described):
        state = getattr(value, "state", None)
        if isinstance(state, Mapping):
            for inside in ("_content", "_val"):  # omegaconf's containers and values
                if inside in state:
                    return plain(state[inside])
            return plain(state)
        # An enumeration's member is made from its value alone.
        return plain(value.arguments[0]) if len(value.arguments) == 1 else None
    if isinstance(value, Mapping):
        return {key: plain(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inside) for inside in value]
    return value


def tensors_of(path: Path | str, content: Any) -> dict[str, torch.Tensor]:
    """The named tensors of a checkpoint's model.

    Looks into ``state_dict`` (Lightning, whose ``model.`` prefix goes), ``model_state_dict`` and
    ``model`` (fairseq) where there is one.

    Raises:
        ValueError: no mapping of names to tensors.
    """
    import torch

    found = content
    if isinstance(found, Mapping):
        for wrapper in ("state_dict", "model_state_dict", "model"):
            if isinstance(found.get(wrapper), Mapping):
                found = found[wrapper]
                break
    if not isinstance(found, Mapping) or not found:
        raise ValueError(
            f"{path}: holds a {type(found).__name__}, not names with tensors; give a state_dict"
        )
    odd = [str(name) for name, value in found.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise ValueError(f"{path}: {first_few(odd)} is not a tensor; give a model's state_dict")
    named = {str(name): value for name, value in found.items()}
    if all(name.startswith("model.") for name in named):
        named = {name.removeprefix("model."): value for name, value in named.items()}
    return named


def read_folder(folder: Path | str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and ``config.json`` of a folder in the Hugging Face layout.

    Weights are ``*.safetensors`` (one or several) or else ``pytorch_model.bin``.

    Raises:
        ValueError: not such a folder, no weights, weights that cannot be read, a name in two files.
    """
    folder = Path(folder)
    config_path = folder / "config.json"
    if not config_path.is_file():
        raise ValueError(f"{folder}: has no config.json; give a folder with weights and config")
    config = read_json(config_path)
    if not isinstance(config, dict):
        raise ValueError(f"{config_path}: is a {type(config).__name__}, not a JSON object")
    files = sorted(folder.glob("*.safetensors"))
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        loaded, _ = load_weights(file)
        if twice := sorted(set(loaded) & set(tensors)):
            raise ValueError(f"{file}: {first_few(twice)} is in another file of the folder, too")
        tensors |= loaded
    binary = folder / "pytorch_model.bin"
    if not files and binary.is_file():
        tensors = tensors_of(binary, read_checkpoint(binary))
    if not tensors:
        raise ValueError(f"{folder}: has neither *.safetensors nor pytorch_model.bin")
    return tensors, config
