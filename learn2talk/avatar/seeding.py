"""Where the splats of a new avatar begin: on the mesh, and in a loose shell where hair may be.

Axis letters: N splats, T frames, V vertices, F triangles, H W picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learn2talk.avatar.binding import bind_to, posed_in, quaternions_of, triangle_frames
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.even_choice import evenly
from learn2talk.avatar.films import Shot, TrackedPerson
from learn2talk.avatar.splats import SH_C0, SH_COEFFICIENTS, BoundSplats, Splats
from learn2talk.schema import FaceTemplate

# How densely regions are covered, beside skin: detail is where the mouth and the eyes are.
_DENSITY = {
    "mouth_inside": 2.0,
    "tongue": 2.0,
    "teeth_upper": 5.0,
    "teeth_lower": 5.0,
    "lips": 5.0,
    "eye_white": 4.0,
    "iris": 4.0,
    "lid": 12.0,  # folded away nearly always: wide splats would hang over the eye
    "lash": 12.0,
    "brow": 3.0,
}
_BEHIND = 0.25  # density of what faces away from the camera
# How far from the mesh the shell reaches, mm, where a person may be larger than the head is.
_SHELL_MM = {"hair": 30.0, "ears": 15.0, "neck": 8.0, "skin": 12.0}
_BARE = ("lips", "mouth_inside", "eye_white", "lid", "lash", "brow", "nostril")  # no shell there
_SURFACE_OPACITY, _SHELL_OPACITY = 0.7, 0.1
_COLOUR_FRAMES, _WIDEST_OF = 9, 60
_FLATNESS = 0.35  # thickness of a splat on the surface by its width


@dataclass(frozen=True)
class SeedConfig:
    """How many splats, and how many of them off the mesh."""

    count: int = 12_000
    """N."""
    shell_share: float = 0.35
    """Share of the splats that begin away from the mesh, 0 to 1."""
    sh_degree: int = 0
    """Of the colours: 0 to 3. One camera sees a point from few sides, so that more is guessed."""
    body: bool = False
    """Whether what is below the neck is covered too. A person's body does not turn with the head,
    and belongs to the backdrop."""
    seed: int = 0
    """Of the draw."""

    def __post_init__(self) -> None:
        if self.count < 1 or not 0.0 <= self.shell_share <= 1.0:
            raise ValueError(f"seeding: count and shell_share cannot be: {self}")
        if self.sh_degree not in SH_COEFFICIENTS:
            raise ValueError(f"seeding: sh_degree is {self.sh_degree}; give 0, 1, 2 or 3")


def seed_splats(person: TrackedPerson, config: SeedConfig, shots: Sequence[Shot]) -> BoundSplats:
    """Splats to begin with, coloured by what the films show at their places.

    Args:
        person: tracked films.
        config: how many, and where.
        shots: the frames, 1 or more, that may be looked at: those that are fitted.

    Returns:
        N bound splats, float32, of the degree that the configuration names.
    """
    template = person.template
    generator = np.random.default_rng(config.seed)
    corners = _widest(person, shots)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1) / 2.0
    outward = normals / np.maximum(2.0 * area, 1e-12)[:, None]
    density = _density(template, outward, config.body)
    weight = area * density
    shell_mm = _shell(template, outward)
    on_shell = round(config.shell_share * config.count) if shell_mm.any() else 0
    surface = generator.choice(
        len(area), config.count - on_shell, p=weight / weight.sum(), replace=True
    )
    shell_weight = area * (shell_mm > 0)
    around = generator.choice(
        len(area), on_shell, p=shell_weight / max(shell_weight.sum(), 1e-12), replace=True
    )
    ids = np.concatenate([surface, around])
    away = np.concatenate(
        [np.zeros(len(surface)), shell_mm[around] * generator.uniform(0, 1, on_shell)]
    )
    points = _points_in(corners[ids], generator) + away[:, None] * outward[ids]
    # So wide that the splats of the surface just cover it.
    width = np.sqrt(area.sum() / config.count)
    wide = np.where(away > 0, 1.2 * width, width / np.sqrt(np.maximum(density[ids], _BEHIND)))
    thin = np.where(away > 0, wide, _FLATNESS * wide)
    # Each triangle by itself, as it is when it is widest.
    vertices = torch.from_numpy(corners.reshape(-1, 3).astype(np.float32))
    triangles = torch.arange(len(vertices)).reshape(-1, 3)
    frames = triangle_frames(vertices, triangles)
    rest = Splats(
        positions=torch.from_numpy(points.astype(np.float32)),
        log_scales=torch.from_numpy(np.log(np.stack([wide, thin, wide], 1)).astype(np.float32)),
        rotations=quaternions_of(frames.rotation)[torch.from_numpy(ids)],
        opacity_logits=_logit(np.where(away > 0, _SHELL_OPACITY, _SURFACE_OPACITY)),
        sh=torch.zeros(len(ids), SH_COEFFICIENTS[config.sh_degree], 3),
    )
    bound = bind_to(rest, torch.from_numpy(ids), vertices, triangles)
    bound.local.sh[:, 0] = (_colours(person, bound, outward, shots) - 0.5) / SH_C0
    return bound


def _widest(person: TrackedPerson, shots: Sequence[Shot]) -> NDArray[np.float64]:
    """The corners (F, 3, 3) of each triangle in that frame, of up to 60, in which it is largest.

    At rest the lids are folded away and the lips hide what is inside: splats have no room there.
    """
    triangles = person.template.triangles
    widest = person.template.vertices.astype(np.float64)[triangles]
    largest = np.zeros(len(triangles))
    for shot in _some(shots, _WIDEST_OF):
        corners = person.films[shot.film].vertices[shot.frame].astype(np.float64)[triangles]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(normal, axis=1)
        larger = area > largest
        widest[larger], largest[larger] = corners[larger], area[larger]
    return widest


def _some(shots: Sequence[Shot], most: int) -> list[Shot]:
    return [shots[place] for place in evenly(len(shots), most)]


def _logit(opacity: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.log(opacity / (1.0 - opacity)).astype(np.float32))


def _density(
    template: FaceTemplate, outward: NDArray[np.float64], body: bool
) -> NDArray[np.float64]:
    """Splats by area of each triangle (F,), skin seen from the front being 1."""
    of_vertex = np.ones(len(template.vertices))
    if not body:
        of_vertex[template.regions.get("shirt", np.zeros(0, np.int32))] = 0.0
    for name, density in _DENSITY.items():
        of_vertex[template.regions.get(name, np.zeros(0, np.int32))] = density
    of_triangle: NDArray[np.float64] = of_vertex[template.triangles].max(axis=1)
    return np.where(outward[:, 2] < -0.2, _BEHIND, 1.0) * of_triangle


def _shell(template: FaceTemplate, outward: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the shell reaches above each triangle (F,), mm; 0 where there is none."""
    of_vertex = np.zeros(len(template.vertices))
    for name, reach in reversed(_SHELL_MM.items()):
        of_vertex[template.regions.get(name, np.zeros(0, np.int32))] = reach
    for name in _BARE:
        of_vertex[template.regions.get(name, np.zeros(0, np.int32))] = 0.0
    reach = of_vertex[template.triangles].min(axis=1)
    skin = np.isin(template.triangles, template.regions.get("skin", [])).all(axis=1)
    # In the middle of the face nothing stands away from the skin.
    reach[skin & (outward[:, 2] > 0.5)] = 0.0
    reach[outward[:, 2] < -0.5] = 0.0
    return reach


def _points_in(corners: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """A point (N, 3) in each of N triangles, evenly drawn."""
    u, v = generator.uniform(0, 1, (2, len(corners), 1))
    turned = u + v > 1.0
    u, v = np.where(turned, 1.0 - u, u), np.where(turned, 1.0 - v, v)
    points: NDArray[np.float64] = (
        (1.0 - u - v) * corners[:, 0] + u * corners[:, 1] + v * corners[:, 2]
    )
    return points


def _colours(
    person: TrackedPerson,
    bound: BoundSplats,
    outward: NDArray[np.float64],
    shots: Sequence[Shot],
) -> Tensor:
    """What the films show at the splats' places, (N, 3) in 0 to 1: the median of some frames.

    What faces away takes the mean colour of its region's splats that are seen.
    """
    template = person.template
    triangles = torch.from_numpy(template.triangles.astype(np.int64))
    seen = []
    for shot in _some(shots, _COLOUR_FRAMES):
        film, frame = shot.film, shot.frame
        vertices = torch.from_numpy(person.films[film].vertices[frame])
        posed = posed_in(bound.local, triangle_frames(vertices, triangles), bound.triangle_ids)
        x, y, _ = in_picture(posed.positions.numpy(), person.camera_of(film, frame))
        picture = person.films[film].pictures[frame]
        rows = np.clip(y.astype(int), 0, picture.shape[0] - 1)
        columns = np.clip(x.astype(int), 0, picture.shape[1] - 1)
        seen.append(picture[rows, columns])
    colours = np.median(seen, axis=0) / 255.0
    hidden = outward[bound.triangle_ids.numpy(), 2] < 0.0
    corner = template.triangles[bound.triangle_ids.numpy(), 0]
    for name in ("hair", "ears", "neck", "skin"):
        of_region = np.isin(corner, template.regions.get(name, []))
        if (of_region & ~hidden).any():
            colours[of_region & hidden] = colours[of_region & ~hidden].mean(axis=0)
    return torch.from_numpy(colours.astype(np.float32))


def in_picture(
    points: NDArray, camera: PinholeCamera
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """x, y (N,) in pixels and the depth (N,) of points (N, 3), in the points' unit."""
    x, y, z = (points.astype(np.float64) @ camera.rotation.T + camera.translation).T
    return camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy, z
