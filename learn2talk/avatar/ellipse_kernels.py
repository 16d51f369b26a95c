"""Ellipses of splats and their gradients, one splat after the other; compiled by numba.

The formulas of `learn2talk.avatar.ellipses.ellipses_by_torch`, which takes a hundred passes over
the splats: here it is one. Import it inside the function that calls it; compiled when first called
(cached on disk). No kernel holds a lock, and each writes the rows from ``first`` to ``last`` alone.
Arithmetic is in double precision, whatever the arrays are.

``camera`` is float64 (20,): the rotation row by row, the translation, fx, fy, cx, cy, the least and
largest slope x / z, and the same of y / z (`learn2talk.avatar.ellipses.camera_numbers`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

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
