"""The compiled loops over splats against the same formulas in torch: values and gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from learn2talk.avatar import splat_threads
from learn2talk.avatar.ellipses import ellipses_by_torch, ellipses_of
from learn2talk.avatar.spherical_harmonics import colours_by_torch, view_colours
from tests.learn2talk.avatar.splat_scenes import cloud, front_camera

EYE = torch.tensor([20.0, -30.0, 500.0], dtype=torch.float64)


def same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert float(other.abs().max()) > 1e-6
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("spread", [1.0, 6.0])  # with 6, most stand where J is held
def test_ellipses(spread: float) -> None:
    scene, camera = cloud(60, 3), front_camera()
    scene = replace(scene, positions=spread * scene.positions).map(lambda v: v.requires_grad_())
    learnt = [scene.positions, scene.log_scales, scene.rotations]
    generator = torch.Generator().manual_seed(0)
    to_centres = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    to_conics = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    results = []
    for find in (ellipses_of, ellipses_by_torch):
        centres, conics, deviations = find(scene, camera)
        assert not deviations.requires_grad
        loss = (centres * to_centres).sum() + (conics * to_conics).sum()
        gradients = torch.autograd.grad(loss, learnt)
        results.append([centres.detach(), conics.detach(), deviations, *gradients])
    same(*results)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_colours(degree: int) -> None:
    scene = cloud(60, 4, degree)
    sh = (5.0 * scene.sh).requires_grad_()  # some colours are cut to 0
    positions = scene.positions.requires_grad_()
    generator = torch.Generator().manual_seed(0)
    to_colours = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    learnt = [sh, positions] if degree else [sh]
    results = []
    for find in (view_colours, colours_by_torch):
        colours = find(sh, positions, EYE)
        assert float(colours.detach().min()) == 0.0
        gradients = torch.autograd.grad((colours * to_colours).sum(), learnt)
        results.append([colours.detach(), *gradients])
    same(*results)


def test_a_gradient_of_one_number_for_all() -> None:
    """`sum` sends back one number for every place, which is not a full array."""
    scene = cloud(10, 5).map(lambda values: values.requires_grad_())
    results = []
    for find, colour in ((ellipses_of, view_colours), (ellipses_by_torch, colours_by_torch)):
        centres, conics, _ = find(scene, front_camera())
        loss = centres.sum() + conics.sum() + colour(scene.sh, scene.positions, EYE).sum()
        parts = [scene.positions, scene.log_scales, scene.rotations, scene.sh]
        results.append(list(torch.autograd.grad(loss, parts)))
    same(*results)


def test_arrays_with_gaps() -> None:
    """Views whose rows do not lie one after the other."""
    scene = cloud(30, 6)
    gaps = scene.map(lambda values: torch.stack([values, values], dim=1)[:, 0])
    assert not gaps.positions.is_contiguous()
    found, expected = ellipses_of(gaps, front_camera()), ellipses_of(scene, front_camera())
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_any_number_of_threads_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splat_threads, "WORTH_A_THREAD", 8)
    scene, camera = cloud(45, 7).map(lambda values: values.requires_grad_()), front_camera()
    results = []
    for threads in (1, 2, 5):
        centres, conics, deviations = ellipses_of(scene, camera, threads)
        colours = view_colours(scene.sh, scene.positions, EYE, threads)
        loss = centres.square().sum() + conics.square().sum() + colours.square().sum()
        parts = [scene.positions, scene.log_scales, scene.rotations, scene.sh]
        results.append([centres, conics, deviations, colours, *torch.autograd.grad(loss, parts)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_ranges_cover_all_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splat_threads, "WORTH_A_THREAD", 10)
    for count in (0, 1, 9, 35, 100):
        for threads in (1, 3):
            seen: list[int] = []
            splat_threads.over_splats(lambda a, b, s=seen: s.extend(range(a, b)), count, threads)
            assert sorted(seen) == list(range(count))


def test_other_number_formats_are_left_to_torch() -> None:
    scene = cloud(5, 8).map(lambda values: values.bfloat16())
    centres, _, _ = ellipses_of(scene, front_camera())
    assert centres.dtype == torch.bfloat16
