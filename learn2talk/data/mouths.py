"""Mouth crops with their sound as training examples of a talking mouth and its sync expert.

Axis letters: B batch, T frames at 25 fps, F mel bands, H W picture (88 x 88).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsr.data.dataset import features_of, generator_of, middle_crop
from avsr.data.manifest import decode_array, load_prepared
from avsr.models.layers import mask_of_lengths
from avsr.units import FEATURES_PER_FRAME
from learn2talk.data.motion import Part, half_of, longest_run

if TYPE_CHECKING:
    import datasets

COLUMNS = ("utterance_id", "speaker_id", "audio", "mouth_crops", "video_valid", "num_frames")


@dataclass(frozen=True, eq=False)
class MouthClip:
    """One utterance's sound and mouth."""

    utterance_id: str
    speaker_id: str
    features: NDArray[np.float32]  # (4 T, F)
    crops: NDArray[np.uint8]  # (T, 88, 88)
    valid: NDArray[np.bool_]  # (T,), True = a face was tracked
    reference: NDArray[np.uint8]  # (88, 88), the mouth at one of its valid frames
    draw: int = 0


@dataclass(frozen=True, eq=False)
class MouthBatch:
    """Clips padded with zeros to the longest."""

    utterance_ids: tuple[str, ...]
    features: Tensor  # (B, 4 T, F)
    crops: Tensor  # (B, T, H, W) uint8
    reference: Tensor  # (B, H, W) uint8
    valid_mask: Tensor  # (B, T) bool, True = inside the clip
    tracked_mask: Tensor  # (B, T) bool, True = inside the clip and really seen
    num_targets: int
    draw: int

    def to(self, device: torch.device) -> MouthBatch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in moved.items() if hasattr(v, "to")})


class MouthClips:
    """Clips of a prepared split, read from disk whenever they are asked for.

    Args:
        folder: prepared corpus.
        split: "train", "valid" or "test".
        num_mels: F.
        window_frames: a clip needs this many valid frames in a row; others are in ``excluded``.
        part: "first" and "second" are two fixed halves, disjoint by utterance.
        max_frames: a training clip is cut to a stretch of so many frames, drawn; None: whole.
        seed: of the draws.

    Raises:
        ValueError: no clip is left.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        num_mels: int = 80,
        window_frames: int = 5,
        part: Part = "all",
        max_frames: int | None = None,
        seed: int = 0,
    ) -> None:
        rows: datasets.Dataset = load_prepared(folder, split).select_columns(list(COLUMNS))
        self.num_mels, self.max_frames, self.seed = num_mels, max_frames, seed
        kept: list[int] = []
        self.excluded: list[tuple[str, str]] = []
        light = rows.select_columns(["utterance_id", "video_valid"])
        for place, row in enumerate(light):
            if part != "all" and half_of(row["utterance_id"]) != part:
                continue
            if longest_run(decode_array(row["video_valid"]).astype(bool)) < window_frames:
                reason = f"no {window_frames} tracked frames in a row"
                self.excluded.append((row["utterance_id"], reason))
                continue
            kept.append(place)
        if not kept:
            raise ValueError(
                f"{folder}: split {split!r} (part {part!r}) has no usable clip, "
                f"{len(self.excluded)} excluded; a talking mouth needs a corpus with film"
            )
        self.rows = rows.select(kept)
        longest = max_frames or 10**9
        self.num_frames = [min(frames, longest) for frames in self.rows["num_frames"]]

    def __len__(self) -> int:
        return len(self.rows)

    def clip(self, index: int) -> MouthClip:
        """Clip ``index`` whole; its reference is its first valid frame."""
        row = self.rows[index]
        crops = np.ascontiguousarray(middle_crop(decode_array(row["mouth_crops"])))
        valid = decode_array(row["video_valid"]).astype(bool)
        return MouthClip(
            row["utterance_id"],
            row["speaker_id"],
            features_of(decode_array(row["audio"]), self.num_mels),
            crops,
            valid,
            crops[int(np.flatnonzero(valid)[0])],
        )

    def example(self, index: int, epoch: int) -> MouthClip:
        """Clip ``index`` as it looks in ``epoch``: a stretch of it, with a drawn reference."""
        clip = self.clip(index)
        rng = generator_of(self.seed, epoch, clip.utterance_id)
        reference = clip.crops[int(rng.choice(np.flatnonzero(clip.valid)))]
        length = self.num_frames[index]
        start = int(rng.integers(len(clip.crops) - length + 1))
        part = slice(start, start + length)
        sound = slice(FEATURES_PER_FRAME * start, FEATURES_PER_FRAME * (start + length))
        return MouthClip(
            clip.utterance_id,
            clip.speaker_id,
            clip.features[sound],
            clip.crops[part],
            clip.valid[part],
            reference,
            int(rng.integers(2**31)),
        )


def collate_mouths(clips: Sequence[MouthClip], window_frames: int = 1) -> MouthBatch:
    """Clips to a padded batch; its targets are the windows of really seen frames.

    Args:
        clips: one or more.
        window_frames: length of a target window; 1 counts frames.
    """
    lengths = torch.tensor([len(clip.crops) for clip in clips])
    longest = int(lengths.max())

    def padded(arrays: Sequence[np.ndarray], per_frame: int = 1) -> Tensor:
        out = np.zeros((len(arrays), longest * per_frame, *arrays[0].shape[1:]), arrays[0].dtype)
        for row, array in enumerate(arrays):
            out[row, : len(array)] = array
        return torch.from_numpy(out)

    tracked = padded([clip.valid for clip in clips])
    targets = 0
    if longest >= window_frames:
        targets = int(tracked.unfold(1, window_frames, 1).all(dim=2).sum())
    draw = 0
    for clip in clips:
        draw = (31 * draw + clip.draw) % 2**31
    return MouthBatch(
        tuple(clip.utterance_id for clip in clips),
        padded([clip.features for clip in clips], FEATURES_PER_FRAME),
        padded([clip.crops for clip in clips]),
        torch.from_numpy(np.stack([clip.reference for clip in clips])),
        mask_of_lengths(lengths, longest),
        tracked,
        targets,
        draw,
    )
