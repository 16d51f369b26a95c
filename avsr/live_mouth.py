"""Mouth crops of a live picture: each frame is cut when it comes, from what was seen so far.

The crops of prepared corpora are smoothed in time with zero phase, which looks ahead. Here place,
roll and size follow the face with a first-order filter that looks back only; MediaPipe looks at
each frame by itself, as there.
"""

# H W picture; landmarks (V, 3) in pixels

from __future__ import annotations

import numpy as np

from avsr.data.dataset import middle_crop
from avsr.tracking import HEAD, LIPS_INNER, LIPS_OUTER, FaceTracker
from avsr.units import MOUTH_CROP_SIZE
from avsr.video import grey, mouth_squares, sample_square

FOLLOW = 0.3  # share of the way to the new place that a frame goes; time constant 2.8 frames


class LiveMouth:
    """The mouth of one face, followed from frame to frame.

    Of several faces the one nearest to the last is taken, at first and after a frame without a face
    the largest.
    """

    def __init__(self, tracker: FaceTracker) -> None:
        self.tracker = tracker
        self.square: np.ndarray | None = None  # centre, direction, log side: (5,)

    def crop(self, frame: np.ndarray) -> np.ndarray | None:
        """The mouth uint8 (88, 88) in uint8 RGB (H, W, 3), ``None`` without a face."""
        seen = [self._square(face) for face in self.tracker.detect(frame)]
        if not seen:
            self.square = None
            return None
        last = self.square
        if last is None:
            self.square = max(seen, key=lambda one: float(one[4]))
        else:
            near = min(seen, key=lambda one: float(np.linalg.norm(one[:2] - last[:2])))
            side = np.exp(last[4])
            # As far away as a crop is wide is another face, or a cut: nothing to follow.
            follow = FOLLOW if np.linalg.norm(near[:2] - last[:2]) < side else 1.0
            self.square = last + follow * (near - last)
        centre, direction, log_side = self.square[:2], self.square[2:4], self.square[4]
        direction = direction / np.linalg.norm(direction)
        patch = sample_square(
            grey(frame), centre, direction, float(np.exp(log_side)), MOUTH_CROP_SIZE
        )
        crop: np.ndarray = middle_crop(patch[None])[0]
        return crop

    @staticmethod
    def _square(landmarks: np.ndarray) -> np.ndarray:
        centre, direction, side = mouth_squares(
            landmarks[None].astype(np.float64), HEAD, LIPS_OUTER + LIPS_INNER
        )
        return np.concatenate([centre[0], direction[0], np.log(side)])
