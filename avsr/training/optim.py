"""Optimiser, learning-rate schedule and the running average of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def make_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW; weight decay only on matrices, not on biases, norms and embeddings of one axis."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))


def learning_rate_factor(update: int, warmup_updates: int, max_updates: int) -> float:
    """Linear warm-up, then half a cosine down to 2 % of the peak at ``max_updates``."""
    if update < warmup_updates:
        return (update + 1) / warmup_updates
    progress = (update - warmup_updates) / max(1, max_updates - warmup_updates)
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


class AveragedWeights:
    """Exponential moving average of a network's weights, which is validated and saved as best."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: t.detach().clone() for name, t in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, update: int) -> None:
        """Move towards the weights after ``update`` updates; faster at the start of training."""
        decay = min(self.decay, (1 + update) / (10 + update))
        moving: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                moving[0].append(self.weights[name])
                moving[1].append(tensor.detach())
            else:
                self.weights[name].copy_(tensor)
        if moving[
            0
        ]:  # all in a few kernels on a GPU, where one a tensor takes longer than the work
            torch._foreach_lerp_(*moving, 1.0 - decay)

    def swap(self, model: nn.Module) -> dict[str, Tensor]:
        """Put the averaged weights into ``model``; returns the weights that it had."""
        kept = {name: t.detach().clone() for name, t in model.state_dict().items()}
        model.load_state_dict(self.weights)
        return kept
