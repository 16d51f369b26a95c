"""Small files to look at: a face of nine vertices that moves, and splats on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from learn2talk.avatar.splats import BoundSplats, Splats
from learn2talk.files import save_motion
from learn2talk.schema import FaceTemplate, Motion

SIDE = 7


def sheet(topology: str = "sheet", side: int = SIDE) -> FaceTemplate:
    """A square of side x side vertices, 10 mm apart, with both lip contours on it."""
    at = np.arange(side) * 10.0
    x, y = np.meshgrid(at - at.mean(), at - at.mean())
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(side * side)], axis=1)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    lower = np.stack([corner, corner + 1, corner + side + 1], axis=1)
    upper = np.stack([corner, corner + side + 1, corner + side], axis=1)
    ids = np.arange(20)
    regions = {"lips_outer": ids, "lips_inner": ids + 20} if side * side >= 40 else {}
    triangles = np.concatenate([lower, upper])
    return FaceTemplate(topology, vertices.astype(np.float32), triangles.astype(np.int32), regions)


def moving(num_frames: int = 10, fps: float = 25.0, topology: str = "sheet") -> Motion:
    """The sheet, moved by 1 mm to the viewer from frame to frame."""
    template = sheet(topology)
    vertices = np.repeat(template.vertices[None], num_frames, axis=0)
    vertices[:, :, 2] += np.arange(num_frames, dtype=np.float32)[:, None]
    return Motion(vertices, fps, template)


def saved(path: Path, motion: Motion) -> Path:
    save_motion(path, motion, {"made": "by a test"})
    return path


def some_splats(count: int = 5, degree: int = 1) -> Splats:
    """Splats of made-up numbers, the same every time."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Splats(
        positions=draw(count, 3),
        log_scales=0.1 * draw(count, 3) - 1.0,
        rotations=draw(count, 4),
        opacity_logits=draw(count),
        sh=0.3 * draw(count, (degree + 1) ** 2, 3),
    )


def bound_splats(count: int = 5) -> BoundSplats:
    """Those splats on the first triangles of the sheet."""
    return BoundSplats(some_splats(count), torch.arange(count))
