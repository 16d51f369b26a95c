"""The procedural head, drawn from several sides, as films that an avatar can be fitted to.

Axis letters: T frames, V vertices.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learn2talk.articulation import CONTROLS, animate_head
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.films import TrackedFilm, TrackedPerson
from learn2talk.drawing import Camera, Palette, render_frames
from learn2talk.head import Head
from learn2talk.head.eyelids import SIDES, close_eyelids
from learn2talk.schema import FaceTemplate

_MARGIN = 1.08
DISTANCE_MM = 4000.0  # drawings are orthographic; from here a pinhole camera is nearly so
TURNS = (-75.0, -45.0, -20.0, 0.0, 20.0, 45.0, 75.0)
NODS = (-15.0, 0.0, 15.0)
_CLOSURES = (0.25, 0.5, 0.75, 1.0, 1.0)  # of the lids: closed ones look like nothing else


def drawn_person(
    head: Head,
    size: int,
    palette: Palette,
    turns: Sequence[float] = TURNS,
    nods: Sequence[float] = NODS,
) -> TrackedPerson:
    """A head that moves every part of its face, drawn from 21 directions.

    Args:
        head: the neutral head.
        size: height and width of the pictures, pixels.
        palette: colours, and the light, which stands beside the camera.
        turns, nods: of the head in degrees, to the viewer's right and up; each with each.

    Returns:
        One film a direction, each with all poses: each control of the articulation at half and at
        full, some together, and eyes that close.
    """
    template = head.template
    vertices = _poses(head)
    view = _whole(template)
    films = []
    for turn in turns:
        for nod in nods:
            camera = Camera(view.centre, view.mm_per_picture, np.radians(turn), np.radians(nod))
            pictures = np.stack(
                list(render_frames(vertices, template, size=size, palette=palette, camera=camera))
            )
            pinhole = pinhole_of(camera, size)
            films.append(
                TrackedFilm(
                    path=Path(f"drawn_{turn:+.0f}_{nod:+.0f}"),
                    pictures=pictures,
                    vertices=vertices,
                    rotations=np.repeat(pinhole.rotation[None], len(vertices), axis=0),
                    translations=np.repeat(pinhole.translation[None], len(vertices), axis=0),
                    tracked=np.ones(len(vertices), bool),
                    lips_mm=0.0,
                )
            )
    straight = pinhole_of(Camera(view.centre, view.mm_per_picture), size)
    return TrackedPerson(template, tuple(films), straight)


def _whole(template: FaceTemplate) -> Camera:
    """A camera that shows the head with its neck and shirt."""
    low, high = template.vertices[:, :2].min(axis=0), template.vertices[:, :2].max(axis=0)
    centre = (float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2)
    return Camera(centre, _MARGIN * float((high - low).max()))


def pinhole_of(camera: Camera, size: int) -> PinholeCamera:
    """A drawing's orthographic camera as a pinhole camera far away."""
    cosine, sine = np.cos(camera.yaw), np.sin(camera.yaw)
    up, aside = np.cos(camera.pitch), np.sin(camera.pitch)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    nod = np.array([[1, 0, 0], [0, up, aside], [0, -aside, up]])
    rotation = np.diag([1.0, -1.0, -1.0]) @ nod @ turn
    focal = DISTANCE_MM * size / camera.mm_per_picture
    translation = np.array([-camera.centre[0], camera.centre[1], DISTANCE_MM])
    return PinholeCamera(rotation, translation, focal, focal, size / 2, size / 2, size, size)


def _poses(head: Head) -> NDArray[np.float32]:
    """Vertices (T, V, 3) that show every part of the face moving."""
    each = np.eye(len(CONTROLS))
    curves = [np.zeros(len(CONTROLS)), *(0.5 * each), *each]
    place = CONTROLS.index
    for together in (("jaw", "spread"), ("jaw", "round"), ("upper", "lower"), ("jaw", "tongue")):
        curve = np.zeros(len(CONTROLS))
        curve[[place(name) for name in together]] = 0.8
        curves.append(curve)
    moved = animate_head(head, np.stack(curves))
    closed = np.repeat(np.array(_CLOSURES)[:, None], SIDES, axis=1)
    rest = np.repeat(moved[:1], len(closed), axis=0)
    blinks = close_eyelids(rest, head.template, closed)
    return np.concatenate([moved, blinks])
