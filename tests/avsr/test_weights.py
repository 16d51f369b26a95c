"""Weights that do not fit: one line with names and shapes, and nothing half loaded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avsr.weights import differences, fill, one_line


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))


def test_fitting_weights_are_taken_over() -> None:
    model, other = network(), nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    fill(model, other.state_dict(), "file")
    assert torch.equal(model[0].weight, other[0].weight)
    assert differences(model.state_dict(), other.state_dict()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"0.weight": None}, r"1 missing \(0.weight\)"),
        ({"extra": torch.zeros(1)}, r"1 unknown \(extra\)"),
        (
            {"0.weight": torch.zeros(2, 4)},
            r"1 of another shape \(0.weight \(2, 4\) in place of \(2, 3\)\)",
        ),
        (
            {"0.weight": None, "0.bias": None, "1.weight": None, "1.bias": None},
            r"4 missing .*\.\.\.",
        ),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(change: dict, said: str) -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in before.items()} | change
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(
        ValueError, match=f"some/file: weights do not fit the network: .*{said}"
    ) as e:
        fill(model, state, "some/file")
    assert "\n" not in str(e.value)
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())


def test_long_errors_are_cut_to_a_line() -> None:
    assert one_line(ValueError("\n first \nsecond")) == "first"
    assert one_line(KeyError()) == "KeyError"
