"""Live text: what comes when, where sentences end, and that it is what the whole file gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from avsr.data.collate import collate
from avsr.data.manifest import decode_array
from avsr.decode.ctc import ctc_prefix_beam
from avsr.decode.live import LiveConfig, LiveText
from avsr.live import LiveRecognizer
from avsr.models.layers import ChunkConfig
from avsr.models.recognizer import Recognizer
from avsr.training.recognizer import plain_example

LIVE = LiveConfig(chunk_frames=4, left_chunks=2, beam_size=4, pause_s=None)


@pytest.fixture(scope="module")
def causal(recognizer: Any) -> Recognizer:
    torch.manual_seed(3)
    model = Recognizer(replace(recognizer.config, causal=True)).eval()
    with torch.no_grad():
        model.to_logits.weight.mul_(30)
    return model


def offline(model: Recognizer, tokenizer: Any, row: Any, streams: tuple[str, ...]) -> str:
    batch = collate([plain_example(row, streams, num_mels=80)])
    with torch.no_grad():
        scores = model(batch, chunks=ChunkConfig(4, 2))[0].log_softmax(-1).numpy()
    return str(tokenizer.decode(ctc_prefix_beam(scores, 4)[0][0]))


@pytest.mark.parametrize("modality", ["audio", "video", "audio_visual"])
def test_the_last_text_is_that_of_the_whole_file(
    causal: Recognizer, tokenizer: Any, test_rows: Any, modality: Any
) -> None:
    row = test_rows[0]
    streams = {"audio": ("audio",), "video": ("crops",)}.get(modality, ("audio", "crops"))
    example = plain_example(row, streams, num_mels=80)
    live = LiveRecognizer(causal, tokenizer, modality, LIVE)
    said: list[LiveText] = []
    audio = decode_array(row["audio"])
    for t in range(row["num_frames"]):
        if "audio" in streams:
            said += live.push_sound(audio[640 * t : 640 * (t + 1)])
        if "crops" in streams:
            assert example.mouth_crops is not None
            seen = example.mouth_crops[t] if example.crops_valid[t] else None
            said += live.push_mouth(seen)
    assert len(said) > 1 and not any(text.final for text in said)
    said += live.finish()
    assert said[-1].final and said[-1].text == offline(causal, tokenizer, row, streams)
    assert said[-1].text and said[-1].end_s == row["num_frames"] / 25
    for text in said:
        assert text.text.startswith(text.stable) and said[-1].text.startswith(text.stable)


def test_latency_is_chunk_and_look_ahead(causal: Recognizer, tokenizer: Any) -> None:
    sound = LiveRecognizer(causal, tokenizer, "audio", LIVE)
    assert (sound.look_ahead_ms, sound.latency_ms) == (7.5, 167.5)
    lips = LiveRecognizer(causal, tokenizer, "video", LIVE)
    assert (lips.look_ahead_ms, lips.latency_ms) == (80.0, 240.0)
    assert LiveRecognizer(causal, tokenizer, "audio_visual", LIVE).latency_ms == 240.0
    # The first text comes with the sample that latency_ms promises, and not one earlier.
    rng = np.random.default_rng(0)
    sound.push_sound(rng.uniform(-0.3, 0.3, int(16 * 167.5) - 1))
    assert sound.num_frames == 0
    sound.push_sound(np.zeros(1))
    assert sound.num_frames == 4


def speaking(live: LiveRecognizer, tokens: list[int]) -> None:
    """Make the network say one token a frame, 0 for silence, whatever it hears."""
    told = iter(tokens)

    def logits(memory: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(1, memory.shape[1], live.model.config.vocabulary_size)
        for t in range(memory.shape[1]):
            out[0, t, next(told)] = 20
        return out

    live.model.ctc_logits = logits  # type: ignore[method-assign]


def test_a_pause_ends_a_sentence(causal: Recognizer, tokenizer: Any) -> None:
    model = Recognizer(causal.config).eval()
    live = LiveRecognizer(model, tokenizer, "audio", replace(LIVE, pause_s=0.2))
    first, second = tokenizer.encode("bin blue"), tokenizer.encode("set red")
    spoken = [token for one in first for token in (one, 0)]
    spoken += [0] * 12 + [token for one in second for token in (one, 0)] + [0] * 3
    speaking(live, [*spoken, *[0] * (-len(spoken) % 4)])
    said = live.push_sound(np.zeros(640 * len(spoken)))
    said += live.finish()
    finals = [text for text in said if text.final]
    assert [text.text for text in finals] == ["bin blue", "set red"]
    end = (2 * len(first) - 1 + 5) / 25  # the fifth frame without a token
    assert finals[0].end_s == pytest.approx(end)
    assert finals[0].start_s == 0 and finals[1].start_s >= end


def test_without_pauses_there_is_one_sentence(causal: Recognizer, tokenizer: Any) -> None:
    model = Recognizer(causal.config).eval()
    live = LiveRecognizer(model, tokenizer, "audio", LIVE)
    words = [token for one in tokenizer.encode("bin blue") for token in (one, 0)]
    speaking(live, [*words, *[0] * 100, *words, 0, 0, 0])
    live.push_sound(np.zeros(640 * (2 * len(words) + 100)))
    assert [text.text for text in live.finish() if text.final] == ["bin blue bin blue"]


def test_sound_may_end_before_the_pictures(causal: Recognizer, tokenizer: Any) -> None:
    live = LiveRecognizer(causal, tokenizer, "audio_visual", LIVE)
    live.push_sound(np.zeros(640 * 5 + 100))
    for _ in range(6):
        live.push_mouth(None)
    before = live.num_frames
    for _ in range(6):
        live.push_silence(1)
        live.push_mouth(np.full((88, 88), 7, np.uint8))
    assert (before, live.num_frames) == (4, 8)
    live.finish()
    assert live.num_frames == 12


def test_what_a_line_says() -> None:
    partial = LiveText("bin blue at", "bin", final=False, start_s=0.0, end_s=1.28)
    assert partial.line == "partial 0.00-1.28 s: bin | blue at"
    assert replace(partial, final=True).line == "final   0.00-1.28 s: bin blue at"


def test_what_cannot_be_live(recognizer: Any, causal: Recognizer, tokenizer: Any) -> None:
    with pytest.raises(ValueError, match=r"causal True.*--loop.model.causal"):
        LiveRecognizer(recognizer, tokenizer, "audio", LIVE)
    deaf = Recognizer(replace(causal.config, streams=("crops",))).eval()
    with pytest.raises(ValueError, match=r"'audio' needs the streams \['audio'\].*\['crops'\]"):
        LiveRecognizer(deaf, tokenizer, "audio", LIVE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk_frames": 0}, "chunk_frames 0"),
        ({"left_chunks": -1}, "left_chunks -1"),
        ({"beam_size": 0}, "beam_size 0"),
        ({"pause_s": 0.0}, "pause_s 0.0"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LiveConfig(**change)
