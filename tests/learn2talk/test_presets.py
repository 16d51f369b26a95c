"""What the presets train and test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from avsr.decode.config import DecodingConfig
from avsr.models.presets import preset
from learn2talk.closed_loop import ClosedLoopConfig
from learn2talk.presets import PRESETS, with_preset, with_size
from learn2talk.stages import stages_of

FUSED = ("pretrain", "audio_visual", "audio")


@pytest.mark.parametrize(
    ("preset", "stages", "student"),
    [
        ("audio", ("audio",), False),
        ("video", ("video",), False),
        ("audio_visual", FUSED, False),
        ("audio_visual_generated", ("motion", *FUSED), True),
    ],
)
def test_a_preset_chooses_the_stages(preset: Any, stages: tuple[str, ...], student: bool) -> None:
    loop = with_preset(ClosedLoopConfig(valid_snr_db=-4.0), preset)
    assert stages_of(loop) == ("prepare", *stages, "decode", "report")
    assert loop.uses_student is student and loop.valid_snr_db == -4.0
    assert set(PRESETS) == {"audio", "video", "audio_visual", "audio_visual_generated"}


def test_the_main_job_is_what_it_was() -> None:
    assert stages_of(ClosedLoopConfig()) == ("prepare", "motion", *FUSED, "decode", "report")


def test_other_words_are_refused() -> None:
    with pytest.raises(ValueError, match="preset 'smell' is not one of audio, video"):
        with_preset(ClosedLoopConfig(), "smell")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="systems .*choose from audio, video, audio_visual"):
        ClosedLoopConfig(systems=("smell",))
    with pytest.raises(ValueError, match="visual_sources .*choose from mouth_crops"):
        ClosedLoopConfig(visual_sources=())


def test_a_size_replaces_the_model_and_fits_its_heads() -> None:
    loop = ClosedLoopConfig(valid_snr_db=-4.0)
    assert with_size(loop, None) is loop
    large = with_size(loop, "large")
    assert large.model == preset("large") and large.valid_snr_db == -4.0
    assert large.attention_weight == 0.7
    joint = replace(large, attention_weight=0.9, decoding=DecodingConfig("joint", beam_size=5))
    assert with_size(joint, "base").attention_weight == 0.9
    tiny = with_size(joint, "tiny")
    assert (tiny.attention_weight, tiny.decoding) == (0.0, DecodingConfig("ctc", beam_size=5))
    with pytest.raises(ValueError, match="'huge' is not one of tiny, small, base, large"):
        with_size(loop, "huge")  # type: ignore[arg-type]
