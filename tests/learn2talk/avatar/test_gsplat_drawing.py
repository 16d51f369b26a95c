"""What gsplat is asked for, with a stand-in that draws what it is asked; and when it is missing."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.gsplat_drawing import draw_by, load_gsplat
from learn2talk.avatar.rasterizer import render_splats
from learn2talk.avatar.splats import SH_COEFFICIENTS, Splats
from tests.learn2talk.avatar.splat_scenes import cloud, front_camera


def stand_in(**asked: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Takes what gsplat 1.5.3 takes by these names, and lets our own rasteriser draw it."""
    view, lens = asked["viewmats"][0].numpy(), asked["Ks"][0].numpy()
    camera = PinholeCamera(
        view[:3, :3], view[:3, 3], *(float(lens[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))),
        asked["width"], asked["height"], asked["near_plane"],
    )  # fmt: skip
    splats = Splats(
        asked["means"],
        asked["scales"].log(),
        asked["quats"],
        asked["opacities"].logit(),
        asked["colors"][:, : SH_COEFFICIENTS[asked["sh_degree"]]],
    )
    assert asked["eps2d"] == 0.3
    assert asked["rasterize_mode"] == "classic"
    drawing = render_splats(splats, camera, backend="cpu")
    return drawing.colour[None], drawing.alpha[None, ..., None], {}


@pytest.mark.parametrize("degree", [0, 2])
def test_gsplat_is_asked_for_our_picture(degree: int) -> None:
    splats = cloud(40, 9, degree).map(lambda values: values.requires_grad_())
    expected = render_splats(splats, front_camera())
    colour, through = draw_by(stand_in, splats, front_camera())
    torch.testing.assert_close(colour, expected.colour, rtol=0, atol=1e-6)
    torch.testing.assert_close(1 - through, expected.alpha, rtol=0, atol=1e-6)
    assert colour.requires_grad


def test_no_splats_and_numbers_that_are_none() -> None:
    splats = cloud(0).map(lambda values: values.requires_grad_())
    colour, through = draw_by(stand_in, splats, front_camera())
    assert colour.shape == (22, 37, 3)
    assert float(colour.detach().abs().max()) == 0.0
    assert float(through.detach().min()) == 1.0
    (colour.sum() + through.sum()).backward()
    broken = cloud(5)
    broken.positions[2, 1] = np.nan
    with pytest.raises(ValueError, match="positions of splat 2 of 5 is not finite"):
        draw_by(stand_in, broken, front_camera())


def installed(monkeypatch: pytest.MonkeyPatch, compiled: Any) -> None:
    package, cuda, backend = (
        ModuleType(name) for name in ("gsplat", "gsplat.cuda", "gsplat.cuda._backend")
    )
    package.rasterization = stand_in  # type: ignore[attr-defined]
    cuda._backend = backend  # type: ignore[attr-defined]
    backend._C = compiled  # type: ignore[attr-defined]
    for module in (package, cuda, backend):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_an_installed_gsplat_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, compiled=object())
    assert load_gsplat() is stand_in


def test_a_gsplat_without_a_toolkit_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, compiled=None)
    with pytest.raises(ValueError, match="found no CUDA toolkit .*; put nvcc on PATH"):
        load_gsplat()


def test_a_missing_gsplat_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)  # as if it were not installed
    with pytest.raises(ValueError, match="`pip install gsplat==1.5.3`") as caught:
        load_gsplat()
    assert "\n" not in str(caught.value)


def test_a_gsplat_that_does_not_compile_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("Error building extension 'gsplat_cuda'\nninja: stopped")

    installed(monkeypatch, compiled=object())
    monkeypatch.setitem(sys.modules, "gsplat.cuda", Failing("gsplat.cuda"))
    with pytest.raises(ValueError, match="compiled .Error building extension 'gsplat_cuda'.;"):
        load_gsplat()
