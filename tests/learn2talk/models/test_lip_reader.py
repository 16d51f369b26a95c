"""The lip reader: a recogniser's own features, frozen, with gradients to the pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avsr.models.recognizer import Recognizer, RecognizerConfig
from learn2talk.models.lip_reader import LipReadNet

SMALL = RecognizerConfig(
    vocabulary_size=7, width=16, num_heads=2, fused_layers=1, video_channels=(8, 8, 16)
)


def recognizer() -> Recognizer:
    torch.manual_seed(0)
    return Recognizer(SMALL)


def pictures(clips: int = 2, frames: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (clips, frames, 88, 88)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def test_features_are_the_recognisers_in_evaluation_mode() -> None:
    network = recognizer().eval()
    crops, mask = pictures(), torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    expected = network.encode("crops", crops, mask)
    reader = LipReadNet(network.train())  # dropout is on in what it is given
    torch.testing.assert_close(reader(crops, mask), expected)
    reader.train()
    assert not any(module.training for module in reader.modules())
    torch.testing.assert_close(reader(crops.float() / 255.0, mask), expected, rtol=0, atol=1e-4)
    assert reader.width == 16


def test_gradients_reach_the_pixels_and_no_weight() -> None:
    reader = LipReadNet(recognizer())
    crops = (pictures().float() / 255.0).requires_grad_()
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[0, 5] = False
    reader(crops, mask)[..., :3].square().sum().backward()
    assert crops.grad is not None
    moved = crops.grad.flatten(2).norm(dim=-1) > 0
    assert torch.equal(moved, mask)
    assert all(parameter.grad is None for parameter in reader.parameters())


def test_a_clip_without_a_mouth_gives_zeros_and_leaves_the_others_alone() -> None:
    reader = LipReadNet(recognizer())
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[0] = False
    features = reader(pictures(), mask)
    assert float(features[0].abs().max()) == 0.0
    torch.testing.assert_close(features[1:], reader(pictures()[1:], mask[1:]))
    nothing = reader(pictures(), torch.zeros_like(mask))
    assert nothing.shape == (2, 6, 16) and float(nothing.abs().max()) == 0.0


def test_what_cannot_be_read_is_refused() -> None:
    mask = torch.ones(2, 6, dtype=torch.bool)
    reader = LipReadNet(recognizer())
    with pytest.raises(ValueError, match="reach 255; give float in"):
        reader(torch.full((2, 6, 88, 88), 255.0), mask)
    with pytest.raises(ValueError, match=r"\(2, 6, 96, 96\); give \(B, T, 88, 88\)"):
        reader(torch.zeros(2, 6, 96, 96), mask)
    deaf = Recognizer(RecognizerConfig(vocabulary_size=7, streams=("audio",), width=16))
    with pytest.raises(ValueError, match="takes audio and no mouth crops"):
        LipReadNet(deaf)
