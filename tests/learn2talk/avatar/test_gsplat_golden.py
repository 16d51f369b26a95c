"""Projection and colours against the numbers of gsplat's own torch functions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.ellipses import covariances
from learn2talk.avatar.projection import MAX_EXTENT, MIN_ALPHA, project_splats
from learn2talk.avatar.spherical_harmonics import view_colours
from learn2talk.avatar.splats import Splats

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "gsplat_projection.json"


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return loaded


def numbers(golden: dict[str, Any], name: str, *shape: int) -> Tensor:
    return torch.tensor(golden[name], dtype=torch.float64).reshape(shape)


@pytest.fixture(scope="module")
def splats(golden: dict[str, Any]) -> Splats:
    sh = numbers(golden, "sh", -1, 16, 3)
    return Splats(
        positions=numbers(golden, "positions", -1, 3),
        log_scales=numbers(golden, "log_scales", -1, 3),
        rotations=numbers(golden, "rotations", -1, 4),
        opacity_logits=torch.full((len(sh),), 60.0, dtype=torch.float64),  # opacity 1
        sh=sh,
    )


@pytest.fixture(scope="module")
def camera(golden: dict[str, Any]) -> PinholeCamera:
    arrays = {name: np.array(golden["camera"][name]) for name in ("rotation", "translation")}
    return PinholeCamera(**(golden["camera"] | arrays))


def test_covariances(golden: dict[str, Any], splats: Splats) -> None:
    expected = numbers(golden, "covariances", -1, 3, 3)
    found = covariances(splats.log_scales, splats.rotations)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_projection(golden: dict[str, Any], splats: Splats, camera: PinholeCamera) -> None:
    radii = numbers(golden, "radii", -1, 2)
    seen = (radii > 0).all(dim=1)
    assert 5 < int(seen.sum()) < len(splats)  # some are left out
    found = project_splats(splats, camera)
    assert found.ids.tolist() == seen.nonzero()[:, 0].tolist()
    close = {"rtol": 1e-8, "atol": 1e-8}
    torch.testing.assert_close(found.centres, numbers(golden, "centres", -1, 2)[seen], **close)
    torch.testing.assert_close(found.depths, numbers(golden, "depths", -1)[seen], **close)
    conics = numbers(golden, "conics", -1, 3)[seen]
    torch.testing.assert_close(found.conics, conics, rtol=1e-8, atol=1e-13)
    # theirs: whole pixels, of a splat's full 3.33 standard deviations
    of_opacity_1 = math.sqrt(-2 * math.log(MIN_ALPHA))
    assert torch.equal((found.extents * MAX_EXTENT / of_opacity_1).ceil(), radii[seen])


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_colours(
    golden: dict[str, Any], splats: Splats, camera: PinholeCamera, degree: int
) -> None:
    expected = torch.tensor(golden["colours"][str(degree)], dtype=torch.float64).reshape(-1, 3)
    some = splats.sh[:, : (degree + 1) ** 2]
    found = view_colours(some, splats.positions, torch.from_numpy(camera.centre))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)
    assert float(found.min()) == 0.0  # some are cut
