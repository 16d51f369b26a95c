"""A motion as a glTF 2.0 binary: a base mesh, morph targets and an animation of their weights.

Written with `struct` and `json` alone: the file has one mesh and one animation, and a library would
add a dependency without checking anything that `glb.py` does not.
Axis letters: T frames, V vertices, R vertices that move, K morph targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.files import write_atomically
from learn2talk.drawing import Palette, vertex_colours, wound_to_viewer
from learn2talk.export.checks import checked_displacement
from learn2talk.export.glb import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GlbBuffer, pack_glb
from learn2talk.export.morph_targets import MorphTargets, factorise
from learn2talk.head_pose import quaternions, without_head_pose
from learn2talk.mesh import vertex_normals
from learn2talk.schema import FaceTemplate, Motion

METRES_PER_MM = 1e-3
SPARSE_BELOW = 0.6  # share of moving vertices under which sparse accessors are smaller
_BLOCK_FRAMES = 64
_SOUND = (
    "glTF 2.0 has no sound: play the speech beside the animation, both from 0 s; frame t of the "
    "motion is the key at t / fps"
)


@dataclass(frozen=True)
class GlbReport:
    """What a glTF file holds: number of morph targets, and how far their sum is from the motion.

    error_mean_mm, error_max_mm: over all frames and vertices; lip_error_max_mm: over the canonical
    lip points, None where the template has none.
    """

    num_targets: int
    error_mean_mm: float
    error_max_mm: float
    lip_error_max_mm: float | None


def write_glb(
    path: Path | str,
    motion: Motion,
    provenance: Mapping[str, Any] | None = None,
    *,
    max_targets: int = 48,
    tolerance_mm: float = 0.02,
    palette: Palette = Palette(),  # noqa: B008 (frozen)
) -> GlbReport:
    """Write a motion as `.glb`, atomically. Metres, y up, the face looks along +z.

    The animation is linear between keys at t / fps. `asset.extras` holds the error, fps, topology
    and provenance. Sound is not in the file: glTF has none. A head pose becomes rotations and
    translations of the face's node: exact, and no morph target is spent on it.

    Args:
        path: file to write.
        motion: vertices in mm.
        provenance: where the motion comes from, JSON-ready.
        max_targets: at most so many morph targets, 2 or more.
        tolerance_mm: fewer targets are used once no vertex is further off in any frame.
        palette: colours by region, written as vertex colours.

    Returns:
        the error of what was written.

    Raises:
        ValueError: no frames, no triangles, a vertex that is not finite, or an option out of range.
    """
    displacement = checked_displacement(motion, "glTF file")
    template, head_pose = motion.template, motion.head_pose
    motion = without_head_pose(motion)
    if not len(template.triangles):
        raise ValueError(
            f"template {template.topology!r} has no triangles; a glTF mesh is made of them"
        )
    morph = factorise(displacement, max_targets=max_targets, tolerance_mm=tolerance_mm)
    report = _report(morph, displacement, template)
    extras = {
        "topology": template.topology,
        "fps": motion.fps,
        "num_frames": len(displacement),
        "unit_of_errors": "mm",
        "reconstruction_error": asdict(report),
        "sound": _SOUND,
        "provenance": dict(provenance or {}),
    }
    buffer = GlbBuffer()
    mesh = _mesh(buffer, motion, morph, palette)
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "learn2talk", "extras": extras},
        "scene": 0,
        "scenes": [{"nodes": [0], "name": "scene"}],
        "nodes": [{"mesh": 0, "name": "face"}],
        "meshes": [mesh],
        "materials": [
            {
                "name": "face",
                "doubleSided": True,  # the inside of the mouth is seen from both sides
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.6},
            }
        ],
    }
    if len(morph.targets) or head_pose is not None:
        document["animations"] = [_animation(buffer, morph, head_pose, motion.fps)]
    with write_atomically(path) as temporary:
        temporary.write_bytes(pack_glb(document, buffer))
    return report


def _report(
    morph: MorphTargets, displacement: NDArray[np.float64], template: FaceTemplate
) -> GlbReport:
    lip_error = None
    if "lips_outer" in template.regions and "lips_inner" in template.regions:
        lips = template.lip_ids
        made = np.zeros((len(displacement), len(lips), 3))
        place = np.searchsorted(morph.ids, lips)
        here = np.isin(lips, morph.ids)
        targets = morph.targets[:, place[here]].astype(np.float64)
        made[:, here] = np.einsum("tk,krx->trx", morph.weights.astype(np.float64), targets)
        lip_error = float(np.linalg.norm(made - displacement[:, lips], axis=2).max())
    return GlbReport(len(morph.targets), morph.error_mean_mm, morph.error_max_mm, lip_error)


def _mesh(
    buffer: GlbBuffer, motion: Motion, morph: MorphTargets, palette: Palette
) -> dict[str, Any]:
    template = motion.template
    count = len(template.vertices)
    triangles = wound_to_viewer(template)
    # 65535 is the primitive-restart value and may not be an index (3.7.2.1)
    kind = np.uint16 if count <= 65535 else np.uint32
    normals = vertex_normals(template.vertices, triangles)
    positions = (template.vertices * np.float32(METRES_PER_MM)).astype(np.float32)
    primitive: dict[str, Any] = {
        "attributes": {
            "POSITION": buffer.accessor(positions, target=ARRAY_BUFFER, bounds=True),
            "NORMAL": buffer.accessor(normals, target=ARRAY_BUFFER),
            "COLOR_0": buffer.accessor(
                _linear_colours(template, palette), target=ARRAY_BUFFER, normalized=True
            ),
        },
        "indices": buffer.accessor(
            triangles.reshape(-1).astype(kind), target=ELEMENT_ARRAY_BUFFER, bounds=True
        ),
        "material": 0,
    }
    mesh: dict[str, Any] = {"name": "face", "primitives": [primitive]}
    if len(morph.targets):
        turned = _normal_targets(motion, morph, triangles, normals)
        moved = np.flatnonzero(np.abs(turned).max(axis=(0, 2)) > 0)
        ids = np.union1d(morph.ids, moved)
        shapes = np.zeros((len(morph.targets), len(ids), 3), np.float32)
        shapes[:, np.searchsorted(ids, morph.ids)] = morph.targets * np.float32(METRES_PER_MM)
        primitive["targets"] = _targets(buffer, ids, shapes, turned[:, ids], count)
        mesh["weights"] = [0.0] * len(morph.targets)  # the neutral face until it is played
        names = ["offset"] + [f"motion_{k:02d}" for k in range(1, len(morph.targets))]
        mesh["extras"] = {"targetNames": names}
    return mesh


def _targets(
    buffer: GlbBuffer,
    ids: NDArray[np.int64],
    shapes: NDArray[np.float32],
    normals: NDArray[np.float32],
    count: int,
) -> list[dict[str, int]]:
    """POSITION and NORMAL of every morph target, (K, R, 3) each; sparse where little moves."""
    if len(ids) >= SPARSE_BELOW * count:
        dense = np.zeros((2, len(shapes), count, 3), np.float32)
        dense[0][:, ids], dense[1][:, ids] = shapes, normals
        return [
            {
                "POSITION": buffer.accessor(position, target=ARRAY_BUFFER, bounds=True),
                "NORMAL": buffer.accessor(normal, target=ARRAY_BUFFER),
            }
            for position, normal in zip(dense[0], dense[1], strict=True)
        ]
    indices = ids.astype(np.uint16 if count <= 65536 else np.uint32)
    view = buffer.view(indices)
    return [
        {
            "POSITION": buffer.sparse_accessor(position, view, indices, count),
            "NORMAL": buffer.sparse_accessor(normal, view, indices, count),
        }
        for position, normal in zip(shapes, normals, strict=True)
    ]


def _normal_targets(
    motion: Motion,
    morph: MorphTargets,
    triangles: NDArray[np.int32],
    neutral: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Change of the unit normals per weight, (K, V, 3): least squares over the frames.

    A normal is no linear function of the vertices; fitted to the frames that are shown, it is
    nearer to them than the normals of each target alone.
    """
    weights = morph.weights.astype(np.float64)
    product = np.zeros((weights.shape[1], neutral.size))
    for start in range(0, len(weights), _BLOCK_FRAMES):
        block = slice(start, start + _BLOCK_FRAMES)
        turned = vertex_normals(motion.vertices[block], triangles) - neutral
        product += weights[block].T @ turned.reshape(len(turned), -1)
    solved = np.linalg.lstsq(weights.T @ weights, product, rcond=1e-10)[0]
    solved[np.abs(solved) < 1e-6] = 0.0
    return solved.reshape(-1, *neutral.shape).astype(np.float32)


def _animation(
    buffer: GlbBuffer, morph: MorphTargets, head_pose: NDArray[np.float32] | None, fps: float
) -> dict[str, Any]:
    times = (np.arange(len(morph.weights)) / fps).astype(np.float32)
    keys = buffer.accessor(times, bounds=True)
    outputs: dict[str, int] = {}
    if len(morph.targets):
        outputs["weights"] = buffer.accessor(morph.weights.reshape(-1), bounds=True)
    if head_pose is not None:
        moved = np.ascontiguousarray(head_pose[:, 3:] * np.float32(METRES_PER_MM))
        outputs["rotation"] = buffer.accessor(quaternions(head_pose).astype(np.float32))
        outputs["translation"] = buffer.accessor(moved)
    return {
        "name": "speech",
        "samplers": [
            {"input": keys, "output": output, "interpolation": "LINEAR"}
            for output in outputs.values()
        ],
        "channels": [
            {"sampler": place, "target": {"node": 0, "path": path}}
            for place, path in enumerate(outputs)
        ],
    }


def _linear_colours(template: FaceTemplate, palette: Palette) -> NDArray[np.uint8]:
    """COLOR_0, (V, 4) uint8: glTF wants linear light, the palette is sRGB (IEC 61966-2-1)."""
    share = np.clip(vertex_colours(template, palette) / 255.0, 0.0, 1.0)
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    opaque = np.ones((len(linear), 1))
    return np.round(255.0 * np.concatenate([linear, opaque], axis=1)).astype(np.uint8)
