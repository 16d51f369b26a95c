"""The sound as a student takes it: log-mel features, or the samples for a pretrained encoder.

Axis letters: B batch, T video frames, F mel bands, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsr.models.speech_encoder import SpeechEncoder, SpeechEncoderConfig
from avsr.units import FEATURES_PER_FRAME, HOP_SAMPLES

SUBSAMPLER_KERNEL = 5  # log-mel frames; causal, so it reaches 4 of them into the frame before
SUBSAMPLER_FRAMES = 1  # the same reach in whole video frames
MEL_LOOK_AHEAD = 1  # a log-mel window ends 120 samples inside the next video frame
# Video frames that a pretrained encoder hears on both sides of a piece of a long sound: 2 s.
ENCODER_MARGIN_FRAMES = 50


def check_input(num_mels: int | None, speech_encoder: str | None) -> None:
    """A student takes log-mel features, or samples through a pretrained encoder.

    Raises:
        ValueError: both, neither, or an encoder that is not described as JSON.
    """
    if (num_mels is None) != (speech_encoder is not None):
        raise ValueError(
            f"num_mels {num_mels} must be None with a speech_encoder, and only then: a pretrained "
            "encoder takes the samples"
        )
    if num_mels is not None and num_mels < 1:
        raise ValueError(f"num_mels is {num_mels}; give at least 1")
    if speech_encoder is not None:
        SpeechEncoderConfig.from_json(speech_encoder)


def pretrained_encoder(speech_encoder: str, width: int) -> SpeechEncoder:
    """The pretrained encoder that a configuration describes, with random weights."""
    return SpeechEncoder(SpeechEncoderConfig.from_json(speech_encoder), width)


def num_video_frames_of(features: Tensor, num_mels: int | None) -> int:
    """Video frames T of features (B, 4 T, F), or of samples (B, 4 T, 160) where num_mels is None.

    Raises:
        ValueError: not whole video frames, or another number of bands.
    """
    length, bands = features.shape[1:]
    if length % FEATURES_PER_FRAME:
        raise ValueError(
            f"{length} log-mel frames are not whole video frames of {FEATURES_PER_FRAME}"
        )
    wanted = HOP_SAMPLES if num_mels is None else num_mels
    if bands != wanted:
        what = "samples a hop" if num_mels is None else "mel bands"
        raise ValueError(f"features have {bands} numbers a row; this student takes {wanted} {what}")
    return length // FEATURES_PER_FRAME


class Subsampler(NamedTuple):
    """What takes log-mel features to video frames; the parts belong to the network."""

    mean: Tensor  # (F,)
    std: Tensor  # (F,)
    smooth: nn.Conv1d  # over SUBSAMPLER_KERNEL log-mel frames, the last of them the current one
    reduce: nn.Conv1d  # of 4 log-mel frames to one video frame

    def __call__(self, features: Tensor, before: Tensor | None = None) -> Tensor:
        """(B, 4 T, F) to (B, T, D).

        Args:
            features: natural-log mel.
            before: (B, 4, F), the rows just before, normalised; None is the start of the sound.
        """
        normal = self.normalised(features).transpose(1, 2)
        if before is None:
            whole = functional.pad(normal, (SUBSAMPLER_KERNEL - 1, 0))
        else:
            whole = torch.cat([before.transpose(1, 2), normal], dim=2)
        smooth = functional.gelu(self.smooth(whole))
        return functional.gelu(self.reduce(smooth)).transpose(1, 2)

    def normalised(self, features: Tensor) -> Tensor:
        """Features (B, K, F) with the training set's mean 0 and deviation 1."""
        return (features - self.mean) / self.std


def windows(
    num_frames: int, window_frames: int, before: int, after: int
) -> Iterator[tuple[int, int, int, int]]:
    """Pieces [start, stop) of a sequence with the frames [first, last) that they depend on.

    Yields:
        start, stop, first, last; video frames.
    """
    for start in range(0, num_frames, window_frames):
        stop = min(start + window_frames, num_frames)
        yield start, stop, max(0, start - before), min(num_frames, stop + after)
