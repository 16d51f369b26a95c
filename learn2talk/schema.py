"""A face at rest and a face in motion. Axis letters: T frames, V vertices, F triangles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

UNIT = "mm"
CONTOUR_POINTS = 20


def _array(values: object, dtype: type, shape: tuple[int | None, ...], name: str) -> NDArray:
    """`values` as a contiguous array of `dtype`, or a ValueError that says what was expected."""
    array: NDArray = np.ascontiguousarray(np.asarray(values), dtype=dtype)
    matches = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not matches:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name} has shape {array.shape}; give {wanted}")
    return array


@dataclass(frozen=True, eq=False)
class FaceTemplate:
    """A neutral face with its mouth closed: what a motion is measured from.

    topology: name of the vertex numbering, for example "mediapipe_478".
    vertices (V, 3) float32, mm; x to the image's right, y up, z towards the viewer.
    triangles (F, 3) int32.
    regions: name -> int32 vertex ids. "lips_outer" and "lips_inner" hold 20 ids each in the
    canonical order (image-left corner, lower lip, image-right corner, upper lip).

    Raises ValueError when a shape is wrong or an id is outside [0, V).
    """

    topology: str
    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    regions: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # frozen: the cleaned arrays replace what was given
        vertices = _array(self.vertices, np.float32, (None, 3), "template vertices")
        triangles = _array(self.triangles, np.int32, (None, 3), "template triangles")
        regions = {
            name: _array(ids, np.int32, (None,), f"region {name!r}")
            for name, ids in self.regions.items()
        }
        for name, ids in {"triangles": triangles, **regions}.items():
            if ids.size and (ids.min() < 0 or ids.max() >= len(vertices)):
                raise ValueError(
                    f"{name} of topology {self.topology!r} names vertices {ids.min()} to "
                    f"{ids.max()}, but the template has {len(vertices)}"
                )
        set_field(self, "vertices", vertices)
        set_field(self, "triangles", triangles)
        set_field(self, "regions", regions)

    def region(self, name: str) -> NDArray[np.int32]:
        """Vertex ids (N,) of a named region. Raises ValueError that lists the names there are."""
        if name not in self.regions:
            raise ValueError(
                f"topology {self.topology!r} has no region {name!r}; it has "
                + (", ".join(sorted(self.regions)) or "none")
            )
        return self.regions[name]

    @property
    def lip_ids(self) -> NDArray[np.int32]:
        """The canonical 40 lip points as vertex ids (40,): 20 outer, then 20 inner."""
        outer, inner = self.region("lips_outer"), self.region("lips_inner")
        for name, ids in (("lips_outer", outer), ("lips_inner", inner)):
            if len(ids) != CONTOUR_POINTS:
                raise ValueError(
                    f"region {name!r} of topology {self.topology!r} has {len(ids)} vertices; "
                    f"the canonical contour has {CONTOUR_POINTS}"
                )
        return np.concatenate([outer, inner])

    @property
    def lips(self) -> NDArray[np.float32]:
        """The canonical lip points at rest, (40, 3) float32, mm."""
        return self.vertices[self.lip_ids]


@dataclass(frozen=True, eq=False)
class Motion:
    """A face over time: vertices (T, V, 3) float32, mm, head-pose-free, at `fps` frames a second.

    Frame t covers [t / fps, (t + 1) / fps) seconds of the speech. `template` gives topology,
    triangles and regions. `head_pose` (T, 6) float32, rad and mm, where the vertices are turned and
    moved with the head (`learn2talk.head_pose`); None: they are head-pose-free. Raises ValueError
    when the shapes disagree, fps is not positive or a pose is not finite.
    """

    vertices: NDArray[np.float32]
    fps: float
    template: FaceTemplate
    head_pose: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.template.vertices)
        cleaned = _array(self.vertices, np.float32, (None, count, 3), "motion vertices")
        object.__setattr__(self, "vertices", cleaned)
        if not self.fps > 0:
            raise ValueError(f"motion has fps {self.fps}; it must be positive")
        if self.head_pose is not None:
            pose = _array(self.head_pose, np.float32, (len(cleaned), 6), "motion head pose")
            if not np.isfinite(pose).all():
                frame = int(np.flatnonzero(~np.isfinite(pose).all(axis=1))[0])
                raise ValueError(f"motion head pose is not finite at frame {frame}; make it again")
            object.__setattr__(self, "head_pose", pose)

    @property
    def lips(self) -> NDArray[np.float32]:
        """The canonical lip points over time, (T, 40, 3) float32, mm."""
        return self.vertices[:, self.template.lip_ids]

    @property
    def duration_s(self) -> float:
        """Length in seconds: T / fps."""
        return len(self.vertices) / self.fps


@dataclass(frozen=True, eq=False)
class MotionBatch:
    """Clips of speech and face motion, padded with zeros to the longest."""

    utterance_ids: tuple[str, ...]
    features: torch.Tensor  # (B, 4 T, F) natural-log mel
    valid_mask: torch.Tensor  # (B, T) bool, True = inside the clip
    tracked_mask: torch.Tensor  # (B, T) bool, True = inside the clip and really tracked
    lips: torch.Tensor  # (B, T, 40, 3) mm
    neutral_lips: torch.Tensor  # (B, 40, 3) mm
    displacement: torch.Tensor  # (B, T, R, 3) mm, animated vertices minus template
    num_targets: int  # frames or windows that the loss is a sum over
    draw: int  # seed of this batch's random draws
    mouth_crops: torch.Tensor | None = None  # (B, T, 88, 88) uint8, where they were asked for
    speaker_ids: tuple[str, ...] = ()
    # (B, 4 T, F) with noise, or (B, 4 T, 160) samples: what a student hears where it is not the
    # clean log-mel in `features`, which a sync expert always gets; None where it is.
    heard: torch.Tensor | None = None

    @property
    def student_features(self) -> torch.Tensor:
        """What a student hears."""
        return self.features if self.heard is None else self.heard

    def to(self, device: torch.device) -> MotionBatch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in moved.items() if hasattr(v, "to")})
