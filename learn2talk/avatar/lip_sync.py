"""Whether sound and lips are together, as the bundled judge says. Axis letters: T frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.data.dataset import features_of
from learn2talk.data.motion_clip import MotionClip
from learn2talk.default_judge import default_judge
from learn2talk.evaluate.expert import embed, score_clip
from learn2talk.files import load_sync_expert
from learn2talk.metrics.sync import SyncScore


@torch.no_grad()
def lip_sync(
    waveform: NDArray[np.float32],
    lips: NDArray[np.float32],
    neutral_lips: NDArray[np.float32],
    tracked: NDArray[np.bool_] | None = None,
    judge: Path | None = None,
) -> SyncScore | None:
    """Synchrony of some speech and the lips that say it.

    Args:
        waveform: float32 (S,) at 16 kHz.
        lips: canonical lip points (T, 40, 3), mm, at 25 fps.
        neutral_lips: (40, 3), mm.
        tracked: bool (T,), True where the lips are really known; None: everywhere.
        judge: folder of a sync judge; None: the bundled one.

    Returns:
        The score (offset positive = audio late), or None where the clip is too short to be searched
        15 frames either way.
    """
    model, _ = load_sync_expert(default_judge() if judge is None else judge, "judge")
    features = features_of(waveform, model.config.num_mels)
    count = min(len(lips), len(features) // 4)
    if count < model.config.window_frames:
        return None
    known = np.ones(len(lips), bool) if tracked is None else tracked
    clip = MotionClip(
        utterance_id="film",
        speaker_id="film",
        features=features[: 4 * count],
        lips=lips[:count],
        neutral_lips=neutral_lips,
        displacement=np.zeros((count, 0, 3), np.float32),
        tracked=known[:count],
        words=(),
        phones=(),
    )
    return score_clip(embed(model, clip, lips[:count]))
