"""Colours that depend on the direction of view: real spherical harmonics up to degree 3."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learn2talk.avatar.splat_threads import compiled_for, over_splats, thread_count
from learn2talk.avatar.splats import SH_C0, SH_COEFFICIENTS

# Factors that make the polynomials below orthonormal over the sphere.
_C1 = math.sqrt(3 / (4 * math.pi))
_C2 = math.sqrt(15 / math.pi) / 2
_C2_ZZ, _C2_XX_YY = math.sqrt(5 / math.pi) / 4, math.sqrt(15 / math.pi) / 4
_C3_Y, _C3_XYZ = math.sqrt(35 / (2 * math.pi)) / 4, math.sqrt(105 / math.pi) / 2
_C3_YZZ, _C3_ZZZ = math.sqrt(21 / (2 * math.pi)) / 4, math.sqrt(7 / math.pi) / 4
_C3_XX_YY_Z = math.sqrt(105 / math.pi) / 4
FACTORS = (_C1, _C2, _C2_ZZ, _C2_XX_YY, _C3_Y, _C3_XYZ, _C3_YZZ, _C3_ZZZ, _C3_XX_YY_Z)


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


def view_colours(
    sh: Tensor, positions: Tensor, eye: Tensor, num_threads: int | None = None
) -> Tensor:
    """Colours of splats seen from a point: 0.5 + the sum of their harmonics, below 0 cut to 0.

    Args:
        sh: (N, K, 3) coefficients, K one of 1, 4, 9, 16.
        positions: (N, 3) centres of the splats.
        eye: (3,) where the camera stands, in the space of the positions.
        num_threads: on a CPU, 1 or more; None for torch's own number.

    Returns:
        (N, 3), 0 or more; 1 is full brightness and may be exceeded.
    """
    if sh.shape[1] == 1:  # the same from everywhere
        return (SH_C0 * sh[:, 0] + 0.5).clamp_min(0.0)
    if compiled_for(sh):
        colours: Tensor = _Colours.apply(sh, positions, eye, thread_count(num_threads))
        return colours
    return colours_by_torch(sh, positions, eye)


def colours_by_torch(sh: Tensor, positions: Tensor, eye: Tensor) -> Tensor:
    """:func:`view_colours` for any device."""
    directions = torch.nn.functional.normalize(positions - eye, dim=-1)
    basis = harmonics(directions, sh.shape[1])
    return ((basis[:, :, None] * sh).sum(dim=1) + 0.5).clamp_min(0.0)


class _Colours(torch.autograd.Function):
    """One pass over the splats; the gradient to the eye is not needed and not given."""

    @staticmethod
    def forward(ctx: Any, sh: Tensor, positions: Tensor, eye: Tensor, threads: int) -> Tensor:
        from learn2talk.avatar.colour_kernels import colours

        sh, positions, found = sh.contiguous(), positions.contiguous(), sh.new_empty(len(sh), 3)
        taken = (sh.numpy(), positions.numpy(), eye.double().numpy(), np.array(FACTORS))
        written = found.numpy()
        over_splats(lambda a, b: colours(a, b, *taken, written), len(sh), threads)
        ctx.save_for_backward(sh, positions, eye, found)
        ctx.threads = threads
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, to_found: Tensor) -> tuple[Tensor | None, ...]:
        from learn2talk.avatar.colour_kernels import colours_backward

        sh, positions, eye, found = ctx.saved_tensors
        to_sh, to_positions = torch.empty_like(sh), torch.empty_like(positions)
        taken = (sh.numpy(), positions.numpy(), eye.double().numpy(), np.array(FACTORS))
        given = (found.numpy(), to_found.contiguous().numpy())
        written = (to_sh.numpy(), to_positions.numpy())
        over_splats(
            lambda a, b: colours_backward(a, b, *taken, *given, *written), len(sh), ctx.threads
        )
        return to_sh, to_positions, None, None
