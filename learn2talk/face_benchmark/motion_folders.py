"""A motion of somebody else as ours: millimetres, 25 frames a second, without the head's pose.

A ``.npz`` in our format (`learn2talk.files`) says all of that itself. A ``.npy`` is an array (T, V,
3), or flattened (T, 3 V), of which its folder's ``motion.json`` or the options say unit, frame rate
and neutral face. Nothing is guessed: what is not said is an error, and so is a face whose size
cannot be in its unit. Axis letters: T frames, V vertices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.files import read_json
from avsr.units import VIDEO_FPS
from learn2talk.face_benchmark.inputs import ABOUT
from learn2talk.files import load_motion, load_template
from learn2talk.head_pose import without_head_pose
from learn2talk.region_files import MM_PER_UNIT, read_face, unit_mm
from learn2talk.resampling import resample_motion
from learn2talk.schema import FaceTemplate, Motion
from learn2talk.topologies import NORMALISED, TOPOLOGIES, known_face, topology

FPS = float(VIDEO_FPS)
MOUTH_MM = (25.0, 100.0)  # how wide a mouth at rest may be
SIZE_RATIO = 1.5  # between a motion and its neutral face
AWAY_MM = 10.0  # median distance from rest of the whole face beyond which no speech takes it
LOSSES = ("lip_reader_sha256", "sync_expert_sha256", "loss_sha256")
_KEYS: dict[str, type | tuple[type, ...]] = {
    "unit": str,
    "fps": (int, float),
    "topology": str,
    "template": str,
    "mm_per_unit": (int, float),
    "loss_sha256": list,
    "source": str,
}


@dataclass(frozen=True)
class MotionSettings:
    """What is said about motions that do not say it themselves.

    unit: of ``.npy`` files. fps: frames a second; a file that says another one is refused.
    topology: one of `learn2talk.topologies`. template: neutral face, see `neutral_face`.
    mm_per_unit: in place of a unit. losses: SHA-256 of networks that the faces were trained with.
    source: what made the faces, for the report.
    """

    unit: str | None = None
    fps: float | None = None
    topology: str | None = None
    template: Path | None = None
    mm_per_unit: float | None = None
    losses: tuple[str, ...] = ()
    source: str = ""


def settings_of(folder: Path, options: MotionSettings) -> MotionSettings:
    """The options and what the folder's motion.json says; the two may not contradict each other.

    Raises:
        ValueError: an unknown key, a wrong type, or a contradiction.
    """
    path = folder / ABOUT
    if not path.is_file():
        return options
    told = read_json(path)
    if not isinstance(told, dict):
        raise ValueError(f"{path}: is a {type(told).__name__}, not a JSON object")
    wrong = [k for k, v in told.items() if k not in _KEYS or not isinstance(v, _KEYS[k])]
    if wrong:
        raise ValueError(
            f"{path}: {', '.join(wrong)} unknown or of a wrong type; it may have {', '.join(_KEYS)}"
        )
    for key in ("unit", "fps", "topology"):
        asked = getattr(options, key)
        if asked is not None and key in told and told[key] != asked:
            raise ValueError(
                f"{path}: {key} is {told[key]}, and the option says {asked}; leave one of them out"
            )
    template = folder / told["template"] if "template" in told else options.template
    return MotionSettings(
        unit=told.get("unit", options.unit),
        fps=told.get("fps", options.fps),
        topology=told.get("topology", options.topology),
        template=template,
        mm_per_unit=told.get("mm_per_unit", options.mm_per_unit),
        losses=tuple(str(one) for one in told.get("loss_sha256", ())),
        source=told.get("source", ""),
    )


@lru_cache(maxsize=16)
def neutral_face(settings: MotionSettings, num_vertices: int, where: str) -> FaceTemplate:
    """The neutral face, in millimetres, of motions without one.

    ``settings.template`` is a neutral face of ours (``.npz``), a mesh (OBJ, PLY, GLB) with its
    region file beside it (``<mesh>.regions.json`` or ``regions.json``), or a folder with the files
    of a known topology. The built-in head needs none.

    Raises:
        ValueError: no template, an unknown topology, or another number of vertices.
    """
    name, path = settings.topology, settings.template
    counts = {known.num_vertices: topo for topo, known in TOPOLOGIES.items()}
    if name is None and (path is None or path.is_dir()):
        name = counts.get(num_vertices)
        if name is None:
            raise ValueError(
                f"{where}: topology unknown, no known one has {num_vertices} vertices "
                f"({', '.join(f'{n}: {topo}' for n, topo in counts.items())}); give a neutral mesh "
                "with its regions (--template)"
            )
    if name is not None and topology(name).num_vertices != num_vertices:
        raise ValueError(
            f"{where}: has {num_vertices} vertices, topology {name!r} has "
            f"{topology(name).num_vertices}; give the motion's own topology"
        )
    if path is None or path.is_dir():
        assert name is not None
        return known_face(name, path, mm_per_unit=settings.mm_per_unit).template
    if not path.is_file():
        raise ValueError(f"{path}: no such template; give a neutral face, a mesh or a folder")
    if path.suffix == ".npz":
        face = load_template(path)
    else:
        face = read_face(path, _regions_of(path)).template
    if len(face.vertices) != num_vertices:
        raise ValueError(
            f"{where}: has {num_vertices} vertices, its template {path.name} has "
            f"{len(face.vertices)}; give the neutral face of this mesh"
        )
    return face


def _regions_of(mesh: Path) -> Path:
    places = [mesh.with_suffix(".regions.json"), mesh.with_name("regions.json")]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise ValueError(
            f"{mesh}: has no region file beside it ({places[0].name} or {places[1].name}); see "
            "learn2talk.region_files"
        )
    return found


def read_motion(path: Path, settings: MotionSettings) -> tuple[Motion, tuple[str, ...]]:
    """A motion in millimetres without head pose at its own frame rate, and its losses' hashes.

    Raises:
        ValueError: one line that names the file: not finite, an unknown topology, unit or rate, a
            face that is too large, too small, or far from its neutral one.
    """
    if path.suffix.lower() == ".npz":
        motion, provenance = load_motion(path)
        if settings.fps is not None and motion.fps != settings.fps:
            raise ValueError(
                f"{path}: has {motion.fps:g} fps, {settings.fps:g} were said; mend one of them"
            )
        losses = (*settings.losses, *_losses_in(provenance))
    else:
        motion, losses = _from_array(path, settings), settings.losses
    motion = without_head_pose(motion)
    face = motion.template
    try:
        lips = face.lips  # a face without lips cannot be carried over
    except ValueError as error:
        raise ValueError(f"{path}: {error}; give the lips with --template") from error
    wide = float(np.linalg.norm(lips[10] - lips[0]))
    if not MOUTH_MM[0] <= wide <= MOUTH_MM[1]:
        likely = [n for n, mm in MM_PER_UNIT.items() if MOUTH_MM[0] <= wide * mm <= MOUTH_MM[1]]
        raise ValueError(
            f"{path}: its mouth at rest is {wide:.4g} mm wide, mouths are {MOUTH_MM[0]:g} to "
            f"{MOUTH_MM[1]:g}; is its unit {' or '.join(likely) or 'another one'}?"
        )
    if not len(motion.vertices):
        raise ValueError(f"{path}: has no frame; make the motion again")
    away = np.linalg.norm(motion.vertices - face.vertices, axis=2).mean(axis=1)
    if (middle := float(np.median(away))) > AWAY_MM:
        raise ValueError(
            f"{path}: is {middle:.1f} mm from its neutral face in the middle of its frames, speech "
            f"moves a face by less than {AWAY_MM:g}; is the unit right, the template its own, and "
            "the head's pose taken out?"
        )
    return motion, losses


def _losses_in(provenance: Any) -> Iterator[str]:
    """Hashes of networks that were losses, wherever a motion's provenance names them."""
    if isinstance(provenance, Mapping):
        for key, value in provenance.items():
            if key in LOSSES:
                yield from ([value] if isinstance(value, str) else value or [])
            else:
                yield from _losses_in(value)


def _from_array(path: Path, settings: MotionSettings) -> Motion:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a complete .npy of numbers ({error})") from error
    if values.ndim == 2 and values.shape[1] % 3 == 0:
        values = values.reshape(len(values), -1, 3)
    if values.ndim != 3 or values.shape[2] != 3 or values.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: holds {values.dtype} of shape {values.shape}; a motion is (T, V, 3) numbers"
        )
    if settings.fps is None or not 0 < settings.fps <= 1000:
        raise ValueError(
            f"{path}: its frame rate is {settings.fps or 'not said'}; give --fps, or fps in "
            f"{path.parent / ABOUT}"
        )
    scale = settings.mm_per_unit
    if scale is None:
        if settings.unit is None:
            raise ValueError(
                f"{path}: its unit is not said; give --unit mm, cm or m, or unit in "
                f"{path.parent / ABOUT}"
            )
        if settings.unit == NORMALISED:
            raise ValueError(f"{path}: a normalised unit needs mm_per_unit in {ABOUT}")
        scale = unit_mm(settings.unit, str(path))
    finite = np.isfinite(values).all(axis=2)
    if not finite.all():
        frame, vertex = (int(place) for place in np.argwhere(~finite)[0])
        raise ValueError(
            f"{path}: vertex {vertex} of frame {frame} is {values[frame, vertex]}, and "
            f"{int((~finite).sum()) - 1} others are not finite; make the motion again"
        )
    about = replace(settings, losses=(), source="")
    face = neutral_face(about, values.shape[1], str(path))
    if len(values):
        _check_size(values[0], scale, face, path)
    vertices = (values.astype(np.float64) * scale).astype(np.float32)
    return Motion(vertices, float(settings.fps), face)


def _check_size(frame: NDArray[Any], scale: float, face: FaceTemplate, path: Path) -> None:
    """Refuse a frame (V, 3) that is much wider or narrower than its neutral face."""
    wide, wanted = float(np.ptp(frame[:, 0])), float(np.ptp(face.vertices[:, 0]))
    if 1 / SIZE_RATIO <= wide * scale / wanted <= SIZE_RATIO:
        return
    likely = [
        n for n, mm in MM_PER_UNIT.items() if 1 / SIZE_RATIO <= wide * mm / wanted <= SIZE_RATIO
    ]
    raise ValueError(
        f"{path}: is {wide * scale:.4g} mm wide ({wide:.4g} in its unit), its neutral face "
        f"{wanted:.4g} mm; is its unit {' or '.join(likely) or 'another one'}?"
    )


def at_video_rate(motion: Motion) -> Motion:
    """The motion at 25 frames a second, by time, low-passed where the rate falls."""
    if motion.fps == FPS:
        return motion
    frames: NDArray[np.float32] = resample_motion(motion.vertices, motion.fps, FPS)
    return Motion(frames, FPS, motion.template)
