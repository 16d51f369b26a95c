"""Moonshine Voice with the tiny English model of its package."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from avsr.adapters import Adapter, hashes_of
from avsr.units import SAMPLE_RATE_HZ
from avsr.weights import one_line

MODEL = "tiny-en"  # the one that its wheel carries; others would be downloaded
MIN_SAMPLES = 1600  # its network fails on less than about 1100


def load_moonshine() -> Adapter:
    """The whole sound at once, without the package's voice activity detector.

    With the detector the text depends on chance: it cuts the same sound at other places in another
    order of sounds, and even in a network loaded anew. A sound under 0.1 s has no text.

    Raises:
        ValueError: the package, or the model in it, is not there.
    """
    transcriber, folder = _transcriber()

    def transcribe(waveforms: Sequence[np.ndarray]) -> list[str]:
        return [_text(transcriber, waveform) for waveform in waveforms]

    facts = {
        "moonshine-voice": version("moonshine-voice"),
        "decoding": "whole sound, vad_threshold 0, other options as delivered; none under 0.1 s",
        **hashes_of({one.name: one for one in folder.iterdir() if one.is_file()}),
    }
    return Adapter(f"moonshine-{MODEL}", transcribe, facts)


def _transcriber() -> tuple[Any, Path]:
    try:
        from moonshine_voice import ModelArch, MoonshineError, get_model_path
        from moonshine_voice.transcriber import Transcriber
    except (ImportError, OSError) as error:  # OSError: its library does not load here
        raise ValueError(
            f"adapter 'moonshine' needs its package ({one_line(error)}); "
            "pip install 'avsr-learn2talk[recognisers]'"
        ) from error
    folder = Path(get_model_path(MODEL))
    # Without the second option it returns the samples again, as a list of Python floats.
    options = {"vad_threshold": "0", "return_audio_data": "false"}
    try:
        return Transcriber(folder, ModelArch.TINY, options=options), folder
    except MoonshineError as error:
        raise ValueError(
            f"{folder}: Moonshine cannot load its model ({one_line(error)}); install the package "
            "again"
        ) from error


def _text(transcriber: Any, waveform: np.ndarray) -> str:
    if len(waveform) < MIN_SAMPLES:
        return ""
    peak = float(np.abs(waveform).max())
    if peak > 1:  # it takes [-1, 1]
        waveform = waveform / peak
    found = transcriber.transcribe_without_streaming(waveform.tolist(), SAMPLE_RATE_HZ)
    return " ".join(line.text for line in found.lines)
