from __future__ import annotations

import io

import numpy as np
import pytest

from avsr.video_conditions import (
    STANDARD,
    blurred,
    compressed,
    disturbance,
    split_condition,
)

T = 50


def frames() -> np.ndarray:
    """Frame t is grey of value t, so that what is shown can be read off."""
    return np.broadcast_to(np.arange(T, dtype=np.uint8)[:, None, None], (T, 88, 88)).copy()


def seen(condition: str, utterance: str = "u") -> tuple[np.ndarray, np.ndarray]:
    return disturbance(condition, T, utterance).apply(frames(), np.ones(T, dtype=bool))


def test_every_standard_condition_changes_something_and_keeps_the_length():
    for condition in STANDARD:
        shown, there = seen(condition)
        assert shown.shape == (T, 88, 88) and shown.dtype == np.uint8 and there.shape == (T,)
        # Flat pictures survive blur and compression: those have tests of their own.
        if not condition.startswith(("blurred", "compressed")):
            assert not (np.array_equal(shown, frames()) and there.all()), condition


def test_the_clean_condition_changes_nothing():
    shown, there = seen("clean")
    assert np.array_equal(shown, frames()) and there.all()


def test_missing_frames_are_as_many_as_said_and_marked():
    _, there = seen("missing_50")
    assert (~there).sum() == 25
    _, other = seen("missing_50", "v")
    assert not np.array_equal(there, other)
    assert np.array_equal(there, seen("missing_50")[1])


def test_what_was_not_tracked_stays_missing():
    valid = np.ones(T, dtype=bool)
    valid[10] = False
    _, there = disturbance("offset_80", T, "u").apply(frames(), valid)
    assert not there[8] and there[10]


def test_late_sound_shows_the_picture_of_later():
    assert seen("offset_80")[0][10, 0, 0] == 12
    assert seen("offset_80")[0][49, 0, 0] == 49  # the last one is held
    assert seen("offset_-200")[0][10, 0, 0] == 5
    assert seen("offset_-200")[0][2, 0, 0] == 0


def test_a_frozen_second_is_one_picture_and_not_marked():
    shown, there = seen("frozen_1")
    values = shown[:, 0, 0].astype(int)
    still = [t for t in range(1, T) if values[t] == values[t - 1]]
    assert there.all() and len(still) == 24 and still == list(range(still[0], still[0] + 24))


def test_frame_rates_show_what_such_a_camera_sees():
    # 15 fps: pictures at 0, 66.7, 133.3 ms; shown at 0, 40, 80 ... ms.
    assert seen("fps_15")[0][:6, 0, 0].tolist() == [0, 0, 1, 1, 3, 5]
    thirty = seen("fps_30")[0][:, 0, 0].astype(int)
    assert (np.diff(thirty) >= 0).all() and (np.arange(T) - thirty).max() <= 1


def test_a_patch_hides_the_share_it_says_and_stays_in_place():
    shown, _ = seen("occluded_50")
    hidden = shown[3] == 128
    assert hidden.sum() == 44 * 44 and np.array_equal(hidden, shown[20] == 128)


def test_blur_keeps_the_mean_and_lowers_the_contrast():
    picture = np.random.default_rng(0).integers(0, 256, (88, 88)).astype(np.uint8)
    soft = blurred(picture, 3.0)
    assert abs(soft.mean() - picture.mean()) < 2 and soft.std() < 0.3 * picture.std()
    assert np.array_equal(blurred(np.full((16, 16), 77, np.uint8), 2.0), np.full((16, 16), 77))


@pytest.mark.parametrize("quality", [5, 10, 50, 90])
def test_compression_is_that_of_a_jpeg_library(quality):
    cv2 = pytest.importorskip("cv2")
    across, down = np.meshgrid(np.arange(88), np.arange(88))
    picture = np.clip(128 + 60 * np.sin(across / 5) + 40 * np.cos(down / 9), 0, 255)
    picture = picture.astype(np.uint8)
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    library = cv2.imdecode(np.frombuffer(io.BytesIO(coded).getvalue(), np.uint8), 0)
    ours = compressed(picture, quality)
    assert np.abs(ours.astype(int) - library.astype(int)).mean() < 0.5
    assert np.abs(ours.astype(int) - picture.astype(int)).mean() > 0.1


@pytest.mark.parametrize(
    "condition",
    [
        "rain_3",
        "missing",
        "missing_0",
        "missing_100",
        "offset_30",
        "offset_240",
        "fps_24",
        "blurred_x",
    ],
)
def test_unknown_and_impossible_conditions_are_named(condition):
    with pytest.raises(ValueError, match="is unknown or impossible; there are clean, missing_<p>"):
        split_condition(condition)


def test_pixels_of_tracked_lips_cannot_be_blurred():
    lips = np.zeros((T, 40, 3), np.float32)
    with pytest.raises(ValueError, match="leave it out for tracked lips"):
        disturbance("blurred_3", T, "u").apply(lips, np.ones(T, dtype=bool))
    shown, there = disturbance("missing_25", T, "u").apply(lips, np.ones(T, dtype=bool))
    assert shown.shape == lips.shape and (~there).sum() == 12
