"""A mesh of somebody else and what its vertices are: together a face in millimetres.

A region file is JSON, made once for a topology:

    {"topology": "my_face", "num_vertices": 7000, "unit": "cm", "source": "picked by ... on ...",
     "regions": {"lips_outer": [...], "lips_inner": [...], "lower_face": [...], "lips": [...]}}

``lips_outer`` and ``lips_inner`` are 20 ids each in the canonical order (`learn2talk.contours`);
in their place ``"mouth_landmarks"``, the 20 vertices of points 48 to 67 of the 68-point markup, is
enough. Other tools' lists of ids are read, too: text (commas or blanks), JSON, ``.npz``, and plain
pickles such as FLAME_masks.pkl.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from avsr.files import read_json, sha256_file, write_json
from learn2talk.contours import check_contours, lip_contours
from learn2talk.mesh_files import MeshFile, read_mesh
from learn2talk.plain_pickles import read_plain_pickle
from learn2talk.schema import UNIT, FaceTemplate

MM_PER_UNIT: dict[str, float] = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4}
WIDTH_MM = (100.0, 350.0)  # a face alone is 100 to 250 wide, a head 130 to 350
REQUIRED_REGIONS = ("lips_outer", "lips_inner", "lower_face")


@dataclass(frozen=True, eq=False)
class RegionFile:
    """What the vertices of a topology are; see the module's text.

    mouth_landmarks: 20 vertex ids, or ``None`` where the contours are among the regions.
    num_vertices: of the topology, ``None`` = not said.
    """

    topology: str
    unit: str
    source: str
    regions: Mapping[str, NDArray[np.int32]]
    mouth_landmarks: NDArray[np.int32] | None = None
    num_vertices: int | None = None


@dataclass(frozen=True, eq=False)
class LoadedFace:
    """A face ready for use, with what a report must say about it.

    warnings: what is odd about the mesh, a line each. facts: where it comes from, JSON-ready.
    """

    template: FaceTemplate
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def read_face(mesh: Path | str, regions: Path | str) -> LoadedFace:
    """A face from a mesh file and a region file.

    Raises:
        ValueError: see `read_mesh`, `read_regions` and `face_of`.
    """
    described = read_regions(regions)
    loaded = read_mesh(mesh, num_vertices=described.num_vertices)
    face = face_of(loaded, described)
    stamp = {"regions_file": Path(regions).name, "regions_sha256": sha256_file(regions)}
    return LoadedFace(face.template, face.warnings, dict(face.facts) | stamp)


def read_regions(path: Path | str) -> RegionFile:
    """A region file (JSON).

    Raises:
        ValueError: missing, no JSON, a key that is missing or unknown, or of another type.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such region file; check the path")
    found = read_json(path)
    needed = {"topology": str, "unit": str, "source": str, "regions": dict}
    optional = {"mouth_landmarks": list, "num_vertices": int}
    if not isinstance(found, dict):
        raise ValueError(f"{path}: is a {type(found).__name__}, not a JSON object")
    wrong = [k for k, kind in needed.items() if not isinstance(found.get(k), kind)]
    wrong += [k for k, kind in optional.items() if k in found and not isinstance(found[k], kind)]
    unknown = sorted(set(found) - set(needed) - set(optional))
    if wrong or unknown:
        raise ValueError(
            f"{path}: {', '.join([*wrong, *unknown])} missing, unknown or of a wrong type; a "
            f"region file has {', '.join(needed)}, and may have {', '.join(optional)}"
        )
    landmarks = found.get("mouth_landmarks")
    return RegionFile(
        topology=found["topology"],
        unit=found["unit"],
        source=found["source"],
        regions={
            name: id_array(ids, f"{path}: region {name!r}")
            for name, ids in found["regions"].items()
        },
        mouth_landmarks=None if landmarks is None else id_array(landmarks, f"{path}: landmarks"),
        num_vertices=found.get("num_vertices"),
    )


def face_of(
    mesh: MeshFile, described: RegionFile, *, mm_per_unit: float | None = None
) -> LoadedFace:
    """The face of a mesh in millimetres.

    Args:
        mesh: V vertices, x to the image's right, y up, z to the viewer, mouth closed.
        described: its regions.
        mm_per_unit: in place of the unit that ``described`` names.

    Raises:
        ValueError: a required region is missing, an id is outside the mesh, the contours are in
            another order, the unit is unknown or the size impossible for it.
    """
    path = mesh.path
    if mm_per_unit is None:
        mm_per_unit = unit_mm(described.unit, str(path))
    if described.num_vertices is not None and len(mesh.vertices) != described.num_vertices:
        raise ValueError(
            f"{path}: has {len(mesh.vertices)} vertices, topology {described.topology!r} has "
            f"{described.num_vertices}"
        )
    vertices = mesh.vertices * mm_per_unit
    check_width(mesh.vertices, mm_per_unit, described.unit, str(path))
    regions = dict(described.regions)
    if described.mouth_landmarks is not None:
        made = lip_contours(vertices, mesh.triangles, described.mouth_landmarks)
        regions = made | regions
    missing = [name for name in REQUIRED_REGIONS if name not in regions]
    if missing:
        raise ValueError(
            f"{path}: topology {described.topology!r} lacks the regions {', '.join(missing)}; it "
            f"has {', '.join(sorted(regions)) or 'none'}; add them to its region file"
        )
    template = FaceTemplate(
        described.topology, vertices.astype(np.float32), mesh.triangles, regions
    )
    if {"lips_outer", "lips_inner"} & set(described.regions):  # the made ones are checked
        outer, inner = regions["lips_outer"], regions["lips_inner"]
        check_contours(vertices, mesh.triangles, outer, inner)
    facts = {
        "topology": described.topology,
        "num_vertices": len(vertices),
        "mesh": path.name,
        "mesh_sha256": sha256_file(path),
        "unit_of_mesh": described.unit,
        "mm_per_unit": mm_per_unit,
        "polygons_split": mesh.polygons_split,
        "regions_source": described.source,
        "regions": {name: len(ids) for name, ids in sorted(regions.items())},
    }
    return LoadedFace(template, mesh.warnings, facts)


def unit_mm(unit: str, where: str) -> float:
    """Millimetres of a unit. Raises ValueError that lists the units."""
    if unit not in MM_PER_UNIT:
        raise ValueError(f"{where}: unit {unit!r} is not one of {', '.join(MM_PER_UNIT)}")
    return MM_PER_UNIT[unit]


def check_width(vertices: NDArray[np.floating], mm_per_unit: float, unit: str, where: str) -> None:
    """Refuse a face whose width is impossible for its unit, and name the likely one.

    Args:
        vertices: (V, 3) in the file's unit. where: file, for the message.
    """
    low, high = WIDTH_MM
    width = float(np.ptp(vertices[:, 0]))
    if low <= width * mm_per_unit <= high:
        return
    likely = [name for name, size in MM_PER_UNIT.items() if low <= width * size <= high]
    advice = f"is its unit {' or '.join(likely)}?" if likely else "no known unit fits it"
    raise ValueError(
        f"{where}: is {width * mm_per_unit:.4g} {UNIT} wide ({width:.4g} {unit}), a face or head "
        f"is {low:g} to {high:g}; {advice}"
    )


def id_array(values: Any, where: str) -> NDArray[np.int32]:
    """Vertex ids (N,) as int32. Raises ValueError when they are not whole numbers in a row."""
    try:
        array = np.asarray(values)
        whole = array.astype(np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: is not a list of vertex ids ({error})") from error
    if array.ndim != 1 or array.dtype.kind not in "iuf" or (whole != array).any():
        raise ValueError(f"{where}: is not a list of whole numbers (shape {array.shape})")
    if len(whole) and (whole.min() < 0 or whole.max() >= 2**31):
        raise ValueError(
            f"{where}: has the vertex id {whole.min()} or {whole.max()}; give 0 to V-1"
        )
    return whole.astype(np.int32)


def read_ids(path: Path | str) -> NDArray[np.int32]:
    """A list of vertex ids: text with commas or blanks (``lve.txt``), or a JSON list.

    Raises:
        ValueError: missing, empty, or something that is not a number.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such list of vertex ids; check the path")
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        return id_array(read_json(path), str(path))
    try:
        values = [int(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise ValueError(f"{path}: holds something that is no vertex id ({error})") from error
    if not values:
        raise ValueError(f"{path}: holds no vertex id; copy it again")
    return id_array(values, str(path))


def read_named_arrays(path: Path | str) -> dict[str, NDArray[Any]]:
    """Named arrays of a ``.npz``, a JSON object, or a pickle of a dict (read as plain data).

    Raises:
        ValueError: missing, truncated, of another format, or not names with arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path")
    if path.suffix == ".npz":
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (BadZipFile, ValueError, EOFError, AttributeError) as error:
            raise ValueError(f"{path}: not a complete .npz file ({error}); copy again") from error
    found = read_json(path) if path.suffix == ".json" else read_plain_pickle(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: is a {type(found).__name__}, not names with arrays")
    return {str(name): np.asarray(value) for name, value in found.items()}


def write_regions(path: Path | str, described: RegionFile) -> None:
    """Write a region file that `read_regions` reads, atomically."""
    content: dict[str, Any] = {
        "topology": described.topology,
        "unit": described.unit,
        "source": described.source,
        "regions": {name: ids.tolist() for name, ids in described.regions.items()},
    }
    if described.mouth_landmarks is not None:
        content["mouth_landmarks"] = described.mouth_landmarks.tolist()
    if described.num_vertices is not None:
        content["num_vertices"] = described.num_vertices
    write_json(path, content)
