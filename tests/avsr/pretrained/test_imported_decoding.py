from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.decode.config import DecodingConfig
from avsr.decode.reference import reference_search
from avsr.pretrained.auto_avsr import auto_avsr_from_tensors
from avsr.pretrained.av_hubert import av_hubert_from_folder, av_hubert_from_tensors
from avsr.pretrained.imported import Imported
from avsr.pretrained.imported_decoding import (
    decode_imported,
    default_decoding,
    recognise,
    streams_of,
    text_of_ids,
)
from tests.golden.seeded_weights import seeded_weights

GOLDEN = Path(__file__).parents[2] / "golden"
FRAMES = 5


def imported(name: str) -> Imported:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    tensors = {k: torch.from_numpy(v) for k, v in seeded_weights(golden["shapes"]).items()}
    if name.startswith("auto_avsr"):
        return Imported("auto_avsr", auto_avsr_from_tensors(tensors, name), None)
    if name.endswith("hugging_face"):
        model = av_hubert_from_folder(tensors, golden["config"], name)
    else:
        decoder = golden["decoder_settings"] or {}
        model = av_hubert_from_tensors(tensors, golden["settings"], decoder, name)
    return Imported("av_hubert", model, None)


def crops() -> np.ndarray:
    return (
        np.random.default_rng(0)
        .integers(0, 256, (FRAMES, 12, 12), np.uint8)
        .repeat(8, 1)
        .repeat(8, 2)
    )


def waveform() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, 640 * FRAMES).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "boundary", "config"),
    [
        ("auto_avsr_video", 10, DecodingConfig("joint", 4, 0.1, length_bonus=2.0)),
        ("auto_avsr_video", 10, DecodingConfig("joint", 3, 0.5, length_bonus=2.0)),
        ("av_hubert_large_seq2seq", 2, DecodingConfig("joint", 4, 0.0, length_bonus=2.0)),
    ],
)
def test_the_search_is_that_of_the_reference(
    name: str, boundary: int, config: DecodingConfig
) -> None:
    """The reference asks the decoder in the weights' own numbering, for whole sequences."""
    network = imported(name)
    model = network.model
    vocabulary = model.config.vocabulary_size
    valid = torch.ones(1, FRAMES, dtype=torch.bool)
    order = np.arange(vocabulary)
    order[[0, boundary]] = boundary, 0
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(1, FRAMES, 32, generator=generator)

    def attention(tokens: list[int]) -> np.ndarray:
        own = [boundary, *(int(order[token]) for token in tokens)]
        with torch.no_grad():
            logits = model.decode_logits(torch.tensor([own]), memory, valid)[0, -1]
        return logits.double().log_softmax(-1).numpy()[order]

    scores = np.zeros((FRAMES, vocabulary))
    if name.startswith("auto_avsr"):
        with torch.no_grad():
            scores = model.ctc_logits(memory)[0].double().log_softmax(-1).numpy()
    expected = reference_search(scores, config, attention=attention)[0][0]
    found = decode_imported(network, memory, torch.tensor([FRAMES]), config)[0]
    assert found == [token for token in expected if token != boundary]
    assert found  # an empty answer would prove little


@pytest.mark.parametrize(
    ("name", "with_crops", "with_waveform"),
    [
        ("auto_avsr_video", True, False),
        ("auto_avsr_audio", False, True),
        ("auto_avsr_audio_visual_v1", True, True),
        ("av_hubert_base_ctc", True, True),
        ("av_hubert_base_seq2seq", False, True),
        ("av_hubert_hugging_face", True, False),
    ],
)
def test_an_utterance_becomes_tokens(name: str, with_crops: bool, with_waveform: bool) -> None:
    network = imported(name)
    found = recognise(
        network,
        crops=crops() if with_crops else None,
        waveform=waveform() if with_waveform else None,
        config=replace(default_decoding(network, 3)),
    )
    vocabulary = network.model.config.vocabulary_size
    assert all(0 < token < vocabulary for token in found)
    assert text_of_ids(network, [3, 4]) == "3 4"
    greedy = DecodingConfig("greedy")
    if name.endswith(("seq2seq", "hugging_face")):
        with pytest.raises(ValueError, match="needs a CTC layer"):
            recognise(network, waveform=waveform(), config=greedy)
    else:
        recognise(
            network,
            crops=crops() if with_crops else None,
            waveform=waveform() if with_waveform else None,
            config=greedy,
        )


def test_pretrained_weights_give_no_text() -> None:
    with pytest.raises(ValueError, match="pretrained encoder"):
        default_decoding(imported("av_hubert_base"), 3)


def test_modalities() -> None:
    network = imported("auto_avsr_video")
    assert streams_of(network, "video") == ("video",)
    with pytest.raises(ValueError, match="take video, not audio"):
        streams_of(network, "audio")
    assert streams_of(imported("av_hubert_base_ctc"), "audio_visual") == ("video", "audio")
