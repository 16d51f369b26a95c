"""What a face does beside speaking: its head moves, its eyes blink.

Both are drawn from a seed: the same one gives the same movement, another one another.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from learn2talk.blinks import BlinkConfig, eyelid_closure
from learn2talk.data.hearing import log_mel_in_pieces
from learn2talk.head.eyelids import SIDES, close_eyelids
from learn2talk.head_motion_files import TrainedHeadMotion, load_head_motion
from learn2talk.head_pose import with_head_pose
from learn2talk.models.head_motion import POSE_NUMBERS
from learn2talk.schema import Motion

PIECE_FRAMES = 400  # video frames computed at once: 16 s
MOST_SEED = 2**63 - 1  # what torch takes


def head_poses_for(
    head_motion: TrainedHeadMotion | Path | str,
    sound: NDArray[np.float32],
    seed: int = 0,
    start: NDArray | None = None,
) -> NDArray[np.float32]:
    """How the head moves that says a sound.

    Args:
        head_motion: folder of `learn2talk train head-motion`, or what `load_head_motion` made of
            it.
        sound: float32 (S,) at 16 kHz in [-1, 1], at least a frame.
        seed: of the draw, 0 or more.
        start: (6,) rad and mm, pose of the first frame; None looks straight ahead.

    Returns:
        float32 (ceil(S / 640), 6): rotation vector in rad, translation in mm.

    Raises:
        ValueError: no such folder, a seed below 0, or a start that is not 6 finite numbers.
    """
    if not isinstance(head_motion, TrainedHeadMotion):
        head_motion = load_head_motion(head_motion)
    _check_seed(seed)
    first = np.zeros(POSE_NUMBERS) if start is None else np.asarray(start, dtype=np.float64)
    if first.shape != (POSE_NUMBERS,) or not np.isfinite(first).all():
        raise ValueError(f"start pose is {first}; give 6 finite numbers, rad and mm")
    model = head_motion.model
    features = log_mel_in_pieces(torch.from_numpy(sound), model.config.num_mels, PIECE_FRAMES)
    begin = torch.from_numpy(first.astype(np.float32))
    generator = torch.Generator().manual_seed(seed)
    poses: NDArray[np.float32] = model.sample(features, begin, generator, PIECE_FRAMES).numpy()
    return poses


def with_blinks(motion: Motion, seed: int = 0, config: BlinkConfig | None = None) -> Motion:
    """A head-pose-free motion whose eyes blink, both together.

    Args:
        motion: of the procedural head, any identity.
        seed: of times and lengths, 0 or more.
        config: how often and how long; None takes the defaults.

    Raises:
        ValueError: the face has no eyelids, the motion has a head pose, or a seed below 0.
    """
    _check_seed(seed)
    if motion.head_pose is not None:
        raise ValueError("this motion has a head pose; let it blink first, then move the head")
    generator = np.random.default_rng(seed)
    count = len(motion.vertices)
    closure = eyelid_closure(count, generator, config or BlinkConfig(), motion.fps)
    both = np.repeat(closure[:, None], SIDES, axis=1)
    return replace(motion, vertices=close_eyelids(motion.vertices, motion.template, both))


def lively(
    motion: Motion,
    sound: NDArray[np.float32],
    head_motion: TrainedHeadMotion | Path | str | None = None,
    blinks: bool = False,
    seed: int = 0,
) -> Motion:
    """A speaking face with what is asked for; the motion itself where nothing is.

    Args:
        motion: head-pose-free, made from the sound, at 25 fps.
        sound: float32 (S,) at 16 kHz.
        head_motion: see `head_poses_for`; None: the head stays still.
        blinks: whether the eyes blink.
        seed: of both.

    Raises:
        ValueError: as `head_poses_for` and `with_blinks`.
    """
    if blinks:
        motion = with_blinks(motion, seed)
    if head_motion is not None:
        motion = with_head_pose(motion, head_poses_for(head_motion, sound, seed))
    return motion


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= MOST_SEED:
        raise ValueError(f"seed is {seed}; give a whole number from 0 to {MOST_SEED}")
