"""The face meshes that the field uses, and the face of each from a user's own folder.

A network knows no topology: it sees the vertices and regions that travel with the data. What
differs between meshes stands here, in one table, and ends in a `FaceTemplate` in millimetres.
A region file ``regions.json`` (`learn2talk.region_files`) in the folder takes the place of the
regions that a topology would have here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsr.tracking import NUM_LANDMARKS
from avsr.tracking import TOPOLOGY as MEDIAPIPE
from learn2talk.head import TOPOLOGY as PROCEDURAL_HEAD
from learn2talk.head import build_head
from learn2talk.mesh_files import MeshFile, read_mesh
from learn2talk.region_files import LoadedFace, RegionFile, face_of, read_regions
from learn2talk.topology_regions import OWN_REGIONS, Described, biwi, flame, ict, mediapipe

CANONICAL_FACE = 468  # vertices of MediaPipe's canonical face model: without the irises
NORMALISED = "normalised"  # a unit that differs from face to face; mm_per_unit must be given


@dataclass(frozen=True)
class Topology:
    """A vertex numbering.

    unit: of its files, `NORMALISED` = another one for each face. fps: of the corpus that fixed it,
    ``None`` = a mesh without a corpus. meshes: where its neutral mesh is looked for in a folder;
    none for a face that is made by code. regions: region -> where its ids come from.
    """

    num_vertices: int
    unit: str
    fps: float | None
    meshes: tuple[str, ...]
    regions: Mapping[str, str]


FLAME_MESHES = (
    *("FLAME_sample.ply", "templates/FLAME_sample.ply", "template/FLAME_sample.ply"),
    *("head_template.obj", "head_template_mesh.obj", "flame.obj", "flame.ply"),
)
_CONTOURS = "ways over the mesh's edges through {}, 11 points a lip (learn2talk.contours)"
TOPOLOGIES: dict[str, Topology] = {
    "flame_5023": Topology(
        num_vertices=5023,
        unit="m",
        fps=60.0,
        meshes=FLAME_MESHES,
        regions={
            "lips_outer, lips_inner": _CONTOURS.format(
                "the user's landmarks: mediapipe_landmark_embedding.npz, "
                "flame_static_embedding.pkl or mouth_landmarks.txt"
            ),
            "lips": "the user's FLAME masks: lips",
            "lower_face": "FLAME masks: face below the lowest vertex of nose, with the lips",
            "upper_face": "FLAME masks: face, the others",
        },
    ),
    "biwi_23370": Topology(
        num_vertices=23370,
        unit=NORMALISED,
        fps=25.0,
        meshes=("BIWI.ply", "templates/BIWI.ply"),
        regions={
            "lips_outer, lips_inner, lips": _CONTOURS.format(
                "20 landmarks of this project on the published template, or the user's own in "
                "mouth_landmarks.txt"
            ),
            "lve": "the user's lve.txt (mouth and chin; CodeTalker's list has 4996 ids)",
            "upper_face": "the user's fdd.txt (CodeTalker's list has 7784 ids)",
            "lower_face": "all vertices not above the highest one of lve",
        },
    ),
    "ict_facekit_26719": Topology(
        num_vertices=26719,
        unit="cm",
        fps=None,
        meshes=("generic_neutral_mesh.obj", "FaceXModel/generic_neutral_mesh.obj"),
        regions={
            "lips_outer, lips_inner, lips": _CONTOURS.format("ICT-FaceKit's 68 landmarks"),
            "lower_face": "skin below landmark 33, inside of the mouth, gums, tongue, lower teeth",
            "upper_face": "skin, the others",
            "skin, neck, mouth_inside, ...": "ICT-FaceKit's table of parts",
        },
    ),
    "mediapipe-468": Topology(
        num_vertices=CANONICAL_FACE,
        unit="cm",
        fps=None,
        meshes=("canonical_face_model.obj",),
        regions={"all": "avsr.tracking"},
    ),
    MEDIAPIPE: Topology(
        num_vertices=NUM_LANDMARKS,
        unit="mm",
        fps=25.0,
        meshes=("face.obj", "face.ply", "face.glb"),
        regions={"all": "avsr.tracking"},
    ),
    PROCEDURAL_HEAD: Topology(
        num_vertices=2500,
        unit="mm",
        fps=25.0,
        meshes=(),
        regions={"all": "learn2talk.head"},
    ),
}


def topology(name: str) -> Topology:
    """A known topology. Raises ValueError that lists the names."""
    if name not in TOPOLOGIES:
        raise ValueError(
            f"topology {name!r} is not one of {', '.join(TOPOLOGIES)}; for another mesh give a "
            "region file (learn2talk.region_files)"
        )
    return TOPOLOGIES[name]


def known_face(
    name: str, folder: Path | str | None = None, *, mm_per_unit: float | None = None
) -> LoadedFace:
    """The neutral face of a known topology, from the user's copy of its files.

    Args:
        name: one of `TOPOLOGIES`.
        folder: where its mesh and lists of ids are; not needed for the procedural head.
        mm_per_unit: millimetres of the mesh's unit, where the files do not fix it (BIWI).

    Raises:
        ValueError: an unknown name, a missing file, mesh or region, or a size that cannot be.
    """
    known = topology(name)
    if not known.meshes:
        return LoadedFace(build_head().template, (), {"topology": name, "regions_source": "code"})
    if folder is None:
        raise ValueError(f"topology {name!r} needs the folder of its files; give one")
    folder = Path(folder)
    path = next((folder / m for m in known.meshes if (folder / m).is_file()), None)
    if path is None:
        raise ValueError(f"{folder}: has none of {', '.join(known.meshes)}; copy one there")
    if known.unit == NORMALISED and mm_per_unit is None:
        raise ValueError(
            f"{path}: topology {name!r} has no unit of its own; say how many millimetres one unit "
            "is (mm_per_unit)"
        )
    mesh = read_mesh(path, num_vertices=known.num_vertices)
    if (folder / OWN_REGIONS).is_file():
        described = read_regions(folder / OWN_REGIONS)
        if described.topology != name:
            raise ValueError(
                f"{folder / OWN_REGIONS}: is of topology {described.topology!r}, not {name!r}"
            )
        return face_of(mesh, described, mm_per_unit=mm_per_unit)
    return face_of(mesh, _described(name, *DESCRIBE[name](mesh, folder)), mm_per_unit=mm_per_unit)


def _described(
    name: str, regions: Mapping[str, NDArray], mouth: NDArray[np.int32] | None
) -> RegionFile:
    known = TOPOLOGIES[name]
    source = "; ".join(f"{region}: {where}" for region, where in known.regions.items())
    ids = {region: np.asarray(values, dtype=np.int32) for region, values in regions.items()}
    return RegionFile(name, known.unit, source, ids, mouth, known.num_vertices)


DESCRIBE: dict[str, Callable[[MeshFile, Path], Described]] = {
    "flame_5023": flame,
    "biwi_23370": biwi,
    "ict_facekit_26719": ict,
    "mediapipe-468": mediapipe,
    MEDIAPIPE: mediapipe,
}
