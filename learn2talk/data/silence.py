"""Silence for a student to learn from: nobody speaks, so the mouth is closed and still.

Corpora hold little of it, and none that is digitally silent: an untaught student hears something in
it. Axis letters: T frames, N silent frames, F mel bands, R animated vertices, S samples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avsr.data.dataset import features_of
from avsr.units import SAMPLES_PER_FRAME
from learn2talk.data.motion_clip import MotionClip
from learn2talk.metrics import lip_gap_mm

LENGTH_FRAMES = (15, 40)
LEVEL_DB = (-90.0, -45.0)  # of full scale: from a good recorder's own noise to a quiet room
DIGITAL_SHARE = 0.3  # of silences that are zeros
CLOSING_FRAMES = 3  # in which the mouth comes to rest


def with_silence(
    clip: MotionClip, generator: np.random.Generator, num_mels: int | None
) -> MotionClip:
    """A clip with a stretch of silence behind it, in which the face comes to rest.

    What a student hears there is digital zero, or white noise of a random low level; noise that was
    mixed into the clip does not go on. Real mouth crops, where there are any, go on with the one
    whose lips are most closed.

    Args:
        clip: an example, after augmentation.
        generator: source of the draws.
        num_mels: F of the clip's features.
    """
    count = int(generator.integers(LENGTH_FRAMES[0], LENGTH_FRAMES[1] + 1))
    sound = np.zeros(count * SAMPLES_PER_FRAME, np.float32)
    if generator.random() >= DIGITAL_SHARE:
        level = 10 ** (generator.uniform(*LEVEL_DB) / 20)
        sound = (level * generator.standard_normal(len(sound))).astype(np.float32)
    features = features_of(sound, num_mels)
    heard = clip.heard
    if heard is not None:
        same = heard.shape[1] == clip.features.shape[1]
        heard = np.concatenate([heard, features if same else features_of(sound, None)])
    crops = clip.mouth_crops
    if crops is not None:
        gap = np.where(clip.tracked, lip_gap_mm(clip.lips), np.inf)
        crops = np.concatenate([crops, np.repeat(crops[None, int(gap.argmin())], count, axis=0)])
    rest = np.zeros_like(clip.displacement[:1])
    return replace(
        clip,
        features=np.concatenate([clip.features, features]),
        lips=_comes_to(clip.lips, clip.neutral_lips[None], count),
        displacement=_comes_to(clip.displacement, rest, count),
        tracked=np.concatenate([clip.tracked, np.ones(count, bool)]),
        mouth_crops=crops,
        heard=heard,
    )


def _comes_to(
    motion: NDArray[np.float32], rest: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    """Motion (T, ...), then `count` frames from its last one to `rest` (1, ...)."""
    left = np.clip(1.0 - (np.arange(count) + 1.0) / CLOSING_FRAMES, 0.0, 1.0)
    left = left.reshape(-1, *[1] * (motion.ndim - 1)).astype(np.float32)
    return np.concatenate([motion, rest + left * (motion[-1:] - rest)])
