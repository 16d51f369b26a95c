"""Motion from one frame rate to another, by time. Pure functions, no files.

Frame t of a motion covers [t / fps, (t + 1) / fps) seconds, and its place is the middle of that
span; so 60 to 25 fps keeps the motion where the sound is. Axis letters: T frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Resampler = Literal["low_pass", "every_second_frame"]
ZERO_CROSSINGS = 6  # of the windowed sinc, on either side
PASSED_SHARE = 0.9  # of half the lower rate: where the filter begins to cut


def low_pass(frames: NDArray[np.floating], fps: float, to_fps: float) -> NDArray[np.float32]:
    """Resample by a Hann-windowed sinc that removes what the new rate cannot hold.

    Args:
        frames: (T, ...) values at ``fps``; beyond its ends the first and last frame are held.
        fps, to_fps: frames a second, above 0.

    Returns:
        float32 (round(T to_fps / fps), ...), at least one frame where there is one.
    """
    if fps <= 0 or to_fps <= 0:
        raise ValueError(f"frame rates are {fps} and {to_fps}; both must be above 0")
    values = np.asarray(frames, dtype=np.float32)
    if fps == to_fps or len(values) == 0:
        return values
    count = max(1, round(len(values) * to_fps / fps))
    cut = PASSED_SHARE * min(1.0, to_fps / fps)  # as a share of half the source's rate
    reach = ZERO_CROSSINGS / cut
    flat = values.reshape(len(values), -1)
    out = np.empty((count, flat.shape[1]), dtype=np.float32)
    for t in range(count):
        place = (t + 0.5) * fps / to_fps - 0.5  # in source frames
        taps = np.arange(np.ceil(place - reach), np.floor(place + reach) + 1)
        away = taps - place
        weights = np.sinc(away * cut) * (0.5 + 0.5 * np.cos(np.pi * away / reach))
        weights /= weights.sum()
        held = np.clip(taps, 0, len(values) - 1).astype(int)
        out[t] = weights.astype(np.float32) @ flat[held]
    return out.reshape(count, *values.shape[1:])


def every_second_frame(
    frames: NDArray[np.floating], fps: float, to_fps: float
) -> NDArray[np.float32]:
    """Frames 0, 2, 4 ... without a filter where that halves the rate; from there by `low_pass`.

    So FaceFormer and CodeTalker read VOCASET (60 to 30 fps). What is faster than 15 Hz folds back,
    and the motion comes a quarter of a new frame early (8 ms), as frame 2j stands for 2j and 2j+1.

    Raises:
        ValueError: the rate is less than halved, so that no frame may be left out.
    """
    if to_fps > fps / 2:
        raise ValueError(
            f"every_second_frame from {fps:g} to {to_fps:g} fps would leave out frames that are "
            "needed; use low_pass"
        )
    return low_pass(np.asarray(frames, dtype=np.float32)[::2], fps / 2, to_fps)


RESAMPLERS: dict[Resampler, Callable[..., NDArray[np.float32]]] = {
    "low_pass": low_pass,
    "every_second_frame": every_second_frame,
}


def resample_motion(
    frames: NDArray[np.floating], fps: float, to_fps: float, resampler: Resampler = "low_pass"
) -> NDArray[np.float32]:
    """Motion (T, ...) at another frame rate by a named resampler; the same rate changes nothing.

    Raises:
        ValueError: an unknown name, or rates that the resampler cannot do.
    """
    if resampler not in RESAMPLERS:
        raise ValueError(f"resampler {resampler!r} is not one of {', '.join(RESAMPLERS)}")
    if fps == to_fps:
        return np.asarray(frames, dtype=np.float32)
    return RESAMPLERS[resampler](frames, fps, to_fps)
