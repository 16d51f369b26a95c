"""The procedural head: a stylised human face made by code, the same topology for every identity.

Rings of vertices spread from the inner lip contour over the face; teeth, tongue, eyes, brows, ears,
hair and neck are parts of their own. Millimetres, x to the image's right, y up, z to the viewer;
the origin lies between the outer eye corners. Nothing here was taken from a scan or another model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from learn2talk.head.parts import add_ear, add_eye, add_hair, add_neck, add_teeth, add_tongue
from learn2talk.head.skin import (
    INSIDE_RINGS,
    LIP_RINGS,
    SPOKES,
    add_mouth_inside,
    add_skin,
    jaw_weights,
    skin_regions,
)
from learn2talk.head.surface import HeadIdentity, Surface, random_identity
from learn2talk.mesh import MeshAssembly
from learn2talk.schema import FaceTemplate

__all__ = [
    "INSIDE_RINGS",
    "LIP_RINGS",
    "SPOKES",
    "TOPOLOGY",
    "Head",
    "HeadIdentity",
    "build_head",
    "random_identity",
]

TOPOLOGY = "procedural_head"


@dataclass(frozen=True)
class Head:
    """A neutral head and what articulation needs to know of its skin.

    ``template``: the FaceTemplate (mouth closed). ``ring`` int (V,): ring of a vertex of the skin
    or the mouth's inside (-3..-1 inside, 0 inner contour, 3 outer contour, above: face), 99
    elsewhere. ``spoke`` int (V,): its place around the mouth. ``reach`` float (V,): share of the
    lips' movement that it follows, 0-1. ``jaw`` float (V,): share of the jaw's rotation, 0-1.
    """

    template: FaceTemplate
    ring: np.ndarray
    spoke: np.ndarray
    reach: np.ndarray
    jaw: np.ndarray
    mouth_half_width: float


@lru_cache(maxsize=64)
def build_head(identity: HeadIdentity = HeadIdentity()) -> Head:  # noqa: B008 (frozen)
    """The head of an identity; the same triangles, regions and vertex numbering for all of them."""
    surface = Surface(identity)
    parts = MeshAssembly()
    half_width = 25.0 * identity.mouth_width
    ring, spoke, distance = add_skin(parts, surface, half_width)
    add_mouth_inside(parts, surface, half_width)
    num_skin = parts.num_vertices
    add_teeth(parts, surface)
    add_tongue(parts, surface)
    for side in (-1.0, 1.0):
        add_eye(parts, surface, side)
    for side in (-1.0, 1.0):
        add_ear(parts, surface, side)
    add_hair(parts, surface)
    add_neck(parts)

    vertices = np.concatenate(parts.vertices)
    # Outer eye corners' plane becomes z = 0.
    vertices[:, 2] -= float(surface.front_z(np.array([45.0]), np.array([0.0]))[0])
    count = len(vertices)
    all_ring = np.full(count, 99)
    all_spoke = np.zeros(count, dtype=int)
    reach = np.zeros(count)
    jaw = np.zeros(count)
    inside = np.repeat(np.arange(-1, -INSIDE_RINGS - 1, -1), SPOKES)
    all_ring[:num_skin] = np.concatenate([ring, inside, [-INSIDE_RINGS]])
    all_spoke[:num_skin] = np.concatenate([spoke, np.tile(np.arange(SPOKES), INSIDE_RINGS), [0]])
    reach[: len(distance)] = np.exp(-((distance / 15.0) ** 2) * 0.5 - distance / 40.0)
    reach[len(distance) : num_skin - 1] = np.repeat((1.0, 0.8, 0.1), SPOKES)
    jaw[:num_skin] = jaw_weights(vertices[:num_skin], all_ring[:num_skin], all_spoke[:num_skin])
    regions = {name: np.concatenate(ids) for name, ids in parts.regions.items()}
    for name in ("teeth_lower", "tongue"):
        jaw[regions[name]] = 1.0
    if identity == HeadIdentity():
        regions |= skin_regions(vertices, all_ring, num_skin)
    else:  # a region is the same vertices whoever it is
        average = build_head().template.regions
        regions |= {name: average[name] for name in ("lower_face", "upper_face")}
    template = FaceTemplate(
        topology=TOPOLOGY,
        vertices=vertices.astype(np.float32),
        triangles=np.concatenate(parts.triangles),
        regions={
            name: np.unique(ids) if "lips_" not in name else ids for name, ids in regions.items()
        },
    )
    return Head(template, all_ring, all_spoke, reach, jaw, half_width)
