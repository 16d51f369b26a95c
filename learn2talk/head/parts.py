"""Teeth, tongue, eyes, brows, nostrils, ears, hair and neck of the procedural head."""

from __future__ import annotations

import numpy as np

from learn2talk.head.surface import MOUTH_Y, Surface
from learn2talk.mesh import MeshAssembly, fan_triangles, grid_triangles

BAND_ROWS, BAND_COLUMNS = 3, 9  # of lashes, lids and brows


def add_teeth(parts: MeshAssembly, surface: Surface) -> None:
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
                parts.add(np.column_stack([columns, rows, z]), sheet, name)


def add_tongue(parts: MeshAssembly, surface: Surface) -> None:
    """A sheet from the tip, behind the lower teeth, up and back."""
    front = float(surface.front_z(np.zeros(1), np.full(1, MOUTH_Y))[0])
    along = np.linspace(0.0, 1.0, 6)[:, None]
    across = np.linspace(-1.0, 1.0, 7)[None, :]
    x = 17.0 * across * np.sqrt(0.25 + 0.75 * np.sin(np.pi * (0.12 + 0.55 * along)))
    y = MOUTH_Y - 9.5 + 4.0 * np.sin(np.pi * along * 0.6) - 5.0 * across**2 - 5.0 * (1 - along) ** 4
    z = front - 15.0 - 20.0 * along - 5.0 * across**2 * (1 - along)
    sheet = np.stack(np.broadcast_arrays(x, y, z), axis=-1).reshape(-1, 3)
    parts.add(sheet, grid_triangles(6, 7, closed=False)[:, ::-1], "tongue")


class _Eyeball:
    """A sphere that the eye's patches lie on, just in front of the socket."""

    radius = 21.0

    def __init__(self, surface: Surface, centre: np.ndarray, rim: np.ndarray) -> None:
        self.centre = centre
        front = surface.front_z(rim[:, 0], rim[:, 1]) + 0.5
        self.depth = 0.0
        self.depth = float((front - self.z(rim, 0.0)).max())

    def z(self, plane: np.ndarray, lift: float) -> np.ndarray:
        """z (N,) of the sphere, ``lift`` mm above it, at plane positions (N, 2)."""
        away = ((plane - self.centre) ** 2).sum(axis=1)
        return self.depth + np.sqrt((self.radius + lift) ** 2 - away)

    def patch(self, rim: np.ndarray, lift: float) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and triangles of the sphere inside a counter-clockwise rim (N, 2)."""
        middle = rim.mean(axis=0)
        plane = np.concatenate([rim, middle + 0.5 * (rim - middle), middle[None]])
        ring = len(rim)
        triangles = grid_triangles(2, ring, closed=True)[:, ::-1]
        fan = fan_triangles(2 * ring, np.arange(ring, 2 * ring))
        return np.column_stack([plane, self.z(plane, lift)]), np.concatenate([triangles, fan])


def add_eye(parts: MeshAssembly, surface: Surface, side: float) -> None:
    """Eye white, iris, pupil, glint, lids and lash line, brow: patches over the socket."""
    size = surface.identity.eye_size
    centre = np.array([side * 32.0, 0.0])
    half, high, low = 13.2 * size, 6.2 * size, 4.6 * size

    def lid(x: np.ndarray, height: float) -> np.ndarray:
        """y of a lid above or below the centre; the outer corner stands a little higher."""
        arch = np.clip(1.0 - np.abs(x / half) ** 2.2, 0.0, 1.0) ** 0.8
        return height * arch + 0.05 * side * x

    turn = 2.0 * np.pi * np.arange(14) / 14
    x = half * np.cos(turn)
    almond = centre + np.column_stack([x, np.where(np.sin(turn) >= 0, lid(x, high), lid(x, -low))])
    ball = _Eyeball(surface, centre, almond)
    parts.add(*ball.patch(almond, 0.0), "eye_white")
    for name, radius, lift in (("iris", 6.1, 0.5), ("pupil", 2.8, 0.9)):
        x, y = radius * size * np.cos(turn), radius * size * np.sin(turn) + 0.3
        y = np.clip(y, lid(x, -low) + 0.2, lid(x, high) - 0.2)
        parts.add(*ball.patch(centre + np.column_stack([x, y]), lift), name)
    glint = centre + (-2.0, 2.2) + 1.1 * np.column_stack([np.cos(turn[::2]), np.sin(turn[::2])])
    parts.add(*ball.patch(glint, 1.2), "glint")
    across = np.linspace(-1.0, 1.0, BAND_COLUMNS)
    taper = np.clip(1.0 - np.abs(across) ** 3, 0.08, 1.0)
    for name, wide, height, thickness, lift in (
        ("lash", 1.0, high - 0.4, 1.3, 0.9),
        ("lid", 1.06, high + 0.6, 3.2, 0.7),
        ("lid", 1.0, -low + 0.3, -1.8, 0.6),
    ):
        rows = []
        for share in np.linspace(0.0, 1.0, BAND_ROWS):
            plane = np.column_stack(
                [half * wide * across, lid(half * across, height) + share * thickness * taper]
            )
            skin = surface.front_z(*(centre + plane).T) + 0.3
            on_ball = ball.z(centre + plane, lift + 0.5 * (share == 0.5))
            rows.append(np.column_stack([centre + plane, np.maximum(on_ball, skin)]))
        _add_band(parts, rows if thickness > 0 else rows[::-1], name)
    rows = []
    for share, lift in ((0.0, 0.7), (0.5, 1.4), (1.0, 0.7)):
        x = centre[0] + 17.0 * across
        y = 16.5 + 3.4 * np.cos(1.3 * across) - 1.0 * side * across + share * 4.4 * taper
        rows.append(np.column_stack([x, y, surface.front_z(x, y) + lift]))
    _add_band(parts, rows, "brow")
    rim = np.column_stack([3.0 * np.cos(turn[::2]), 1.5 * np.sin(turn[::2])])
    x = side * 6.3 * surface.identity.nose_width + rim[:, 0]
    y = -44.0 * surface.identity.nose_length - 5.0 + rim[:, 1] + 0.12 * side * rim[:, 0]
    nostril = np.column_stack([x, y, surface.front_z(x, y) + 1.6])
    middle = nostril.mean(axis=0, keepdims=True)
    parts.add(
        np.concatenate([middle, nostril]),
        fan_triangles(0, np.arange(1, 1 + len(nostril))),
        "nostril",
    )


def _add_band(parts: MeshAssembly, rows: list[np.ndarray], name: str) -> None:
    """A sheet of rows from bottom to top, each from left to right."""
    triangles = grid_triangles(len(rows), len(rows[0]), closed=False)[:, ::-1]
    parts.add(np.concatenate(rows), triangles, name)


def add_ear(parts: MeshAssembly, surface: Surface, side: float) -> None:
    """A flattened shell; ``side`` is -1 at the image's left, 1 at its right."""
    up = np.linspace(-0.98, 0.98, 7)[:, None]
    turn = 2.0 * np.pi * np.arange(8)[None, :] / 8
    level = np.sqrt(1.0 - up**2)
    lobe = 0.8 + 0.2 * up
    x = side * (
        float(surface.half_width(np.array([-10.0]))[0]) + 2.0 + 7.0 * level * lobe * np.cos(turn)
    )
    y = -9.0 + 31.0 * up + 0 * turn
    z = -4.0 + 15.0 * lobe * level * np.sin(turn) * 1.0
    vertices = np.stack(np.broadcast_arrays(x, y, z), axis=-1).reshape(-1, 3)
    triangles = grid_triangles(7, 8, closed=True)
    parts.add(vertices, triangles[:, ::-1] if side < 0 else triangles, "ears")


def add_hair(parts: MeshAssembly, surface: Surface) -> None:
    """A cap around the crown, from the hairline over the temples to the nape."""
    columns, rows = 36, 6
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
    parts.add(vertices, np.concatenate([triangles, fan]), "hair")


def add_neck(parts: MeshAssembly) -> None:
    """Neck and shoulders: rings from the jaw downwards, the lower ones a shirt."""
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
        parts.add(vertices, grid_triangles(4, 24, closed=True), name)
