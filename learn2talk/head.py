"""The procedural head: a stylised human face made by code, the same topology for every identity.

Rings of vertices spread from the inner lip contour over the face; teeth, tongue, eyes, brows, ears,
hair and neck are parts of their own. Millimetres, x to the image's right, y up, z to the viewer; the
origin lies between the outer eye corners. Nothing here was taken from a scan or another model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from learn2talk.mesh import MeshAssembly, fan_triangles, grid_triangles
from learn2talk.schema import CONTOUR_POINTS, FaceTemplate

TOPOLOGY = "procedural_head"
SPOKES = 40  # vertices in a ring around the mouth; every second one is a canonical lip point
INSIDE_RINGS = 3  # from the lips' contact line into the mouth
LIP_RINGS = 4  # inner contour, two of the vermilion, outer contour
FACE_RINGS = 28  # from the outer contour to behind the ears
MOUTH_Y = -70.0

# Profile of the head at x = 0 (front z) and its half width, by height above the eyes; mm.
_PROFILE = np.array(
    [  # y, half width, front z
        (121, 1, 2), (112, 36, 40), (95, 57, 66), (75, 69, 82), (50, 74, 91), (25, 75, 95), (5, 74, 91),
        (-15, 72, 89), (-40, 69, 90), (-70, 62, 91), (-90, 52, 88), (-105, 38, 84), (-114, 24, 75),
        (-119, 10, 56), (-122, 1, 40),
    ]
)  # fmt: skip
_CENTRE_Y, _HALF_HEIGHT = -0.5, 121.0
_ROUNDNESS = 2.25  # exponent of the horizontal superellipse


@dataclass(frozen=True)
class HeadIdentity:
    """What differs between two heads; 1 is the average, sensible values 0.85 to 1.15."""

    width: float = 1.0
    jaw_width: float = 1.0
    length: float = 1.0
    nose_length: float = 1.0
    nose_width: float = 1.0
    mouth_width: float = 1.0
    lip_fullness: float = 1.0
    eye_size: float = 1.0
    cheek: float = 1.0
    chin: float = 1.0


def random_identity(generator: np.random.Generator) -> HeadIdentity:
    """A head drawn from ``generator``, within 12 % of the average in every measure."""
    spread = (0.04, 0.08, 0.04, 0.08, 0.10, 0.08, 0.14, 0.06, 0.3, 0.25)
    draws = np.clip(generator.standard_normal(len(spread)), -1.5, 1.5)
    return HeadIdentity(*(1.0 + float(s * d) for s, d in zip(spread, draws, strict=True)))


@dataclass(frozen=True)
class Head:
    """A neutral head and what articulation needs to know of its skin.

    ``template``: the FaceTemplate (mouth closed). ``ring`` int (V,): ring of a vertex of the skin or
    the mouth's inside (-3..-1 inside, 0 inner contour, 3 outer contour, above: face), 99 elsewhere.
    ``spoke`` int (V,): its place around the mouth. ``reach`` float (V,): share of the lips' movement
    that it follows, 0-1. ``jaw`` float (V,): share of the jaw's rotation, 0-1.
    """

    template: FaceTemplate
    ring: np.ndarray
    spoke: np.ndarray
    reach: np.ndarray
    jaw: np.ndarray
    mouth_half_width: float


@lru_cache(maxsize=64)
def build_head(identity: HeadIdentity = HeadIdentity()) -> Head:  # noqa: B008 (frozen)
    """The head of an identity; the same triangles, regions and vertex numbering for all of them."""
    surface = _Surface(identity)
    parts = MeshAssembly()
    half_width = 25.0 * identity.mouth_width
    ring, spoke, distance = _add_skin(parts, surface, half_width)
    _add_mouth_inside(parts, surface, half_width)
    num_skin = parts.num_vertices
    _add_teeth(parts, surface)
    _add_tongue(parts, surface)
    for side in (-1.0, 1.0):
        _add_eye(parts, surface, side)
    for side in (-1.0, 1.0):
        _add_ear(parts, surface, side)
    _add_hair(parts, surface)
    _add_neck(parts)

    vertices = np.concatenate(parts.vertices)
    # Outer eye corners' plane becomes z = 0.
    vertices[:, 2] -= float(surface.front_z(np.array([45.0]), np.array([0.0]))[0])
    count = len(vertices)
    all_ring = np.full(count, 99)
    all_spoke = np.zeros(count, dtype=int)
    reach = np.zeros(count)
    jaw = np.zeros(count)
    inside = np.repeat(np.arange(-1, -INSIDE_RINGS - 1, -1), SPOKES)
    all_ring[:num_skin] = np.concatenate([ring, inside, [-INSIDE_RINGS]])
    all_spoke[:num_skin] = np.concatenate([spoke, np.tile(np.arange(SPOKES), INSIDE_RINGS), [0]])
    reach[: len(distance)] = np.exp(-((distance / 15.0) ** 2) * 0.5 - distance / 40.0)
    reach[len(distance) : num_skin - 1] = np.repeat((1.0, 0.8, 0.1), SPOKES)
    jaw[:num_skin] = _jaw_weights(vertices[:num_skin], all_ring[:num_skin], all_spoke[:num_skin])
    regions = {name: np.concatenate(ids) for name, ids in parts.regions.items()}
    for name in ("teeth_lower", "tongue"):
        jaw[regions[name]] = 1.0
    regions |= _skin_regions(vertices, all_ring, num_skin)
    template = FaceTemplate(
        topology=TOPOLOGY,
        vertices=vertices.astype(np.float32),
        triangles=np.concatenate(parts.triangles),
        regions={
            name: np.unique(ids) if "lips_" not in name else ids for name, ids in regions.items()
        },
    )
    return Head(template, all_ring, all_spoke, reach, jaw, half_width)


class _Surface:
    """The face without its mouth as a surface over directions, and its front as z(x, y)."""

    def __init__(self, identity: HeadIdentity) -> None:
        self.identity = identity
        heights = np.arange(-122.0, 121.5, 0.5)
        columns = [np.interp(heights, _PROFILE[::-1, 0], _PROFILE[::-1, c]) for c in (1, 2)]
        kernel = np.exp(-0.5 * (np.arange(-16, 17) / 6.0) ** 2)
        smooth = [
            np.convolve(np.pad(c, 16, mode="edge"), kernel / kernel.sum(), "valid") for c in columns
        ]
        jaw = 1.0 + (identity.jaw_width - 1.0) * _smoothstep(heights, -20.0, -90.0)
        self._heights = heights
        self._half_width = smooth[0] * identity.width * jaw
        self._front = smooth[1]

    def half_width(self, y: np.ndarray) -> np.ndarray:
        return np.interp(y, self._heights, self._half_width)

    def from_directions(self, directions: np.ndarray) -> np.ndarray:
        """Points (N, 3) of unit directions (N, 3) from the head's centre."""
        y = _CENTRE_Y + _HALF_HEIGHT * directions[:, 1]
        angle = np.arctan2(directions[:, 0], directions[:, 2])
        sine, cosine = np.sin(angle), np.cos(angle)
        scale = (np.abs(sine) ** _ROUNDNESS + np.abs(cosine) ** _ROUNDNESS) ** (-1 / _ROUNDNESS)
        x = self.half_width(y) * sine * scale
        z = np.interp(y, self._heights, self._front) * cosine * scale
        front = _smoothstep(cosine, 0.0, 0.5)
        return np.stack([x, y, z + front * self._relief(x, y)], axis=1)

    def to_directions(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Unit directions (N, 3) of the front points above the plane position (x, y)."""
        up = (y - _CENTRE_Y) / _HALF_HEIGHT
        share = np.clip(np.abs(x) / self.half_width(y), 0.0, 0.999)
        depth = (1.0 - share**_ROUNDNESS) ** (1 / _ROUNDNESS)
        angle = np.arctan2(np.sign(x) * share, depth)
        level = np.sqrt(1.0 - up**2)
        return np.stack([level * np.sin(angle), up, level * np.cos(angle)], axis=1)

    def front_z(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """z of the front of the face at plane positions."""
        return self.from_directions(self.to_directions(x, y))[:, 2]

    def _relief(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Nose, brows, sockets, cheeks, chin: what is added to z of the smooth head."""
        who = self.identity
        away = np.abs(x)
        tip_y = -44.0 * who.nose_length
        bridge = np.clip((8.0 - y) / (8.0 - tip_y), 0.0, 1.0)
        below = np.clip((tip_y - y) / 10.0, 0.0, 1.0)
        height = (1.0 + 21.0 * bridge**1.5) * (1.0 - _smoothstep(below, 0.0, 1.0))
        height = height * _smoothstep(y, 24.0, 4.0)
        half = (7.0 + 5.0 * bridge**2) * who.nose_width
        nose = height * np.exp(-((away / half) ** 2))
        wings = 7.0 * _bump(away - 11.0 * who.nose_width, y - tip_y - 1.0, 6.5, 6.5)
        sockets = -8.0 * _bump(away - 31.0, y + 1.0, 17.0, 12.0)
        brows = 3.0 * _bump(away - 28.0, y - 20.0, 22.0, 8.0)
        cheeks = 4.5 * who.cheek * _bump(away - 40.0, y + 30.0, 19.0, 18.0)
        muzzle = 5.0 * _bump(x, y - MOUTH_Y + 1.0, 27.0, 19.0)
        fold = -2.5 * _bump(x, y + 87.0, 20.0, 4.5)
        philtrum = -1.2 * _bump(x, y + 57.5, 2.6, 5.0)
        chin = 6.0 * who.chin * _bump(x, y + 103.0, 17.0, 10.0)
        return nose + wings + sockets + brows + cheeks + muzzle + fold + philtrum + chin


def _smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def _bump(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    return np.exp(-((x / width) ** 2) - (y / height) ** 2)


def _lip_contours(identity: HeadIdentity, half_width: float) -> tuple[np.ndarray, np.ndarray]:
    """Inner and outer contour in the plane, (SPOKES, 2) each, from the left corner along the lower lip."""
    step = np.arange(SPOKES)
    across = -np.cos(2.0 * np.pi * step / SPOKES)
    upper = step > SPOKES // 2
    full = identity.lip_fullness
    x = half_width * across
    bow = 1.0 - 0.24 * np.exp(-((x / 4.2) ** 2))
    high = 7.8 * full * (1.0 - np.abs(across) ** 1.5) * bow
    low = -9.2 * full * (1.0 - across**2) ** 0.8
    outer = np.stack([x, MOUTH_Y + np.where(upper, high, low)], axis=1)
    inner_x = 0.88 * x
    line = -0.9 * np.exp(-((inner_x / 5.0) ** 2)) + 0.7 * np.exp(
        -(((np.abs(inner_x) - 9.0) / 5.0) ** 2)
    )
    gap = 0.15 * (1.0 - across**2) * np.where(upper, 1.0, -1.0)
    return np.stack([inner_x, MOUTH_Y + line + gap], axis=1), outer


def _add_skin(
    parts: MeshAssembly, surface: _Surface, half_width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lips and face; returns ring, spoke and distance from the lips in mm of each vertex."""
    inner, outer = _lip_contours(surface.identity, half_width)
    full = surface.identity.lip_fullness
    body = np.sqrt(np.clip(1.0 - (inner[:, 0] / (0.88 * half_width)) ** 2, 0.0, 1.0))
    rows = []
    for ring, bulge in enumerate((-1.2, 2.0, 2.3, 0.4)):
        plane = inner + (outer - inner) * (ring / (LIP_RINGS - 1))
        z = surface.front_z(plane[:, 0], plane[:, 1]) + bulge * full * body
        rows.append(np.column_stack([plane, z]))
    mouth = surface.to_directions(np.zeros(1), np.full(1, MOUTH_Y))[0]
    right = np.array([1.0, 0.0, 0.0])
    above = np.cross(mouth, right)
    directions = surface.to_directions(outer[:, 0], outer[:, 1])
    angle = np.arccos(np.clip(directions @ mouth, -1.0, 1.0))
    azimuth = np.unwrap(np.arctan2(directions @ above, directions @ right))
    azimuth += np.pi - azimuth[0]
    # The upper half of the spokes fans over 140 degrees only, which is where nose and eyes need them.
    step = np.arange(SPOKES) / (SPOKES // 2)
    lower = np.pi * (160 + 220 * step) / 180.0
    upper = np.pi * (380 + 140 * (step - 1.0)) / 180.0
    target = np.where(step <= 1.0, lower, upper)
    farthest = np.radians(97.0 + 24.0 * np.sin(target))
    distances = [np.zeros(SPOKES)] * LIP_RINGS
    for ring in range(1, FACE_RINGS + 1):
        share = (ring / FACE_RINGS) ** 1.3
        psi = angle + (farthest - angle) * share
        turn = azimuth + (target - azimuth) * _smoothstep(np.array(share**0.55), 0.0, 1.0)
        planar = np.cos(turn)[:, None] * right + np.sin(turn)[:, None] * above
        rows.append(
            surface.from_directions(np.cos(psi)[:, None] * mouth + np.sin(psi)[:, None] * planar)
        )
        distances.append(distances[-1] + np.linalg.norm(rows[-1] - rows[-2], axis=1))
    triangles = grid_triangles(len(rows), SPOKES, closed=True)
    start = parts.add(np.concatenate(rows), triangles, (0, 0, 0), "skin")
    canonical = start + np.arange(0, SPOKES, SPOKES // CONTOUR_POINTS)
    parts.regions["lips_inner"] = [canonical]
    parts.regions["lips_outer"] = [canonical + (LIP_RINGS - 1) * SPOKES]
    parts.regions["lips"] = [start + np.arange(LIP_RINGS * SPOKES)]
    ring_ids = np.repeat(np.arange(len(rows)), SPOKES)
    return ring_ids, np.tile(np.arange(SPOKES), len(rows)), np.concatenate(distances)


def _add_mouth_inside(parts: MeshAssembly, surface: _Surface, half_width: float) -> None:
    """A pocket behind the lips, joined to the inner contour: over the teeth, then back."""
    rim = parts.vertices[0][:SPOKES]
    side = np.where(np.arange(SPOKES) > SPOKES // 2, 1.0, -1.0)
    across = rim[:, 0] / (0.88 * half_width)
    arch = np.sqrt(np.clip(1.0 - across**2, 0.0, 1.0)) * side
    rows = []
    for back, apart, narrow in ((3.0, 2.5, 1.0), (6.0, 9.0, 1.05), (36.0, 12.0, 0.9)):
        row = np.column_stack([rim[:, 0] * narrow, rim[:, 1] + apart * arch, rim[:, 2] - back])
        rows.append(row)
    centre = np.array([[0.0, MOUTH_Y, rows[-1][:, 2].mean() - 8.0]])
    vertices = np.concatenate([*rows, centre])
    # Rings run inward, so the grid is turned over to face the viewer.
    triangles = grid_triangles(INSIDE_RINGS, SPOKES, closed=True)[:, ::-1]
    fan = fan_triangles(
        INSIDE_RINGS * SPOKES, np.arange((INSIDE_RINGS - 1) * SPOKES, INSIDE_RINGS * SPOKES)
    )
    start = parts.add(vertices, np.concatenate([triangles, fan]), (0, 0, 0), "mouth_inside")
    seam = np.stack([np.arange(start, start + SPOKES), np.arange(SPOKES)])
    after = np.roll(seam, -1, axis=1)
    parts.triangles.append(
        np.concatenate(
            [np.stack([seam[0], seam[1], after[1]], 1), np.stack([seam[0], after[1], after[0]], 1)]
        ).astype(np.int32)
    )


def _jaw_weights(vertices: np.ndarray, ring: np.ndarray, spoke: np.ndarray) -> np.ndarray:
    """Share of the jaw's rotation: 1 at lower lip and chin, 0.4 at the corners, 0 above."""
    turn = np.abs(np.sin(2.0 * np.pi * spoke / SPOKES)) ** 0.7
    lower = spoke <= SPOKES // 2
    near = np.where(lower, 0.4 + 0.6 * turn, 0.4 * (1.0 - turn))
    far = _smoothstep(vertices[:, 1], -38.0, -88.0) * _smoothstep(vertices[:, 2], -75.0, -20.0)
    share = _smoothstep(ring - (LIP_RINGS - 1.0), 0.0, 9.0)
    weights = near * (1.0 - share) + far * share
    return np.where(ring == -INSIDE_RINGS, np.where(lower, 0.9 * turn, 0.0), weights)


def _skin_regions(vertices: np.ndarray, ring: np.ndarray, num_skin: int) -> dict[str, np.ndarray]:
    ids = np.arange(num_skin)
    face = ids[(ring[:num_skin] >= 0) & (vertices[:num_skin, 2] > -45.0)]
    lower = vertices[face, 1] < -38.0
    return {
        "lower_face": face[lower],
        "upper_face": face[~lower & (vertices[face, 1] < 75.0)],
    }


def _add_teeth(parts: MeshAssembly, surface: _Surface) -> None:
    """Two arches of separate teeth, each a slightly domed plate."""
    front = float(surface.front_z(np.zeros(1), np.full(1, MOUTH_Y))[0])
    for name, top, bottom, back, widths in (
        ("teeth_upper", MOUTH_Y + 10.0, MOUTH_Y - 1.2, 7.5, (8.4, 6.6, 7.2, 6.2, 6.0)),
        ("teeth_lower", MOUTH_Y - 1.6, MOUTH_Y - 11.0, 9.5, (5.4, 5.8, 6.4, 6.4, 6.4)),
    ):
        edges = np.concatenate([[0.0], np.cumsum(widths)])
        for side in (-1.0, 1.0):
            for left, right in zip(edges[:-1], edges[1:], strict=True):
                # Arc length along a parabolic dental arch, turned into x.
                x = np.array([left + 0.22, (left + right) / 2, right - 0.22])
                x = side * 27.0 * np.tanh(x / 27.0)
                x = np.sort(x)
                columns = np.tile(x, 3)
                rows = np.repeat([bottom, (top + bottom) / 2, top], 3)
                dome = 0.5 * np.array([0, 0.5, 0, 0.4, 1.0, 0.4, 0, 0.4, 0])
                z = front - back - columns**2 / 30.0 + dome
                sheet = grid_triangles(3, 3, closed=False)[:, ::-1]
                parts.add(np.column_stack([columns, rows, z]), sheet, (0, 0, 0), name)


def _add_tongue(parts: MeshAssembly, surface: _Surface) -> None:
    front = float(surface.front_z(np.zeros(1), np.full(1, MOUTH_Y))[0])
    along = np.linspace(0.0, 1.0, 6)[:, None]
    across = np.linspace(-1.0, 1.0, 7)[None, :]
    x = 17.0 * across * np.sqrt(0.25 + 0.75 * np.sin(np.pi * (0.12 + 0.55 * along)))
    y = MOUTH_Y - 9.5 + 4.0 * np.sin(np.pi * along * 0.6) - 5.0 * across**2 - 5.0 * (1 - along) ** 4
    z = front - 15.0 - 20.0 * along - 5.0 * across**2 * (1 - along)
    sheet = np.stack(np.broadcast_arrays(x, y, z), axis=-1).reshape(-1, 3)
    parts.add(sheet, grid_triangles(6, 7, closed=False)[:, ::-1], (0, 0, 0), "tongue")


def _disc(
    surface: _Surface, plane: np.ndarray, centre: tuple[float, float], lift: float, dome: float
) -> tuple[np.ndarray, np.ndarray]:
    """A patch over the face: its rim, a ring halfway, the centre; lifted by ``lift`` and domed."""
    ring = len(plane)
    middle = np.array(centre)
    points = np.concatenate([plane, middle + 0.55 * (plane - middle), middle[None]])
    base = float(surface.front_z(points[-1:, 0], points[-1:, 1])[0])
    rim = surface.front_z(plane[:, 0], plane[:, 1])
    height = np.concatenate([rim, 0.4 * rim + 0.6 * base + 0.7 * dome, [base + dome]]) + lift
    triangles = grid_triangles(2, ring, closed=True)[:, ::-1]
    fan = fan_triangles(2 * ring, np.arange(ring, 2 * ring))
    return np.column_stack([points, height]), np.concatenate([triangles, fan])


def _add_eye(parts: MeshAssembly, surface: _Surface, side: float) -> None:
    """Eye white, iris, pupil, glint, upper lid with its lash line, brow: patches over the socket."""
    size = surface.identity.eye_size
    centre = (side * 32.0, 0.0)
    turn = 2.0 * np.pi * np.arange(20) / 20
    half = 13.2 * size
    x = half * np.cos(turn)
    high, low = 6.0 * size, 4.8 * size

    def lid(x: np.ndarray, height: float) -> np.ndarray:
        return height * np.clip(1.0 - np.abs(x / half) ** 2.2, 0.0, 1.0) ** 0.8

    tilt = 0.05 * side * x  # outer corners a little higher
    y = np.where(np.sin(turn) >= 0, lid(x, high), -lid(x, low)) + tilt
    almond = np.column_stack([centre[0] + x, centre[1] + y])
    white, triangles = _disc(surface, almond, centre, 1.0, 3.2)
    parts.add(white, triangles, (0, 0, 0), "eye_white")
    for name, radius, lift in (("iris", 6.0, 0.35), ("pupil", 2.7, 0.6)):
        rim_x, rim_y = radius * size * np.cos(turn), radius * size * np.sin(turn) + 0.4
        rim_y = np.clip(rim_y, -lid(rim_x, low) + 0.3, lid(rim_x, high) - 0.3)
        rim = np.column_stack([centre[0] + rim_x, centre[1] + rim_y])
        disc, triangles = _disc(surface, rim, centre, 0.0, 0.0)
        shape = np.hypot((disc[:, 0] - centre[0]) / half, (disc[:, 1]) / (6.0 * size))
        disc[:, 2] = white[-1, 2] + lift - 2.6 * shape**2
        parts.add(disc, triangles, (0, 0, 0), name)
    glint_x, glint_y = centre[0] - 2.2 + 1.2 * np.cos(turn[::4]), 2.3 + 1.2 * np.sin(turn[::4])
    glint = np.column_stack([glint_x, glint_y, np.full(5, white[-1, 2] + 0.9)])
    parts.add(glint, fan_triangles(0, np.arange(1, 5))[:3], (0, 0, 0), "glint")
    _add_strip(parts, surface, centre, half, lambda u: lid(u, high) - 0.3, 1.5, 2.2, "lash")
    _add_strip(
        parts, surface, centre, half * 1.06, lambda u: lid(u / 1.06, high) + 1.1, 3.0, 1.5, "lid"
    )
    brow_centre = (side * 31.0, 0.0)
    _add_strip(
        parts,
        surface,
        brow_centre,
        17.0,
        lambda u: 17.0 + 3.4 * np.cos(u / 17.0 * 1.3) - 0.06 * side * u,
        4.2,
        1.0,
        "brow",
    )


def _add_strip(parts, surface, centre, half, curve, thickness, lift, name) -> None:  # type: ignore[no-untyped-def]
    """A band that follows ``curve(x - centre)``, thick in the middle, thin at its ends."""
    across = np.linspace(-1.0, 1.0, 13)
    taper = np.clip(1.0 - np.abs(across) ** 3, 0.08, 1.0)
    x = centre[0] + half * across
    rows = []
    for share, bulge in ((0.0, 0.0), (0.5, 0.6), (1.0, 0.0)):
        y = centre[1] + curve(half * across) + share * thickness * taper
        z = surface.front_z(x, y) + lift + bulge
        rows.append(np.column_stack([x, y, z]))
    parts.add(np.concatenate(rows), grid_triangles(3, 13, closed=False)[:, ::-1], (0, 0, 0), name)


def _add_ear(parts: MeshAssembly, surface: _Surface, side: float) -> None:
    up = np.linspace(-0.98, 0.98, 8)[:, None]
    turn = 2.0 * np.pi * np.arange(10)[None, :] / 10
    level = np.sqrt(1.0 - up**2)
    lobe = 0.8 + 0.2 * up
    x = side * (
        float(surface.half_width(np.array([-10.0]))[0]) + 2.0 + 7.0 * level * lobe * np.cos(turn)
    )
    y = -9.0 + 31.0 * up + 0 * turn
    z = -4.0 + 15.0 * lobe * level * np.sin(turn) * 1.0
    vertices = np.stack(np.broadcast_arrays(x, y, z), axis=-1).reshape(-1, 3)
    triangles = grid_triangles(8, 10, closed=True)
    parts.add(vertices, triangles[:, ::-1] if side < 0 else triangles, (0, 0, 0), "ears")


def _add_hair(parts: MeshAssembly, surface: _Surface) -> None:
    """A cap around the crown, from the hairline over the temples to the nape."""
    columns, rows = 32, 10
    pole = np.array([0.0, 0.80, -0.60])
    front, right = np.array([0.0, 0.60, 0.80]), np.array([1.0, 0.0, 0.0])
    turn = 2.0 * np.pi * np.arange(columns) / columns
    limit = np.radians(91.0 - 5.0 * np.cos(2 * turn) + 3.0 * np.abs(np.sin(turn)) ** 8)
    sheets = []
    for row in range(1, rows + 1):
        psi = limit * row / rows
        planar = np.cos(turn)[:, None] * front + np.sin(turn)[:, None] * right
        points = surface.from_directions(
            np.cos(psi)[:, None] * pole + np.sin(psi)[:, None] * planar
        )
        thickness = 1.0 + 0.075 * np.sqrt(np.clip(1.0 - (row / rows) ** 6, 0.0, 1.0))
        centre = np.array([0.0, 15.0, 0.0])
        sheets.append(centre + (points - centre) * (thickness + 0.012))
    top = surface.from_directions(pole[None]) * 1.085
    triangles = grid_triangles(rows, columns, closed=True) + 1
    fan = fan_triangles(0, np.arange(1, columns + 1))
    vertices = np.concatenate([top, *sheets])
    parts.add(vertices, np.concatenate([triangles, fan]), (0, 0, 0), "hair")


def _add_neck(parts: MeshAssembly) -> None:
    turn = 2.0 * np.pi * np.arange(24) / 24
    for name, rings in (
        (
            "neck",
            ((-70, 50, 46, -12), (-115, 49, 46, -14), (-140, 51, 48, -16), (-162, 58, 54, -18)),
        ),
        (
            "shirt",
            ((-152, 60, 57, -18), (-160, 66, 62, -18), (-172, 110, 72, -20), (-196, 175, 84, -22)),
        ),
    ):
        vertices = np.concatenate(
            [
                np.column_stack([w * np.sin(turn), np.full(24, float(y)), z + d * np.cos(turn)])
                for y, w, d, z in rings
            ]
        )
        parts.add(vertices, grid_triangles(4, 24, closed=True), (0, 0, 0), name)
