"""The only reader and writer of talking mouths and of sync experts for pictures.

Each is a folder: weights as safetensors, and a JSON with the configuration and where it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avsr.files import load_weights
from avsr.weights import fill
from learn2talk.models.picture_sync import PictureSync
from learn2talk.models.student import StudentConfig
from learn2talk.models.sync_expert import Role, SyncExpertConfig
from learn2talk.models.talking_mouth import TalkingMouth, TalkingMouthConfig
from learn2talk.network_folders import network_info, save_network

MOUTH_WEIGHTS, MOUTH_INFO = "talking_mouth.safetensors", "talking_mouth.json"
SYNC_WEIGHTS, SYNC_INFO = "picture_sync.safetensors", "picture_sync.json"


def save_talking_mouth(
    folder: Path | str, model: TalkingMouth, provenance: Mapping[str, Any]
) -> None:
    """Write a talking mouth as a folder that :func:`load_talking_mouth` reads."""
    save_network(Path(folder), (MOUTH_WEIGHTS, MOUTH_INFO), "talking mouth", model, provenance)


def load_talking_mouth(folder: Path | str) -> tuple[TalkingMouth, dict[str, Any]]:
    """Read a talking mouth, in evaluation mode, and its provenance with ``weights_sha256``.

    Raises:
        ValueError: no such folder, damaged or foreign weights; names the file.
    """
    folder = Path(folder)
    told = network_info(folder, (MOUTH_WEIGHTS, MOUTH_INFO), "talking mouth")
    try:
        fields = dict(told["config"])
        ear = StudentConfig(**fields.pop("ear"))
        channels = tuple(fields.pop("channels"))
        config = TalkingMouthConfig(ear=ear, channels=channels, **fields)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / MOUTH_INFO}: its config does not fit ({error})") from error
    model = TalkingMouth(config)
    fill(model, load_weights(folder / MOUTH_WEIGHTS)[0], folder / MOUTH_WEIGHTS)
    info = dict(told["provenance"]) | {"weights_sha256": told["weights_sha256"]}
    return model.eval(), info


def save_picture_sync(
    folder: Path | str, model: PictureSync, provenance: Mapping[str, Any]
) -> None:
    """Write a sync expert for pictures as a folder that :func:`load_picture_sync` reads."""
    save_network(Path(folder), (SYNC_WEIGHTS, SYNC_INFO), "picture sync expert", model, provenance)


def load_picture_sync(folder: Path | str, role: Role) -> tuple[PictureSync, dict[str, Any]]:
    """Read a sync expert for pictures for one use, frozen and in evaluation mode.

    Args:
        folder: where :func:`save_picture_sync` wrote it.
        role: what it is wanted for; the network that scores is never the one that was a loss.

    Raises:
        ValueError: it was trained for the other role; no such folder, damaged or foreign weights.
    """
    folder = Path(folder)
    told = network_info(folder, (SYNC_WEIGHTS, SYNC_INFO), "picture sync expert")
    try:
        config = SyncExpertConfig(**told["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / SYNC_INFO}: its config does not fit ({error})") from error
    if config.role != role:
        raise ValueError(
            f"{folder}: this sync expert is a {config.role!r} and was asked to be a {role!r}; "
            "give the folder of one that was trained for it"
        )
    model = PictureSync(config)
    fill(model, load_weights(folder / SYNC_WEIGHTS)[0], folder / SYNC_WEIGHTS)
    model.requires_grad_(False)
    return model.eval(), dict(told["provenance"]) | {"weights_sha256": told["weights_sha256"]}
