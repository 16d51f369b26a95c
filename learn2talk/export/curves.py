"""ARKit curves as files: CSV as the Live Link Face app writes it, and JSON.

Axis letters: T frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.files import write_atomically, write_json
from learn2talk.export.arkit import ArkitCurves
from learn2talk.export.shapes import ARKIT_NAMES

LIVE_LINK_FPS = 60  # what the app records
HEAD_ROTATIONS = ("headYaw", "headPitch", "headRoll")
_ROTATIONS = tuple(name[0].upper() + name[1:] for name in HEAD_ROTATIONS) + tuple(
    f"{eye}Eye{turn}" for eye in ("Left", "Right") for turn in ("Yaw", "Pitch", "Roll")
)
LIVE_LINK_COLUMNS = (
    "Timecode",
    "BlendShapeCount",
    *(name[0].upper() + name[1:] for name in ARKIT_NAMES),
    *_ROTATIONS,
)


def write_live_link_csv(
    path: Path | str, curves: ArkitCurves, *, fps: float = LIVE_LINK_FPS
) -> None:
    """Write curves in the layout of Live Link Face's CSV, atomically.

    63 columns: Timecode (HH:MM:SS:FF.mmm from zero), BlendShapeCount (61, as the app counts
    rotations among them), the 52 weights, and head and eye rotations in radians. The head's are 0
    for curves without `head_rotation`, the eyes' always: a motion has no gaze. Everything is
    interpolated linearly to `fps`.

    Args:
        path: file to write.
        curves: at any rate.
        fps: frames a second of the file, a whole number from 1 to 100.

    Raises:
        ValueError: the timecode, which counts whole frames in two digits, cannot express fps, or
            the motion lasts a day.
    """
    if not (float(fps).is_integer() and 1 <= fps <= 100):
        raise ValueError(
            f"Live Link Face counts whole frames in two digits and cannot express {fps} frames a "
            "second; give a whole number from 1 to 100, 60 is the app's own"
        )
    rate = int(fps)
    values = _resampled(curves.weights, curves.fps, rate)
    if len(values) > 24 * 3600 * rate:
        raise ValueError(
            f"curves last {len(values) / rate:.0f} s; a timecode ends after 86400 s: cut them"
        )
    turns = np.zeros((len(values), len(_ROTATIONS)))
    if curves.head_rotation is not None:
        turns[:, :3] = _resampled(curves.head_rotation, curves.fps, rate)
    count = len(ARKIT_NAMES) + len(_ROTATIONS)
    with write_atomically(path) as temporary, open(temporary, "w", newline="") as stream:
        stream.write(",".join(LIVE_LINK_COLUMNS) + "\n")
        for index, row in enumerate(np.concatenate([values, turns], axis=1)):
            numbers = ",".join(f"{value:.8f}" for value in row)
            stream.write(f"{_timecode(index, rate)},{count},{numbers}\n")


def write_arkit_json(
    path: Path | str, curves: ArkitCurves, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write curves as JSON, atomically: names, fps, frames (a list of 52 weights each), at the
    motion's own rate, and which are driven, from which shapes, with which residual in mm. Curves
    with a head rotation add its names and its frames (a list of 3 angles in radians each)."""
    head: dict[str, Any] = {}
    if curves.head_rotation is not None:
        turns = [[round(float(v), 6) for v in row] for row in curves.head_rotation]
        head = {"head_rotation_names": list(HEAD_ROTATIONS), "head_rotation_rad": turns}
    write_json(
        path,
        {
            "format": "arkit-52",
            "fps": curves.fps,
            "num_frames": len(curves.weights),
            "names": list(ARKIT_NAMES),
            "driven": list(curves.driven),
            "shapes": curves.source,
            "lip_residual_mm": curves.lip_residual_mm,
            "lip_residual_max_mm": curves.lip_residual_max_mm,
            "face_residual_mm": curves.face_residual_mm,
            "explained": curves.explained,
            "provenance": dict(provenance or {}),
            "frames": [[round(float(v), 6) for v in row] for row in curves.weights],
            **head,
        },
    )


def _resampled(values: NDArray, fps: float, rate: int) -> NDArray[np.float64]:
    """Rows (T, N) at times i / rate while the motion lasts; the last frame is held."""
    frames = len(values)
    times = np.arange(max(1, int(np.floor(frames / fps * rate + 1e-6)))) / rate
    place = np.clip(times * fps, 0, frames - 1)
    columns = [np.interp(place, np.arange(frames), column) for column in values.T]
    return np.stack(columns, axis=1)


def _timecode(index: int, rate: int) -> str:
    seconds, frame = divmod(index, rate)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}.000"
