"""Presets: their sizes, and that each is a network that runs."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from avsr.models.presets import PRESETS, PresetName, preset
from avsr.models.recognizer import Recognizer, RecognizerConfig


def millions(config: RecognizerConfig) -> float:
    with torch.device("meta"):  # shapes without memory
        model = Recognizer(config)
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("tiny", 5, 6), ("small", 25, 30), ("base", 130, 145), ("large", 245, 260)],
)
def test_sizes_with_5000_pieces(name: str, least: float, most: float) -> None:
    assert least < millions(preset(name)) <= most


def test_large_is_the_published_shape() -> None:
    config = preset("large")
    assert (config.width, config.num_heads, config.fused_layers) == (768, 12, 12)
    assert (config.kernel, config.decoder_layers) == (31, 6)
    with torch.device("meta"):
        model = Recognizer(config)
    assert model.layers[0].first_half[1].out_features == 3072
    assert model.encoders["crops"].blocks[-1].second.out_channels == 512
    assert len(model.encoders["crops"].blocks) == 8


def test_words_and_functions_agree() -> None:
    assert tuple(PRESETS) == get_args(PresetName)
    assert preset("tiny", 7) == replace(preset("tiny"), vocabulary_size=7)


def test_an_unknown_word_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'huge' is not one of tiny, small, base, large"):
        preset("huge")


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_a_preset_recognises(name: str) -> None:
    torch.manual_seed(0)
    model = Recognizer(preset(name, 11)).eval()
    valid = torch.ones(1, 3, dtype=torch.bool)
    crops = model.encode("crops", torch.zeros(1, 3, 88, 88), valid)
    audio = model.encode("audio", torch.zeros(1, 12, 80), valid)
    logits = model.recognize({"crops": (crops, valid), "audio": (audio, valid)}, valid)
    assert logits.shape == (1, 3, 11) and logits.isfinite().all()


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match="video_blocks 0"):
        replace(preset("tiny"), video_blocks=0)


def test_options_reach_the_network() -> None:
    plain, more = preset("tiny", 11), replace(preset("tiny", 11), transducer=True)
    assert Recognizer(plain).transducer is None
    head = Recognizer(more).transducer
    assert head is not None and head.to_logits.out_features == 11
    deeper = Recognizer(replace(plain, video_blocks=2)).encoders["crops"].blocks
    assert len(deeper) == 2 * len(Recognizer(plain).encoders["crops"].blocks)
