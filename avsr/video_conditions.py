"""What happens to the picture: missing frames, a hidden mouth, blur, compression, a still, delay.

Pure functions on numpy. A condition is a word with its strength, such as ``missing_50``; the same
utterance is always disturbed in the same way. Axis letters: T frames at 25 fps, H W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from avsr.noise import stable_hash
from avsr.units import VIDEO_FPS

CLEAN_VIDEO = "clean"
FRAME_MS = 1000 / VIDEO_FPS
MAX_OFFSET_MS = 200
FRAME_RATES = (15, 30)
GREY = 128  # of an occluding patch
BLOCK = 8  # of JPEG
# ITU-T Rec. T.81 (JPEG), table K.1: quantisation of luminance.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float64,
)
# The conditions that are tested unless others are asked for.
STANDARD: tuple[str, ...] = (
    "missing_25",
    "missing_50",
    "occluded_50",
    "blurred_3",
    "compressed_10",
    "frozen_1",
    "offset_-200",
    "offset_-80",
    "offset_80",
    "offset_200",
    "fps_15",
    "fps_30",
)
MEANINGS: dict[str, str] = {
    "missing": "missing_<p>: p % of the frames are lost, and the recogniser is told which",
    "occluded": "occluded_<p>: a grey patch, p % of the picture wide and high, somewhere in it",
    "blurred": "blurred_<s>: Gaussian blur of s pixels standard deviation",
    "compressed": "compressed_<q>: JPEG of quality q, 1 to 100, without colour",
    "frozen": "frozen_<s>: for s seconds the picture stands still, and nobody says so",
    "offset": "offset_<ms>: the sound is late by so many ms, early where negative",
    "fps": "fps_15, fps_30: what a camera of that rate sees, shown at 25",
}


@dataclass(frozen=True)
class Disturbance:
    """A condition taken apart.

    ``index`` (T,) says which frame is shown at each time, ``lost`` (T,) where there is none, and
    ``change`` what is done to a picture (H, W) uint8; ``None``: nothing.
    """

    index: np.ndarray
    lost: np.ndarray
    change: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def needs_pictures(self) -> bool:
        """Whether it acts on pixels, so that it means nothing for tracked points."""
        return self.change is not None

    def apply(self, frames: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames (T, ...) and their mask (T,) bool as they are seen.

        Raises:
            ValueError: pictures are changed and the frames are not (T, H, W) uint8.
        """
        if self.change is not None and (frames.ndim != 3 or frames.dtype != np.uint8):
            raise ValueError(
                f"frames of shape {frames.shape}, {frames.dtype}: this condition changes grey "
                "pictures (T, H, W) uint8; leave it out for tracked lips"
            )
        seen, there = frames[self.index], valid[self.index] & ~self.lost
        if self.change is not None:
            # Frames that are shown again are changed once.
            shown, back = np.unique(self.index, return_inverse=True)
            seen = np.stack([self.change(frames[place]) for place in shown])[back]
        return seen, there


def split_condition(condition: str) -> tuple[str, float]:
    """``missing_50`` as ``("missing", 50.0)``; ``clean`` as ``("clean", 0.0)``.

    Raises:
        ValueError: an unknown word or an impossible strength; the message lists what there is.
    """
    if condition == CLEAN_VIDEO:
        return CLEAN_VIDEO, 0.0
    word, _, number = condition.partition("_")
    try:
        strength = float(number)
    except ValueError:
        strength = math.nan
    limits = {
        "missing": 0 < strength < 100,
        "occluded": 0 < strength <= 100,
        "blurred": 0 < strength <= 20,
        "compressed": 1 <= strength <= 100,
        "frozen": 0 < strength <= 60,
        "offset": abs(strength) <= MAX_OFFSET_MS and strength % FRAME_MS == 0 and strength != 0,
        "fps": strength in FRAME_RATES,
    }
    if not limits.get(word, False):
        raise ValueError(
            f"video condition {condition!r} is unknown or impossible; there are clean, "
            f"{'; '.join(MEANINGS.values())} (offsets of {FRAME_MS:g} ms up to {MAX_OFFSET_MS})"
        )
    return word, strength


def disturbance(
    condition: str, num_frames: int, utterance_id: str, size: tuple[int, int] = (88, 88)
) -> Disturbance:
    """What a condition does to an utterance; the same in every process and order.

    Args:
        condition: such as ``"frozen_1"``, see :data:`MEANINGS`; ``"clean"`` does nothing.
        num_frames: T at 25 fps.
        utterance_id: what chance hangs on.
        size: H and W of the pictures, for the place of a patch.

    Raises:
        ValueError: as :func:`split_condition`.
    """
    word, strength = split_condition(condition)
    frames = np.arange(num_frames)
    nothing = np.zeros(num_frames, dtype=bool)
    chance = np.random.default_rng(stable_hash(utterance_id, condition))
    if word == "missing":
        lost = nothing.copy()
        lost[chance.permutation(num_frames)[: round(strength / 100 * num_frames)]] = True
        return Disturbance(frames, lost)
    if word == "frozen":
        length = min(num_frames, round(strength * VIDEO_FPS))
        start = int(chance.integers(num_frames - length + 1))
        index = frames.copy()
        index[start : start + length] = start
        return Disturbance(index, nothing)
    if word == "offset":
        # Sound late by two frames: at a time the picture of two frames later is seen.
        moved = frames + round(strength / FRAME_MS)
        return Disturbance(np.clip(moved, 0, max(0, num_frames - 1)), nothing)
    if word == "fps":
        camera = frames * int(strength) // VIDEO_FPS  # the newest picture of that camera
        return Disturbance(camera * VIDEO_FPS // int(strength), nothing)
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "occluded": _patch(strength / 100, size, chance),
        "blurred": lambda picture: blurred(picture, strength),
        "compressed": lambda picture: compressed(picture, strength),
    }
    return Disturbance(frames, nothing, changes.get(word))


def _patch(
    share: float, size: tuple[int, int], chance: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    height, width = (max(1, round(share * length)) for length in size)
    top = int(chance.integers(size[0] - height + 1))
    left = int(chance.integers(size[1] - width + 1))

    def hidden(picture: np.ndarray) -> np.ndarray:
        changed = picture.copy()
        changed[top : top + height, left : left + width] = GREY
        return changed

    return hidden


def blurred(picture: np.ndarray, deviation: float) -> np.ndarray:
    """A grey picture (H, W) uint8 after a Gaussian blur, edges held; ``deviation`` in pixels."""
    reach = math.ceil(3 * deviation)
    at = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (at / deviation) ** 2)
    kernel /= kernel.sum()
    values = picture.astype(np.float64)
    for axis in (0, 1):
        widths = [(reach, reach) if axis == one else (0, 0) for one in (0, 1)]
        padded = np.pad(values, widths, mode="edge")
        views = np.lib.stride_tricks.sliding_window_view(padded, kernel.size, axis=axis)
        values = views @ kernel
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def compressed(picture: np.ndarray, quality: float) -> np.ndarray:
    """A grey picture (H, W) uint8 as baseline JPEG gives it back.

    Cosine transform of 8x8 blocks, quantised by table K.1 of ITU-T T.81 scaled as the Independent
    JPEG Group's library scales it (5000 / q below 50, 200 - 2 q from there, per cent); the entropy
    coding that follows loses nothing, so it is left out. Sizes that are no multiple of 8 are
    filled with their edge.
    """
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = np.clip(np.floor((LUMINANCE * percent + 50) / 100), 1, 255)
    at = np.arange(BLOCK)
    cosines = np.cos((2 * at[None] + 1) * at[:, None] * math.pi / (2 * BLOCK)) * math.sqrt(0.25)
    cosines[0] /= math.sqrt(2)
    height, width = picture.shape
    filled = np.pad(picture, ((0, -height % BLOCK), (0, -width % BLOCK)), mode="edge")
    rows, columns = (length // BLOCK for length in filled.shape)
    blocks = filled.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).astype(np.float64) - 128
    coefficients = np.rint(cosines @ blocks @ cosines.T / table) * table
    back = cosines.T @ coefficients @ cosines + 128
    whole = back.swapaxes(1, 2).reshape(filled.shape)[:height, :width]
    return np.clip(np.rint(whole), 0, 255).astype(np.uint8)
