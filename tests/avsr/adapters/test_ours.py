"""Our own recognisers by ear."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.adapters import load_adapter
from avsr.data.manifest import decode_array
from avsr.files import sha256_file, write_wav
from avsr.models.recognizer import Recognizer
from avsr.training.recognizer import save_recognizer
from avsr.transcribe import transcribe


def test_texts_are_those_of_transcribe(
    recognizer_file: Path, test_rows: Any, tmp_path: Path
) -> None:
    adapter = load_adapter("ours", recognizer_file)
    sounds = [decode_array(row["audio"]) for row in test_rows]
    expected = []
    for number, sound in enumerate(sounds):
        write_wav(tmp_path / f"{number}.wav", sound, subtype="FLOAT")
        expected.append(transcribe(tmp_path / f"{number}.wav", recognizer_file).text)
    assert len(set(expected)) > 1  # an untrained network that says different things
    assert adapter.transcribe(sounds) == expected
    assert adapter.transcribe(sounds[::-1]) == expected[::-1]
    assert [adapter.transcribe([sound])[0] for sound in sounds] == expected
    assert adapter.facts["sha256 weights"] == sha256_file(recognizer_file)
    assert adapter.facts["decoding"] == "ctc, beam 10"
    assert adapter.name == recognizer_file.parent.name


def test_an_attention_decoder_is_joined(recognizer: Any, tokenizer: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Recognizer(replace(recognizer.config, decoder_layers=1)).eval()
    save_recognizer(tmp_path / "joined.safetensors", model, tokenizer, {})
    adapter = load_adapter("ours", tmp_path / "joined.safetensors")
    assert adapter.facts["decoding"] == "joint, beam 10, CTC weight 0.3"
    assert adapter.name == "joined"
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    assert len(adapter.transcribe([noise, noise[:700]])) == 2


def test_a_network_without_sound_is_refused(
    recognizer: Any, tokenizer: Any, tmp_path: Path
) -> None:
    deaf = Recognizer(replace(recognizer.config, streams=("crops",)))
    save_recognizer(tmp_path / "best.safetensors", deaf, tokenizer, {})
    with pytest.raises(ValueError, match=r"streams \['crops'\]; give a recogniser that hears"):
        load_adapter("ours", tmp_path / "best.safetensors")
