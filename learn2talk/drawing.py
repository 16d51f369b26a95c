"""Draws a face: frames to look at, and the mouth crops that a lip reader sees. Pure, no files.

Works on any topology with the regions ``lips_outer`` and ``lips_inner``; a mesh without a mouth's
inside gets a dark one. Orthographic camera; colours by region.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from avsr.units import MOUTH_CROP_SIZE
from learn2talk.mesh import vertex_normals
from learn2talk.schema import FaceTemplate

Colour = tuple[int, int, int]
CROP_MOUTH_SHARE = 0.475  # of a mouth crop's width lies between the corners of the mouth
_GLOSS = {
    "lips": 0.10,
    "tongue": 0.12,
    "skin": 0.03,
    "teeth_upper": 0.12,
    "teeth_lower": 0.12,
    "eye_white": 0.25,
    "pupil": 0.5,
    "iris": 0.3,
    "hair": 0.05,
}


@dataclass(frozen=True)
class Palette:
    """Colours of a face, RGB 0-255; ``light`` points to the light (x right, y up, z viewer)."""

    skin: Colour = (232, 190, 165)
    lips: Colour = (190, 98, 96)
    hair: Colour = (74, 50, 38)
    iris: Colour = (88, 118, 140)
    shirt: Colour = (66, 92, 120)
    background: Colour = (226, 230, 234)
    light: tuple[float, float, float] = (-0.35, 0.45, 0.82)


@dataclass(frozen=True)
class Camera:
    """Orthographic view from the front: ``centre`` (x, y) mm lies in the middle of the picture.

    ``mm_per_picture`` is the height and width that the picture shows; ``yaw`` and ``pitch`` turn
    the face about the origin, radians, positive to the viewer's right and up; ``roll`` turns the
    picture counter-clockwise about its middle.
    """

    centre: tuple[float, float]
    mm_per_picture: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class DrawnSurface:
    """What is drawn: ``source`` (N,) vertex of the motion that each drawn vertex follows, pushed
    back by ``sink`` (N,) mm; triangles (F, 3) of drawn vertices, colours (N, 3) and gloss (N,)."""

    source: np.ndarray
    sink: np.ndarray
    triangles: np.ndarray
    colours: np.ndarray
    gloss: np.ndarray


def face_camera(template: FaceTemplate) -> Camera:
    """A camera that shows the whole face of a template with a margin."""
    skin = template.regions.get("skin", np.arange(len(template.vertices)))
    points = template.vertices[skin, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float(max(high - low)) * 1.18
    return Camera((float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2), extent)


def render_frames(
    vertices: np.ndarray,
    template: FaceTemplate,
    *,
    size: int = 512,
    palette: Palette = Palette(),
    camera: Camera | None = None,
    supersampling: int = 2,
    num_threads: int = 2,
) -> Iterator[np.ndarray]:
    """Draw a motion.

    Args:
        vertices: (T, V, 3) mm.
        template: gives triangles and regions; V vertices.
        size: height and width in pixels.
        palette: colours by region, and the light.
        camera: :func:`face_camera` by default.
        supersampling: pixels drawn per pixel in each direction, 1 or more; 2 smooths the edges.
        num_threads: frames drawn side by side.

    Yields:
        uint8 RGB (size, size, 3), contiguous, one a frame.

    Raises:
        ValueError: the shapes disagree, a vertex is not a number, or numba is not installed.
    """
    surface = drawn_surface(template, palette)
    view = camera or face_camera(template)
    moved = _checked(vertices, template)
    with ThreadPoolExecutor(max_workers=num_threads) as pool:
        # Bounded look-ahead: a long motion must not fill the memory with finished frames.
        for start in range(0, len(moved), 4 * num_threads):
            block = moved[start : start + 4 * num_threads]
            yield from pool.map(
                lambda frame: _draw(frame, surface, view, palette, size, supersampling), block
            )


def render_mouth_crops(
    vertices: np.ndarray,
    template: FaceTemplate,
    *,
    size: int = MOUTH_CROP_SIZE,
    palette: Palette = Palette(),
    camera: Camera | None = None,
    supersampling: int = 2,
) -> np.ndarray:
    """Draw the mouth as a lip reader sees it: gray, centred on the mouth at rest, at its scale.

    Args:
        vertices: (T, V, 3) mm.
        template: gives triangles, regions and the mouth at rest, whose corners lie
            ``CROP_MOUTH_SHARE`` of the width apart.
        size: height and width in pixels; palette: colours and light.
        camera: :func:`mouth_camera` by default.
        supersampling: pixels drawn per pixel in each direction.

    Returns:
        uint8 (T, size, size).

    Raises:
        ValueError: as :func:`render_frames`.
    """
    surface = drawn_surface(template, palette)
    view = camera or mouth_camera(template)
    moved = _checked(vertices, template)
    crops = np.empty((len(moved), size, size), dtype=np.uint8)
    for index, frame in enumerate(moved):
        picture = _draw(frame, surface, view, palette, size, supersampling)
        crops[index] = (picture @ np.array([0.299, 0.587, 0.114]) + 0.5).astype(np.uint8)
    return crops


def mouth_camera(template: FaceTemplate, *, yaw: float = 0.0, pitch: float = 0.0) -> Camera:
    """The camera of :func:`render_mouth_crops`."""
    turned = template.lips @ _rotation(yaw, pitch).T
    outer = turned[:20]
    width = float(np.linalg.norm(template.lips[10] - template.lips[0]))
    centre = (outer[0] + outer[10]) / 2
    middle = turned[20 + 5] + turned[20 + 15]
    return Camera((float(centre[0]), float(middle[1]) / 2), width / CROP_MOUTH_SHARE, yaw, pitch)


def _checked(vertices: np.ndarray, template: FaceTemplate) -> np.ndarray:
    expected = template.vertices.shape
    if vertices.ndim != 3 or vertices.shape[1:] != expected:
        raise ValueError(
            f"motion has shape {vertices.shape}, but its template {template.topology!r} has "
            f"{expected[0]} vertices; give (T, {expected[0]}, 3)"
        )
    moved = np.ascontiguousarray(vertices, dtype=np.float32)
    if not np.isfinite(moved).all():
        frame = int(np.flatnonzero(~np.isfinite(moved).all(axis=(1, 2)))[0])
        raise ValueError(
            f"motion has a vertex that is not a number in frame {frame}; nothing drawn"
        )
    return moved


def drawn_surface(template: FaceTemplate, palette: Palette) -> DrawnSurface:
    """What is drawn of a template: its own triangles, or with a dark mouth where it has no inside.

    Raises:
        ValueError: the template has neither the region ``mouth_inside`` nor ``lips_inner``.
    """
    count = len(template.vertices)
    shade = vertex_colours(template, palette)
    gloss = np.full(count, _GLOSS["skin"], dtype=np.float32)
    for name in _region_colours(palette):
        if name in template.regions and name not in ("lips", "skin"):
            gloss[template.regions[name]] = _GLOSS.get(name, 0.0)
    gloss[template.regions.get("lips", template.lip_ids)] = _GLOSS["lips"]
    source, sink = np.arange(count), np.zeros(count, dtype=np.float32)
    triangles = wound_to_viewer(template)
    if "mouth_inside" not in template.regions:
        inner = template.region("lips_inner")
        triangles, source = _dark_mouth(triangles, inner, count)
        dark = np.tile(np.array([[46, 18, 20]], dtype=np.float32), (len(inner), 1))
        shade = np.concatenate([shade, dark])
        gloss = np.concatenate([gloss, np.zeros(len(inner), dtype=np.float32)])
        sink = np.concatenate([sink, np.full(len(inner), 4.0, dtype=np.float32)])
    near_first = np.argsort(
        -template.vertices[source][triangles][:, :, 2].mean(axis=1), kind="stable"
    )
    ordered = np.ascontiguousarray(triangles[near_first], dtype=np.int32)
    return DrawnSurface(source, sink, ordered, shade, gloss)


def vertex_colours(template: FaceTemplate, palette: Palette) -> np.ndarray:
    """Unlit colour of each vertex by the template's regions, float32 (V, 3), sRGB 0-255."""
    shade = np.tile(np.array(palette.skin, dtype=np.float32), (len(template.vertices), 1))
    shade *= _cavity_shade(template)[:, None]
    for name, colour in _region_colours(palette).items():
        if name in template.regions and name not in ("lips", "skin"):
            shade[template.regions[name]] = colour
    for name in ("lips", "lips_outer", "lips_inner"):
        shade[template.regions.get(name, np.zeros(0, dtype=np.int32))] = palette.lips
    return shade


def _region_colours(palette: Palette) -> dict[str, tuple[int, ...]]:
    return {
        "skin": palette.skin,
        "ears": tuple(int(0.95 * c) for c in palette.skin),
        "neck": tuple(int(0.90 * c) for c in palette.skin),
        "lips": palette.lips,
        "mouth_inside": (58, 20, 22),
        "teeth_upper": (240, 236, 226),
        "teeth_lower": (226, 221, 210),
        "tongue": (186, 98, 98),
        "eye_white": (246, 245, 243),
        "iris": palette.iris,
        "pupil": (22, 20, 22),
        "nostril": tuple(int(0.45 * c) for c in palette.skin),
        "glint": (255, 255, 255),
        "lash": (52, 36, 32),
        "lid": tuple(int(0.88 * c) for c in palette.skin),
        "brow": palette.hair,
        "hair": palette.hair,
        "shirt": palette.shirt,
    }


def wound_to_viewer(template: FaceTemplate) -> np.ndarray:
    """The triangles, turned over where the front of the face is wound clockwise."""
    corners = template.vertices[template.triangles]
    turn = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
    depth = corners[:, :, 2].mean(axis=1)
    front = turn[depth >= np.median(depth)].sum()
    return template.triangles if front >= 0 else template.triangles[:, ::-1]


def _cavity_shade(template: FaceTemplate) -> np.ndarray:
    """Brightness float32 (V,): folds and sockets a little darker, ridges a little lighter."""
    vertices, triangles = template.vertices.astype(np.float64), template.triangles
    ends = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    one, other = np.concatenate([ends, ends[:, ::-1]]).T

    def neighbours_mean(values: np.ndarray) -> np.ndarray:
        total, count = np.zeros_like(values), np.zeros((len(values), 1))
        np.add.at(total, one, values[other])
        np.add.at(count, one, 1.0)
        return np.where(count > 0, total / np.maximum(count, 1.0), values)

    inward = neighbours_mean(vertices) - vertices
    depth = (inward * vertex_normals(vertices, triangles)).sum(axis=1, keepdims=True)
    for _ in range(2):  # the facets' own unevenness is not a fold
        depth = 0.4 * depth + 0.6 * neighbours_mean(depth)
    return np.clip(1.0 - 0.16 * depth[:, 0], 0.80, 1.05).astype(np.float32)


def _dark_mouth(
    triangles: np.ndarray, inner: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Replace what lies inside the inner lip contour by a dark sheet on copies of its vertices."""
    kept = triangles[~np.isin(triangles, inner).all(axis=1)]
    place = np.arange(len(inner))
    half = len(inner) // 2
    below, above = place[: half + 1], np.roll(place[::-1], 1)[: half + 1]
    sheet = []
    for step in range(half):
        sheet += [
            (below[step], below[step + 1], above[step + 1]),
            (below[step], above[step + 1], above[step]),
        ]
    dark = count + np.array([t for t in sheet if len(set(t)) == 3], dtype=np.int32)
    return np.concatenate([kept, dark]), np.concatenate([np.arange(count), inner])


def _rotation(yaw: float, pitch: float) -> np.ndarray:
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return (nod @ turn).astype(np.float32)


def _draw(
    frame: np.ndarray,
    surface: DrawnSurface,
    camera: Camera,
    palette: Palette,
    size: int,
    supersampling: int,
) -> np.ndarray:
    from learn2talk import rasterize

    positions = frame[surface.source]
    positions[:, 2] -= surface.sink
    if camera.yaw or camera.pitch:
        positions = positions @ _rotation(camera.yaw, camera.pitch).T
    light = np.array(palette.light, dtype=np.float32)
    shaded = np.empty_like(surface.colours)
    rasterize.shade(
        positions,
        surface.triangles,
        surface.colours,
        surface.gloss,
        light / np.linalg.norm(light),
        shaded,
    )
    pixels = size * supersampling
    per_mm = pixels / camera.mm_per_picture
    screen = np.empty_like(positions)
    x, y = positions[:, 0] - camera.centre[0], positions[:, 1] - camera.centre[1]
    cosine, sine = np.cos(camera.roll), np.sin(camera.roll)
    screen[:, 0] = (cosine * x - sine * y) * per_mm + pixels / 2
    screen[:, 1] = -(sine * x + cosine * y) * per_mm + pixels / 2
    screen[:, 2] = positions[:, 2]
    image = np.empty((pixels, pixels, 3), dtype=np.uint8)
    image[0] = palette.background
    image[1:] = image[0]  # row by row: a broadcast pixel by pixel is ten times slower
    depth = np.full((pixels, pixels), -np.inf, dtype=np.float32)
    rasterize.draw(screen, surface.triangles, shaded, image, depth)
    out = np.empty((size, size, 3), dtype=np.uint8)
    rasterize.reduce(image, supersampling, out)
    return out
