"""Where a recogniser's weights are: a file, a published folder, or a repository of the Hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from avsr.files import read_json

WEIGHTS, CONFIG, TOKENIZER, CARD = (
    "model.safetensors",
    "config.json",
    "tokenizer.model",
    "README.md",
)
PUBLISHED = (WEIGHTS, CONFIG, TOKENIZER, CARD)  # what a published folder holds

# "owner/name" as the Hub allows it; a longer path, or one with a suffix of ours, is a local one.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def recognizer_file(name: Path | str, **download: Any) -> Path:
    """The weights file that ``name`` stands for.

    Args:
        name: a ``.safetensors`` file, a folder that ``avsr publish`` wrote, or ``owner/name`` of a
            repository of the Hugging Face Hub, which is downloaded into its cache once.
        download: passed to ``huggingface_hub.snapshot_download`` (``revision``, ``token``, ...).

    Raises:
        ValueError: a folder without weights, or neither here nor on the Hub.
    """
    path = Path(name)
    if path.is_file() or path.suffix == ".safetensors":
        return path  # its reader says what is wrong with it
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            found = sorted(one.name for one in path.glob("*.safetensors"))
            hint = f"give {path / found[0]}" if found else "give a folder of 'avsr publish'"
            raise ValueError(f"{path}: folder has no {WEIGHTS}; {hint}")
        return path / WEIGHTS
    if not _HUB_ID.fullmatch(str(name)):
        return path
    return _downloaded(str(name), download) / WEIGHTS


def _downloaded(repository: str, download: dict[str, Any]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        # No other file: a repository may also hold pickles.
        folder = Path(snapshot_download(repository, allow_patterns=list(PUBLISHED), **download))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{repository}: is no file or folder here, and the Hugging Face Hub did not give it "
            f"({' '.join(str(error).split())[:200]}); check the path, the name, or the network"
        ) from error
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{repository}: this repository has no {WEIGHTS}; give one that 'avsr publish' made"
        )
    return folder


def check_config(weights: Path, config: dict[str, Any]) -> None:
    """Refuse a published folder whose config.json is not that of its weights.

    Args:
        weights: a weights file, maybe of a published folder.
        config: fields that the weights file itself carries.

    Raises:
        ValueError: the two differ; the fields are named.
    """
    beside = weights.with_name(CONFIG)
    if weights.name != WEIGHTS or not beside.is_file():
        return
    told = read_json(beside)
    if not isinstance(told, dict):
        raise ValueError(f"{beside}: is no configuration; publish the recogniser again")
    differing = sorted(k for k in {*told, *config} if told.get(k) != config.get(k))
    if differing:
        raise ValueError(
            f"{beside}: tells another network than {WEIGHTS} in {', '.join(differing)}; the "
            "weights carry their own configuration, so publish the recogniser again"
        )
