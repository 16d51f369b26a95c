"""The only reader and writer of head motion networks: `head_motion.safetensors` and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsr.files import load_weights
from avsr.weights import fill
from learn2talk.models.head_motion import HeadMotionConfig, PoseVAE
from learn2talk.network_folders import network_info, save_network

NAMES = ("head_motion.safetensors", "head_motion.json")
KIND = "head motion"


@dataclass(frozen=True, eq=False)
class TrainedHeadMotion:
    """A PoseVAE in evaluation mode, and where it comes from, with `weights_sha256`."""

    model: PoseVAE
    provenance: Mapping[str, Any]


def save_head_motion(folder: Path | str, model: PoseVAE, provenance: Mapping[str, Any]) -> None:
    """Write a PoseVAE as a folder that `load_head_motion` reads."""
    save_network(Path(folder), NAMES, KIND, model, provenance)


def load_head_motion(folder: Path | str) -> TrainedHeadMotion:
    """Read a PoseVAE onto the CPU, in evaluation mode.

    Raises:
        ValueError: no such folder, damaged or foreign weights; names the file.
    """
    folder = Path(folder)
    told = network_info(folder, NAMES, KIND)
    try:
        config, provenance = HeadMotionConfig(**told["config"]), dict(told["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / NAMES[1]}: its config does not fit ({error})") from error
    model = PoseVAE(config)
    fill(model, load_weights(folder / NAMES[0])[0], folder / NAMES[0])
    return TrainedHeadMotion(model.eval(), provenance | {"weights_sha256": told["weights_sha256"]})
