"""The procedural head as a face model: its identity measures and articulation as linear shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from learn2talk.articulation import CONTROLS, animate_head
from learn2talk.fitting.face_model import FaceModel
from learn2talk.head import HeadIdentity, build_head

# One standard deviation of each measure among talking heads, as `head.random_identity` draws them.
_SPREAD = {
    "width": 0.04,
    "jaw_width": 0.08,
    "nose_length": 0.08,
    "nose_width": 0.10,
    "mouth_width": 0.08,
    "lip_fullness": 0.14,
    "eye_size": 0.06,
    "cheek": 0.3,
    "chin": 0.25,
}
# A sealed mouth is the neutral one, and no landmark shows the tongue.
FITTED_CONTROLS = tuple(name for name in CONTROLS if name not in ("seal", "tongue"))
# Where on the average head (x, y) mm a landmark of the skin lies; the corners of the eyes are those
# of the eye whites.
_ON_SKIN = {168: (0.0, 8.0), 4: (0.0, -44.0), 2: (0.0, -53.0), 152: (0.0, -118.0)}


@lru_cache(maxsize=1)
def head_model() -> FaceModel:
    """The procedural head (2500 vertices) with 9 identity and 7 expression shapes.

    The expressions are the displacements at full control (`learn2talk.articulation.CONTROLS`
    without seal and tongue), so that half a control moves the skin by half of them: the jaw's
    rotation of 12 degrees bends up to 0.5 mm away from that.
    """
    average = HeadIdentity()
    head = build_head(average)
    identities = []
    for name, spread in _SPREAD.items():
        more, less = (
            build_head(HeadIdentity(**{**asdict(average), name: 1.0 + sign * spread}))
            for sign in (1.0, -1.0)
        )
        identities.append((more.template.vertices - less.template.vertices) / 2.0)
    curves = np.eye(len(CONTROLS))[[CONTROLS.index(name) for name in FITTED_CONTROLS]]
    rest = animate_head(head, np.zeros((1, len(CONTROLS))))[0]
    return FaceModel(
        template=head.template,
        identities=np.stack(identities),
        expressions=animate_head(head, curves) - rest,
        names=FITTED_CONTROLS,
        anchors=_anchors(head.template.vertices, head.template.regions),
    )


def _anchors(vertices: NDArray, regions: Mapping[str, NDArray[np.int32]]) -> dict[int, int]:
    white = regions["eye_white"]
    left, right = (white[vertices[white, 0] * side > 0] for side in (-1.0, 1.0))
    anchors = {
        33: left[vertices[left, 0].argmin()],
        133: left[vertices[left, 0].argmax()],
        362: right[vertices[right, 0].argmin()],
        263: right[vertices[right, 0].argmax()],
    }
    skin = regions["skin"][vertices[regions["skin"], 2] > 0]
    for landmark, place in _ON_SKIN.items():
        away = np.linalg.norm(vertices[skin, :2] - np.array(place), axis=1)
        anchors[landmark] = skin[away.argmin()]
    return {landmark: int(vertex) for landmark, vertex in anchors.items()}
