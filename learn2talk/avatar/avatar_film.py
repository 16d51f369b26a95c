"""A motion as a film of an avatar: through the camera that saw it, around it, or a camera file.

Axis letters: T frames, V vertices, H W picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from learn2talk.avatar.avatar_files import Avatar
from learn2talk.avatar.camera_files import read_cameras
from learn2talk.avatar.camera_paths import front_camera, orbit_cameras
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.rasterizer import render_splats
from learn2talk.drawing import Palette
from learn2talk.export.retarget import RetargetReport, retarget
from learn2talk.schema import Motion

FRONT, ORBIT = "front", "orbit"


def motion_on_avatar(motion: Motion, avatar: Avatar) -> tuple[Motion, RetargetReport]:
    """A motion on the avatar's own mesh: displacements from neutral, carried over.

    Args:
        motion: of any topology with lip contours, mm.
        avatar: whose mesh is to move.

    Raises:
        ValueError: as `learn2talk.export.retarget.retarget`.
    """
    return retarget(motion, avatar.template)


def cameras_for(
    avatar: Avatar, num_frames: int, camera: str = FRONT, size: int | None = None
) -> list[PinholeCamera]:
    """The camera of each frame.

    Args:
        avatar: is looked at.
        num_frames: T.
        camera: "front": that of the film it was made from, or one straight ahead where there was
            none; "orbit": a turn to the left and to the right; else a camera file, whose single
            camera is taken for all frames.
        size: height of the picture, pixels, even; None: the film's own, or 512.

    Raises:
        ValueError: an odd size, or a camera file that cannot be read or has another number of
            cameras than T or 1.
    """
    if size is not None and (size < 2 or size % 2):
        raise ValueError(f"film size is {size} pixels; H.264 needs an even number, 512 is usual")
    if camera == ORBIT:
        side = size or 512
        return orbit_cameras(avatar.template, num_frames, side, side)
    if camera == FRONT:
        if avatar.camera is None:
            side = size or 512
            return [front_camera(avatar.template, side, side)] * num_frames
        return [scaled(avatar.camera, size)] * num_frames
    path = Path(camera)
    if not path.is_file():
        raise ValueError(
            f"camera {camera!r} is neither {FRONT!r} nor {ORBIT!r} nor a file; check the path"
        )
    found = read_cameras(path)
    if len(found) not in (1, num_frames):
        raise ValueError(
            f"{path}: has {len(found)} cameras, the motion {num_frames} frames; give one camera, "
            "or one a frame"
        )
    return [scaled(one, size) for one in (found * num_frames if len(found) == 1 else found)]


def scaled(camera: PinholeCamera, height: int | None) -> PinholeCamera:
    """The same view in another size with even sides; None: the nearest even one of its own."""
    tall = camera.height - camera.height % 2 if height is None else height
    factor = tall / camera.height
    wide = max(2, 2 * round(camera.width * factor / 2))
    across = wide / camera.width
    return replace(
        camera,
        fx=camera.fx * across,
        fy=camera.fy * factor,
        cx=camera.cx * across,
        cy=camera.cy * factor,
        width=wide,
        height=tall,
    )


@torch.no_grad()
def draw_avatar(
    avatar: Avatar,
    vertices: NDArray[np.float32],
    cameras: Sequence[PinholeCamera],
    *,
    background: tuple[int, int, int] | NDArray[np.uint8] | None = None,
    backend: str = "auto",
    num_threads: int | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Draw an avatar whose mesh moves.

    Args:
        avatar: N splats on a mesh of V vertices.
        vertices: float32 (T, V, 3), mm, on the avatar's mesh.
        cameras: one a frame.
        background: red, green and blue, 0 to 255, or a picture uint8 (H, W, 3). None: what the
            avatar's film showed behind the head where the camera is the film's own, and a light
            grey elsewhere.
        backend, num_threads: as in `rasterizer.render_splats`.

    Yields:
        uint8 RGB (H, W, 3), contiguous, one a frame.

    Raises:
        ValueError: not one camera a frame, or vertices of another mesh.
    """
    if len(cameras) != len(vertices):
        raise ValueError(f"{len(cameras)} cameras for {len(vertices)} frames; give one each")
    given = Palette().background if background is None else background
    behind: dict[tuple[int, int, bool], torch.Tensor] = {}
    for frame, camera in zip(vertices, cameras, strict=True):
        own = background is None and _is_view_of(avatar, camera)
        key = (camera.height, camera.width, own)
        if key not in behind:
            behind[key] = _behind(avatar.background if own else given, key[:2])
        colour = render_splats(avatar.posed(frame), camera, behind[key], backend, num_threads)
        picture = (colour.colour.clamp(0.0, 1.0) * 255.0).round().byte()
        yield np.ascontiguousarray(picture.cpu().numpy())


def _is_view_of(avatar: Avatar, camera: PinholeCamera) -> bool:
    """Whether a camera stands where the avatar's film was taken from, and looks the same way."""
    own = avatar.camera
    return (
        own is not None
        and avatar.background is not None
        and np.allclose(own.rotation, camera.rotation)
        and np.allclose(own.translation, camera.translation)
        and abs(own.fx / own.width - camera.fx / camera.width) < 1e-3 * own.fx / own.width
    )


def _behind(
    background: tuple[int, int, int] | NDArray[np.uint8] | None, size: tuple[int, int]
) -> torch.Tensor:
    """A colour (3,), or a picture (H, W, 3) in another size; 0 to 1."""
    given = torch.from_numpy(np.asarray(background, np.uint8)).float() / 255.0
    if given.ndim == 1 or tuple(given.shape[:2]) == size:
        return given
    whole = given.permute(2, 0, 1)[None]
    whole = torch.nn.functional.interpolate(whole, size, mode="bilinear", antialias=True)
    return whole[0].permute(1, 2, 0).contiguous()
