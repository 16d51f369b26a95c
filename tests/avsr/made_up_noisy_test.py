"""Speech, talkers, noise and a room from chance, and the settings of a noisy test of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from avsr.files import write_wav
from avsr.noisy_test_building import NoisyTestConfig

TEXTS = ("Lay red, at 4 now!", "bin blue", "set <b>white</b> again")


def make_place(folder: Path) -> Path:
    """Three utterances of two speakers, two talkers, noise, and a room."""
    lines, talkers = (
        ["utterance_id\tpath\ttext\tspeaker_id"],
        ["utterance_id\tpath\ttext\tspeaker_id"],
    )
    for number, text in enumerate(TEXTS):
        generator = np.random.default_rng(number)
        loud = np.repeat(generator.uniform(0, 0.4, 25), 640)
        write_wav(folder / "wav" / f"u{number}.wav", loud * generator.uniform(-1, 1, 16000))
        lines.append(f"s/u{number}\twav/u{number}.wav\t{text}\tspeaker{number % 2}")
        write_wav(folder / "talk" / f"t{number}.wav", 0.2 * generator.standard_normal(9000))
        talkers.append(f"t{number}\ttalk/t{number}.wav\thello\ttalker{number}")
    (folder / "list.tsv").write_text("\n".join(lines) + "\n")
    (folder / "talkers.tsv").write_text("\n".join(talkers) + "\n")
    generator = np.random.default_rng(9)
    # Shorter than an utterance: cross-faded.
    write_wav(folder / "noise" / "hum.wav", 0.1 * generator.standard_normal(7000) + 0.05)
    response = np.zeros(800)
    response[[10, 300]] = 0.9, 0.4
    write_wav(folder / "rirs" / "hall.wav", response)
    return folder


def settings(place: Path, **changes: object) -> NoisyTestConfig:
    config = NoisyTestConfig(
        corpus=place / "list.tsv",
        split="",
        noise=(place / "noise",),
        noise_types=("hum", "babble_2", "speech_shaped"),
        talkers=place / "talkers.tsv",
        snrs_db=(-5.0, 0.0, 5.0),
        rooms=place / "rirs",
        reverberations=("none", "measured"),
    )
    return replace(config, **changes)  # type: ignore[arg-type]
