from __future__ import annotations

import pytest
import torch
from torch import nn

from avsr.pretrained.key_mapping import (
    count_layers,
    fitted_state,
    prefix_rules,
    renamed,
    require,
    resnet_rules,
)

RULES = prefix_rules(r"enc\.(\d+)\.", r"layers.\1.", {"w_1": "expand", "n": "norm"})


def network() -> nn.Module:
    return nn.ModuleDict({"norm": nn.BatchNorm1d(2), "map": nn.Linear(2, 3)})


MAP_RULES = prefix_rules("", "", {"bn": "norm", "fc": "map"})


def weights() -> dict[str, torch.Tensor]:
    return {
        **{f"bn.{name}": torch.rand(2) for name in ("weight", "bias")},
        **{f"bn.running_{name}": torch.rand(2) for name in ("mean", "var")},
        "bn.num_batches_tracked": torch.tensor(9),
        "fc.weight": torch.rand(3, 2).half(),
        "fc.bias": torch.rand(3),
    }


def test_names_are_mapped_whole_or_not_at_all() -> None:
    assert renamed("enc.12.w_1.weight", RULES) == "layers.12.expand.weight"
    assert renamed("enc.0.n.bias", RULES) == "layers.0.norm.bias"
    assert renamed("enc.0.other.bias", RULES) is None
    assert renamed("x.enc.0.n.bias", RULES) is None


def test_residual_blocks_are_numbered_through() -> None:
    rules = resnet_rules(r"f\.", "mine.", {"frontend3D.0": "stem"})
    assert renamed("f.trunk.layer1.0.conv1.weight", rules) == "mine.blocks.0.first.weight"
    assert renamed("f.trunk.layer4.1.bn2.bias", rules) == "mine.blocks.7.second_norm.bias"
    assert (
        renamed("f.trunk.layer3.0.downsample.1.weight", rules) == "mine.blocks.4.shortcut.1.weight"
    )
    assert renamed("f.frontend3D.0.weight", rules) == "mine.stem.weight"


def test_a_fitting_state_loads() -> None:
    model, given = network(), weights()
    state = fitted_state(
        model, given | {"old": torch.zeros(1)}, MAP_RULES, unused=["old"], where="f"
    )
    model.load_state_dict(state)
    assert torch.equal(model["map"].weight, given["fc.weight"].float())  # type: ignore[index]
    assert torch.equal(model["norm"].running_var, given["bn.running_var"])  # type: ignore[index]


def test_what_does_not_fit_is_counted_and_the_first_are_named() -> None:
    given = weights() | {f"extra{i}": torch.zeros(1) for i in range(5)}
    del given["fc.bias"]
    with pytest.raises(
        ValueError, match="^f: 5 unknown keys: extra0, extra1, extra2 and 2 more; 1"
    ):
        fitted_state(network(), given, MAP_RULES, unused=(), where="f")
    given = weights() | {"fc.bias": torch.tensor([0.0, float("nan"), 1.0])}
    with pytest.raises(ValueError, match="1 keys with NaN or infinite numbers: fc.bias"):
        fitted_state(network(), given, MAP_RULES, unused=(), where="f")
    given = weights() | {"fc.weight": torch.zeros(2, 3)}
    with pytest.raises(
        ValueError, match=r"1 keys of another shape: fc.weight \(2, 3\) for \(3, 2\)"
    ):
        fitted_state(network(), given, MAP_RULES, unused=(), where="f")


def test_two_names_for_one_parameter_are_refused() -> None:
    rules = [*MAP_RULES, (r"again\.(.+)", r"map.\1")]
    with pytest.raises(ValueError, match="1 unknown keys: again.bias"):
        fitted_state(
            network(), weights() | {"again.bias": torch.zeros(3)}, rules, unused=(), where="f"
        )


def test_layers_are_counted() -> None:
    assert count_layers(["a.0.x", "a.11.x", "b.40.x"], r"a\.(\d+)\.") == 12
    assert count_layers(["b.40.x"], r"a\.(\d+)\.") == 0
    with pytest.raises(ValueError, match=r"f: has no b among 1 keys \(such as a\)"):
        require({"a": torch.zeros(1)}, "b", "f")
