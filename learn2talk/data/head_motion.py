"""Speech with the pose of the head that says it, as training examples.

Axis letters: B batch, T frames at 25 fps, F mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsr.data.dataset import features_of, generator_of
from avsr.data.manifest import decode_array, load_prepared
from avsr.models.layers import mask_of_lengths
from avsr.units import FEATURES_PER_FRAME

if TYPE_CHECKING:
    import datasets

COLUMNS = ("utterance_id", "audio", "video_valid", "head_pose")
LEAST_FRAMES = 10  # tracked ones that a clip must have: 0.4 s of movement
# Signs of a pose seen in a mirror: turns about y and z and the movement along x change theirs.
MIRRORED = np.array([1, -1, -1, -1, 1, 1], np.float32)


@dataclass(frozen=True)
class HeadAugment:
    """How training clips are changed; zeros switch a change off."""

    crop_frames: int = 150
    """Longest stretch of a clip that an example has, video frames; 0: the whole clip."""
    gain_db: float = 6.0
    """Level of the sound, +- dB."""
    flip: bool = True
    """Mirror half of the poses: heads turn left as they turn right."""

    def __post_init__(self) -> None:
        if self.crop_frames and self.crop_frames < LEAST_FRAMES or self.gain_db < 0:
            raise ValueError(
                f"crop_frames {self.crop_frames} must be 0 or at least {LEAST_FRAMES}, gain_db "
                f"{self.gain_db} at least 0"
            )


@dataclass(frozen=True, eq=False)
class HeadClip:
    """Sound and head pose of one utterance; the first frame is tracked."""

    utterance_id: str
    features: NDArray[np.float32]  # (4 T, F) natural-log mel
    pose: NDArray[np.float32]  # (T, 6) rad, mm
    tracked: NDArray[np.bool_]  # (T,)
    draw: int = 0  # seed of this example's random draws

    @property
    def num_frames(self) -> int:
        """Length in video frames, T."""
        return len(self.pose)

    def part(self, start: int, stop: int) -> HeadClip:
        """Frames [start, stop) of the clip."""
        sound = slice(FEATURES_PER_FRAME * start, FEATURES_PER_FRAME * stop)
        return replace(
            self,
            features=self.features[sound],
            pose=self.pose[start:stop],
            tracked=self.tracked[start:stop],
        )


@dataclass(frozen=True, eq=False)
class HeadBatch:
    """Clips padded with zeros to the longest."""

    utterance_ids: tuple[str, ...]
    features: Tensor  # (B, 4 T, F)
    pose: Tensor  # (B, T, 6) rad, mm
    valid_mask: Tensor  # (B, T) bool, True = inside the clip
    tracked_mask: Tensor  # (B, T) bool, True = inside the clip and really tracked
    num_targets: int  # tracked frames
    draw: int  # seed of this batch's random draws

    def to(self, device: torch.device) -> HeadBatch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in moved.items() if hasattr(v, "to")})


class HeadClips:
    """Clips of a prepared split whose head was tracked, decoded once and kept in memory.

    Each begins at its first tracked frame, whose pose is the start pose.

    Args:
        folder: prepared corpus.
        split: "train", "valid" or "test".
        num_mels: F.
        augment: how training examples are changed; None: not at all.
        seed: of the augmentation's draws.

    Attributes:
        excluded: (utterance_id, reason) of every clip that is left out.

    Raises:
        ValueError: no clip of the split has a head pose.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        num_mels: int = 80,
        augment: HeadAugment | None = None,
        seed: int = 0,
    ) -> None:
        self.num_mels, self.augment, self.seed = num_mels, augment, seed
        self.clips: list[HeadClip] = []
        self.excluded: list[tuple[str, str]] = []
        stored: datasets.Dataset = load_prepared(folder, split)
        known = [name for name in COLUMNS if name in stored.column_names]
        for row in stored.select_columns(known):
            self._add(row)
        if not self.clips:
            raise ValueError(
                f"{folder}: split {split!r} has no clip with a head pose, {len(self.excluded)} "
                "left out; prepare a corpus of films again, its tracking keeps the pose"
            )
        self.num_frames = [self._length(clip) for clip in self.clips]

    def _add(self, row: dict[str, Any]) -> None:
        name = row["utterance_id"]
        pose = decode_array(row["head_pose"]) if "head_pose" in row else np.zeros((0, 6))
        if not len(pose):
            self.excluded.append((name, "no head pose"))
            return
        tracked = decode_array(row["video_valid"]).astype(bool)
        if tracked.sum() < LEAST_FRAMES:
            reason = f"{int(tracked.sum())} tracked frames, fewer than {LEAST_FRAMES}"
            self.excluded.append((name, reason))
            return
        features = features_of(decode_array(row["audio"]), self.num_mels)
        clip = HeadClip(name, features, pose.astype(np.float32), tracked)
        self.clips.append(clip.part(int(tracked.argmax()), len(pose)))

    def _length(self, clip: HeadClip) -> int:
        crop = self.augment.crop_frames if self.augment is not None else 0
        return min(clip.num_frames, crop) if crop else clip.num_frames

    def __len__(self) -> int:
        return len(self.clips)

    def example(self, index: int, epoch: int) -> HeadClip:
        """Clip `index` as it looks in `epoch`: a stretch that begins at a tracked frame."""
        clip, augment = self.clips[index], self.augment
        generator = generator_of(self.seed, epoch, clip.utterance_id)
        clip = replace(clip, draw=int(generator.integers(2**31)))
        if augment is None:
            return clip
        length = self._length(clip)
        starts = np.flatnonzero(clip.tracked[: clip.num_frames - length + 1])
        first = int(generator.choice(starts))
        clip = clip.part(first, first + length)
        louder = generator.uniform(-augment.gain_db, augment.gain_db) * np.log(10.0) / 10.0
        flipped = augment.flip and generator.random() < 0.5
        return replace(
            clip,
            features=clip.features + np.float32(louder),
            pose=clip.pose * MIRRORED if flipped else clip.pose,
        )


def collate_heads(clips: Sequence[HeadClip]) -> HeadBatch:
    """Clips to a padded batch; its targets are the really tracked frames."""
    lengths = torch.tensor([clip.num_frames for clip in clips])
    longest = int(lengths.max())

    def padded(arrays: Sequence[np.ndarray], per_frame: int = 1) -> Tensor:
        out = np.zeros((len(arrays), longest * per_frame, *arrays[0].shape[1:]), arrays[0].dtype)
        for row, array in enumerate(arrays):
            out[row, : len(array)] = array
        return torch.from_numpy(out)

    tracked = padded([clip.tracked for clip in clips])
    draw = 0
    for clip in clips:
        draw = (31 * draw + clip.draw) % 2**31
    return HeadBatch(
        tuple(clip.utterance_id for clip in clips),
        padded([clip.features for clip in clips], FEATURES_PER_FRAME),
        padded([clip.pose for clip in clips]),
        mask_of_lengths(lengths, longest),
        tracked,
        int(tracked.sum()),
        draw,
    )
