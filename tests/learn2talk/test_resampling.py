"""Motion to another frame rate: what is kept, what is removed, and when things happen."""

from __future__ import annotations

import numpy as np
import pytest

from learn2talk.resampling import RESAMPLERS, resample_motion

SECONDS = 4


def wave(rate_hz: float, fps: float) -> np.ndarray:
    """cos at the middle of each frame, (T, 2, 3): one vertex moves, the other rests."""
    time_s = (np.arange(int(SECONDS * fps)) + 0.5) / fps
    out = np.zeros((len(time_s), 2, 3), dtype=np.float32)
    out[:, 0, 1] = np.cos(2 * np.pi * rate_hz * time_s)
    out[:, 1] = 3.0
    return out


@pytest.mark.parametrize(("fps", "to_fps"), [(60, 25), (60, 30), (30, 25), (25, 30)])
def test_low_pass_keeps_slow_motion_where_it_is(fps: float, to_fps: float) -> None:
    found = resample_motion(wave(3.0, fps), fps, to_fps)
    assert found.shape == (SECONDS * to_fps, 2, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found[6:-6], wave(3.0, to_fps)[6:-6], atol=0.02)
    np.testing.assert_allclose(found[:, 1], 3.0, atol=1e-5)


def test_what_the_new_rate_cannot_hold_is_removed_or_folds_back() -> None:
    fast = wave(22.0, 60.0)  # folds to 8 Hz at 30 fps
    assert np.abs(resample_motion(fast, 60.0, 30.0)[8:-8, 0]).max() < 0.05
    assert np.abs(resample_motion(fast, 60.0, 30.0, "every_second_frame")[8:-8, 0]).max() > 0.9


def test_every_second_frame_is_what_its_name_says() -> None:
    frames = np.random.default_rng(0).normal(size=(41, 2, 3)).astype(np.float32)
    found = resample_motion(frames, 60.0, 30.0, "every_second_frame")
    np.testing.assert_array_equal(found, frames[::2])
    assert len(resample_motion(frames, 60.0, 25.0, "every_second_frame")) == round(21 * 25 / 30)


def test_bounds() -> None:
    frames = wave(1.0, 25.0)
    np.testing.assert_array_equal(resample_motion(frames, 25.0, 25.0), frames)
    assert len(resample_motion(frames[:1], 60.0, 25.0)) == 1
    assert resample_motion(frames[:0], 60.0, 25.0).shape == (0, 2, 3)
    with pytest.raises(ValueError, match=", ".join(RESAMPLERS)):
        resample_motion(frames, 60.0, 25.0, "linear")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="would leave out frames"):
        resample_motion(frames, 30.0, 25.0, "every_second_frame")
    with pytest.raises(ValueError, match="above 0"):
        resample_motion(frames, 0.0, 25.0)
