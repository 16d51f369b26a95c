"""3D Gaussians: a set of them in space, and a set bound to the triangles of a mesh."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


# Coefficients of real spherical harmonics up to a degree, (degree + 1) squared.
SH_COEFFICIENTS = {0: 1, 1: 4, 2: 9, 3: 16}
SH_C0 = 0.28209479177387814  # the constant harmonic, 1 / (2 sqrt(pi))


@dataclass(frozen=True, eq=False)
class Splats:
    """N Gaussians in one space, as 3D Gaussian Splatting stores them (before its activations).

    positions (N, 3) float: centres, in the unit of the space (a face's is mm, x to the image's
    right, y up, z to the viewer). log_scales (N, 3): natural logarithm of the standard deviations
    along the splat's own axes, same unit. rotations (N, 4): quaternions w x y z, any length but 0.
    opacity_logits (N,): opacity is its sigmoid. sh (N, K, 3): spherical harmonics for red, green
    and blue, K one of 1, 4, 9, 16; colour is 0.5 + their sum in the direction from the camera to
    the splat, below 0 cut to 0. All of one dtype (float32 on disk) and on one device.

    Raises ValueError when shapes disagree.
    """

    positions: Tensor
    log_scales: Tensor
    rotations: Tensor
    opacity_logits: Tensor
    sh: Tensor

    def __post_init__(self) -> None:
        count = len(self.positions)
        wanted = {
            "positions": (count, 3),
            "log_scales": (count, 3),
            "rotations": (count, 4),
            "opacity_logits": (count,),
        }
        for name, shape in wanted.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"splats: {name} has shape {found}; give {shape}")
        shape = tuple(self.sh.shape)
        if len(shape) != 3 or shape[0] != count or shape[2] != 3:
            raise ValueError(f"splats: sh has shape {shape}; give ({count}, K, 3)")
        if shape[1] not in SH_COEFFICIENTS.values():
            raise ValueError(
                f"splats: {shape[1]} coefficients of spherical harmonics a colour; degrees 0 to 3 "
                f"have {', '.join(map(str, SH_COEFFICIENTS.values()))}"
            )

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 3."""
        return {count: degree for degree, count in SH_COEFFICIENTS.items()}[self.sh.shape[1]]

    def map(self, change: Callable[[Tensor], Tensor]) -> Splats:
        """The splats with ``change`` applied to each of the tensors (a device, a dtype, a choice of
        rows)."""
        return Splats(**{f.name: change(getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True, eq=False)
class BoundSplats:
    """Splats that live in the frames of triangles.

    local: positions, scales and rotations in the frame of the splat's triangle, in units of its
    size (`learn2talk.avatar.binding`). triangle_ids (N,) int64: which triangle, 0 to F - 1.

    Raises ValueError when there is not one triangle for each splat, or an id is negative.
    """

    local: Splats
    triangle_ids: Tensor

    def __post_init__(self) -> None:
        if tuple(self.triangle_ids.shape) != (len(self.local),):
            raise ValueError(
                f"bound splats: {tuple(self.triangle_ids.shape)} triangle ids for "
                f"{len(self.local)} splats; give one each"
            )
        if self.triangle_ids.dtype != torch.int64:
            raise ValueError(
                f"bound splats: triangle ids are {self.triangle_ids.dtype}; give int64"
            )
        if len(self.local) and int(self.triangle_ids.min()) < 0:
            raise ValueError(
                f"bound splats: triangle id {int(self.triangle_ids.min())} is negative; ids count "
                "from 0"
            )

    def __len__(self) -> int:
        return len(self.local)

    def map(self, change: Callable[[Tensor], Tensor]) -> BoundSplats:
        """As :meth:`Splats.map`, the triangle ids too (they must stay int64)."""
        return replace(self, local=self.local.map(change), triangle_ids=change(self.triangle_ids))
