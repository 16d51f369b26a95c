"""Colours that depend on the direction of view: real spherical harmonics up to degree 3."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from learn2talk.avatar.splats import SH_C0, SH_COEFFICIENTS

# Factors that make the polynomials below orthonormal over the sphere.
_C1 = math.sqrt(3 / (4 * math.pi))
_C2 = math.sqrt(15 / math.pi) / 2
_C2_ZZ, _C2_XX_YY = math.sqrt(5 / math.pi) / 4, math.sqrt(15 / math.pi) / 4
_C3_Y, _C3_XYZ = math.sqrt(35 / (2 * math.pi)) / 4, math.sqrt(105 / math.pi) / 2
_C3_YZZ, _C3_ZZZ = math.sqrt(21 / (2 * math.pi)) / 4, math.sqrt(7 / math.pi) / 4
_C3_XX_YY_Z = math.sqrt(105 / math.pi) / 4


def harmonics(directions: Tensor, num_coefficients: int) -> Tensor:
    """The real spherical harmonics in some directions, in the order and with the signs of 3DGS.

    Degree by degree, in each from order -l to l; orders that are odd carry the Condon-Shortley
    sign (Kerbl et al. 2023 store their coefficients so, after Sloan 2013, "Efficient Spherical
    Harmonic Evaluation").

    Args:
        directions: (N, 3), of length 1.
        num_coefficients: 1, 4, 9 or 16.

    Returns:
        (N, num_coefficients).
    """
    if num_coefficients not in SH_COEFFICIENTS.values():
        raise ValueError(f"spherical harmonics: {num_coefficients} coefficients; give 1, 4, 9, 16")
    x, y, z = directions.unbind(-1)
    values = [torch.full_like(x, SH_C0)]
    if num_coefficients >= 4:
        values += [-_C1 * y, _C1 * z, -_C1 * x]
    if num_coefficients >= 9:
        xx, yy, zz = x * x, y * y, z * z
        values += [
            _C2 * (x * y),
            -_C2 * (y * z),
            _C2_ZZ * (2 * zz - xx - yy),
            -_C2 * (x * z),
            _C2_XX_YY * (xx - yy),
        ]
    if num_coefficients == 16:
        around = 4 * zz - xx - yy
        values += [
            -_C3_Y * y * (3 * xx - yy),
            _C3_XYZ * (x * y) * z,
            -_C3_YZZ * y * around,
            _C3_ZZZ * z * (2 * zz - 3 * xx - 3 * yy),
            -_C3_YZZ * x * around,
            _C3_XX_YY_Z * z * (xx - yy),
            -_C3_Y * x * (xx - 3 * yy),
        ]
    return torch.stack(values, dim=-1)


def view_colours(sh: Tensor, positions: Tensor, eye: Tensor) -> Tensor:
    """Colours of splats seen from a point: 0.5 + the sum of their harmonics, below 0 cut to 0.

    Args:
        sh: (N, K, 3) coefficients, K one of 1, 4, 9, 16.
        positions: (N, 3) centres of the splats.
        eye: (3,) where the camera stands, in the space of the positions.

    Returns:
        (N, 3), 0 or more; 1 is full brightness and may be exceeded.
    """
    if sh.shape[1] == 1:  # the same from everywhere
        return (SH_C0 * sh[:, 0] + 0.5).clamp_min(0.0)
    directions = torch.nn.functional.normalize(positions - eye, dim=-1)
    basis = harmonics(directions, sh.shape[1])
    return ((basis[:, :, None] * sh).sum(dim=1) + 0.5).clamp_min(0.0)
