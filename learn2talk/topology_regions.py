"""What the vertices of the known topologies are, from files that their users have.

Each function takes a mesh in its file's unit and the folder that it came from, and returns the
regions, and 20 mouth landmarks where the lip contours are to be made from them (`contours`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsr.tracking import LIPS_INNER, LIPS_OUTER, face_regions
from learn2talk.contours import HALF, MOUTH_LANDMARKS, contours_through
from learn2talk.mesh_files import MeshFile
from learn2talk.region_files import id_array, read_ids, read_named_arrays

Described = tuple[Mapping[str, NDArray], NDArray[np.int32] | None]
OWN_REGIONS = "regions.json"  # a region file that takes the place of all this
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


def flame(mesh: MeshFile, folder: Path) -> Described:
    """FLAME: the masks of its authors, and lip contours through a landmark embedding."""
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
        return regions, read_ids(own)
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
        return regions, vertices[-MOUTH_LANDMARKS:]
    return _mediapipe_contours(path, mesh, vertices, markup) | regions, None


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


def biwi(mesh: MeshFile, folder: Path) -> Described:
    """BIWI: the lists of ids that CodeTalker published, and mouth landmarks."""
    lists = {
        region: _needed(folder, f"list of {region}", file, f"regions/{file}")
        for region, file in (("lve", "lve.txt"), ("upper_face", "fdd.txt"))
    }
    regions: dict[str, NDArray] = {
        region: np.unique(read_ids(path)) for region, path in lists.items()
    }
    for region, path in lists.items():
        _within({region: regions[region]}, mesh, path)
    top = mesh.vertices[regions["lve"], 1].max()
    regions["lower_face"] = np.flatnonzero(mesh.vertices[:, 1] <= top)
    own = _first_of(folder, "mouth_landmarks.txt")
    mouth = np.array(BIWI_MOUTH, dtype=np.int32) if own is None else read_ids(own)
    return regions, mouth


def ict(mesh: MeshFile, _: Path) -> Described:
    """ICT-FaceKit: its own table of parts and landmarks."""
    regions = {part: np.arange(first, last + 1) for part, (first, last) in ICT_PARTS.items()}
    skin = regions["skin"]
    low = skin[mesh.vertices[skin, 1] < mesh.vertices[ICT_NOSE_BASE, 1]]
    inside = [regions[part] for part in ("mouth_inside", "gums_and_tongue", "teeth_lower")]
    regions["lower_face"] = np.concatenate([low, *inside])
    regions["upper_face"] = np.setdiff1d(skin, low)
    return regions, np.array(ICT_MOUTH, dtype=np.int32)


def mediapipe(mesh: MeshFile, _: Path) -> Described:
    """MediaPipe: the regions of the tracker; without the irises where the mesh has none."""
    regions = face_regions(mesh.triangles)
    there = {region: ids[ids < len(mesh.vertices)] for region, ids in regions.items()}
    return there, None


def _within(regions: Mapping[str, NDArray], mesh: MeshFile, path: Path) -> None:
    for region, ids in regions.items():
        if len(ids) == 0 or ids.max() >= len(mesh.vertices):
            raise ValueError(
                f"{path}: {region} names {len(ids)} vertices, the last {ids.max(initial=-1)}, of a "
                f"mesh with {len(mesh.vertices)}; give the list of this topology"
            )
