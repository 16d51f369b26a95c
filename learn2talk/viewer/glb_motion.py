"""The motion that a `.glb` plays: one mesh, its morph targets and its node's movement, by frames.

Reads what `learn2talk.export.gltf` writes, and other people's files of the same kind. Skins are
left at rest, as `learn2talk.mesh_files.glb` leaves them.
Axis letters: T frames, V vertices, K morph targets, N keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.units import VIDEO_FPS
from learn2talk.mesh_files import read_mesh
from learn2talk.mesh_files.glb import (
    glb_accessor,
    glb_document,
    node_matrix,
    placed_meshes,
)
from learn2talk.schema import FaceTemplate, Motion

MM_PER_METRE = 1000.0  # glTF is in metres by its specification
_PATHS = {"weights": 0, "translation": 3, "rotation": 4, "scale": 3}
_SRGB_KNEE = 0.0031308


@dataclass(frozen=True, eq=False)
class GlbMotion:
    """A `.glb` by frames: the motion (T, V, 3) mm; colours (V, 3) float32, sRGB 0-255, or None
    where the file has none; notes, a line each, on what of the file is not shown."""

    motion: Motion
    colours: NDArray[np.float32] | None
    notes: tuple[str, ...]


def read_glb_motion(path: Path | str) -> GlbMotion:
    """Read a `.glb` as frames.

    The frame rate is the one that our own files state, else that of keys at even distances, else 25
    a second; between keys the weights are as glTF says (linear or steps).

    Raises:
        ValueError: what `learn2talk.mesh_files.read_mesh` refuses, parts that do not fit together,
            or an interpolation that is neither LINEAR nor STEP.
    """
    path = Path(path)
    mesh = read_mesh(path)
    document, binary = glb_document(path)
    try:
        return _motion(path, mesh.vertices, mesh.triangles, document, binary)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path}: its animation does not fit together ({type(error).__name__}: {error}); "
            "export it again"
        ) from error
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _motion(
    path: Path,
    rest: NDArray[np.float64],
    triangles: NDArray[np.int32],
    document: dict[str, Any],
    binary: bytes,
) -> GlbMotion:
    extras = document.get("asset", {}).get("extras", {})
    ours = extras if document["asset"].get("generator") == "learn2talk" else {}
    topology = str(ours.get("topology", path.stem))
    template = FaceTemplate(topology, (rest * MM_PER_METRE).astype(np.float32), triangles)
    placed = placed_meshes(document)
    primitives = document["meshes"][placed[0][0]]["primitives"]
    notes: list[str] = []
    if document.get("skins"):
        notes.append("the skin of this file is left at rest")
    animations = document.get("animations", [])
    if len(placed) != 1 or len(primitives) != 1 or not animations:
        if animations:
            notes.append(
                f"shown at rest: an animation is read of one mesh with one part, this file shows "
                f"{len(placed)} meshes"
            )
        return GlbMotion(Motion(template.vertices[None], VIDEO_FPS, template), None, tuple(notes))
    if len(animations) > 1:
        notes.append(f"the first of {len(animations)} animations is shown")
    colours = _colours(document, binary, primitives[0])
    channels = _channels(document, binary, animations[0])
    node_index = next(i for i, node in enumerate(document["nodes"]) if node.get("mesh") is not None)
    node = document["nodes"][node_index]
    fps = float(ours.get("fps") or _even_rate(channels))
    last = max((keys.times[-1] for keys in channels.values()), default=0.0)
    count = int(np.floor(last * fps + 1e-3)) + 1
    times = np.arange(count) / fps
    local = glb_accessor(document, binary, primitives[0]["attributes"]["POSITION"], "VEC3")
    shape = np.repeat(local[None].astype(np.float32), count, axis=0)
    weights = channels.get((node_index, "weights"))
    targets = primitives[0].get("targets", [])
    if weights is not None and targets:
        shares = _sampled(weights, times).astype(np.float32)
        for index, target in enumerate(targets):
            if "POSITION" in target:
                moved = glb_accessor(document, binary, target["POSITION"], "VEC3", sparse=True)
                shape += shares[:, index, None, None] * moved
    world = placed[0][1]
    above = world @ np.linalg.inv(node_matrix(node))
    moving = {
        name: _sampled(channels[node_index, name], times)
        for name in ("translation", "rotation", "scale")
        if (node_index, name) in channels
    }
    for frame in range(count):
        at = node | {name: values[frame] for name, values in moving.items()}
        matrix = (above @ node_matrix(at)).astype(np.float32)
        shape[frame] = shape[frame] @ matrix[:3, :3].T + matrix[:3, 3]
    motion = Motion(shape * np.float32(MM_PER_METRE), fps, template)
    if not np.isfinite(motion.vertices).all():
        frame = int(np.argwhere(~np.isfinite(motion.vertices))[0, 0])
        raise ValueError(f"a vertex of frame {frame} is not a number; export it again")
    return GlbMotion(motion, colours, tuple(notes))


@dataclass(frozen=True, eq=False)
class _Keys:
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    steps: bool


def _channels(
    document: dict[str, Any], binary: bytes, animation: dict[str, Any]
) -> dict[tuple[int, str], _Keys]:
    found: dict[tuple[int, str], _Keys] = {}
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        target = channel["target"]
        how = sampler.get("interpolation", "LINEAR")
        if how not in ("LINEAR", "STEP"):
            raise ValueError(f"its animation is {how}; export it sampled, as LINEAR")
        if "node" not in target or target["path"] not in _PATHS:
            continue
        times = glb_accessor(document, binary, sampler["input"], "SCALAR")[:, 0].astype(np.float64)
        kind = {0: "SCALAR", 3: "VEC3", 4: "VEC4"}[_PATHS[target["path"]]]
        values = glb_accessor(document, binary, sampler["output"], kind).astype(np.float64)
        if not len(times) or (np.diff(times) <= 0).any() or values.size % len(times):
            raise ValueError(f"{len(times)} keys do not ascend or do not fit {values.size} values")
        rows = values.reshape(len(times), -1)
        found[target["node"], target["path"]] = _Keys(times, rows, how == "STEP")
    return found


def _even_rate(channels: dict[tuple[int, str], _Keys]) -> float:
    """Keys a second where they lie at even distances, else the toolkit's own rate."""
    for keys in channels.values():
        gaps = np.diff(keys.times)
        if len(gaps) and np.ptp(gaps) < 0.02 * gaps.mean() and 5.0 <= 1.0 / gaps.mean() <= 240.0:
            return float(round(1.0 / gaps.mean(), 3))
    return float(VIDEO_FPS)


def _sampled(keys: _Keys, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, width) at the times; the first and the last key are held."""
    if len(keys.times) == 1:
        return np.repeat(keys.values, len(times), axis=0)
    after = np.clip(np.searchsorted(keys.times, times + 1e-6, side="right"), 1, len(keys.times) - 1)
    start, end = keys.times[after - 1], keys.times[after]
    share = np.clip((times - start) / (end - start), 0.0, 1.0)[:, None]
    if keys.steps:
        share = np.floor(share + 1e-6)
    return (1.0 - share) * keys.values[after - 1] + share * keys.values[after]


def _colours(
    document: dict[str, Any], binary: bytes, primitive: dict[str, Any]
) -> NDArray[np.float32] | None:
    """COLOR_0, which is linear light, as sRGB (IEC 61966-2-1)."""
    index = primitive["attributes"].get("COLOR_0")
    if index is None:
        return None
    kind = document["accessors"][index]["type"]
    values = glb_accessor(document, binary, index, kind, normalised=True)[:, :3]
    light = np.clip(values, 0.0, 1.0)
    curved = 1.055 * np.power(np.maximum(light, _SRGB_KNEE), 1 / 2.4) - 0.055
    return (255.0 * np.where(light <= _SRGB_KNEE, 12.92 * light, curved)).astype(np.float32)
