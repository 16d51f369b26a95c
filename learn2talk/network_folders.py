"""A network as a folder: weights as safetensors, and a JSON that tells of them.

The JSON holds the kind, the configuration, the weights' sha256 and where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avsr.files import read_json, save_weights, sha256_file, write_json


def save_network(
    folder: Path, names: tuple[str, str], kind: str, model: Any, provenance: Mapping[str, Any]
) -> None:
    """Write a network that has a dataclass as `config`; the JSON last.

    Args:
        folder: to write into.
        names: files of the weights and of the JSON.
        kind: what it is, in words.
        model: the network.
        provenance: where it comes from, JSON-ready.
    """
    weights, info = names
    save_weights(folder / weights, model.state_dict())
    write_json(
        folder / info,
        {
            "kind": kind,
            "config": asdict(model.config),
            "weights_sha256": sha256_file(folder / weights),
            "provenance": dict(provenance),
        },
    )


def network_info(folder: Path, names: tuple[str, str], kind: str) -> dict[str, Any]:
    """The JSON of a folder, checked against its weights.

    Raises:
        ValueError: no such file, of another kind, or its weights are missing or others.
    """
    weights, info = (folder / name for name in names)
    if not info.is_file():
        raise ValueError(f"{folder}: has no {info.name}; give the folder of a trained {kind}")
    told = read_json(info)
    if not isinstance(told, dict) or told.get("kind") != kind:
        raise ValueError(f"{info}: is not the description of a {kind}; train it again")
    if not weights.is_file() or sha256_file(weights) != told.get("weights_sha256"):
        raise ValueError(f"{weights}: is missing, or not the file that {info.name} tells of")
    return told
