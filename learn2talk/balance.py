"""Several losses of one output, so that none drowns the others: balance by gradient norm.

The paper adds its losses with fixed weights and finds them "not harmonious": synchrony is bought
with vertex error. What a loss does to a student is its gradient at the student's output, so that is
where they are compared: each further loss may push as hard as a stated share of the first one, and
if asked never against it.

Axis letters: B clips, ... what an output consists of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

Balance = Literal["fixed", "gradient_norm", "projected"]
BALANCES: tuple[str, ...] = get_args(Balance)
FLOOR = 1e-12  # a gradient below has no direction


def balanced(
    output: Tensor, first: Tensor, others: Mapping[str, tuple[Tensor, float]], balance: Balance
) -> Tensor:
    """A loss whose gradient at ``output`` is balanced; its value is the sum with fixed weights.

    ``"fixed"``: first + sum of share x loss, as it is.
    ``"gradient_norm"``: for each clip b the gradient at its output is

        g_first + sum over the others of share x |g_first| / |g_other| x g_other,

    each norm over all of the clip's output. A clip's balance depends on no other clip, so that
    batch size and number of processes do not change it.
    ``"projected"``: the same, but first the part of g_other that points against g_first is taken
    out (Yu et al. 2020, "gradient surgery"), so that no further loss ever raises the first one, to
    first order.

    Args:
        output: (B, ...) that all losses were computed from, with a gradient.
        first: scalar, the loss that is the measure.
        others: name to (scalar loss, share); a share of 0 leaves a loss out.
        balance: how they are put together.

    Returns:
        scalar; call ``backward`` on it.

    Raises:
        ValueError: another word, or a share below 0.

    Source: the norms are made equal as in GradNorm (Chen et al. 2018), at the output and without
    learned weights; the projection is PCGrad's.
    """
    if balance not in BALANCES:
        raise ValueError(f"balance {balance!r} is not one of {', '.join(BALANCES)}")
    if bad := {name: share for name, (_, share) in others.items() if not share >= 0}:
        raise ValueError(f"shares {bad} must be 0 (off) or more")
    used = {name: pair for name, pair in others.items() if pair[1] > 0}
    total = first + sum((share * loss for loss, share in used.values()), torch.zeros_like(first))
    if balance == "fixed" or not used:
        return total
    (main,) = torch.autograd.grad(first, output, retain_graph=True)
    gradient = main.clone()
    norm = _per_clip((main * main), main).sqrt()
    for loss, share in used.values():
        (own,) = torch.autograd.grad(loss, output, retain_graph=True)
        if balance == "projected":
            against = _per_clip(own * main, main).clamp_max(0.0)
            own = own - against / norm.square().clamp_min(FLOOR) * main
        strength = _per_clip(own * own, main).sqrt()
        gradient = gradient + share * norm / strength.clamp_min(FLOOR) * own
    surrogate = (output * gradient.detach()).sum()
    # The value is that of the plain sum, the gradient the balanced one.
    return surrogate + (total - surrogate).detach()


def _per_clip(values: Tensor, like: Tensor) -> Tensor:
    """Sum over all but the first axis, (B, 1, ...)."""
    return values.flatten(1).sum(1).view(-1, *[1] * (like.ndim - 1))
