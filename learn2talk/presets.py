"""What a run of the main job is for, by a word, and how large its recognisers are, by another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from avsr.decode.config import DecodingConfig
from avsr.models.presets import PresetName
from avsr.models.presets import preset as model_preset
from avsr.training.recognizer import load_recognizer
from learn2talk.closed_loop import VISUAL_SOURCES, ClosedLoopConfig

ATTENTION_WEIGHT = 0.7  # beside CTC, where a network of a size has a decoder
Preset = Literal["audio", "video", "audio_visual", "audio_visual_generated"]
PRESETS: dict[str, dict[str, Any]] = {
    "audio": {"systems": ("audio",)},
    "video": {"systems": ("video",)},
    # Real faces only: no student is trained, and no generated lips are heard or tested.
    "audio_visual": {
        "systems": ("audio", "audio_visual"),
        "visual_sources": ("mouth_crops", "tracked_lips", "still"),
        "generated_lips_share": 0.0,
    },
    # Lips from Learn2Talk in training and among the test's visual sources.
    "audio_visual_generated": {
        "systems": ("audio", "audio_visual"),
        "visual_sources": VISUAL_SOURCES,
    },
}


def with_preset(loop: ClosedLoopConfig, preset: Preset) -> ClosedLoopConfig:
    """``loop`` with what the preset decides; the rest stays.

    Raises:
        ValueError: another name.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is not one of {', '.join(PRESETS)}")
    return replace(loop, **PRESETS[preset])


def with_size(loop: ClosedLoopConfig, size: PresetName | None) -> ClosedLoopConfig:
    """``loop`` with the network of a size in place of its model; ``None`` leaves its model.

    A size without an attention decoder is trained and decoded by CTC alone; one with a decoder gets
    the usual weight for it where the loop has none.

    Raises:
        ValueError: another name.
    """
    if size is None:
        return loop
    model = model_preset(size)
    if model.decoder_layers:
        weight = loop.attention_weight or ATTENTION_WEIGHT
        return replace(loop, model=model, attention_weight=weight)
    decoding = loop.decoding
    if decoding.method == "joint":
        decoding = DecodingConfig("ctc", beam_size=decoding.beam_size)
    return replace(loop, model=model, attention_weight=0.0, decoding=decoding)


def with_recognizer(loop: ClosedLoopConfig, recognizer: str | None) -> ClosedLoopConfig:
    """``loop`` that goes on from a trained recogniser, with its shape; ``None`` leaves it alone.

    An attention decoder is trained on, with the usual weight where the loop has none, and decodes
    with CTC; a transducer only where the loop has a weight for it.

    Raises:
        ValueError: not a recogniser.
    """
    if recognizer is None:
        return loop
    model = load_recognizer(recognizer)[0].config
    model = replace(model, transducer=loop.transducer_weight > 0)
    weight, decoding = 0.0, loop.decoding
    if model.decoder_layers:
        weight = loop.attention_weight or ATTENTION_WEIGHT
        if decoding.method == "ctc":
            decoding = DecodingConfig("joint", beam_size=decoding.beam_size)
    return replace(
        loop, initial=recognizer, model=model, attention_weight=weight, decoding=decoding
    )
