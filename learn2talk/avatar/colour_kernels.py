"""Colours of splats and their gradients, one splat after the other; compiled by numba.

The formulas of `learn2talk.avatar.spherical_harmonics.colours_by_torch`. Import it inside the
function that calls it; compiled when first called (cached on disk). No kernel holds a lock, and
each writes the rows from ``first`` to ``last`` alone. Arithmetic is in double precision.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from learn2talk.avatar.splats import SH_C0


@njit(cache=True, nogil=True)
def _harmonics(x: float, y: float, z: float, factors: np.ndarray, values: np.ndarray) -> None:
    """Write the harmonics in a direction into ``values`` (1, 4, 9 or 16,)."""
    count = values.shape[0]
    c1, c2, zz_, xy_, c3, xyz_, yzz_, zzz_, z_ = factors
    values[0] = SH_C0
    if count >= 4:
        values[1], values[2], values[3] = -c1 * y, c1 * z, -c1 * x
    if count >= 9:
        xx, yy, zz = x * x, y * y, z * z
        values[4], values[5], values[7] = c2 * x * y, -c2 * y * z, -c2 * x * z
        values[6], values[8] = zz_ * (2.0 * zz - xx - yy), xy_ * (xx - yy)
        if count == 16:
            around = yzz_ * (4.0 * zz - xx - yy)
            values[9], values[15] = -c3 * y * (3.0 * xx - yy), -c3 * x * (xx - 3.0 * yy)
            values[10], values[14] = xyz_ * x * y * z, z_ * z * (xx - yy)
            values[11], values[13] = -around * y, -around * x
            values[12] = zzz_ * z * (2.0 * zz - 3.0 * (xx + yy))


@njit(cache=True, nogil=True)
def _harmonics_backward(
    x: float, y: float, z: float, factors: np.ndarray, v: np.ndarray
) -> tuple[float, float, float]:
    """Gradient of a direction x, y, z, taken as free, from that of its harmonics."""
    count = v.shape[0]
    c1, c2, zz_, xy_, c3, xyz_, yzz_, zzz_, z_ = factors
    to_x, to_y, to_z = 0.0, 0.0, 0.0
    if count >= 4:
        to_x, to_y, to_z = -c1 * v[3], -c1 * v[1], c1 * v[2]
    if count >= 9:
        to_x += c2 * (y * v[4] - z * v[7]) - 2.0 * x * (zz_ * v[6] - xy_ * v[8])
        to_y += c2 * (x * v[4] - z * v[5]) - 2.0 * y * (zz_ * v[6] + xy_ * v[8])
        to_z += 4.0 * zz_ * z * v[6] - c2 * (y * v[5] + x * v[7])
    if count == 16:
        xx, yy, zz = x * x, y * y, z * z
        to_x += c3 * (3.0 * (yy - xx) * v[15] - 6.0 * x * y * v[9]) + xyz_ * y * z * v[10]
        to_x += yzz_ * (2.0 * x * y * v[11] - (4.0 * zz - 3.0 * xx - yy) * v[13])
        to_x += x * z * (2.0 * z_ * v[14] - 6.0 * zzz_ * v[12])
        to_y += c3 * (3.0 * (yy - xx) * v[9] + 6.0 * x * y * v[15]) + xyz_ * x * z * v[10]
        to_y += yzz_ * (2.0 * x * y * v[13] - (4.0 * zz - xx - 3.0 * yy) * v[11])
        to_y -= y * z * (2.0 * z_ * v[14] + 6.0 * zzz_ * v[12])
        to_z += xyz_ * x * y * v[10] - 8.0 * yzz_ * z * (y * v[11] + x * v[13])
        to_z += 3.0 * zzz_ * (2.0 * zz - xx - yy) * v[12] + z_ * (xx - yy) * v[14]
    return to_x, to_y, to_z


@njit(cache=True, nogil=True, inline="always")
def _direction(positions: np.ndarray, n: int, eye: np.ndarray) -> tuple[float, float, float, float]:
    """From the camera to a splat, length 1, and 1 / distance; at distance 0 all 0."""
    x = positions[n, 0] - eye[0]
    y = positions[n, 1] - eye[1]
    z = positions[n, 2] - eye[2]
    inverse = 1.0 / max(np.sqrt(x * x + y * y + z * z), 1e-12)
    return x * inverse, y * inverse, z * inverse, inverse


@njit(cache=True, nogil=True, error_model="numpy")
def colours(
    first: int,
    last: int,
    sh: np.ndarray,
    positions: np.ndarray,
    eye: np.ndarray,
    factors: np.ndarray,
    found: np.ndarray,
) -> None:
    """Colours of some splats.

    Args:
        first, last: which splats, the last not included.
        sh, positions: (N, K, 3), (N, 3).
        eye: float64 (3,), where the camera stands.
        factors: float64 (9,), of `learn2talk.avatar.spherical_harmonics`.
        found: (N, 3), written.
    """
    values = np.empty(sh.shape[1])
    for n in range(first, last):
        x, y, z, _ = _direction(positions, n, eye)
        _harmonics(x, y, z, factors, values)
        red, green, blue = 0.5, 0.5, 0.5
        for k in range(sh.shape[1]):
            red += values[k] * sh[n, k, 0]
            green += values[k] * sh[n, k, 1]
            blue += values[k] * sh[n, k, 2]
        found[n, 0], found[n, 1], found[n, 2] = max(red, 0.0), max(green, 0.0), max(blue, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def colours_backward(
    first: int,
    last: int,
    sh: np.ndarray,
    positions: np.ndarray,
    eye: np.ndarray,
    factors: np.ndarray,
    found: np.ndarray,
    to_found: np.ndarray,
    to_sh: np.ndarray,
    to_positions: np.ndarray,
) -> None:
    """Gradients of what :func:`colours` takes; none through a colour that was cut to 0.

    Args:
        first, last, sh, positions, eye, factors, found: as :func:`colours`, ``found`` as written.
        to_found: (N, 3).
        to_sh, to_positions: (N, K, 3), (N, 3), written.
    """
    values = np.empty(sh.shape[1])
    for n in range(first, last):
        x, y, z, inverse = _direction(positions, n, eye)
        _harmonics(x, y, z, factors, values)
        red = to_found[n, 0] if found[n, 0] > 0 else 0.0
        green = to_found[n, 1] if found[n, 1] > 0 else 0.0
        blue = to_found[n, 2] if found[n, 2] > 0 else 0.0
        for k in range(sh.shape[1]):
            value = values[k]
            values[k] = red * sh[n, k, 0] + green * sh[n, k, 1] + blue * sh[n, k, 2]
            to_sh[n, k, 0], to_sh[n, k, 1] = red * value, green * value
            to_sh[n, k, 2] = blue * value
        to_x, to_y, to_z = _harmonics_backward(x, y, z, factors, values)
        along = x * to_x + y * to_y + z * to_z
        to_positions[n, 0] = (to_x - along * x) * inverse
        to_positions[n, 1] = (to_y - along * y) * inverse
        to_positions[n, 2] = (to_z - along * z) * inverse
