from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avsr.pretrained.published_inputs import (
    auto_avsr_waveform,
    av_hubert_features,
    network_crops,
    stacked_filter_banks,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "av_hubert_features.json"


def test_filter_banks_are_those_of_the_published_library() -> None:
    golden = json.loads(GOLDEN.read_text())
    waveform = np.asarray(golden["samples"], np.int16).astype(np.float32) / 32768.0
    found = stacked_filter_banks(waveform)
    np.testing.assert_allclose(found, golden["features"], atol=1e-4, rtol=0)
    assert (found[-1, 52:] == 0).all()  # 18 frames in five rows of four


def test_each_frame_of_av_hubert_is_normalised_and_fits_the_film() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 6400)
    features = av_hubert_features(waveform, 12)
    assert features.shape == (12, 104)
    np.testing.assert_allclose(features[:9].mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(features[:9].std(1), 1, atol=1e-4)
    assert (features[10:] == 0).all()
    np.testing.assert_array_equal(av_hubert_features(waveform, 4), features[:4])
    np.testing.assert_array_equal(av_hubert_features(waveform), features[:10])


def test_waveforms_are_normalised_over_the_utterance() -> None:
    waveform = np.random.default_rng(0).normal(3, 2, 1300)
    alone = auto_avsr_waveform(waveform)
    np.testing.assert_allclose(
        alone, ((waveform - waveform.mean()) / waveform.std())[:1280], atol=1e-5
    )
    longer = auto_avsr_waveform(waveform, 3)
    assert longer.shape == (1920,)
    assert longer.mean() == pytest.approx(0, abs=1e-6)
    assert auto_avsr_waveform(np.zeros(640)).max() == 0.0
    with pytest.raises(ValueError, match="639 samples are less than one frame"):
        auto_avsr_waveform(np.zeros(639))


def test_crops_are_cut_in_the_middle_and_scaled() -> None:
    crops = np.zeros((2, 96, 96), np.uint8)
    crops[1, 4:92, 4:92] = 255
    found = network_crops(crops)
    assert found.shape == (2, 88, 88)
    np.testing.assert_allclose(found[0], -0.421 / 0.165, rtol=1e-6)
    np.testing.assert_allclose(found[1], 0.579 / 0.165, rtol=1e-6)
    with pytest.raises(ValueError, match="88 pixels or more"):
        network_crops(np.zeros((1, 80, 96), np.uint8))
