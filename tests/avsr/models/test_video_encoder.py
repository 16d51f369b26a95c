"""The front-end of mouth crops: its shortcuts in computing are what they stand for."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from avsr.models.video_encoder import PIXEL_MEAN, PIXEL_STD, VideoEncoder, halved, pooled


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 3)])
def test_halved_is_average_pooling(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(halved(x), F.avg_pool2d(x, 2))


@pytest.mark.parametrize("size", [(22, 22), (5, 7)])
def test_pooled_is_maximum_pooling_with_its_gradient(size: tuple[int, int]) -> None:
    x = torch.randn(2, 8, *size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = x.detach().clone().requires_grad_()
    ours, theirs = pooled(x), F.max_pool2d(y, 3, stride=2, padding=1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert ours.is_contiguous()
    ours.square().sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_whole_numbers_and_fractions_are_the_same_picture() -> None:
    torch.manual_seed(0)
    encoder = VideoEncoder(16, (8, 8), dropout=0.0).eval()
    crops = torch.randint(0, 256, (1, 4, 24, 24), dtype=torch.uint8)
    valid = torch.ones(1, 4, dtype=torch.bool)
    torch.testing.assert_close(
        encoder(crops, valid), encoder(crops / 255.0, valid), rtol=1e-4, atol=1e-5
    )
    middle = torch.full((1, 4, 24, 24), PIXEL_MEAN)
    lighter = middle + PIXEL_STD  # one deviation: the scale that published lip readers use
    assert not torch.allclose(encoder(middle, valid), encoder(lighter, valid))


def test_two_blocks_a_stage_are_the_trunk_of_resnet18() -> None:
    encoder = VideoEncoder(16, (64, 64, 128, 256, 512), dropout=0.0, blocks_per_stage=2)
    convolutions = [
        m for m in encoder.blocks.modules() if isinstance(m, torch.nn.Conv2d) and m.stride == (1, 1)
    ]
    halving = [
        m for m in encoder.blocks.modules() if isinstance(m, torch.nn.Conv2d) and m.stride == (2, 2)
    ]
    # 16 convolutions of 3x3; ours has a projection in the first stage too, ResNet-18 has not.
    assert sum(m.kernel_size == (3, 3) for m in convolutions + halving) == 16
    assert len(halving) == 2 * 3
    trunk = sum(m.weight.numel() for m in convolutions + halving)
    assert trunk == 11_157_504 + 64 * 64
    assert encoder(torch.zeros(1, 2, 88, 88), torch.ones(1, 2, dtype=torch.bool)).shape == (
        1,
        2,
        16,
    )
