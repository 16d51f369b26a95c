"""Lips, face and the inside of the mouth: rings of vertices around the mouth."""

from __future__ import annotations

import numpy as np

from learn2talk.head.surface import MOUTH_Y, HeadIdentity, Surface, smoothstep
from learn2talk.mesh import MeshAssembly, fan_triangles, grid_triangles
from learn2talk.schema import CONTOUR_POINTS

SPOKES = 40  # vertices in a ring around the mouth; every second one is a canonical lip point
INSIDE_RINGS = 3  # from the lips' contact line into the mouth
LIP_RINGS = 4  # inner contour, two of the vermilion, outer contour
FACE_RINGS = 26  # from the outer contour to behind the ears


def _lip_contours(identity: HeadIdentity, half_width: float) -> tuple[np.ndarray, np.ndarray]:
    """Inner and outer contour in the plane, (SPOKES, 2) each: left corner, lower lip, upper lip."""
    step = np.arange(SPOKES)
    across = -np.cos(2.0 * np.pi * step / SPOKES)
    upper = step > SPOKES // 2
    full = identity.lip_fullness
    x = half_width * across
    bow = 1.0 - 0.24 * np.exp(-((x / 4.2) ** 2))
    high = 7.8 * full * (1.0 - np.abs(across) ** 1.5) * bow
    low = -9.2 * full * (1.0 - across**2) ** 0.8
    outer = np.stack([x, MOUTH_Y + np.where(upper, high, low)], axis=1)
    inner_x = 0.88 * x
    line = -0.9 * np.exp(-((inner_x / 5.0) ** 2)) + 0.7 * np.exp(
        -(((np.abs(inner_x) - 9.0) / 5.0) ** 2)
    )
    gap = 0.05 * (1.0 - across**2) * np.where(upper, 1.0, -1.0)
    return np.stack([inner_x, MOUTH_Y + line + gap], axis=1), outer


def add_skin(
    parts: MeshAssembly, surface: Surface, half_width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lips and face; returns ring, spoke and distance from the lips in mm of each vertex."""
    inner, outer = _lip_contours(surface.identity, half_width)
    full = surface.identity.lip_fullness
    body = np.sqrt(np.clip(1.0 - (inner[:, 0] / (0.88 * half_width)) ** 2, 0.0, 1.0))
    rows = []
    for ring, bulge in enumerate((-1.2, 2.0, 2.3, 0.4)):
        plane = inner + (outer - inner) * (ring / (LIP_RINGS - 1))
        z = surface.front_z(plane[:, 0], plane[:, 1]) + bulge * full * body
        rows.append(np.column_stack([plane, z]))
    mouth = surface.to_directions(np.zeros(1), np.full(1, MOUTH_Y))[0]
    right = np.array([1.0, 0.0, 0.0])
    above = np.cross(mouth, right)
    directions = surface.to_directions(outer[:, 0], outer[:, 1])
    angle = np.arccos(np.clip(directions @ mouth, -1.0, 1.0))
    azimuth = np.unwrap(np.arctan2(directions @ above, directions @ right))
    azimuth += np.pi - azimuth[0]
    # The upper half of the spokes fans over 140 degrees only: nose and eyes need them there.
    step = np.arange(SPOKES) / (SPOKES // 2)
    lower = np.pi * (160 + 220 * step) / 180.0
    upper = np.pi * (380 + 140 * (step - 1.0)) / 180.0
    target = np.where(step <= 1.0, lower, upper)
    farthest = np.radians(97.0 + 24.0 * np.sin(target))
    distances = [np.zeros(SPOKES)] * LIP_RINGS
    for ring in range(1, FACE_RINGS + 1):
        share = (ring / FACE_RINGS) ** 1.3
        psi = angle + (farthest - angle) * share
        turn = azimuth + (target - azimuth) * smoothstep(np.array(share**0.55), 0.0, 1.0)
        planar = np.cos(turn)[:, None] * right + np.sin(turn)[:, None] * above
        rows.append(
            surface.from_directions(np.cos(psi)[:, None] * mouth + np.sin(psi)[:, None] * planar)
        )
        distances.append(distances[-1] + np.linalg.norm(rows[-1] - rows[-2], axis=1))
    triangles = grid_triangles(len(rows), SPOKES, closed=True)
    start = parts.add(np.concatenate(rows), triangles, "skin")
    canonical = start + np.arange(0, SPOKES, SPOKES // CONTOUR_POINTS)
    parts.regions["lips_inner"] = [canonical]
    parts.regions["lips_outer"] = [canonical + (LIP_RINGS - 1) * SPOKES]
    parts.regions["lips"] = [start + np.arange(LIP_RINGS * SPOKES)]
    ring_ids = np.repeat(np.arange(len(rows)), SPOKES)
    return ring_ids, np.tile(np.arange(SPOKES), len(rows)), np.concatenate(distances)


def add_mouth_inside(parts: MeshAssembly, surface: Surface, half_width: float) -> None:
    """A pocket behind the lips, joined to the inner contour: over the teeth, then back."""
    rim = parts.vertices[0][:SPOKES]
    side = np.where(np.arange(SPOKES) > SPOKES // 2, 1.0, -1.0)
    across = rim[:, 0] / (0.88 * half_width)
    arch = np.sqrt(np.clip(1.0 - across**2, 0.0, 1.0)) * side
    rows = []
    for back, apart, narrow in ((3.0, 2.5, 1.0), (6.0, 9.0, 1.05), (36.0, 12.0, 0.9)):
        row = np.column_stack([rim[:, 0] * narrow, rim[:, 1] + apart * arch, rim[:, 2] - back])
        rows.append(row)
    centre = np.array([[0.0, MOUTH_Y, rows[-1][:, 2].mean() - 8.0]])
    vertices = np.concatenate([*rows, centre])
    # Rings run inward, so the grid is turned over to face the viewer.
    triangles = grid_triangles(INSIDE_RINGS, SPOKES, closed=True)[:, ::-1]
    fan = fan_triangles(
        INSIDE_RINGS * SPOKES, np.arange((INSIDE_RINGS - 1) * SPOKES, INSIDE_RINGS * SPOKES)
    )
    start = parts.add(vertices, np.concatenate([triangles, fan]), "mouth_inside")
    seam = np.stack([np.arange(start, start + SPOKES), np.arange(SPOKES)])
    after = np.roll(seam, -1, axis=1)
    parts.triangles.append(
        np.concatenate(
            [np.stack([seam[0], seam[1], after[1]], 1), np.stack([seam[0], after[1], after[0]], 1)]
        ).astype(np.int32)
    )


def jaw_weights(vertices: np.ndarray, ring: np.ndarray, spoke: np.ndarray) -> np.ndarray:
    """Share of the jaw's rotation: 1 at lower lip and chin, 0.4 at the corners, 0 above."""
    turn = np.abs(np.sin(2.0 * np.pi * spoke / SPOKES)) ** 0.7
    lower = spoke <= SPOKES // 2
    near = np.where(lower, 0.4 + 0.6 * turn, 0.4 * (1.0 - turn))
    far = smoothstep(vertices[:, 1], -38.0, -88.0) * smoothstep(vertices[:, 2], -75.0, -20.0)
    share = smoothstep(ring - (LIP_RINGS - 1.0), 0.0, 9.0)
    weights = near * (1.0 - share) + far * share
    return np.where(ring == -INSIDE_RINGS, np.where(lower, 0.9 * turn, 0.0), weights)


def skin_regions(vertices: np.ndarray, ring: np.ndarray, num_skin: int) -> dict[str, np.ndarray]:
    """Vertices of the face below and above the cheekbones; ``num_skin`` come first in the mesh."""
    ids = np.arange(num_skin)
    face = ids[(ring[:num_skin] >= 0) & (vertices[:num_skin, 2] > -45.0)]
    lower = vertices[face, 1] < -38.0
    return {
        "lower_face": face[lower],
        "upper_face": face[~lower & (vertices[face, 1] < 75.0)],
    }
