"""Which style each utterance of a training batch gets: its speaker's, the average, or a clip's.

Axis letters: B batch, N known speakers, C statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learn2talk.data.motion_clip import MotionClip
from learn2talk.models.styles import NUM_STATISTICS, Style, style_statistics

AVERAGE = "average"  # what nobody may be called
STD_FLOOR = 0.05  # mm or mm/s: statistics that hardly differ in the training set say little


@dataclass(frozen=True)
class StyleTraining:
    """Whether a student learns styles, and how often each way to name one is trained."""

    per_speaker: bool = False
    """A style for each training speaker, for their average and for a reference clip."""
    average_share: float = 0.2
    """Of the utterances, how many are trained with the average style."""
    clip_share: float = 0.3
    """How many with the style of a clip of their speaker, another one where there is one."""

    def __post_init__(self) -> None:
        shares = self.average_share, self.clip_share
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(f"style shares must be at least 0 and at most 1 together: {self}")


def clip_statistics(clip: MotionClip) -> Tensor:
    """Statistics (C,) of the tracked frames of a clip, see `style_statistics`."""
    lips = torch.from_numpy(clip.lips[clip.tracked])
    return style_statistics(lips, torch.from_numpy(clip.neutral_lips))


class SpeakerStyles:
    """The known speakers of a training set, with the statistics of their clips.

    Args:
        clips: of the training set; those with fewer than two tracked frames give no statistics.
        config: the shares.

    Raises:
        ValueError: a speaker is called "average", or has no clip with two tracked frames.
    """

    def __init__(self, clips: Sequence[MotionClip], config: StyleTraining) -> None:
        self.config = config
        self.names = tuple(sorted({clip.speaker_id for clip in clips}))
        if AVERAGE in self.names:
            raise ValueError(
                f"a speaker is called {AVERAGE!r}, which is the name of the average style; prepare "
                "the corpus with another name"
            )
        self.clips: dict[str, tuple[list[str], Tensor]] = {}
        for name in self.names:
            own = [c for c in clips if c.speaker_id == name and c.tracked.sum() >= 2]
            if not own:
                raise ValueError(
                    f"speaker {name!r} has no clip with two tracked frames, so no style; leave the "
                    "speaker out, or train without styles"
                )
            statistics = torch.stack([clip_statistics(clip) for clip in own])
            self.clips[name] = [clip.utterance_id for clip in own], statistics

    def normalisation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the statistics over the training clips, each (C,)."""
        every = torch.cat([statistics for _, statistics in self.clips.values()])
        return every.mean(dim=0), every.std(dim=0, correction=0).clamp_min(STD_FLOOR)

    def drawn(self, utterance_ids: Sequence[str], speaker_ids: Sequence[str], draw: int) -> Style:
        """A style for each utterance of a batch; the same draw gives the same styles.

        Args:
            utterance_ids, speaker_ids: B of them, of known speakers.
            draw: seed.
        """
        rng = np.random.default_rng(draw)
        count, batch = len(self.names), len(utterance_ids)
        speakers, from_clip = torch.zeros(batch, count), torch.zeros(batch, 1)
        statistics = torch.zeros(batch, NUM_STATISTICS)
        shares = self.config.average_share, self.config.average_share + self.config.clip_share
        for row, (utterance, speaker) in enumerate(zip(utterance_ids, speaker_ids, strict=True)):
            kind, place = float(rng.random()), float(rng.random())
            if kind < shares[0]:
                speakers[row] = 1.0 / count
            elif kind < shares[1]:
                statistics[row], from_clip[row] = self._of_clip(utterance, speaker, place), 1.0
            else:
                speakers[row, self.names.index(speaker)] = 1.0
        return Style(speakers, statistics, from_clip)

    def _of_clip(self, utterance: str, speaker: str, place: float) -> Tensor:
        """Statistics of one of the speaker's clips, never the utterance's own if there are more."""
        names, statistics = self.clips[speaker]
        others: NDArray[np.int64] = np.flatnonzero([name != utterance for name in names])
        return statistics[int(others[int(place * len(others))])] if len(others) else statistics[0]
