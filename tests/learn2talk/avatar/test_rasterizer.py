"""`render_splats`: backgrounds, backends, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from learn2talk.avatar.rasterizer import render_splats
from learn2talk.avatar.splats import Splats
from tests.learn2talk.avatar.splat_scenes import cloud, front_camera, one_splat, together


def test_a_background_shows_where_no_splat_is() -> None:
    drawing = render_splats(one_splat(sigma=2.0), front_camera(), background=(0.2, 0.4, 0.6))
    assert drawing.colour.shape == (22, 37, 3)
    assert drawing.alpha.shape == (22, 37)
    torch.testing.assert_close(
        drawing.colour[0, 0], torch.tensor([0.2, 0.4, 0.6], dtype=torch.float64)
    )
    assert float(drawing.alpha[0, 0]) == 0.0
    assert 0.3 < float(drawing.alpha.max()) < 0.9


def test_a_picture_as_background_and_its_gradient() -> None:
    picture = torch.rand(22, 37, 3, dtype=torch.float64, requires_grad=True)
    drawing = render_splats(cloud(), front_camera(), background=picture)
    over_black = render_splats(cloud(), front_camera())
    through = (1 - drawing.alpha)[..., None]
    torch.testing.assert_close(drawing.colour, over_black.colour + through * picture)
    drawing.colour.sum().backward()
    assert picture.grad is not None
    torch.testing.assert_close(picture.grad, through.expand(22, 37, 3))


def test_gradients_of_the_alpha() -> None:
    splats = one_splat(opacity=0.5).map(lambda values: values.requires_grad_())
    render_splats(splats, front_camera()).alpha.sum().backward()
    assert splats.opacity_logits.grad is not None
    assert float(splats.opacity_logits.grad) > 0  # more opaque covers more
    assert splats.log_scales.grad is not None
    assert float(splats.log_scales.grad.sum()) > 0  # larger covers more


def test_an_opaque_splat_hides_those_behind() -> None:
    front = one_splat((0.0, 0.0, 50.0), sigma=1e4, opacity=0.99999, colour=(0.0, 1.0, 0.0))
    behind = one_splat((0.0, 0.0, -50.0), sigma=20.0, colour=(1.0, 0.0, 0.0))
    for scene in (together(front, behind), together(behind, front)):
        colour = render_splats(scene, front_camera()).colour
        assert float(colour[..., 0].max()) < 1.1e-3
        assert float(colour[..., 1].min()) > 0.998


def test_splats_behind_the_camera_and_no_splats() -> None:
    for scene in (one_splat((0.0, 0.0, 900.0)), cloud(0)):
        drawing = render_splats(scene, front_camera(), background=(0.1, 0.2, 0.3))
        assert float(drawing.alpha.max()) == 0.0
        assert float(drawing.colour[..., 2].min()) == float(drawing.colour[..., 2].max()) == 0.3


@pytest.mark.parametrize("shape", [(1,), (22, 37), (37, 22, 3), (3, 22, 37)])
def test_a_background_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"or a picture \(22, 37, 3\)"):
        render_splats(cloud(), front_camera(), background=torch.zeros(shape))


def test_a_background_of_whole_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="background is torch.uint8; give a float picture"):
        picture = torch.zeros(22, 37, 3, dtype=torch.uint8)
        render_splats(cloud(), front_camera(), background=picture)


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(ValueError, match="'cuda' is unknown; give one of auto, cpu, gsplat"):
        render_splats(cloud(), front_camera(), backend="cuda")


def test_gsplat_does_not_draw_on_the_cpu() -> None:
    with pytest.raises(ValueError, match="backend gsplat: the splats are on cpu"):
        render_splats(cloud(), front_camera(), backend="gsplat")


def on_cuda(dtype: torch.dtype = torch.float32) -> Splats:
    return cloud(60, 8, dtype=dtype).map(lambda values: values.cuda().requires_grad_())


@pytest.mark.gpu
def test_gsplat_draws_the_picture_of_ours() -> None:
    pytest.importorskip("gsplat")
    camera = front_camera(80, 60)
    theirs, ours = on_cuda(), cloud(60, 8, dtype=torch.float32).map(lambda v: v.requires_grad_())
    pictures, gradients = [], []
    for splats in (theirs, ours):
        drawing = render_splats(splats, camera, background=(0.2, 0.5, 0.8))
        (drawing.colour.square().sum() + drawing.alpha.sum()).backward()
        pictures.append(drawing.colour.detach().cpu())
        gradients.append([splats.positions.grad, splats.log_scales.grad, splats.sh.grad])
    assert float((pictures[0] - pictures[1]).abs().mean()) < 1e-4
    assert float((pictures[0] - pictures[1]).abs().max()) < 0.02
    for one, other in zip(*gradients, strict=True):
        scale = float(other.abs().max())
        assert float((one.cpu() - other).abs().max()) < 0.02 * scale


@pytest.mark.gpu
def test_gsplat_draws_single_precision_only() -> None:
    with pytest.raises(ValueError, match="float64; gsplat draws float32"):
        render_splats(on_cuda(torch.float64), front_camera())
