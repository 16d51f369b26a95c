"""Augmentation: aligned streams, exact mirrors, limits that are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avsr.data.augment import (
    MIRROR_ORDER,
    AugmentConfig,
    augment_crops,
    crop_offsets,
    hide_spans,
    interpolate,
    mask_features,
    mask_waveform,
    mirror_lips,
    stretch_features,
    stretch_index,
    stretch_waveform,
)

OFF = AugmentConfig(
    stretch=0.0,
    gain_db=0.0,
    time_masks=0,
    frequency_masks=0,
    brightness=0.0,
    contrast=0.0,
    flip=False,
    lip_noise_mm=0.0,
)


def canonical_lips() -> np.ndarray:
    """(1, 40, 3): two ellipses in the canonical order, the mouth open and not symmetric."""
    angle = np.pi + 2 * np.pi * np.arange(20) / 20
    outer = np.stack([25 * np.cos(angle), 9 * np.sin(angle), np.zeros(20)], axis=1)
    inner = np.stack([20 * np.cos(angle), 5 * np.sin(angle), np.ones(20)], axis=1)
    lips = np.concatenate([outer, inner])
    lips[:, 1] += 0.1 * lips[:, 0]  # a crooked smile
    return lips[None].astype(np.float32)


def test_mirror_order_swaps_the_corners_and_is_its_own_inverse() -> None:
    assert sorted(MIRROR_ORDER) == list(range(40))
    assert MIRROR_ORDER[0] == 10 and MIRROR_ORDER[20] == 30  # left corner, right corner
    assert MIRROR_ORDER[5] == 5 and MIRROR_ORDER[35] == 35  # the middles stay
    assert (MIRROR_ORDER[MIRROR_ORDER] == np.arange(40)).all()
    # Lower lip stays lower lip: 1..9 are below the corners, 11..19 above.
    assert set(MIRROR_ORDER[1:10]) == set(range(1, 10))


def test_mirrored_lips_keep_the_gap_and_the_order_and_turn_the_smile() -> None:
    lips = canonical_lips()
    mirrored = mirror_lips(lips, MIRROR_ORDER)
    gap = np.linalg.norm(lips[:, 35] - lips[:, 25], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(mirrored[:, 35] - mirrored[:, 25], axis=-1), gap)
    assert mirrored[0, 0, 0] < mirrored[0, 10, 0]  # the first point is the image-left corner again
    assert lips[0, 10, 1] > lips[0, 0, 1] and mirrored[0, 10, 1] < mirrored[0, 0, 1]
    np.testing.assert_allclose(mirror_lips(mirrored, MIRROR_ORDER), lips, atol=1e-5)


def test_stretch_of_zero_changes_nothing() -> None:
    positions = stretch_index(7, OFF, np.random.default_rng(0))
    np.testing.assert_array_equal(positions, np.arange(7))
    features = np.random.default_rng(1).normal(size=(28, 5)).astype(np.float32)
    np.testing.assert_allclose(stretch_features(features, positions), features, atol=1e-6)
    lips = np.random.default_rng(2).normal(size=(7, 40, 3)).astype(np.float32)
    np.testing.assert_allclose(interpolate(lips, positions), lips, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 2, 3, 4])
def test_streams_stay_aligned_under_stretch(seed: int) -> None:
    """A step at frame 30 of 60 is at the same place in lips, crops and features after it."""
    config = replace(OFF, stretch=0.3)
    positions = stretch_index(60, config, np.random.default_rng(seed))
    assert len(positions) != 60 and positions[0] == 0 and positions[-1] == 59
    step = (np.arange(60) >= 30).astype(np.float32)
    lips = interpolate(np.broadcast_to(step[:, None, None], (60, 40, 3)), positions)
    crops = step[np.rint(positions).astype(int)]
    features = stretch_features(np.repeat(step, 4)[:, None], positions)
    assert features.shape == (4 * len(positions), 1)
    where_lips = np.interp(0.5, lips[:, 0, 0], np.arange(len(lips)))
    assert abs(int(crops.argmax()) - where_lips) <= 1.0
    assert abs(int((features[:, 0] >= 0.5).argmax()) / 4 - where_lips) <= 1.0


def test_a_stretched_waveform_stays_in_step_with_the_video() -> None:
    plain = stretch_index(7, OFF, np.random.default_rng(0))
    sound = np.random.default_rng(1).normal(size=7 * 640).astype(np.float32)
    np.testing.assert_allclose(stretch_waveform(sound, plain), sound, atol=1e-6)
    positions = stretch_index(60, replace(OFF, stretch=0.3), np.random.default_rng(2))
    step = np.repeat(np.arange(60) >= 30, 640).astype(np.float32)
    stretched = stretch_waveform(step, positions)
    assert len(stretched) == 640 * len(positions) != 640 * 60
    first = np.interp(30, positions, np.arange(len(positions)))
    assert abs(int(stretched.argmax()) / 640 - first) < 0.01


def test_masked_spans_of_a_waveform_are_silent() -> None:
    sound = np.ones(50 * 640, dtype=np.float32)
    config = replace(OFF, time_masks=1, time_mask_frames=5)
    silent = [
        int((mask_waveform(sound, config, np.random.default_rng(seed)) == 0).sum())
        for seed in range(30)
    ]
    assert 0 < max(silent) <= 5 * 640 and sound.all()


def test_one_frame_can_be_stretched() -> None:
    assert stretch_index(1, AugmentConfig(), np.random.default_rng(0)).tolist() == [0.0]


def test_hidden_spans_keep_their_limits_and_the_input() -> None:
    present = np.ones(50, dtype=bool)
    fewest = min(
        int(hide_spans(present, 2, 8, np.random.default_rng(seed)).sum()) for seed in range(200)
    )
    assert 50 - 2 * 8 <= fewest < 50 and present.all()
    assert hide_spans(present, 0, 8, np.random.default_rng(0)).all()
    assert hide_spans(present[:3], 2, 8, np.random.default_rng(0)).shape == (3,)
    absent = np.zeros(5, dtype=bool)
    assert not hide_spans(absent, 3, 2, np.random.default_rng(0)).any()


def test_masked_features_are_the_mean_and_the_rest_is_untouched() -> None:
    config = replace(OFF, time_masks=2, time_mask_frames=5, frequency_masks=1)
    features = np.random.default_rng(0).normal(size=(80, 20)).astype(np.float32)
    before = features.copy()
    masked = mask_features(features, config, np.random.default_rng(3))
    changed = masked != before
    assert changed.any() and not changed.all()
    np.testing.assert_allclose(masked[changed], before.mean(), atol=1e-6)
    np.testing.assert_array_equal(features, before)
    np.testing.assert_array_equal(mask_features(features, OFF, np.random.default_rng(3)), before)


def test_crops_without_strengths_are_only_cut() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 96, 96), dtype=np.uint8)
    top, left = crop_offsets(96, np.random.default_rng(5))
    cut = augment_crops(crops, OFF, np.random.default_rng(5))
    np.testing.assert_array_equal(cut, crops[:, top : top + 88, left : left + 88])
    assert crop_offsets(96, None) == (4, 4)


def test_brightness_stays_a_gray_value() -> None:
    """Strong changes end at black and white; they do not wrap around."""
    strong = replace(OFF, brightness=0.9, contrast=0.9)
    ramp = np.broadcast_to(np.arange(96, dtype=np.uint8) * 2, (1, 96, 96))
    for seed in range(10):
        row = augment_crops(ramp, strong, np.random.default_rng(seed))[0, 0].astype(int)
        assert (np.diff(row) >= 0).all()


@pytest.mark.parametrize("name", ["stretch", "brightness", "contrast"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_impossible_strengths_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"augment {name} {value}"):
        AugmentConfig(**{name: value})
