"""Faces and motions that the export tests share."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from avsr.schema import PhoneTime
from learn2talk.articulation import animate_head, control_curves
from learn2talk.head import build_head
from learn2talk.schema import FaceTemplate, Motion


@lru_cache(maxsize=1)
def spoken() -> Motion:
    """The procedural head saying some phones, 40 frames."""
    phones = [
        PhoneTime(letter, 0.1 + 0.1 * i, 0.2 + 0.1 * i) for i, letter in enumerate("mɑpifuʃowɛbs")
    ]
    head = build_head()
    return Motion(animate_head(head, control_curves(phones, 40)), 25.0, head.template)


def moved(motion: Motion, scale: float, shift: tuple[float, float, float]) -> Motion:
    """The same motion, larger and elsewhere."""
    template = changed(motion.template, scale * motion.template.vertices + np.float32(shift))
    return Motion(scale * motion.vertices + np.float32(shift), motion.fps, template)


def changed(template: FaceTemplate, vertices: np.ndarray) -> FaceTemplate:
    """The template with other vertices."""
    return FaceTemplate(template.topology, vertices, template.triangles, template.regions)


def coarse_face() -> FaceTemplate:
    """Another topology: every second ring and spoke of the procedural head's skin, a little wider,
    with a tongue that nothing joins to the face."""
    head = build_head()
    rings = [0, 1, 3, 4, 5, 7, 9, 11, 14, 17, 20]
    grid = np.array([[40 * ring + spoke for spoke in range(0, 40, 2)] for ring in rings])
    vertices = head.template.vertices[grid.reshape(-1)] * np.float32([1.1, 1.0, 1.0])
    columns = np.arange(20)
    triangles = []
    for row in range(len(rings) - 1):
        one, other = 20 * row + columns, 20 * row + (columns + 1) % 20
        triangles += [
            np.stack([one, one + 20, other + 20], 1),
            np.stack([one, other + 20, other], 1),
        ]
    tongue = np.float32([(-5, -78, 0), (5, -78, 0), (0, -78, -20)])
    last = len(vertices)
    return FaceTemplate(
        "coarse",
        np.concatenate([vertices, tongue]),
        np.concatenate([*triangles, [[last, last + 1, last + 2]]]),
        {
            "lips_inner": columns,
            "lips_outer": 40 + columns,
            "tongue": np.arange(last, last + 3),
            "forehead": np.array([20 * 10 + 15]),
        },
    )
