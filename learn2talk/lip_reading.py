"""The lip-reading term of a student's loss: its drawn mouth against the clip's real one.

Both go through one frozen lip reader, over the same frames. Axis letters: B batch, T frames, V
vertices, R animated vertices, N frames of a stretch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avsr.losses import LossSum
from learn2talk.losses import lip_reading_loss
from learn2talk.models.lip_reader import LipReadNet
from learn2talk.models.renderer import MouthRenderer
from learn2talk.schema import FaceTemplate, MotionBatch


class LipReading:
    """Draws a random stretch of each clip and reads it beside the clip's real mouth crops.

    The student's displacement is drawn on one template, as it is when the student is used.

    Args:
        template: neutral face that is moved.
        animated_ids: int (R,), the vertices that a student moves.
        reader: frozen lip reader.
        stretch_frames: frames drawn of each clip, 1 or more; a shorter clip is drawn whole.
    """

    def __init__(
        self,
        template: FaceTemplate,
        animated_ids: np.ndarray,
        reader: LipReadNet,
        stretch_frames: int,
    ) -> None:
        self.renderer, self.reader = MouthRenderer(template), reader
        self.neutral = torch.from_numpy(template.vertices)
        self.animated_ids = torch.from_numpy(animated_ids.astype(np.int64))
        self.stretch_frames = stretch_frames

    def __call__(self, moved: Tensor, batch: MotionBatch) -> LossSum:
        """1 - cosine of drawn and real features, summed over the stretches' tracked frames.

        Args:
            moved: float (B, T, R, 3) mm, displacement of the animated vertices.
            batch: the clips, with their mouth crops; ``batch.draw`` chooses the stretches.

        Raises:
            ValueError: the batch has no mouth crops.
        """
        if batch.mouth_crops is None:
            raise ValueError(
                f"clips {', '.join(batch.utterance_ids)} have no mouth crops to read; read the "
                "corpus with MotionClips(..., mouth_crops=True)"
            )
        self.renderer.to(moved.device)
        self.reader.to(moved.device)
        where, inside = stretches(batch.valid_mask, self.stretch_frames, batch.draw)
        clip = torch.arange(len(where), device=where.device)[:, None]
        seen = inside & batch.tracked_mask[clip, where]
        neutral = self.neutral.to(moved)
        vertices = neutral.expand(*where.shape, -1, -1).index_add(
            2, self.animated_ids.to(moved.device), moved[clip, where]
        )
        drawn = self.reader(self.renderer(vertices), seen)
        with torch.no_grad():
            real = self.reader(batch.mouth_crops[clip, where], seen)
        return lip_reading_loss(drawn, real, seen)


def stretches(valid_mask: Tensor, num_frames: int, draw: int) -> tuple[Tensor, Tensor]:
    """A random stretch of consecutive frames of each clip.

    Args:
        valid_mask: bool (B, T), True = inside the clip; padding is at the end.
        num_frames: wanted length N; it is cut to T.
        draw: seed of the draw.

    Returns:
        frame numbers int64 (B, N) below T, and bool (B, N), False behind a shorter clip's end.
    """
    length = valid_mask.sum(1)
    count = min(num_frames, valid_mask.shape[1])
    generator = torch.Generator().manual_seed(draw)
    share = torch.rand(len(length), generator=generator, dtype=torch.float64)
    latest = (length - count).clamp_min(0)
    first = (share.to(length.device) * (latest + 1)).long()
    frames = first[:, None] + torch.arange(count, device=length.device)
    return frames.clamp_max(valid_mask.shape[1] - 1), frames < length[:, None]
