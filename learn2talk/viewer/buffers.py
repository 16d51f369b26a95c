"""A scene as the page gets it: one JSON description, and binary buffers under fixed addresses.

Numbers are little-endian. Frames go out as int16 in equal steps over the extent of the motion; the
description states the step and the largest error, half of it. They are packed while they are sent.
Axis letters: T frames, V vertices, N splats or drawn vertices, F triangles.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from learn2talk.metrics.closure import lip_gap_mm
from learn2talk.metrics.errors import mean_vertex_errors_mm
from learn2talk.schema import FaceTemplate, Motion
from learn2talk.viewer.results import Result, surface_of
from learn2talk.viewer.scene import SOUND_RATE_HZ, Scene

if TYPE_CHECKING:
    from learn2talk.avatar.splats import Splats

DESCRIPTION_VERSION = 1
LEVELS = 65_534  # steps of int16 from -32767 to 32767
SPLAT_FLOATS = 12
_BLOCK_FRAMES = 64
_BLOCK_SPLATS = 65_536
_CLOSED = ("lips_outer", "lips_inner")
_NOT_POINTS = frozenset({*_CLOSED, "lips", "skin"})  # contours are lines; the skin is everything
_REMARKABLE = 150  # a region of more vertices is a surface, not a landmark


@dataclass(frozen=True)
class Buffer:
    """Bytes under an address: how many, of which type, and their blocks, made for each call."""

    num_bytes: int
    blocks: Callable[[], Iterator[bytes]]
    content_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Quantisation:
    """int16 q stands for centre + step q, mm, on each axis; off by up to error_mm."""

    centre: tuple[float, float, float]
    step: float

    @property
    def error_mm(self) -> float:
        """Half a step."""
        return self.step / 2.0


def quantisation(vertices: NDArray[np.float32]) -> Quantisation:
    """The finest equal steps that hold vertices (T, V, 3)."""
    low, high = vertices.min(axis=(0, 1)), vertices.max(axis=(0, 1))
    middle = (low.astype(np.float64) + high) / 2.0
    step = max(float((high - low).max()), 1e-6) / LEVELS
    return Quantisation((float(middle[0]), float(middle[1]), float(middle[2])), step)


def packed(vertices: NDArray[np.float32], steps: Quantisation) -> NDArray[np.int16]:
    """Vertices (..., 3) as int16."""
    places = (vertices.astype(np.float64) - np.array(steps.centre)) / steps.step
    return np.clip(np.round(places), -32767, 32767).astype("<i2")


def scene_buffers(scene: Scene) -> tuple[dict[str, Any], dict[str, Buffer]]:
    """The description, JSON-ready, and every buffer that it names, by its address.

    Raises:
        ValueError: a result whose mesh cannot be drawn.
    """
    buffers: dict[str, Buffer] = {}
    description: dict[str, Any] = {
        "version": DESCRIPTION_VERSION,
        "duration_s": scene.duration_s,
        "notes": list(scene.notes),
        "timeline": asdict(scene.timeline),
        "sound": None,
        "truth": None,
        "results": [],
    }
    if scene.sound is not None:
        data = wav_bytes(scene.sound, SOUND_RATE_HZ)
        buffers["/sound.wav"] = _constant(data, "audio/wav")
        description["sound"] = {
            "name": scene.sound_name,
            "address": "/sound.wav",
            "duration_s": len(scene.sound) / SOUND_RATE_HZ,
        }
    if scene.truth is not None:
        frames = _frames(buffers, "/truth/frames", scene.truth)
        description["truth"] = {"name": scene.truth_name, "fps": scene.truth.fps, **frames}
    for index, result in enumerate(scene.results):
        description["results"].append(_described(buffers, f"/results/{index}", result, scene))
    return description, buffers


def _described(
    buffers: dict[str, Buffer], address: str, result: Result, scene: Scene
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": result.name,
        "kind": result.kind,
        "notes": list(result.notes),
        "compared": scene.compared(result),
        "mesh": None,
        "splats": None,
        "curves": {},
    }
    if result.motion is not None:
        said["mesh"] = topology_description(buffers, address, result)
        said["mesh"] |= {"fps": result.motion.fps}
        said["mesh"] |= _frames(buffers, f"{address}/frames", result.motion)
        for name, values in _curves(result.motion, scene.truth if said["compared"] else None):
            place = f"{address}/{name}"
            said["curves"][name] = _array(buffers, place, values.astype("<f4"))
    if result.splats is not None:
        said["splats"] = splats_description(buffers, address, result)
    return said


def topology_description(
    buffers: dict[str, Buffer], address: str, result: Result
) -> dict[str, Any]:
    """What does not change from frame to frame: triangles, colours, landmarks.

    Args:
        buffers: gets the arrays under addresses below ``address``.
        address: for example ``/results/0``.
        result: with a mesh.

    Returns:
        JSON-ready: topology, vertices and the addresses ``triangles`` (uint32, of the topology),
        ``surface_triangles`` (uint32), ``surface_source`` (uint32: the vertex that each drawn
        vertex follows), ``surface_sink`` (float32, mm behind it), ``surface_colours`` (uint8 RGB),
        ``rest`` (float32, the neutral face), ``landmark_ids`` (uint32) with ``landmarks``, a list
        of name, first, count and whether it is a closed line.
    """
    assert result.motion is not None
    template, surface = result.motion.template, surface_of(result)
    landmarks, ids = _landmarks(template)
    colours = np.clip(np.round(surface.colours), 0, 255).astype(np.uint8)
    return {
        "topology": template.topology,
        "vertices": len(template.vertices),
        "rest": _array(buffers, f"{address}/rest", template.vertices.astype("<f4")),
        "triangles": _array(buffers, f"{address}/triangles", template.triangles.astype("<u4")),
        "surface_triangles": _array(
            buffers, f"{address}/surface_triangles", surface.triangles.astype("<u4")
        ),
        "surface_source": _array(
            buffers, f"{address}/surface_source", surface.source.astype("<u4")
        ),
        "surface_sink": _array(buffers, f"{address}/surface_sink", surface.sink.astype("<f4")),
        "surface_colours": _array(buffers, f"{address}/surface_colours", colours),
        "landmarks": landmarks,
        "landmark_ids": _array(buffers, f"{address}/landmark_ids", ids.astype("<u4")),
    }


def _landmarks(template: FaceTemplate) -> tuple[list[dict[str, Any]], NDArray]:
    said: list[dict[str, Any]] = []
    parts: list[NDArray] = []
    first = 0
    for name, ids in sorted(template.regions.items()):
        closed = name in _CLOSED
        if not len(ids) or (not closed and (name in _NOT_POINTS or len(ids) > _REMARKABLE)):
            continue
        said.append({"name": name, "first": first, "count": len(ids), "closed": closed})
        parts.append(ids)
        first += len(ids)
    return said, np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _curves(motion: Motion, truth: Motion | None) -> Iterator[tuple[str, NDArray]]:
    """Name and values (T,), mm: the lip gap, and the mean lip error where there is a truth."""
    if not {"lips_outer", "lips_inner"} <= set(motion.template.regions):
        return
    lips = motion.template.lip_ids
    yield "lip_gap_mm", lip_gap_mm(motion.vertices[:, lips])
    if truth is not None:
        count = min(len(motion.vertices), len(truth.vertices))
        yield (
            "lip_error_mm",
            mean_vertex_errors_mm(
                reference=truth.vertices[:count, lips], prediction=motion.vertices[:count, lips]
            ),
        )
        yield "true_lip_gap_mm", lip_gap_mm(truth.vertices[:, lips])


def _frames(buffers: dict[str, Buffer], address: str, motion: Motion) -> dict[str, Any]:
    steps, vertices = quantisation(motion.vertices), motion.vertices

    def blocks() -> Iterator[bytes]:
        for start in range(0, len(vertices), _BLOCK_FRAMES):
            yield packed(vertices[start : start + _BLOCK_FRAMES], steps).tobytes()

    buffers[address] = Buffer(2 * vertices.size, blocks)
    return {
        "frames": address,
        "num_frames": len(vertices),
        "centre": list(steps.centre),
        "step": steps.step,
        "error_mm": steps.error_mm,
    }


def splats_description(buffers: dict[str, Buffer], address: str, result: Result) -> dict[str, Any]:
    """Splats as the page's shader wants them.

    Args:
        buffers: gets the arrays under addresses below ``address``.
        address: for example ``/results/0``.
        result: with splats.

    Returns:
        JSON-ready: count, degree, bound, bytes (the page's memory), and two addresses. ``shapes``
        (N, 12) float32: position 3, opacity 0-1, covariance xx xy xz yy yz zz, triangle (-1: none),
        0; those of bound splats in the triangle's frame. ``harmonics`` (N, texels, 4) float16:
        coefficients as R G B R G B ..., padded with 0 (below 0.001 off for colours within 0-1).
    """
    from learn2talk.avatar.splats import BoundSplats

    assert result.splats is not None
    bound = isinstance(result.splats, BoundSplats)
    local = result.splats.local if isinstance(result.splats, BoundSplats) else result.splats
    ids = result.splats.triangle_ids if isinstance(result.splats, BoundSplats) else None
    count, texels = len(local), -(-3 * local.sh.shape[1] // 4)

    def shapes() -> Iterator[bytes]:
        for start in range(0, count, _BLOCK_SPLATS):
            part = slice(start, start + _BLOCK_SPLATS)
            chosen = local.map(lambda values, part=part: values[part])  # type: ignore[misc]
            rows = splat_shapes(chosen)
            if ids is not None:
                rows[:, 10] = ids[part].numpy()
            yield rows.astype("<f4", copy=False).tobytes()

    def harmonics() -> Iterator[bytes]:
        for start in range(0, count, _BLOCK_SPLATS):
            values = local.sh[start : start + _BLOCK_SPLATS].detach().numpy()
            rows = np.zeros((len(values), 4 * texels), "<f2")
            rows[:, : 3 * values.shape[1]] = values.reshape(len(values), -1)
            yield rows.tobytes()

    shape_bytes, harmonic_bytes = 4 * SPLAT_FLOATS * count, 2 * 4 * texels * count
    buffers[f"{address}/shapes"] = Buffer(shape_bytes, shapes)
    buffers[f"{address}/harmonics"] = Buffer(harmonic_bytes, harmonics)
    return {
        "count": count,
        "degree": local.sh_degree,
        "bound": bound,
        "bytes": shape_bytes + harmonic_bytes,
        "shapes": f"{address}/shapes",
        "harmonics": f"{address}/harmonics",
    }


def splat_shapes(splats: Splats) -> NDArray[np.float32]:
    """Rows (N, 12) of `splats_description`, without a triangle."""
    import torch

    from learn2talk.avatar.ellipses import covariances

    scales, turns = (part.detach().double() for part in (splats.log_scales, splats.rotations))
    covariance = covariances(scales, turns).numpy()
    rows = np.zeros((len(splats), SPLAT_FLOATS), np.float32)
    rows[:, :3] = splats.positions.detach().numpy()
    rows[:, 3] = torch.sigmoid(splats.opacity_logits.detach()).numpy()
    rows[:, 4:7] = covariance[:, 0]
    rows[:, 7:9] = covariance[:, 1, 1:]
    rows[:, 9] = covariance[:, 2, 2]
    rows[:, 10] = -1.0
    return rows


def wav_bytes(waveform: NDArray[np.float32], sample_rate_hz: int) -> bytes:
    """A WAV file, 16 bit mono, of float (S,) in [-1, 1]."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate_hz)
        out.writeframes(np.round(waveform * 32767.0).astype("<i2").tobytes())
    return stream.getvalue()


def _array(buffers: dict[str, Buffer], address: str, values: NDArray) -> str:
    buffers[address] = _constant(np.ascontiguousarray(values).tobytes())
    return address


def _constant(data: bytes, content_type: str = "application/octet-stream") -> Buffer:
    return Buffer(len(data), lambda: iter((data,)), content_type)
