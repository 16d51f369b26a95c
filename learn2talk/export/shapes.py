"""ARKit's 52 shapes: their names, and a face that can make them.

The built-in face is the procedural head. Its shapes are defined here, by how the lip contours move,
as `learn2talk.articulation` defines its controls; they are ARKit's in name and meaning, not copies
of Apple's meshes. Axis letters: K shapes, V vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from learn2talk.articulation import CONTROLS, animate_head, skin_movement
from learn2talk.export.transfer import make_transfer
from learn2talk.head import SPOKES, Head, build_head
from learn2talk.head.eyelids import close_eyelids
from learn2talk.schema import FaceTemplate

# ARFaceAnchor.BlendShapeLocation, in the order of Live Link Face. Left and right are the face's
# own: its left is at the image's right, x > 0.
ARKIT_NAMES = (
    *("eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft"),
    *("eyeSquintLeft", "eyeWideLeft"),
    *("eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight"),
    *("eyeSquintRight", "eyeWideRight"),
    *("jawForward", "jawRight", "jawLeft", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight"),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight"),
    "tongueOut",
)
JAW_OPEN = 5.0 / 3.0  # of the head's control "jaw": 20 degrees, some 33 mm between the lips


Contour = tuple[NDArray[np.float64], ...]  # (x, y, z) of the 40 spokes, mm


@dataclass(frozen=True, eq=False)
class ShapeSet:
    """A neutral face and its displacement at weight 1 of each of some ARKit shapes.

    names: K of `ARKIT_NAMES`. displacement (K, V, 3) float32, mm. source: where the shapes come
    from. Raises ValueError for another shape, an unknown or repeated name, or values not finite.
    """

    template: FaceTemplate
    names: tuple[str, ...]
    displacement: NDArray[np.float32]
    source: str

    def __post_init__(self) -> None:
        wanted = (len(self.names), len(self.template.vertices), 3)
        if self.displacement.shape != wanted:
            raise ValueError(
                f"shapes have shape {self.displacement.shape}; {len(self.names)} names and "
                f"{wanted[1]} vertices need {wanted}"
            )
        unknown = [name for name in self.names if name not in ARKIT_NAMES]
        if unknown or len(set(self.names)) < len(self.names):
            raise ValueError(
                f"shape names {unknown or self.names} are unknown or repeated; ARKit has "
                + ", ".join(ARKIT_NAMES)
            )
        if not np.isfinite(self.displacement).all():
            raise ValueError(f"shapes of {self.source} are not finite; read them again")


def shapes_on(shapes: ShapeSet, template: FaceTemplate) -> ShapeSet:
    """The shapes on another face, scaled to its mouth, as `retarget` carries a motion over."""
    moved = make_transfer(shapes.template, template).apply(shapes.displacement)
    source = shapes.source
    if shapes.template.topology != template.topology:
        source += f", carried over to {template.topology}"
    return ShapeSet(template, shapes.names, moved.astype(np.float32), source)


@lru_cache(maxsize=1)
def built_in_shapes() -> ShapeSet:
    """29 shapes of jaw, mouth and eyelids on the average procedural head.

    Not driven: gaze, brows, cheeks, nose (the head has no control for them) and tongueOut.
    """
    head = build_head()
    fields = _eyelid_shapes(head.template) | _jaw_shapes(head) | _lip_shapes(head)
    names = tuple(name for name in ARKIT_NAMES if name in fields)
    moved = np.stack([fields[name] for name in names]).astype(np.float32)
    return ShapeSet(head.template, names, moved, "procedural head")


def _posed(head: Head, **controls: float) -> NDArray[np.float64]:
    curves = np.array([[controls.get(name, 0.0) for name in CONTROLS]])
    return animate_head(head, curves)[0].astype(np.float64)


def _eyelid_shapes(face: FaceTemplate) -> dict[str, NDArray[np.float64]]:
    """The face's own left eye is at the image's right."""
    rest = face.vertices[None]
    found = {}
    for name, closure in (("eyeBlinkLeft", (0.0, 1.0)), ("eyeBlinkRight", (1.0, 0.0))):
        closed = close_eyelids(rest, face, np.array([closure]))
        found[name] = (closed - rest)[0].astype(np.float64)
    return found


def _jaw_shapes(head: Head) -> dict[str, NDArray[np.float64]]:
    """jawOpen is the rotation's chord at 12 degrees, stretched to 20; mouthClose undoes its gap."""
    rest, opened = _posed(head), _posed(head, jaw=1.0)
    along = np.eye(3)[:, None] * head.jaw[:, None]  # (3, V, 3)
    return {
        "jawOpen": JAW_OPEN * (opened - rest),
        "mouthClose": JAW_OPEN * (_posed(head, jaw=1.0, seal=1.0) - opened),
        "jawForward": 7.0 * along[2],
        "jawRight": -8.0 * along[0],
        "jawLeft": 8.0 * along[0],
    }


def _lip_shapes(head: Head) -> dict[str, NDArray[np.float64]]:
    """Shapes of the lips, (V, 3) mm each, from the movement of the inner and the outer contour."""
    across = -np.cos(2.0 * np.pi * np.arange(SPOKES) / SPOKES)
    left = np.clip((across + 0.3) / 0.6, 0.0, 1.0)
    left = left * left * (3.0 - 2.0 * left)
    whole, halved = _contours()
    contours: dict[str, tuple[NDArray[np.float64], tuple[Contour, Contour]]] = {
        name: (np.ones(SPOKES), pair) for name, pair in whole.items()
    }
    for name, pair in halved.items():
        contours |= {f"{name}Left": (left, pair), f"{name}Right": (1.0 - left, pair)}
    ids = np.flatnonzero(head.ring < 99)
    scale = head.mouth_half_width / 25.0
    found = {}
    for name, (share, pair) in contours.items():
        inner, outer = (scale * (np.stack(xyz) * share).T for xyz in pair)
        found[name] = np.zeros((len(head.ring), 3))
        found[name][ids] = skin_movement(head, inner, outer)
    return found


def _contours() -> tuple[dict[str, tuple[Contour, Contour]], dict[str, tuple[Contour, Contour]]]:
    """Movement of the inner and the outer contour at weight 1, for a mouth 50 mm wide: of whole
    shapes, and of those that ARKit has for the face's left and right half."""
    step = np.arange(SPOKES)
    across = -np.cos(2.0 * np.pi * step / SPOKES)  # -1 image-left corner, 1 image-right corner
    arch = np.abs(np.sin(2.0 * np.pi * step / SPOKES))
    up = arch * (step > SPOKES // 2)
    down = arch * (step < SPOKES // 2)
    zero = np.zeros(SPOKES)
    corner = across**2
    side = np.sign(across) * np.abs(across) ** 1.2
    whole: dict[str, tuple[Contour, Contour]] = {
        "mouthFunnel": (
            (-4.0 * across, 4.5 * up - 6.0 * down, 5.0 - 2.0 * corner),
            (-3.8 * across, 3.0 * up - 2.5 * down, 4.2 - 2.0 * corner),
        ),
        "mouthPucker": (
            (-8.5 * across, zero, 5.5 - 2.0 * corner),
            (-7.9 * across, zero, 4.7 - 2.0 * corner),
        ),
        "mouthLeft": ((zero + 11.0, zero, zero), (zero + 10.0, zero, zero)),
        "mouthRight": ((zero - 11.0, zero, zero), (zero - 10.0, zero, zero)),
        "mouthRollLower": ((zero, 3.9 * down, -9.0 * down), (zero, 4.8 * down, -4.5 * down)),
        "mouthRollUpper": ((zero, -3.0 * up, -9.0 * up), (zero, -4.0 * up, -4.5 * up)),
        "mouthShrugLower": ((zero, 2.5 * down, 3.0 * down), (zero, 5.0 * down, 4.0 * down)),
        "mouthShrugUpper": ((zero, 3.5 * up, 3.0 * up), (zero, 5.0 * up, 4.0 * up)),
    }
    halved: dict[str, tuple[Contour, Contour]] = {
        "mouthSmile": (
            (7.0 * side, 9.0 * corner, -7.0 * corner),
            (7.5 * side, 10.0 * corner, -7.0 * corner),
        ),
        "mouthFrown": (
            (1.0 * side, -8.0 * corner, -1.0 * corner),
            (1.0 * side, -9.0 * corner, -1.0 * corner),
        ),
        "mouthDimple": (
            (3.0 * side, 1.0 * corner, -7.0 * corner),
            (3.0 * side, 1.0 * corner, -7.0 * corner),
        ),
        "mouthStretch": (
            (7.5 * side, -0.9 * up + 1.2 * down - 1.5 * corner, -4.0 * corner),
            (8.0 * side, -0.9 * up + 1.4 * down - 1.5 * corner, -4.0 * corner),
        ),
        "mouthUpperUp": ((zero, 7.0 * up, 0.9 * up), (zero, 6.5 * up, 0.3 * up)),
        "mouthLowerDown": ((zero, -9.0 * down, 1.2 * down), (zero, -7.5 * down, 0.8 * down)),
        "mouthPress": (
            (0.8 * side, zero, -2.0 * arch),
            (1.0 * side, 3.4 * down - 2.6 * up, -1.6 * arch),
        ),
    }
    return whole, halved
