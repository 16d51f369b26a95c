"""A network that goes on from another one's weights, also where the two differ in heads or streams.

What can differ: decoder and transducer heads, the streams, and whether convolutions are causal. All
else must be alike. A stream that only the old network has is missing from now on, and one that only
the new network has counts for nothing at first, so that both read as before what they share.
"""

# D width, W = 2 D rows of the fusion's first map, N streams

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from avsr.weights import differences

if TYPE_CHECKING:
    from torch import Tensor

    from avsr.models.fusion import Stream
    from avsr.models.recognizer import Recognizer

JOIN_WEIGHT, JOIN_BIAS = "fusion.join.0.weight", "fusion.join.0.bias"
HEADS = {"attention decoder": "decoder.", "transducer": "transducer."}


@dataclass(frozen=True)
class WarmStart:
    """What a network took over; the lists name its parts in words."""

    added: tuple[str, ...]  # start by chance
    left_out: tuple[str, ...]  # of the old network's parts
    changed: tuple[str, ...] = ()  # taken, but at work in another way

    def __str__(self) -> str:
        parts = [
            f"{what} {', '.join(names)}"
            for what, names in (
                ("new by chance:", self.added),
                ("not taken:", self.left_out),
                ("changed:", self.changed),
            )
            if names
        ]
        return "; ".join(parts) or "all of it"


def _parts(streams: tuple[Stream, ...]) -> dict[str, tuple[str, ...]]:
    """Name of each part that may be there or not, and the prefixes of its weights."""
    parts: dict[str, tuple[str, ...]] = {name: (prefix,) for name, prefix in HEADS.items()}
    for stream in streams:
        kinds = ("encoders", "stream_layers", "frame_heads", "fusion.absent")
        parts[f"stream {stream}"] = tuple(f"{kind}.{stream}" for kind in kinds)
    return parts


def start_from(model: Recognizer, start: Recognizer, path: Path | str) -> WarmStart:
    """Put the weights of ``start`` into ``model``; parts that only one of them has may differ.

    Args:
        model: network to train, of the same vocabulary.
        start: trained network.
        path: its file, for messages.

    Returns:
        What ``model`` has by chance and what of ``start`` it has no place for.

    Raises:
        ValueError: the two have no stream in common, or a shared part has another shape.
    """
    new, old = model.config.streams, start.config.streams
    shared = [stream for stream in new if stream in old]
    if not shared:
        raise ValueError(
            f"{path}: was trained on {', '.join(old)}, the network to train reads "
            f"{', '.join(new)}; start from one that shares a stream, or from nothing"
        )
    found, wanted = start.state_dict(), model.state_dict()
    parts = _parts(tuple(dict.fromkeys((*new, *old))))
    has = [
        {name for name, prefixes in parts.items() if _any(prefixes, of)} for of in (wanted, found)
    ]
    added, left_out = sorted(has[0] - has[1]), sorted(has[1] - has[0])
    state = {
        name: tensor
        for name, tensor in found.items()
        if not any(name.startswith(parts[part]) for part in left_out)
    }
    for part in added:
        state |= {n: t for n, t in wanted.items() if n.startswith(parts[part])}
    width = model.config.width
    if new != old and found[JOIN_WEIGHT].shape == (2 * width, len(old) * width):
        state[JOIN_WEIGHT], state[JOIN_BIAS] = _joined(found, new, old)
    if wrong := differences(wanted, state):
        raise ValueError(
            f"{path}: its network has another shape than the one to train: {'; '.join(wrong)}; "
            "train with the same model settings, or start from nothing"
        )
    model.load_state_dict(state)
    changed: tuple[str, ...] = ()
    if model.config.causal != start.config.causal:
        changed = (f"convolutions are {'' if model.config.causal else 'not '}causal now",)
    return WarmStart(tuple(added), tuple(left_out), changed)


def _any(prefixes: tuple[str, ...], state: Mapping[str, Tensor]) -> bool:
    return any(name.startswith(prefixes) for name in state)


def _joined(
    found: Mapping[str, Tensor], new: tuple[Stream, ...], old: tuple[Stream, ...]
) -> tuple[Tensor, Tensor]:
    """The fusion's first map (W, N D) and bias (W,) for other streams.

    A stream that goes counts as missing for good, so its share, which is constant then, goes into
    the bias. The columns of one that comes are 0.
    """
    columns = dict(zip(old, found[JOIN_WEIGHT].chunk(len(old), dim=1), strict=True))
    bias = found[JOIN_BIAS].clone()
    for stream in old:
        if stream not in new:
            bias = bias + columns[stream] @ found[f"fusion.absent.{stream}"]
    nothing = torch.zeros_like(columns[old[0]])
    return torch.cat([columns.get(stream, nothing) for stream in new], dim=1), bias
