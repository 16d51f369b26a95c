"""A motion as a video with sound; the drawing itself is :mod:`learn2talk.drawing`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from avsr.units import SAMPLE_RATE_HZ
from learn2talk.drawing import (
    Camera,
    Palette,
    face_camera,
    mouth_camera,
    render_frames,
    render_mouth_crops,
)
from learn2talk.schema import Motion

__all__ = [
    "Camera",
    "Palette",
    "face_camera",
    "mouth_camera",
    "render_frames",
    "render_mouth_crops",
    "write_face_video",
]


def write_face_video(
    path: Path | str,
    motion: Motion,
    audio: np.ndarray | None,
    *,
    size: int = 512,
    palette: Palette = Palette(),  # noqa: B008 (frozen)
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> None:
    """Write a motion as an mp4 with its sound, ``audio`` float32 (S,) in [-1, 1] or ``None``."""
    from avsr.files import write_video

    frames = render_frames(motion.vertices, motion.template, size=size, palette=palette)
    fps = Fraction(motion.fps).limit_denominator(1001)
    write_video(path, frames, fps, audio, sample_rate_hz)
