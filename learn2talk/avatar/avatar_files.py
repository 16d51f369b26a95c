"""An avatar in one file: splats bound to a mesh, that mesh, and the camera that saw it.

The file is a `.ply` of GaussianAvatars' form whose tables behind the splats hold the rest, and
whose header says in one comment what they mean; readers that know only splats do not see them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from learn2talk.avatar.binding import check_binding, pose_splats
from learn2talk.avatar.camera_files import camera_facts, camera_of
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.splat_files import PlyTables, ply_blocks, ply_tables, splats_of, write_splats
from learn2talk.avatar.splats import BoundSplats, Splats
from learn2talk.schema import UNIT, FaceTemplate

FORMAT = 1
_MARK = "learn2talk avatar "
_VERTEX = np.dtype([(axis, "<f4") for axis in "xyz"])
_TRIANGLE = np.dtype([(corner, "<i4") for corner in "abc"])
_MEMBER = np.dtype([("region", "<i4"), ("vertex", "<i4")])
_PIXEL = np.dtype([(colour, "u1") for colour in ("red", "green", "blue")])


@dataclass(frozen=True, eq=False)
class Avatar:
    """A head of splats that a mesh drives.

    splats: in the frames of the template's triangles. template: the neutral mesh, mm. camera: that
    of the film it was made from, with the head in its mean pose; None where there was no film.
    background: uint8 (H, W, 3), what that camera saw behind the head. provenance: JSON-ready.

    Raises ValueError when a splat is bound to a triangle that the template lacks, or the background
    is not of the camera's size.
    """

    splats: BoundSplats
    template: FaceTemplate
    camera: PinholeCamera | None = None
    background: NDArray[np.uint8] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_binding(self.splats, len(self.template.triangles))
        if self.background is None:
            return
        if self.camera is None:
            raise ValueError("avatar: a background without the camera that saw it; give both")
        wanted = (self.camera.height, self.camera.width, 3)
        if self.background.shape != wanted or self.background.dtype != np.uint8:
            raise ValueError(
                f"avatar: background is {self.background.dtype} {self.background.shape}; its "
                f"camera needs uint8 {wanted}"
            )

    def posed(self, vertices: NDArray | torch.Tensor) -> Splats:
        """The splats where the mesh is as ``vertices`` (V, 3) say, mm.

        Raises:
            ValueError: another number of vertices than the template has.
        """
        if tuple(vertices.shape) != self.template.vertices.shape:
            raise ValueError(
                f"vertices have shape {tuple(vertices.shape)}; this avatar's mesh "
                f"{self.template.topology!r} has {self.template.vertices.shape}"
            )
        moved = torch.as_tensor(vertices, dtype=self.splats.local.positions.dtype)
        return pose_splats(
            self.splats, moved, torch.from_numpy(self.template.triangles.astype(np.int64))
        )


def save_avatar(path: Path | str, avatar: Avatar) -> None:
    """Write an avatar as one `.ply`, atomically."""
    names = list(avatar.template.regions)
    said: dict[str, Any] = {
        "format": FORMAT,
        "topology": avatar.template.topology,
        "unit": UNIT,
        "regions": names,
        "provenance": dict(avatar.provenance),
    }
    members = [
        np.array([(place, vertex) for vertex in avatar.template.regions[name]], _MEMBER)
        for place, name in enumerate(names)
    ]
    further = {
        "mesh_vertex": _table(avatar.template.vertices, _VERTEX),
        "mesh_triangle": _table(avatar.template.triangles, _TRIANGLE),
        "mesh_region": np.concatenate([np.empty(0, _MEMBER), *members]),
    }
    if avatar.camera is not None:
        said["camera"] = camera_facts(avatar.camera)
    if avatar.background is not None:
        further["background_pixel"] = _table(avatar.background.reshape(-1, 3), _PIXEL)
    comment = _MARK + json.dumps(said, sort_keys=True)
    write_splats(path, avatar.splats, comments=[comment], further=further)


def _table(values: NDArray, dtype: np.dtype) -> NDArray:
    """Rows (N, 3) as a structured array (N,)."""
    kind = dtype[0]
    table: NDArray = np.ascontiguousarray(values, kind).view(dtype)[:, 0]
    return table


def load_avatar(path: Path | str, template: FaceTemplate | None = None) -> Avatar:
    """Read an avatar.

    Args:
        path: `.ply` of `save_avatar`, or of GaussianAvatars with the mesh given besides.
        template: the neutral mesh of a file that holds none; None takes the file's own.

    Raises:
        ValueError: as `splat_files.read_splats`; splats that are not bound, no mesh, two meshes of
            different topology, or a triangle that the mesh lacks.
    """
    path = Path(path)
    tables = ply_tables(path)
    splats = splats_of(tables)
    if isinstance(splats, Splats):
        raise ValueError(
            f"{path}: its splats are bound to no mesh; bind them first: 'learn2talk avatar bind'"
        )
    said = _facts(tables)
    own = None if said is None else _template(tables, said)
    face = own if template is None else template
    if face is None:
        raise ValueError(
            f"{path}: its splats are bound to a mesh that the file does not hold (GaussianAvatars' "
            "form); 'learn2talk avatar from-flame' puts it in, or give it as template"
        )
    if own is not None and (own.topology, own.vertices.shape, own.triangles.shape) != (
        face.topology,
        face.vertices.shape,
        face.triangles.shape,
    ):
        raise ValueError(
            f"{path}: was made on {own.topology!r} ({len(own.vertices)} vertices), the template is "
            f"{face.topology!r} ({len(face.vertices)}); leave the template out"
        )
    camera = None if said is None or "camera" not in said else camera_of(said["camera"], path)
    background = None
    if camera is not None and "background_pixel" in tables.elements:
        pixels = _columns(tables, "background_pixel", _PIXEL)
        if len(pixels) != camera.height * camera.width:
            raise ValueError(
                f"{path}: its background has {len(pixels)} pixels, its camera "
                f"{camera.width} x {camera.height}; copy the file again"
            )
        background = pixels.reshape(camera.height, camera.width, 3)
    try:
        return Avatar(splats, face, camera, background, (said or {}).get("provenance", {}))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _facts(tables: PlyTables) -> dict[str, Any] | None:
    """What the header says of the mesh, or None where it says nothing."""
    line = next((c for c in tables.comments if c.startswith(_MARK)), None)
    if line is None:
        return None
    try:
        said = json.loads(line.removeprefix(_MARK))
    except ValueError as error:
        raise ValueError(
            f"{tables.path}: its comment is damaged ({error}); copy it again"
        ) from error
    wanted = {"format": int, "topology": str, "unit": str, "regions": list, "provenance": dict}
    wrong = [key for key, kind in wanted.items() if not isinstance(dict(said).get(key), kind)]
    if wrong:
        raise ValueError(f"{tables.path}: its comment lacks {', '.join(wrong)}; copy it again")
    if said["format"] != FORMAT or said["unit"] != UNIT:
        raise ValueError(
            f"{tables.path}: is of format {said['format']} in {said['unit']}; this version reads "
            f"format {FORMAT} in {UNIT}"
        )
    return dict(said)


def _template(tables: PlyTables, said: Mapping[str, Any]) -> FaceTemplate:
    path, names = tables.path, said["regions"]
    missing = [
        n for n in ("mesh_vertex", "mesh_triangle", "mesh_region") if n not in tables.elements
    ]
    if missing:
        raise ValueError(f"{path}: has no {', '.join(missing)}; copy it again")
    vertices = _columns(tables, "mesh_vertex", _VERTEX)
    members = _columns(tables, "mesh_region", _MEMBER)
    if not np.isfinite(vertices).all():
        raise ValueError(f"{path}: its mesh has vertices that are not finite; make it again")
    if len(members) and not 0 <= members[:, 0].min() <= members[:, 0].max() < len(names):
        raise ValueError(f"{path}: its regions do not fit their {len(names)} names; copy it again")
    regions = {name: members[members[:, 0] == place, 1] for place, name in enumerate(names)}
    triangles = _columns(tables, "mesh_triangle", _TRIANGLE)
    try:
        return FaceTemplate(said["topology"], vertices, triangles, regions)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _columns(tables: PlyTables, name: str, dtype: np.dtype) -> NDArray:
    """An element's rows as an array (N, width of dtype)."""
    found = [p.name for p in tables.elements[name][0].properties]
    if found != list(dtype.names or ()):
        raise ValueError(f"{tables.path}: {name} has {', '.join(found)}; copy the file again")
    blocks = [
        np.stack([block[field] for field in found], axis=1) for block in ply_blocks(tables, name)
    ]
    empty = np.empty((0, len(found)), dtype[0])
    return np.concatenate([empty, *blocks]).astype(dtype[0])
