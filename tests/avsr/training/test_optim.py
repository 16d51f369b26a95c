"""The running average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avsr.training.optim import AveragedWeights


def network() -> nn.Module:
    torch.manual_seed(0)
    # Batch norm has a counter that is no floating-point number.
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_the_average_moves_by_one_minus_the_decay_and_counters_are_copied() -> None:
    model = network()
    average = AveragedWeights(model, decay=0.9)
    start = {name: tensor.clone() for name, tensor in average.weights.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    model[1].num_batches_tracked.fill_(7)
    average.update(model, update=1000)
    assert int(average.weights["1.num_batches_tracked"]) == 7
    moved = average.weights["0.weight"] - start["0.weight"]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1))


def test_early_updates_move_further() -> None:
    model = network()
    average = AveragedWeights(model, decay=0.999)
    before = float(average.weights["0.bias"][0])
    with torch.no_grad():
        model[0].bias.add_(1.0)
    average.update(model, update=0)
    assert float(average.weights["0.bias"][0]) - before == pytest.approx(0.9)
