"""A tiny prepared corpus whose heads nod with the loudness of the sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from avsr.data.manifest import (
    FaceTemplates,
    PreparedUtterance,
    encode_utterance,
    save_prepared,
    unknown_head_pose,
)

from .conftest import tiny_template, tiny_utterance


def moving(name: str, seed: int, num_frames: int = 50) -> PreparedUtterance:
    """The nod follows the opening of the mouth, a slow yaw does not; two frames not tracked."""
    plain = tiny_utterance(name, "s0", seed, num_frames)
    opening = plain.vertices[:, 0, 1] - tiny_template().vertices[0, 1]
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    pose = np.zeros((num_frames, 6), np.float32)
    pose[:, 0] = 0.01 * opening
    pose[:, 1] = 0.05 * np.sin(phase + np.arange(num_frames) / 6)
    pose[:, 3] = 20.0 * pose[:, 1]
    pose[:, 4] = 0.2 * opening
    pose[:2] = 0.7  # not tracked: whatever stands there
    return replace(plain, head_pose=pose)


def save_moving(folder: Path, known: bool = True) -> Path:
    """Six training and two validation clips; one of each split has no head pose, or all have not.

    A third one of training has too few tracked frames.
    """
    splits: dict[str, list[dict[str, object]]] = {"test": []}
    for offset, (split, count) in enumerate({"train": 6, "valid": 3}.items()):
        clips = [moving(f"{split}{i}", 100 * offset + i, 40 + 4 * i) for i in range(count)]
        clips[0] = replace(clips[0], head_pose=unknown_head_pose())
        if split == "train":
            few = np.zeros(clips[1].num_frames, bool)
            few[5:9] = True
            clips[1] = replace(clips[1], video_valid=few)
        if not known:
            clips = [replace(clip, head_pose=unknown_head_pose()) for clip in clips]
        splits[split] = [encode_utterance(clip) for clip in clips]
    face = tiny_template()
    faces = FaceTemplates("tiny", face.triangles, dict(face.regions), {"s0": face.vertices})
    return save_prepared(folder, splits, faces, {"name": "moving"})
