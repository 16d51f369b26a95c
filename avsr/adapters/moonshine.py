"""Moonshine Voice with the tiny English model of its package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from avsr.adapters import Adapter, hashes_of
from avsr.units import SAMPLE_RATE_HZ
from avsr.weights import one_line

MODEL = "tiny-en"  # the one that its wheel carries; others would be downloaded


def load_moonshine() -> Adapter:
    """As the package is delivered: its voice activity detector cuts the sound into lines.

    Where the detector hears no voice, as in loud noise, the text is empty. The detector remembers
    the sounds before (of 10 GRID clips in another order 3 had another text), so the model is loaded
    anew for each sound, in 0.3 s.

    Raises:
        ValueError: the package, or the model in it, is not there.
    """
    load, folder = _loader()
    load().close()  # what is wrong is said now

    def transcribe(waveforms: Sequence[np.ndarray]) -> list[str]:
        return [_text(load, waveform) for waveform in waveforms]

    facts = {
        "moonshine-voice": version("moonshine-voice"),
        "decoding": "without streaming, voice activity detection and limits as delivered",
        **hashes_of({one.name: one for one in folder.iterdir() if one.is_file()}),
    }
    return Adapter(f"moonshine-{MODEL}", transcribe, facts)


def _loader() -> tuple[Callable[[], Any], Path]:
    try:
        from moonshine_voice import ModelArch, MoonshineError, get_model_path
        from moonshine_voice.transcriber import Transcriber
    except (ImportError, OSError) as error:  # OSError: its library does not load here
        raise ValueError(
            f"adapter 'moonshine' needs its package ({one_line(error)}); "
            "pip install 'avsr-learn2talk[recognisers]'"
        ) from error
    folder = Path(get_model_path(MODEL))

    def load() -> Any:
        try:
            options = {"return_audio_data": "false"}  # the samples again, as a list of floats
            return Transcriber(folder, ModelArch.TINY, options=options)
        except MoonshineError as error:
            raise ValueError(
                f"{folder}: Moonshine cannot load its model ({one_line(error)}); install the "
                "package again"
            ) from error

    return load, folder


def _text(load: Callable[[], Any], waveform: np.ndarray) -> str:
    peak = float(np.abs(waveform).max())
    if peak > 1:  # it takes [-1, 1]
        waveform = waveform / peak
    with load() as transcriber:
        found = transcriber.transcribe_without_streaming(waveform.tolist(), SAMPLE_RATE_HZ)
    return " ".join(line.text for line in found.lines)
