"""Sizes of recogniser by name: tiny, small, base, large.

Each function gives a configuration; change what you like with ``dataclasses.replace``. A training
puts its tokenizer's size in place of ``vocabulary_size``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from avsr.models.recognizer import RecognizerConfig

PresetName = Literal["tiny", "small", "base", "large"]
PIECES = 5001  # 5000 SentencePiece pieces, LRS3's usual number, and the blank


def tiny(vocabulary_size: int = PIECES) -> RecognizerConfig:
    """For small corpora and tests; CTC alone, the GRID recipe's width and depth."""
    return RecognizerConfig(vocabulary_size=vocabulary_size, width=128, fused_layers=3)


def small(vocabulary_size: int = PIECES) -> RecognizerConfig:
    """Under 30 M parameters with 5000 pieces; real time on one core many times over."""
    return replace(
        tiny(vocabulary_size),
        width=256,
        fused_layers=8,
        kernel=31,
        decoder_layers=3,
    )


def base(vocabulary_size: int = PIECES) -> RecognizerConfig:
    """About 140 M parameters with 5000 pieces."""
    return replace(
        small(vocabulary_size),
        width=512,
        num_heads=8,
        fused_layers=12,
        video_channels=(32, 64, 128, 256),
        video_blocks=2,
        decoder_layers=6,
    )


def large(vocabulary_size: int = PIECES) -> RecognizerConfig:
    """The shape of the published Auto-AVSR networks of 250 M (Ma et al. 2023, arXiv 2303.14307).

    As published: 12 Conformer layers of width 768 with 12 heads, feed-forward 3072 and kernel 31,
    a transformer decoder of 6 layers, and for the mouth a trunk of ResNet-18's depth and width.

    What differs: one network takes sound, mouth and both, its 12 layers after the fusion (theirs
    are one network a modality, joined late); layer norm and group norm in place of batch norm;
    rotary in place of relative positions; log-mel in place of the waveform's 1D ResNet-18; mouth
    crops averaged to half their side, which is a quarter of the front-end's work. Their weights
    go into their own shape, see ``avsr.pretrained``, not into this one.
    """
    return replace(
        base(vocabulary_size),
        streams=("audio", "crops"),
        width=768,
        num_heads=12,
        stream_layers=0,
        video_channels=(64, 64, 128, 256, 512),
    )


PRESETS: dict[str, Callable[[int], RecognizerConfig]] = {
    "tiny": tiny,
    "small": small,
    "base": base,
    "large": large,
}


def preset(name: str, vocabulary_size: int = PIECES) -> RecognizerConfig:
    """The configuration of a size by its name.

    Args:
        name: one of ``PRESETS``.
        vocabulary_size: K, the CTC blank included.

    Raises:
        ValueError: no such name.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is not one of {', '.join(PRESETS)}")
    return PRESETS[name](vocabulary_size)
