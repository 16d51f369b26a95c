"""Splats and avatars for the tests, made by chance from a seed."""

from __future__ import annotations

import numpy as np
import torch

from learn2talk.avatar.avatar_files import Avatar
from learn2talk.avatar.splats import BoundSplats, Splats
from learn2talk.schema import FaceTemplate


def made_up_splats(count: int, degree: int = 3, seed: int = 0, dtype=torch.float32) -> Splats:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return Splats(
        positions=20.0 * draw(count, 3),
        log_scales=0.5 * draw(count, 3),
        rotations=torch.nn.functional.normalize(draw(count, 4), dim=1),
        opacity_logits=draw(count),
        sh=0.3 * draw(count, (degree + 1) ** 2, 3),
    )


def pyramid() -> FaceTemplate:
    """Five vertices, six triangles, regions in an order of their own."""
    vertices = np.array([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0], [5, 5, 8]], np.float32)
    triangles = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [0, 2, 1], [0, 3, 2]])
    regions = {"tip": np.array([4]), "base": np.array([3, 0, 1, 2]), "none": np.array([], np.int32)}
    return FaceTemplate("pyramid", vertices, triangles, regions)


def made_up_avatar(count: int = 50, seed: int = 0, **more) -> Avatar:
    face = pyramid()
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, len(face.triangles), (count,), generator=generator)
    local = made_up_splats(count, seed=seed).map(lambda values: 0.1 * values)
    return Avatar(BoundSplats(local, ids), face, **more)
