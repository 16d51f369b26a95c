"""Every motion on one face, drawn in one style, so that only its movement differs.

The face is the built-in head as the bundled student has it (2500 vertices). The route:

1. A motion of the built-in head is taken as it is: its displacement from its own neutral face, in
   millimetres, of the lower face and the lips, is added to the face that is drawn.
2. Any other motion is carried over (`learn2talk.export.retarget`): both neutral faces are aligned
   by their 40 lip contour points (rotation, translation, one scale, so that a small mouth that
   opens by half its width does so on this face too), the 40 points move exactly as theirs do, the
   skin around follows by interpolation, and lower teeth and tongue turn with the jaw.
3. The vertices of the lower face are moved, the others are not, as in the drawn mouths that the
   bundled lip reader learned from (`learn2talk.corpora.drawn`).
4. It is drawn from the front, grey, 96 x 96, the corners of the mouth at rest 47.5 % of the width
   apart (`learn2talk.drawing.render_mouth_crops`); for imported recognisers at the share at which
   their own crops have it.

Two motions differ in the picture by what the lips and the skin around them do, and by nothing else:
not by identity, texture, light, camera or head pose. Teeth and tongue that only one topology has
are not compared. Axis letters: T frames, V vertices, R vertices that move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from learn2talk.data.motion import animated_ids
from learn2talk.default_student import default_student
from learn2talk.drawing import CROP_MOUTH_SHARE, mouth_camera, render_mouth_crops
from learn2talk.export.alignment import same_topology
from learn2talk.export.retarget import retarget
from learn2talk.export.transfer import Transfer, make_transfer
from learn2talk.files import TEMPLATE, load_template
from learn2talk.schema import FaceTemplate, Motion

STYLE = "1"  # a change of what is drawn is another style: what was read before is read again


@lru_cache(maxsize=1)
def drawn_face() -> FaceTemplate:
    """The neutral face on which every motion is drawn."""
    return load_template(default_student() / TEMPLATE)


@lru_cache(maxsize=1)
def moving_ids() -> NDArray[np.int32]:
    """The vertices (R,) of that face that may move: lower face and lips."""
    return animated_ids(drawn_face())


@lru_cache(maxsize=1)
def moving_lips() -> NDArray[np.int64]:
    """Where the canonical 40 lip points are among the vertices that move."""
    found: NDArray[np.int64] = np.searchsorted(moving_ids(), drawn_face().lip_ids)
    return found


def lips_of(moved: NDArray[np.float32]) -> NDArray[np.float32]:
    """Canonical lips (T, 40, 3) mm of a displacement (T, R, 3) mm of the drawn face."""
    lips: NDArray[np.float32] = drawn_face().lips + moved[:, moving_lips()]
    return lips


def template_sha256(face: FaceTemplate) -> str:
    """Of a neutral face's vertices and triangles."""
    return hashlib.sha256(face.vertices.tobytes() + face.triangles.tobytes()).hexdigest()


_TRANSFERS: dict[str, Transfer] = {}  # one for each neutral face; seconds to make, used by many


def _transfer(face: FaceTemplate) -> Transfer:
    key = template_sha256(face) + face.lip_ids.tobytes().hex()
    if key not in _TRANSFERS:
        if len(_TRANSFERS) >= 64:
            _TRANSFERS.clear()
        _TRANSFERS[key] = make_transfer(face, drawn_face())
    return _TRANSFERS[key]


def carried(motion: Motion) -> NDArray[np.float32]:
    """A head-pose-free motion as displacement (T, R, 3), mm, of the drawn face.

    Raises:
        ValueError: the motion's face has no canonical lips, or degenerate ones.
    """
    face, ids = drawn_face(), moving_ids()
    own = motion.template
    if own.topology == face.topology and same_topology(own, face):
        moved = motion.vertices[:, ids] - own.vertices[ids]
    else:
        result, _ = retarget(motion, face, _transfer(own))
        moved = result.vertices[:, ids] - face.vertices[ids]
    return np.ascontiguousarray(moved, dtype=np.float32)


class Drawings:
    """Mouth crops of displacements; equal frames are drawn once, so that a still face is cheap.

    Args:
        mouth_share: of the crop's width that lies between the corners of the mouth at rest.
    """

    def __init__(self, mouth_share: float = CROP_MOUTH_SHARE) -> None:
        camera = mouth_camera(drawn_face())
        wide = camera.mm_per_picture * CROP_MOUTH_SHARE / mouth_share
        self._camera = replace(camera, mm_per_picture=wide)
        self._drawn: dict[bytes, NDArray[np.uint8]] = {}

    def crops(self, moved: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Grey mouth crops uint8 (T, 96, 96) of a displacement (T, R, 3), mm."""
        keys = [frame.tobytes() for frame in moved]
        new = {key: t for t, key in enumerate(keys) if key not in self._drawn}
        if new:
            face = drawn_face()
            vertices = np.repeat(face.vertices[None], len(new), axis=0)
            vertices[:, moving_ids()] += moved[list(new.values())]
            drawn = render_mouth_crops(vertices, face, camera=self._camera)
            self._drawn.update(zip(new, drawn, strict=True))
        return np.stack([self._drawn[key] for key in keys])


def style_facts() -> Mapping[str, object]:
    """What a report says about how mouths are drawn, JSON-ready."""
    face = drawn_face()
    return {
        "style": STYLE,
        "face": face.topology,
        "face_sha256": template_sha256(face),
        "vertices_moved": len(moving_ids()),
        "crop_pixels": 96,
        "mouth_share": CROP_MOUTH_SHARE,
        "route": "own topology: displacement as it is; others: learn2talk.export.retarget",
    }
