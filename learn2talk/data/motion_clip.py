"""One utterance of a moving face, as training and measurement see it.

Axis letters: T frames, R animated vertices, F mel bands, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsr.data.dataset import features_of

FULL_SCALE = 32768.0  # of the 16-bit samples in which waveforms wait


@dataclass(frozen=True, eq=False)
class MotionClip:
    """One utterance: sound features, the face's motion and when what is said."""

    utterance_id: str
    speaker_id: str
    features: NDArray[np.float32]  # (4 T, F) natural-log mel
    lips: NDArray[np.float32]  # (T, 40, 3) mm
    neutral_lips: NDArray[np.float32]  # (40, 3) mm
    displacement: NDArray[np.float32]  # (T, R, 3) mm, animated vertices minus template
    tracked: NDArray[np.bool_]  # (T,) True = a really tracked frame
    words: tuple[tuple[str, float, float], ...]  # word, start_s, end_s
    phones: tuple[tuple[str, float, float], ...]  # phone, start_s, end_s; empty where unknown
    draw: int = 0  # seed of this example's random draws
    mouth_crops: NDArray[np.uint8] | None = None  # (T, 88, 88), only in examples that need them
    waveform: NDArray[np.int16] | None = None  # (S,), where a student needs more than `features`
    # What a student hears of an example where it is not `features`: log-mel with noise (4 T, F),
    # or the samples (4 T, 160).
    heard: NDArray[np.float32] | None = None

    @property
    def num_frames(self) -> int:
        """Length in video frames, T."""
        return len(self.lips)

    @property
    def sound(self) -> NDArray[np.float32]:
        """The kept waveform (S,) in [-1, 1].

        Raises:
            ValueError: it was not kept.
        """
        if self.waveform is None:
            raise ValueError(
                f"utterance {self.utterance_id} was read without its waveform; read the clips with "
                "waveforms=True"
            )
        return self.waveform.astype(np.float32) / np.float32(FULL_SCALE)

    def student_features(self, num_mels: int | None) -> NDArray[np.float32]:
        """What a student of `num_mels` hears of a clip of the corpus, without noise."""
        return self.features if num_mels is not None else features_of(self.sound, None)


def in_16_bit(waveform: NDArray) -> NDArray[np.int16]:
    """A waveform (S,) in [-1, 1] as 16-bit samples: exact for sound that was recorded so."""
    scaled = np.rint(np.asarray(waveform, dtype=np.float64) * FULL_SCALE)
    return scaled.clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
