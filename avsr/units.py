"""Rates and exact ratios that tie audio, features and video to one time base.

Every length in the toolkit follows from these: frame ``t`` of the video covers the samples
``[SAMPLES_PER_FRAME * t, SAMPLES_PER_FRAME * (t + 1))``.
"""

from __future__ import annotations

from fractions import Fraction

SAMPLE_RATE_HZ = 16_000
VIDEO_FPS = 25
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // VIDEO_FPS  # 640, exact
HOP_SAMPLES = 160
WINDOW_SAMPLES = 400
FEATURES_PER_FRAME = SAMPLES_PER_FRAME // HOP_SAMPLES  # 4 log-mel frames for one video frame
MOUTH_CROP_SIZE = 96  # pixels, stored; the encoder sees MODEL_CROP_SIZE of them
MODEL_CROP_SIZE = 88
LIP_POINTS = 40  # 20 of the outer and 20 of the inner contour


def samples_per_frame(fps: Fraction | float, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Fraction:
    """Exact number of audio samples that one video frame lasts.

    Args:
        fps: frames per second, above 0; 29.97 is best given as ``Fraction(30000, 1001)``.
        sample_rate_hz: samples per second, above 0.

    Raises:
        ValueError: a rate that is not positive.
    """
    rate = Fraction(fps).limit_denominator(100_000)
    if rate <= 0 or sample_rate_hz <= 0:
        raise ValueError(
            f"frame rate {fps} and sample rate {sample_rate_hz} must both be above 0; "
            "give frames and samples per second"
        )
    return Fraction(sample_rate_hz) / rate


def num_video_frames(num_samples: int) -> int:
    """Number of 25 fps frames that samples at 16 kHz touch; the last may be covered in part."""
    return -(-num_samples // SAMPLES_PER_FRAME)
