"""Published parameter names to ours, strictly: nothing left over, missing or of another shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from avsr.pretrained.checkpoint_reading import first_few

if TYPE_CHECKING:
    import torch

Rule = tuple[str, str]  # regular expression of a whole published name, its replacement

RESIDUAL_PARTS = {
    "conv1": "first",
    "bn1": "first_norm",
    "relu1": "first_activation",
    "conv2": "second",
    "bn2": "second_norm",
    "relu2": "second_activation",
    "downsample": "shortcut",
}
VIDEO_STEM = {
    "frontend3D.0": "stem",
    "frontend3D.1": "stem_norm",
    "frontend3D.2": "stem_activation",
}
AUDIO_STEM = {"trunk.conv1": "stem", "trunk.bn1": "stem_norm", "trunk.relu": "stem_activation"}


def prefix_rules(published: str, ours: str, parts: Mapping[str, str]) -> list[Rule]:
    """Rules for ``<published><part>.<rest>`` to ``<ours><part of ours>.<rest>``.

    Args:
        published, ours: what the names start with; ``published`` is a regular expression and
            ``ours`` may refer to its groups (``\\1``).
        parts: published part to ours.
    """
    groups = re.compile(published).groups
    return [
        (rf"{published}{re.escape(part)}\.(.+)", rf"{ours}{mine}.\{groups + 1}")
        for part, mine in parts.items()
    ]


def resnet_rules(published: str, ours: str, stem: Mapping[str, str]) -> list[Rule]:
    """Rules of a ResNet-18 front-end: its stem, and two blocks in each of four layers."""
    rules = prefix_rules(published, ours, stem)
    for index in range(8):
        source = rf"{published}trunk\.layer{index // 2 + 1}\.{index % 2}\."
        rules += prefix_rules(source, f"{ours}blocks.{index}.", RESIDUAL_PARTS)
    return rules


def renamed(name: str, rules: Iterable[Rule]) -> str | None:
    """Our name of a published one, or ``None`` where no rule knows it."""
    for pattern, replacement in rules:
        if found := re.fullmatch(pattern, name):
            return found.expand(replacement)
    return None


def fitted_state(
    model: torch.nn.Module,
    published: Mapping[str, torch.Tensor],
    rules: Iterable[Rule],
    *,
    unused: Iterable[str],
    where: str,
) -> dict[str, torch.Tensor]:
    """State of ``model`` from published tensors.

    Args:
        published: names to tensors of any floating type; they become float32.
        rules: the first that matches a whole name counts.
        unused: regular expressions of names that are known and not needed.
        where: file, for the error.

    Raises:
        ValueError: names that no rule knows, parameters without a tensor, other shapes, numbers
            that are not finite; one line with the first of each.
    """
    wanted, rules, skip = model.state_dict(), list(rules), [re.compile(p) for p in unused]
    state: dict[str, torch.Tensor] = {}
    unknown: list[str] = []
    shapes: list[str] = []
    not_finite: list[str] = []
    for name, tensor in published.items():
        if name.endswith("num_batches_tracked") or any(p.fullmatch(name) for p in skip):
            continue
        mine = renamed(name, rules)
        if mine is None or mine not in wanted or mine in state:
            unknown.append(name)
        elif tensor.shape != wanted[mine].shape:
            shapes.append(f"{name} {tuple(tensor.shape)} for {tuple(wanted[mine].shape)}")
        else:
            state[mine] = tensor.to(wanted[mine].dtype)
            if not bool(state[mine].isfinite().all()):
                not_finite.append(name)
    missing = [
        mine
        for mine in wanted
        if mine not in state and not mine.endswith("num_batches_tracked") and not shapes
    ]
    problems = [
        f"{len(names)} {what}: {first_few(names)}"
        for what, names in (
            ("unknown keys", unknown),
            ("parameters without a key", missing),
            ("keys of another shape", shapes),
            ("keys with NaN or infinite numbers", not_finite),
        )
        if names
    ]
    if problems:
        raise ValueError(f"{where}: {'; '.join(problems)}; is it this network's checkpoint?")
    return state | {name: wanted[name] for name in wanted if name.endswith("num_batches_tracked")}


def require(published: Mapping[str, torch.Tensor], name: str, where: str) -> torch.Tensor:
    """The tensor of a name that the network's shape is read from.

    Raises:
        ValueError: it is not there.
    """
    if name not in published:
        raise ValueError(
            f"{where}: has no {name} among {len(published)} keys (such as "
            f"{first_few(sorted(published))}); is it this network's checkpoint?"
        )
    return published[name]


def count_layers(published: Iterable[str], pattern: str) -> int:
    """One more than the largest number that ``pattern``'s group finds in the names, or 0."""
    found = (re.match(pattern, name) for name in published)
    return max((int(match[1]) + 1 for match in found if match), default=0)
