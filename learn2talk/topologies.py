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

from avsr.tracking import LIPS_INNER, LIPS_OUTER, NUM_LANDMARKS, face_regions
from avsr.tracking import TOPOLOGY as MEDIAPIPE
from learn2talk.contours import HALF, MOUTH_LANDMARKS, contours_through
from learn2talk.head import TOPOLOGY as PROCEDURAL_HEAD
from learn2talk.head import build_head
from learn2talk.mesh_files import MeshFile, read_mesh
from learn2talk.region_files import (
    LoadedFace,
    RegionFile,
    face_of,
    id_array,
    read_ids,
    read_named_arrays,
    read_regions,
)

CANONICAL_FACE = 468  # vertices of MediaPipe's canonical face model: without the irises
NORMALISED = "normalised"  # a unit that differs from face to face; mm_per_unit must be given
OWN_REGIONS = "regions.json"

# Points 48-67 of the 68-point markup on the published BIWI template, picked for this project on a
# drawing of it from the front. The mesh has no texture: the lips' border is where the relief ends.
BIWI_MOUTH = (
    *(282, 10912, 465, 12683, 13625, 13933, 13807, 9990, 9917, 20970, 16348, 13156),
    *(408, 21579, 749, 13914, 929, 21257, 12933, 21588),
)
# ICT-FaceKit's own list (its README, "Facial Landmarks"): points 48-67, and 33, the nose's base.
ICT_MOUTH = (
    *(5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841),
    *(5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966),
)
ICT_NOSE_BASE = 1147
# First and last vertex of ICT-FaceKit's parts (its README, "Face Model Topology").
ICT_PARTS = {
    "skin": (0, 9408),
    "neck": (9409, 11247),
    "mouth_inside": (11248, 13293),
    "gums_and_tongue": (14062, 17038),
    "teeth_upper": (17039, 19246),
    "teeth_lower": (19247, 21450),
    "eye_white": (21451, 24590),
}


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
    return face_of(mesh, _DESCRIBE[name](name, mesh, folder), mm_per_unit=mm_per_unit)


def _first_of(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _needed(folder: Path, what: str, *names: str) -> Path:
    found = _first_of(folder, *names)
    if found is None:
        raise ValueError(
            f"{folder}: has no {what} ({', '.join(names)}); copy one there, or write a "
            f"{OWN_REGIONS} (learn2talk.region_files)"
        )
    return found


def _described(
    name: str, regions: Mapping[str, NDArray], mouth: NDArray | None = None
) -> RegionFile:
    known = TOPOLOGIES[name]
    source = "; ".join(f"{region}: {where}" for region, where in known.regions.items())
    ids = {region: np.asarray(values, dtype=np.int32) for region, values in regions.items()}
    return RegionFile(name, known.unit, source, ids, mouth, known.num_vertices)


def _flame(name: str, mesh: MeshFile, folder: Path) -> RegionFile:
    path = _needed(folder, "FLAME masks", "FLAME_masks.pkl", "FLAME_masks.npz", "FLAME_masks.json")
    masks = read_named_arrays(path)
    lacking = [part for part in ("face", "lips", "nose") if part not in masks]
    if lacking:
        raise ValueError(f"{path}: has no mask {', '.join(lacking)}; give FLAME's own masks")
    ids = {k: np.unique(id_array(masks[k], f"{path}: {k}")) for k in ("face", "lips", "nose")}
    _within(ids, mesh, path)
    base = mesh.vertices[ids["nose"], 1].min()
    face = np.union1d(ids["face"], ids["lips"])
    lower = np.union1d(face[mesh.vertices[face, 1] < base], ids["lips"])
    regions = {
        "lips": ids["lips"],
        "lower_face": lower,
        "upper_face": np.setdiff1d(face, lower),
    }
    own = _first_of(folder, "mouth_landmarks.txt")
    if own is not None:
        return _described(name, regions, read_ids(own))
    path = _needed(
        folder,
        "landmarks",
        "mediapipe_landmark_embedding.npz",
        "flame_static_embedding.npz",
        "flame_static_embedding.pkl",
        "mouth_landmarks.txt",
    )
    vertices, markup = _embedded(path, mesh)
    if markup is None:  # the 51 static landmarks are points 17 to 67
        return _described(name, regions, vertices[-MOUTH_LANDMARKS:])
    return _described(name, regions | _mediapipe_contours(path, mesh, vertices, markup))


def _embedded(path: Path, mesh: MeshFile) -> tuple[NDArray[np.int32], NDArray | None]:
    """The vertex nearest to each landmark (triangle and barycentric weights), and its number."""
    arrays = read_named_arrays(path)
    lacking = [n for n in ("lmk_face_idx", "lmk_b_coords") if n not in arrays]
    if lacking:
        raise ValueError(f"{path}: has no {', '.join(lacking)}; is it a landmark embedding?")
    faces = id_array(arrays["lmk_face_idx"].reshape(-1), f"{path}: lmk_face_idx")
    weights = np.asarray(arrays["lmk_b_coords"], dtype=np.float64)
    markup = arrays.get("landmark_indices")
    wanted = 51 if markup is None else len(markup)
    if weights.shape != (len(faces), 3) or len(faces) != wanted:
        raise ValueError(
            f"{path}: {len(faces)} triangles, weights {weights.shape}, {wanted} landmarks do not "
            "belong together; give FLAME's own file"
        )
    if len(faces) and faces.max() >= len(mesh.triangles):
        raise ValueError(
            f"{path}: names triangle {faces.max()}, but {mesh.path.name} has "
            f"{len(mesh.triangles)}; give the mesh with FLAME's own triangles"
        )
    return mesh.triangles[faces, weights.argmax(axis=1)], markup


def _mediapipe_contours(
    path: Path, mesh: MeshFile, vertices: NDArray[np.int32], markup: NDArray
) -> dict[str, NDArray[np.int32]]:
    """Contours through those of MediaPipe's lip landmarks that the embedding has."""
    at = dict(zip(np.asarray(markup).tolist(), vertices.tolist(), strict=True))
    ways: dict[str, tuple[list[int], list[int]]] = {}
    for name, ring in (("lips_outer", LIPS_OUTER), ("lips_inner", LIPS_INNER)):
        corners = [ring[0], ring[HALF]]
        if not set(corners) <= set(at):
            raise ValueError(f"{path}: lacks the mouth's corners {corners} of {name}")
        halves = (ring[: HALF + 1], (ring[0], *ring[: HALF - 1 : -1]))
        lower, upper = (
            list(dict.fromkeys(at[point] for point in half if point in at)) for half in halves
        )
        ways[name] = (lower, upper)
    return contours_through(mesh.vertices, mesh.triangles, ways)


def _biwi(name: str, mesh: MeshFile, folder: Path) -> RegionFile:
    lists = {
        region: _needed(folder, f"list of {region}", file, f"regions/{file}")
        for region, file in (("lve", "lve.txt"), ("upper_face", "fdd.txt"))
    }
    regions = {region: np.unique(read_ids(path)) for region, path in lists.items()}
    for region, path in lists.items():
        _within({region: regions[region]}, mesh, path)
    top = mesh.vertices[regions["lve"], 1].max()
    regions["lower_face"] = np.flatnonzero(mesh.vertices[:, 1] <= top)
    own = _first_of(folder, "mouth_landmarks.txt")
    mouth = np.array(BIWI_MOUTH, dtype=np.int32) if own is None else read_ids(own)
    return _described(name, regions, mouth)


def _ict(name: str, mesh: MeshFile, folder: Path) -> RegionFile:
    regions = {part: np.arange(first, last + 1) for part, (first, last) in ICT_PARTS.items()}
    skin = regions["skin"]
    low = skin[mesh.vertices[skin, 1] < mesh.vertices[ICT_NOSE_BASE, 1]]
    inside = [regions[part] for part in ("mouth_inside", "gums_and_tongue", "teeth_lower")]
    regions["lower_face"] = np.concatenate([low, *inside])
    regions["upper_face"] = np.setdiff1d(skin, low)
    return _described(name, regions, np.array(ICT_MOUTH, dtype=np.int32))


def _mediapipe(name: str, mesh: MeshFile, folder: Path) -> RegionFile:
    regions = face_regions(mesh.triangles)
    there = {region: ids[ids < len(mesh.vertices)] for region, ids in regions.items()}
    return _described(name, there)


def _within(regions: Mapping[str, NDArray], mesh: MeshFile, path: Path) -> None:
    for region, ids in regions.items():
        if len(ids) == 0 or ids.max() >= len(mesh.vertices):
            raise ValueError(
                f"{path}: {region} names {len(ids)} vertices, the last {ids.max(initial=-1)}, of a "
                f"mesh with {len(mesh.vertices)}; give the list of this topology"
            )


_DESCRIBE: dict[str, Callable[[str, MeshFile, Path], RegionFile]] = {
    "flame_5023": _flame,
    "biwi_23370": _biwi,
    "ict_facekit_26719": _ict,
    "mediapipe-468": _mediapipe,
    MEDIAPIPE: _mediapipe,
}
