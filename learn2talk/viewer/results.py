"""One named file as what the page shows: a moving mesh, splats, or splats on a moving mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from avsr.units import VIDEO_FPS
from learn2talk.drawing import (
    DrawnSurface,
    Palette,
    drawn_surface,
    vertex_colours,
    wound_to_viewer,
)
from learn2talk.files import load_motion
from learn2talk.mesh_files import read_mesh
from learn2talk.schema import FaceTemplate, Motion
from learn2talk.viewer.glb_motion import read_glb_motion

if TYPE_CHECKING:
    from learn2talk.avatar.splats import BoundSplats, Splats

Kind = Literal["motion", "avatar", "splats", "mesh"]
SUFFIXES = (".glb", ".npz", ".ply")


@dataclass(frozen=True, eq=False)
class Result:
    """What one file shows.

    name: the file's name. kind: "motion" (a mesh over time), "mesh" (at rest), "avatar" (splats on
    a mesh) or "splats" (without a mesh, at rest). motion: of the mesh, one frame where it is at
    rest; None for "splats". colours (V, 3) float32 sRGB 0-255: of the file, or None for those of
    the regions. splats: BoundSplats of an avatar, Splats of "splats", else None. notes: what a
    viewer should know of it, a line each.
    """

    name: str
    kind: Kind
    motion: Motion | None
    colours: NDArray[np.float32] | None = None
    splats: BoundSplats | Splats | None = None
    notes: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether there is more than one frame."""
        return self.motion is not None and len(self.motion.vertices) > 1


def read_result(path: Path | str, mesh: FaceTemplate | None = None) -> Result:
    """Read a `.npz` motion, a `.glb`, or a `.ply` (avatar, 3D Gaussians, or a mesh).

    Args:
        path: of the file.
        mesh: what bound splats ride on whose file holds no mesh (GaussianAvatars' form).

    Raises:
        ValueError: no such file, another kind of file, or one that its reader refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: {suffix or 'no suffix'} is not one of {', '.join(SUFFIXES)}; give a motion, "
            "a glTF binary, an avatar or a mesh"
        )
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path")
    if suffix == ".npz":
        motion, _ = load_motion(path)
        if not len(motion.vertices):
            raise ValueError(f"{path}: has no frame; make the motion again")
        return Result(path.name, "motion", motion)
    if suffix == ".glb":
        found = read_glb_motion(path)
        kind: Kind = "motion" if len(found.motion.vertices) > 1 else "mesh"
        return Result(path.name, kind, found.motion, found.colours, notes=found.notes)
    return _read_ply(path, mesh)


def _read_ply(path: Path, mesh: FaceTemplate | None) -> Result:
    from learn2talk.avatar.avatar_files import load_avatar
    from learn2talk.avatar.splat_files import BINDING, ply_tables, splats_of
    from learn2talk.avatar.splats import Splats

    tables = ply_tables(path)
    vertex = tables.elements.get("vertex")
    names = [] if vertex is None else [prop.name for prop in vertex[0].properties]
    if BINDING in names:
        own = "mesh_vertex" in tables.elements
        avatar = load_avatar(path, None if own else mesh)
        rest = Motion(avatar.template.vertices[None], VIDEO_FPS, avatar.template)
        return Result(path.name, "avatar", rest, splats=avatar.splats)
    if vertex is not None and "opacity" not in names:
        surface = read_mesh(path)
        template = FaceTemplate(path.stem, surface.vertices.astype(np.float32), surface.triangles)
        return Result(path.name, "mesh", Motion(template.vertices[None], VIDEO_FPS, template))
    splats = splats_of(tables)
    assert isinstance(splats, Splats)  # without the column of a binding
    return Result(path.name, "splats", None, splats=splats)


def driven(avatar: Result, motion: Motion) -> Result:
    """The avatar moved by a motion of its topology: displacements from neutral are carried over.

    Raises:
        ValueError: another topology.
    """
    from learn2talk.head_pose import with_head_pose, without_head_pose

    own = avatar.motion
    assert own is not None
    if not same_topology(own.template, motion.template):
        raise ValueError(
            f"{avatar.name} is made on {described(own.template)}, the motion is of "
            f"{described(motion.template)}; give a motion of the avatar's topology"
        )
    free = without_head_pose(motion)
    moved = own.template.vertices + (free.vertices - motion.template.vertices)
    carried = Motion(moved, motion.fps, own.template)
    if motion.head_pose is not None:
        carried = with_head_pose(carried, motion.head_pose)
    return replace(avatar, motion=carried)


def same_topology(one: FaceTemplate, other: FaceTemplate) -> bool:
    """Whether vertex i is the same point of the face in both."""
    return (one.topology, len(one.vertices)) == (other.topology, len(other.vertices))


def described(template: FaceTemplate) -> str:
    """Topology and number of vertices for a message."""
    return f"topology {template.topology!r} with {len(template.vertices)} vertices"


def with_regions(result: Result, known: Mapping[str, FaceTemplate]) -> Result:
    """The result with the regions of a known template of its topology, where it has none itself.

    Args:
        result: of any kind.
        known: templates with regions by topology.
    """
    motion = result.motion
    if motion is None or motion.template.regions:
        return result
    template = known.get(motion.template.topology)
    if template is None or not same_topology(template, motion.template):
        return result
    regions = replace(motion.template, regions=template.regions)
    return replace(result, motion=replace(motion, template=regions))


def surface_of(result: Result) -> DrawnSurface:
    """The triangles to draw and their colours; a mesh without a mouth's inside gets a dark one.

    Raises:
        ValueError: the result has no mesh.
    """
    if result.motion is None:
        raise ValueError(f"{result.name}: has no mesh; it is made of splats alone")
    template, palette = result.motion.template, Palette()
    if "mouth_inside" in template.regions or "lips_inner" in template.regions:
        surface = drawn_surface(template, palette)
    else:
        count = len(template.vertices)
        surface = DrawnSurface(
            source=np.arange(count),
            sink=np.zeros(count, np.float32),
            triangles=wound_to_viewer(template),
            colours=vertex_colours(template, palette),
            gloss=np.zeros(count, np.float32),
        )
    if result.colours is None:
        return surface
    shade = surface.colours.copy()
    shade[: len(result.colours)] = result.colours
    return replace(surface, colours=shade)
