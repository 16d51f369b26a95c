"""Ellipses and colours of splats, and their gradients, one splat after the other; for numba.

The same formulas as `learn2talk.avatar.ellipses` and `learn2talk.avatar.spherical_harmonics`, which
take a hundred passes over the splats with torch: here it is one. Import it inside the function that
calls it; compiled when first called (cached on disk). No kernel holds a lock, and each writes the
rows from ``first`` to ``last`` alone. Arithmetic is in double precision, whatever the arrays are.

``camera`` is float64 (20,): the rotation row by row, the translation, fx, fy, cx, cy, the least and
largest slope x / z, and the same of y / z (`learn2talk.avatar.ellipses.camera_numbers`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from learn2talk.avatar.splats import SH_C0

FX, FY, CX, CY, SLOPES = 12, 13, 14, 15, 16


@njit(cache=True, nogil=True, inline="always")
def _rotation(rotations: np.ndarray, n: int, matrix: np.ndarray) -> tuple[float, ...]:
    """Write a quaternion's matrix (9,); w, x, y, z of it at length 1, and 1 / its length."""
    w, x, y, z = (
        float(rotations[n, 0]),
        float(rotations[n, 1]),
        float(rotations[n, 2]),
        float(rotations[n, 3]),
    )
    inverse = 1.0 / np.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    matrix[0], matrix[1] = 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z)
    matrix[2], matrix[3] = 2.0 * (x * z + w * y), 2.0 * (x * y + w * z)
    matrix[4], matrix[5] = 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)
    matrix[6], matrix[7] = 2.0 * (x * z - w * y), 2.0 * (y * z + w * x)
    matrix[8] = 1.0 - 2.0 * (x * x + y * y)
    return w, x, y, z, inverse


@njit(cache=True, nogil=True, inline="always")
def _view(positions: np.ndarray, n: int, camera: np.ndarray) -> tuple[float, float, float]:
    """x / z, y / z and 1 / z of a splat's centre in the camera's space."""
    px, py, pz = float(positions[n, 0]), float(positions[n, 1]), float(positions[n, 2])
    x = camera[0] * px + camera[1] * py + camera[2] * pz + camera[9]
    y = camera[3] * px + camera[4] * py + camera[5] * pz + camera[10]
    nearness = 1.0 / (camera[6] * px + camera[7] * py + camera[8] * pz + camera[11])
    return x * nearness, y * nearness, nearness


@njit(cache=True, nogil=True, error_model="numpy")
def ellipses(
    first: int,
    last: int,
    positions: np.ndarray,
    log_scales: np.ndarray,
    rotations: np.ndarray,
    camera: np.ndarray,
    low_pass: float,
    centres: np.ndarray,
    conics: np.ndarray,
    deviations: np.ndarray,
) -> None:
    """Ellipses of some splats.

    Args:
        first, last: which splats, the last not included.
        positions, log_scales, rotations: (N, 3), (N, 3), (N, 4).
        camera: see above.
        low_pass: square pixels, added to the variances.
        centres, conics, deviations: (N, 2), (N, 3), (N, 2), written.
    """
    turn, p, q = np.empty(9), np.empty(3), np.empty(3)
    for n in range(first, last):
        _rotation(rotations, n, turn)
        slope_x, slope_y, nearness = _view(positions, n, camera)
        centres[n, 0] = camera[FX] * slope_x + camera[CX]
        centres[n, 1] = camera[FY] * slope_y + camera[CY]
        _axes(log_scales, n, turn, camera, slope_x, slope_y, nearness, p, q)
        xx = p[0] * p[0] + p[1] * p[1] + p[2] * p[2]
        xy = p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
        yy = q[0] * q[0] + q[1] * q[1] + q[2] * q[2]
        n0, n1 = p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2]
        n2 = p[0] * q[1] - p[1] * q[0]
        determinant = n0 * n0 + n1 * n1 + n2 * n2 + low_pass * (xx + yy + low_pass)
        conics[n, 0] = (yy + low_pass) / determinant
        conics[n, 1] = -xy / determinant
        conics[n, 2] = (xx + low_pass) / determinant
        deviations[n, 0], deviations[n, 1] = np.sqrt(xx + low_pass), np.sqrt(yy + low_pass)


@njit(cache=True, nogil=True, inline="always")
def _axes(
    log_scales: np.ndarray,
    n: int,
    turn: np.ndarray,
    camera: np.ndarray,
    slope_x: float,
    slope_y: float,
    nearness: float,
    p: np.ndarray,
    q: np.ndarray,
) -> None:
    """A splat's axes in the picture, pixels: write their x into p (3,), their y into q (3,)."""
    slope_x = min(max(slope_x, camera[SLOPES]), camera[SLOPES + 1])
    slope_y = min(max(slope_y, camera[SLOPES + 2]), camera[SLOPES + 3])
    for k in range(3):
        scale = np.exp(float(log_scales[n, k]))
        across, down = 0.0, 0.0
        for i in range(3):
            across += (camera[i] - slope_x * camera[6 + i]) * turn[3 * i + k]
            down += (camera[3 + i] - slope_y * camera[6 + i]) * turn[3 * i + k]
        p[k] = across * scale * camera[FX] * nearness
        q[k] = down * scale * camera[FY] * nearness


@njit(cache=True, nogil=True, error_model="numpy")
def ellipses_backward(
    first: int,
    last: int,
    positions: np.ndarray,
    log_scales: np.ndarray,
    rotations: np.ndarray,
    camera: np.ndarray,
    low_pass: float,
    to_centres: np.ndarray,
    to_conics: np.ndarray,
    to_positions: np.ndarray,
    to_log_scales: np.ndarray,
    to_rotations: np.ndarray,
) -> None:
    """Gradients of what :func:`ellipses` takes, from those of the centres and conics it wrote.

    Args:
        first, last, positions, log_scales, rotations, camera, low_pass: as :func:`ellipses`.
        to_centres, to_conics: (N, 2), (N, 3).
        to_positions, to_log_scales, to_rotations: (N, 3), (N, 3), (N, 4), written.
    """
    turn, p, q = np.empty(9), np.empty(3), np.empty(3)
    to_p, to_q, to_turn = np.empty(3), np.empty(3), np.empty(9)
    for n in range(first, last):
        w, x, y, z, inverse = _rotation(rotations, n, turn)
        slope_x, slope_y, nearness = _view(positions, n, camera)
        _axes(log_scales, n, turn, camera, slope_x, slope_y, nearness, p, q)
        xx = p[0] * p[0] + p[1] * p[1] + p[2] * p[2]
        xy = p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
        yy = q[0] * q[0] + q[1] * q[1] + q[2] * q[2]
        n0, n1 = p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2]
        n2 = p[0] * q[1] - p[1] * q[0]
        over = 1.0 / (n0 * n0 + n1 * n1 + n2 * n2 + low_pass * (xx + yy + low_pass))
        # From the conic to the variances and their determinant, from these to the axes.
        to_a, to_b, to_c = to_conics[n, 0] * over, to_conics[n, 1] * over, to_conics[n, 2] * over
        to_det = -over * (to_a * (yy + low_pass) - to_b * xy + to_c * (xx + low_pass))
        to_xx, to_xy, to_yy = to_c + low_pass * to_det, -to_b, to_a + low_pass * to_det
        n0, n1, n2 = 2.0 * n0 * to_det, 2.0 * n1 * to_det, 2.0 * n2 * to_det
        to_p[0], to_q[0] = q[1] * n2 - q[2] * n1, n1 * p[2] - n2 * p[1]
        to_p[1], to_q[1] = q[2] * n0 - q[0] * n2, n2 * p[0] - n0 * p[2]
        to_p[2], to_q[2] = q[0] * n1 - q[1] * n0, n0 * p[1] - n1 * p[0]
        for k in range(3):
            to_p[k] += 2.0 * p[k] * to_xx + q[k] * to_xy
            to_q[k] += 2.0 * q[k] * to_yy + p[k] * to_xy
            to_log_scales[n, k] = to_p[k] * p[k] + to_q[k] * q[k]
        # From the axes to the rotation, the slopes and the depth.
        held_x = min(max(slope_x, camera[SLOPES]), camera[SLOPES + 1])
        held_y = min(max(slope_y, camera[SLOPES + 2]), camera[SLOPES + 3])
        across, down = camera[FX] * nearness, camera[FY] * nearness
        to_slope_x, to_slope_y, to_nearness = 0.0, 0.0, 0.0
        for k in range(3):
            to_nearness += to_p[k] * p[k] + to_q[k] * q[k]  # divided by nearness below
            scale = np.exp(float(log_scales[n, k]))
            to_p[k] *= scale * across
            to_q[k] *= scale * down
        for i in range(3):
            row_x = camera[i] - held_x * camera[6 + i]
            row_y = camera[3 + i] - held_y * camera[6 + i]
            for k in range(3):
                to_turn[3 * i + k] = to_p[k] * row_x + to_q[k] * row_y
                to_slope_x -= to_p[k] * turn[3 * i + k] * camera[6 + i]
                to_slope_y -= to_q[k] * turn[3 * i + k] * camera[6 + i]
        to_slope_x = (to_slope_x if held_x == slope_x else 0.0) + to_centres[n, 0] * camera[FX]
        to_slope_y = (to_slope_y if held_y == slope_y else 0.0) + to_centres[n, 1] * camera[FY]
        to_x, to_y = to_slope_x * nearness, to_slope_y * nearness
        to_z = -nearness * (to_slope_x * slope_x + to_slope_y * slope_y + to_nearness)
        for i in range(3):
            to_positions[n, i] = camera[i] * to_x + camera[3 + i] * to_y + camera[6 + i] * to_z
        _to_quaternion(to_turn, w, x, y, z, inverse, to_rotations, n)


@njit(cache=True, nogil=True, inline="always")
def _to_quaternion(
    g: np.ndarray,
    w: float,
    x: float,
    y: float,
    z: float,
    inverse: float,
    to_rotations: np.ndarray,
    n: int,
) -> None:
    """Write a quaternion's gradient from that of its rotation matrix, g (9,)."""
    to_w = 2.0 * (z * (g[3] - g[1]) + y * (g[2] - g[6]) + x * (g[7] - g[5]))
    to_x = 2.0 * (y * (g[1] + g[3]) + z * (g[2] + g[6]) + w * (g[7] - g[5]))
    to_x -= 4.0 * x * (g[4] + g[8])
    to_y = 2.0 * (x * (g[1] + g[3]) + w * (g[2] - g[6]) + z * (g[5] + g[7]))
    to_y -= 4.0 * y * (g[0] + g[8])
    to_z = 2.0 * (w * (g[3] - g[1]) + x * (g[2] + g[6]) + y * (g[5] + g[7]))
    to_z -= 4.0 * z * (g[0] + g[4])
    along = w * to_w + x * to_x + y * to_y + z * to_z  # a longer quaternion turns the same
    to_rotations[n, 0], to_rotations[n, 1] = (
        (to_w - along * w) * inverse,
        (to_x - along * x) * inverse,
    )
    to_rotations[n, 2], to_rotations[n, 3] = (
        (to_y - along * y) * inverse,
        (to_z - along * z) * inverse,
    )


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
