"""Moonshine on two clips of GRID, and on sounds with no voice in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.adapters import load_adapter
from avsr.files import read_audio

pytest.importorskip("moonshine_voice")


def test_short_sounds_and_noise_do_not_fail() -> None:
    adapter = load_adapter("moonshine")
    rng = np.random.default_rng(0)
    sounds = [rng.standard_normal(size).astype(np.float32) for size in (640, 1599, 0, 1600, 16000)]
    texts = adapter.transcribe(sounds)
    assert texts[:3] == ["", "", ""] and len(texts) == 5
    assert adapter.name == "moonshine-tiny-en"
    assert {"sha256 encoder_model.ort", "sha256 decoder_model_merged.ort"} <= set(adapter.facts)


@pytest.mark.slow
@pytest.mark.real_data
def test_grid_in_any_order_and_level(avsr_data: Path) -> None:
    clips = [avsr_data / "grid/s1/video" / f"{name}.mp4" for name in ("bbaf3s", "bbaf5a")]
    speech = [read_audio(clip) for clip in clips]
    adapter = load_adapter("moonshine")
    texts = adapter.transcribe(speech)
    assert all(text and "\n" not in text for text in texts) and texts[0] != texts[1]
    for _ in range(3):
        assert adapter.transcribe(speech[::-1]) == texts[::-1]
    at_full_scale = [one / np.abs(one).max() for one in speech]
    assert adapter.transcribe([8 * one for one in at_full_scale]) == adapter.transcribe(
        at_full_scale
    )
