"""The ratios that tie audio to video are exact."""

from __future__ import annotations

from fractions import Fraction

import pytest

from avsr import units
from avsr.units import num_video_frames, samples_per_frame


def test_one_time_base() -> None:
    assert units.SAMPLES_PER_FRAME * units.VIDEO_FPS == units.SAMPLE_RATE_HZ
    assert units.HOP_SAMPLES * units.FEATURES_PER_FRAME == units.SAMPLES_PER_FRAME == 640
    assert units.MODEL_CROP_SIZE < units.MOUTH_CROP_SIZE


@pytest.mark.parametrize(
    ("fps", "rate_hz", "expected"),
    [
        (25, 16000, Fraction(640)),
        (30, 16000, Fraction(1600, 3)),
        (24, 48000, Fraction(2000)),
        (Fraction(30000, 1001), 48000, Fraction(8008, 5)),
        (29.97, 16000, Fraction(1600000, 2997)),
        (50.0, 16000, Fraction(320)),
    ],
)
def test_samples_of_a_frame_are_exact(
    fps: Fraction | float, rate_hz: int, expected: Fraction
) -> None:
    assert samples_per_frame(fps, rate_hz) == expected


@pytest.mark.parametrize(("fps", "rate_hz"), [(0, 16000), (-25, 16000), (25, 0)])
def test_impossible_rates_are_refused(fps: float, rate_hz: int) -> None:
    with pytest.raises(ValueError, match="must both be above 0"):
        samples_per_frame(fps, rate_hz)


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (1, 1), (640, 1), (641, 2), (9600000, 15000)]
)
def test_frames_that_samples_touch(samples: int, frames: int) -> None:
    assert num_video_frames(samples) == frames
