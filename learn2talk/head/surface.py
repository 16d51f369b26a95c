"""The smooth face that everything else of the procedural head is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOUTH_Y = -70.0  # height of the mouth's line below the eyes, mm

# Profile of the head at x = 0 (front z) and its half width, by height above the eyes; mm.
_PROFILE = np.array(
    [  # y, half width, front z
        (121, 1, 2), (112, 36, 40), (95, 57, 66), (75, 69, 82), (50, 74, 91), (25, 75, 95), (5, 74,
        91), (-15, 72, 89), (-40, 69, 90), (-70, 62, 91), (-90, 53, 88), (-104, 42, 85), (-113, 31,
        77), (-119, 20, 60), (-122, 8, 44),
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


class Surface:
    """The face without its mouth as a surface over directions, and its front as z(x, y)."""

    def __init__(self, identity: HeadIdentity) -> None:
        self.identity = identity
        heights = np.arange(-122.0, 121.5, 0.5)
        columns = [np.interp(heights, _PROFILE[::-1, 0], _PROFILE[::-1, c]) for c in (1, 2)]
        kernel = np.exp(-0.5 * (np.arange(-16, 17) / 6.0) ** 2)
        smooth = [
            np.convolve(np.pad(c, 16, mode="edge"), kernel / kernel.sum(), "valid") for c in columns
        ]
        jaw = 1.0 + (identity.jaw_width - 1.0) * smoothstep(heights, -20.0, -90.0)
        self._heights = heights
        self._half_width = smooth[0] * identity.width * jaw
        self._front = smooth[1]

    def half_width(self, y: np.ndarray) -> np.ndarray:
        """Half the head's width, mm, at heights (N,)."""
        return np.interp(y, self._heights, self._half_width)

    def from_directions(self, directions: np.ndarray) -> np.ndarray:
        """Points (N, 3) of unit directions (N, 3) from the head's centre."""
        y = _CENTRE_Y + _HALF_HEIGHT * directions[:, 1]
        angle = np.arctan2(directions[:, 0], directions[:, 2])
        sine, cosine = np.sin(angle), np.cos(angle)
        scale = (np.abs(sine) ** _ROUNDNESS + np.abs(cosine) ** _ROUNDNESS) ** (-1 / _ROUNDNESS)
        x = self.half_width(y) * sine * scale
        z = np.interp(y, self._heights, self._front) * cosine * scale
        front = smoothstep(cosine, 0.0, 0.5)
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
        height = (1.0 + 21.0 * bridge**1.5) * (1.0 - smoothstep(below, 0.0, 1.0))
        height = height * smoothstep(y, 24.0, 4.0)
        half = (7.0 + 5.0 * bridge**2) * who.nose_width
        nose = height * np.exp(-((away / half) ** 2))
        wings = 7.0 * bump(away - 11.0 * who.nose_width, y - tip_y - 1.0, 6.5, 6.5)
        sockets = -8.0 * bump(away - 31.0, y + 1.0, 17.0, 12.0)
        brows = 3.0 * bump(away - 28.0, y - 20.0, 22.0, 8.0)
        cheeks = 4.5 * who.cheek * bump(away - 40.0, y + 30.0, 19.0, 18.0)
        muzzle = 5.0 * bump(x, y - MOUTH_Y + 1.0, 27.0, 19.0)
        fold = -2.5 * bump(x, y + 87.0, 20.0, 4.5)
        philtrum = -1.2 * bump(x, y + 57.5, 2.6, 5.0)
        chin = 6.0 * who.chin * bump(x, y + 103.0, 17.0, 10.0)
        return nose + wings + sockets + brows + cheeks + muzzle + fold + philtrum + chin


def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 at ``low``, 1 at ``high``, smooth between; ``low`` may lie above ``high``."""
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def bump(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    """A Gaussian hill: 1 at (0, 0), 1/e at ``width`` across or ``height`` up."""
    return np.exp(-((x / width) ** 2) - (y / height) ** 2)
