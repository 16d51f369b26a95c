"""Losses put together at a student's output."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from learn2talk.balance import balanced


def gradient_of(output: Tensor, losses: Any, balance: Any) -> Tensor:
    output = output.clone().requires_grad_()
    first, others = losses(output)
    balanced(output, first, others, balance).backward()
    assert output.grad is not None
    return output.grad


def pair(first: Tensor, other: Tensor, share: float) -> Any:
    """Linear losses: their gradients are the given vectors."""
    return lambda x: ((x * first).sum(), {"other": ((x * other).sum(), share)})


FIRST = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
OTHER = torch.tensor([[0.0, 100.0], [6.0, -8.0]])


def test_by_hand() -> None:
    x = torch.zeros(2, 2)
    fixed = gradient_of(x, pair(FIRST, OTHER, 0.5), "fixed")
    assert torch.equal(fixed, FIRST + 0.5 * OTHER)
    # |first| is 3 and 4, |other| 100 and 10.
    normed = gradient_of(x, pair(FIRST, OTHER, 0.5), "gradient_norm")
    expected = torch.tensor([[3.0, 0.5 * 3.0], [0.5 * 4 * 0.6, 4.0 - 0.5 * 4 * 0.8]])
    torch.testing.assert_close(normed, expected)
    # The second clip's other gradient points down against up: only its sideways part stays.
    projected = gradient_of(x, pair(FIRST, OTHER, 0.5), "projected")
    torch.testing.assert_close(projected, torch.tensor([[3.0, 1.5], [2.0, 4.0]]))


def test_the_value_is_the_plain_sum() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    for balance in ("fixed", "gradient_norm", "projected"):
        first, others = pair(FIRST, OTHER, 0.5)(x)
        total = balanced(x, first, others, balance)  # type: ignore[arg-type]
        assert float(total.detach()) == pytest.approx(-1.0 + 0.5 * 226.0)


@pytest.mark.parametrize("balance", ["gradient_norm", "projected"])
def test_a_clip_does_not_depend_on_its_batch(balance: str) -> None:
    torch.manual_seed(0)
    x, first, other = torch.randn(4, 5, 3), torch.randn(4, 5, 3), 9 * torch.randn(4, 5, 3)
    whole = gradient_of(x, pair(first, other, 0.7), balance)
    parts = [
        gradient_of(x[k : k + 1], pair(first[k : k + 1], other[k : k + 1], 0.7), balance)
        for k in range(4)
    ]
    torch.testing.assert_close(whole, torch.cat(parts))


def test_a_louder_loss_pushes_no_harder() -> None:
    torch.manual_seed(1)
    x, first, other = torch.randn(2, 6), torch.randn(2, 6), torch.randn(2, 6)
    soft = gradient_of(x, pair(first, other, 0.3), "gradient_norm")
    loud = gradient_of(x, pair(first, 1000 * other, 0.3), "gradient_norm")
    torch.testing.assert_close(soft, loud)
    away = (soft - first).norm(dim=1) / first.norm(dim=1)
    torch.testing.assert_close(away, torch.full((2,), 0.3))


def test_projected_never_pushes_against_the_first() -> None:
    torch.manual_seed(2)
    x, first, other = torch.randn(50, 6), torch.randn(50, 6), 5 * torch.randn(50, 6)
    whole = gradient_of(x, pair(first, other, 2.0), "projected")
    assert ((whole * first).sum(1) >= first.square().sum(1) - 1e-4).all()


def test_losses_without_a_direction_and_shares_of_zero() -> None:
    x = torch.zeros(2, 2)
    still = gradient_of(x, pair(FIRST, torch.zeros(2, 2), 1.0), "projected")
    assert torch.equal(still, FIRST)
    nothing = gradient_of(x, pair(torch.zeros(2, 2), OTHER, 1.0), "gradient_norm")
    assert torch.equal(nothing, torch.zeros(2, 2))  # a share of nothing
    assert torch.equal(gradient_of(x, pair(FIRST, OTHER, 0.0), "gradient_norm"), FIRST)
    with pytest.raises(ValueError, match="balance 'even' is not one of fixed"):
        gradient_of(x, pair(FIRST, OTHER, 1.0), "even")
    with pytest.raises(ValueError, match=r"shares \{'other': -1.0\} must be 0"):
        gradient_of(x, pair(FIRST, OTHER, -1.0), "fixed")


def test_parameters_behind_the_output_get_its_gradient() -> None:
    torch.manual_seed(3)
    layer, inputs = torch.nn.Linear(4, 2), torch.randn(2, 4)
    output = layer(inputs)
    first, others = pair(FIRST, OTHER, 0.5)(output)
    balanced(output, first, others, "gradient_norm").backward()
    expected = gradient_of(torch.zeros(2, 2), pair(FIRST, OTHER, 0.5), "gradient_norm")
    torch.testing.assert_close(layer.weight.grad, expected.T @ inputs)
