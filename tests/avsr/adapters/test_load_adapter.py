"""Which options a kind takes, and sounds with nothing to hear."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.adapters import ADAPTERS, Adapter, load_adapter, transcribe_heard

SPEECHLIKE = np.sin(np.arange(1600, dtype=np.float32))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"kind": "kaldi"}, "'kaldi' is not one of ours, transformers, pocketsphinx, moonshine"),
        ({"kind": "ours"}, "'ours' needs --model: best.safetensors"),
        ({"kind": "transformers"}, "'transformers' needs --model"),
        ({"kind": "command"}, "'command' needs --command: a command line with {list} and {out}"),
        ({"kind": "moonshine", "model": Path("m")}, "'moonshine' takes no option, but --model"),
        ({"kind": "pocketsphinx", "model": Path("m")}, "takes --grammar, but --model is 'm'"),
        ({"kind": "ours", "model": Path("m"), "grammar": Path("g")}, "takes --model, but --gra"),
        ({"kind": "transformers", "model": Path("m"), "command": "c"}, "but --command is 'c'"),
        ({"kind": "command", "command": "cat {list} {out}", "name": " "}, "name ' ' of a system"),
    ],
)
def test_wrong_options_are_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        load_adapter(asked.pop("kind"), asked.pop("model", None), **asked)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_every_kind_names_options_that_exist() -> None:
    for kind in ADAPTERS.values():
        assert set(kind.needs) | set(kind.takes) <= {"model", "command", "grammar"}


def test_name_and_facts_are_added() -> None:
    adapter = load_adapter("command", command="cat {list} {out}", name="my system")
    assert isinstance(adapter, Adapter) and adapter.name == "my system"
    assert adapter.facts["adapter"] == "command" and "under 40 ms" in adapter.facts["unheard"]
    assert load_adapter("command", command="cat {list} {out}").name == "cat"


def test_sounds_with_nothing_to_hear_are_not_passed_on() -> None:
    asked: list[int] = []

    def transcribe(waveforms: Any) -> list[str]:
        asked.extend(len(one) for one in waveforms)
        assert all(one.dtype == np.float32 for one in waveforms)
        return [f" {len(one)}\tsamples\n" for one in waveforms]

    sounds = [
        np.zeros(0, np.float32),
        SPEECHLIKE[:639],
        SPEECHLIKE[:640],
        np.zeros(16000, np.float32),
        np.full(16000, 0.5, np.float32),  # nothing but its mean
        1000.0 * SPEECHLIKE.astype(np.float64),
    ]
    assert transcribe_heard(transcribe, sounds) == [
        "",
        "",
        "640 samples",
        "",
        "",
        "1600 samples",
    ]
    assert asked == [640, 1600]
    assert transcribe_heard(transcribe, sounds[:1]) == [""] and asked == [640, 1600]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 1600), np.float32),
        np.zeros(1600, np.int16),
        np.full(1600, np.nan, np.float32),
    ],
)
def test_waveforms_of_another_form_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="waveform 1 has shape"):
        transcribe_heard(lambda _: [], [SPEECHLIKE, wrong])


def test_another_number_of_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="1 texts for 2 sounds"):
        transcribe_heard(lambda _: ["a"], [SPEECHLIKE, SPEECHLIKE])


def test_importing_the_package_is_light(repository: Path) -> None:
    code = "import sys, avsr.adapters; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True)
    loaded = set(done.stdout.decode().split())
    assert "avsr.adapters" in loaded
    assert not loaded & {"numpy", "torch", "transformers", "pocketsphinx", "moonshine_voice"}
