"""The fast rasteriser against the slow one: pictures, gradients, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from learn2talk.avatar.projection import ProjectedSplats, project_splats
from learn2talk.avatar.reference_rasterizer import draw_reference
from learn2talk.avatar.tile_rasterizer import draw_tiled
from tests.learn2talk.avatar.splat_scenes import cloud, front_camera, one_splat, together

LEARNT = ("centres", "conics", "colours", "opacities")


def projected(count: int = 40, seed: int = 0, **size: int) -> ProjectedSplats:
    return project_splats(cloud(count, seed), front_camera(**size))


def leaves(splats: ProjectedSplats) -> tuple[ProjectedSplats, list[Tensor]]:
    """The splats with fresh tensors that take gradients, and these tensors."""
    fresh = {name: getattr(splats, name).detach().clone().requires_grad_() for name in LEARNT}
    return replace(splats, **fresh), list(fresh.values())


@pytest.mark.parametrize(("width", "height"), [(37, 22), (16, 16), (1, 1), (50, 3), (64, 48)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_picture_of_the_reference(width: int, height: int, seed: int) -> None:
    splats = projected(60, seed, width=width, height=height)
    expected = draw_reference(splats, width, height)
    found = draw_tiled(splats, width, height)
    assert found[0].shape == (height, width, 3)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-8)
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-8)
    assert float(expected[1].min()) < 0.5  # something was drawn


@pytest.mark.parametrize("opacity_shift", [0.0, 4.0])
def test_the_gradients_of_the_reference(opacity_shift: float) -> None:
    scene = cloud(80, 3)  # with the shift, alpha meets its largest and pixels end early
    scene = replace(scene, opacity_logits=scene.opacity_logits + opacity_shift)
    splats = project_splats(scene, front_camera())
    generator = torch.Generator().manual_seed(1)
    to_colour = torch.randn(22, 37, 3, generator=generator, dtype=torch.float64)
    to_through = torch.randn(22, 37, generator=generator, dtype=torch.float64)
    gradients = []
    for draw in (draw_reference, draw_tiled):
        changed, tensors = leaves(splats)
        colour, through = draw(changed, 37, 22)
        loss = (colour * to_colour).sum() + (through * to_through).sum()
        gradients.append(torch.autograd.grad(loss, tensors))
    for name, expected, found in zip(LEARNT, *gradients, strict=True):
        assert float(expected.abs().max()) > 1e-3, name
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7, msg=name)


def test_gradients_by_differences() -> None:
    splats = projected(6, 5, width=20, height=18)

    def draw(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return draw_tiled(replace(splats, **dict(zip(LEARNT, tensors, strict=True))), 20, 18)

    # Steps so small that next to no pixel crosses the threshold of what is drawn.
    _, tensors = leaves(splats)
    torch.autograd.gradcheck(draw, tensors, eps=1e-7, atol=2e-4, rtol=1e-4)


def test_gradients_to_the_splats_themselves() -> None:
    scene = cloud(30, 2).map(lambda values: values.requires_grad_())
    tensors = [scene.positions, scene.log_scales, scene.rotations, scene.opacity_logits, scene.sh]
    gradients = []
    for draw in (draw_reference, draw_tiled):
        colour, through = draw(project_splats(scene, front_camera()), 37, 22)
        gradients.append(torch.autograd.grad(colour.square().sum() + through.sum(), tensors))
    for expected, found in zip(*gradients, strict=True):
        assert float(expected.abs().max()) > 1e-4
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_single_precision_is_near_double() -> None:
    scene = cloud(200, 4)
    camera = front_camera(80, 60)
    exact = draw_reference(project_splats(scene, camera), 80, 60)[0]
    single = project_splats(scene.map(lambda values: values.float()), camera)
    found = draw_tiled(single, 80, 60)[0]
    assert found.dtype == torch.float32
    error = (found.double() - exact).abs()
    # One that is just not fainter than 1/255 in the one is just fainter in the other.
    assert float(error.max()) < 0.02
    assert float(error.mean()) < 1e-5


@pytest.mark.parametrize("opacity_shift", [0.0, 5.0])
def test_gradients_in_single_precision_are_near_double(opacity_shift: float) -> None:
    scene = cloud(300, 9)
    scene = replace(scene, opacity_logits=scene.opacity_logits + opacity_shift)
    weights = torch.randn(60, 80, 3, generator=torch.Generator().manual_seed(2))
    gradients = []
    for dtype in (torch.float64, torch.float32):
        # The same ellipses, so that the same pixels are drawn in both.
        splats = project_splats(scene, front_camera(80, 60))
        ours = {name: getattr(splats, name).float().to(dtype) for name in (*LEARNT, "extents")}
        changed, tensors = leaves(replace(splats, **ours))
        colour, through = draw_tiled(changed, 80, 60)
        loss = (colour * weights.to(dtype)).sum() + through.sum()
        gradients.append(torch.autograd.grad(loss, tensors))
    for name, exact, single in zip(LEARNT, *gradients, strict=True):
        error = (single.double() - exact).norm() / exact.norm()
        assert float(error) < 2e-5, name


def test_any_number_of_threads_draws_the_same_bits() -> None:
    splats = projected(150, 6, width=100, height=70)
    drawn = []
    for threads in (1, 2, 3, 7):
        changed, tensors = leaves(splats)
        colour, through = draw_tiled(changed, 100, 70, num_threads=threads)
        loss = colour.square().sum() + through.square().sum()
        drawn.append([colour, through, *torch.autograd.grad(loss, tensors)])
    for other in drawn[1:]:
        assert all(torch.equal(a, b) for a, b in zip(drawn[0], other, strict=True))


def test_the_order_of_the_splats_does_not_matter() -> None:
    scene = cloud(50, 7)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    camera = front_camera()
    expected = draw_tiled(project_splats(scene, camera), 37, 22)
    mixed = draw_tiled(project_splats(scene.map(lambda values: values[order]), camera), 37, 22)
    assert torch.equal(expected[0], mixed[0])
    assert torch.equal(expected[1], mixed[1])


def test_no_splats_leave_the_background() -> None:
    splats = project_splats(cloud(0), front_camera())
    changed, tensors = leaves(splats)
    colour, through = draw_tiled(changed, 37, 22)
    assert float(colour.detach().abs().max()) == 0.0
    assert float(through.detach().min()) == 1.0
    gradients = torch.autograd.grad(colour.sum() + through.sum(), tensors)
    assert [tuple(one.shape) for one in gradients] == [(0, 2), (0, 3), (0, 3), (0,)]


def test_huge_and_tiny_splats() -> None:
    camera = front_camera()
    scene = together(
        one_splat((0.0, 0.0, -200.0), sigma=1e5, opacity=0.5, colour=(0.0, 0.0, 1.0)),
        one_splat((0.0, 0.0, 0.0), sigma=1e-6, opacity=0.9),
    )
    colour, through = draw_tiled(project_splats(scene, camera), 37, 22)
    torch.testing.assert_close(
        colour, draw_reference(project_splats(scene, camera), 37, 22)[0], rtol=0, atol=1e-8
    )
    assert float(colour[0, 0, 2]) == pytest.approx(0.5, abs=1e-5)
    assert float(through.max()) < 0.51
    assert 0.1 < float(colour[..., 0].max()) < 0.9  # the low pass makes it about a pixel large


def test_a_pixel_by_hand() -> None:
    """Two splats over one pixel: their opacities at its centre, composited on paper."""
    centre = torch.tensor([[0.5, 0.5], [1.5, 0.5]], dtype=torch.float64)
    splats = ProjectedSplats(
        ids=torch.arange(2),
        centres=centre,
        conics=torch.tensor([[1.0, 0.0, 1.0], [2.0, 0.0, 1.0]], dtype=torch.float64),
        colours=torch.eye(3, dtype=torch.float64)[:2],
        opacities=torch.tensor([0.5, 0.8], dtype=torch.float64),
        depths=torch.tensor([2.0, 1.0], dtype=torch.float64),
        extents=torch.full((2, 2), 4.0, dtype=torch.float64),
    )
    colour, through = draw_tiled(splats, 1, 1)
    front = 0.8 * torch.tensor(-1.0).exp().item()  # distance 1/2 2 1^2 from its centre
    expected = torch.tensor([0.5 * (1 - front), front, 0.0], dtype=torch.float64)
    torch.testing.assert_close(colour[0, 0], expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(float(through), (1 - front) * 0.5, rtol=0, atol=1e-7)


@pytest.mark.parametrize("threads", [0, -2])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(ValueError, match=f"num_threads is {threads}; give 1 or more"):
        draw_tiled(projected(), 37, 22, num_threads=threads)


def test_half_precision_is_refused() -> None:
    splats = projected()
    half = replace(splats, centres=splats.centres.half())
    with pytest.raises(ValueError, match="float16 on cpu; give float32 or float64"):
        draw_tiled(half, 37, 22)
