"""Laws of streaming: however the input is cut, the output is that of the masked full pass."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsr.audio import StreamingLogMel, log_mel
from avsr.models.fusion import STREAMS, Stream
from avsr.models.layers import ChunkConfig
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.models.streaming import StreamingEncoder
from avsr.schema import Batch

FIELDS = {"audio": "features", "crops": "mouth_crops", "lips": "lips"}


@lru_cache(maxsize=2)
def causal_model(kernel: int) -> Recognizer:
    torch.manual_seed(kernel)
    config = RecognizerConfig(
        vocabulary_size=7,
        width=16,
        num_heads=2,
        fused_layers=2,
        video_channels=(8, 8),
        causal=True,
        kernel=kernel,
    )
    return Recognizer(config).eval()


def utterance(frames: int, seed: int, streams: tuple[Stream, ...], missing: float) -> Batch:
    """A batch of one; each frame of crops and lips is missing with probability ``missing``."""
    draw = torch.Generator().manual_seed(seed)
    tracked = torch.rand(2, 1, frames, generator=draw) >= missing
    values = {
        "features": torch.randn(1, 4 * frames, 80, generator=draw) * 4 - 7,
        "mouth_crops": torch.randint(0, 256, (1, frames, 24, 24), generator=draw).byte(),
        "lips": torch.randn(1, frames, 40, 3, generator=draw) * 10 + 50,
    }
    return Batch(
        utterance_ids=("u",),
        lengths=torch.tensor([frames]),
        audio_present=torch.tensor(["audio" in streams]),
        crops_present=tracked[0] & ("crops" in streams),
        lips_present=tracked[1] & ("lips" in streams),
        **{FIELDS[name]: values[FIELDS[name]] if name in streams else None for name in STREAMS},  # type: ignore[arg-type]
    )


def streamed(model: Recognizer, batch: Batch, chunks: ChunkConfig, cuts: list[int]) -> torch.Tensor:
    """The memory of pieces of 0 to 9 frames (0 to 37 feature rows), one stream after the other."""
    valid = torch.ones(1, int(batch.lengths), dtype=torch.bool)
    given_streams = batch.streams(valid)
    encoder = StreamingEncoder(model, chunks, tuple(given_streams))
    places = dict.fromkeys(given_streams, 0)
    out, turn = [], 0
    while any(place < given_streams[name][0].shape[1] for name, place in places.items()):
        for name, place in places.items():
            values, present = given_streams[name]
            size = cuts[turn % len(cuts)] * (4 if name == "audio" else 1) + (name == "audio")
            end = min(place + size, values.shape[1])
            there = None if name == "audio" else present[0, place:end]
            out.append(encoder.push(name, values[0, place:end], there))
            places[name] = end
        turn += 1
    return torch.cat([*out, encoder.finish()])


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 40),
    chunk=st.integers(1, 12),
    left=st.none() | st.integers(0, 4),
    cuts=st.lists(st.integers(0, 9), min_size=1, max_size=7).filter(any),
    streams=st.lists(st.sampled_from(STREAMS), min_size=1, unique=True).map(
        lambda names: tuple(name for name in STREAMS if name in names)
    ),
    missing=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    kernel=st.sampled_from([1, 7]),
    seed=st.integers(0, 99),
)
def test_pieces_give_the_masked_full_pass(
    frames: int,
    chunk: int,
    left: int | None,
    cuts: list[int],
    streams: tuple[Stream, ...],
    missing: float,
    kernel: int,
    seed: int,
) -> None:
    model, chunks = causal_model(kernel), ChunkConfig(chunk, left)
    batch = utterance(frames, seed, streams, missing)
    with torch.no_grad():
        whole = model.memory_of(batch, chunks=chunks)[0]
    pieces = streamed(model, batch, chunks, cuts)
    assert pieces.shape == whole.shape
    assert float((pieces - whole).abs().max()) <= 1e-4


@pytest.mark.parametrize("chunk", [3, 8])
def test_another_chunk_gives_another_output(chunk: int) -> None:
    """Else the law above would hold for a network that ignores its chunks."""
    model, batch = causal_model(7), utterance(30, 0, STREAMS, 0.0)
    with torch.no_grad():
        whole = model.memory_of(batch, chunks=ChunkConfig(chunk + 1, 1))[0]
    pieces = streamed(model, batch, ChunkConfig(chunk, 1), [5])
    assert float((pieces - whole).abs().max()) > 1e-2


def test_full_attention_is_a_stream_of_one_chunk() -> None:
    batch = utterance(25, 1, STREAMS, 0.2)
    model = causal_model(7)
    with torch.no_grad():
        whole = model.memory_of(replace(batch))[0]
    assert float((streamed(model, batch, ChunkConfig(25), [4]) - whole).abs().max()) <= 1e-4


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 4000),
    cuts=st.lists(st.integers(0, 1500), max_size=8),
    seed=st.integers(0, 99),
)
def test_features_of_pieces_are_those_of_the_whole(
    samples: int, cuts: list[int], seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    sound = (0.3 * torch.randn(samples, generator=draw)).clamp(-1, 1)
    stream, place, out = StreamingLogMel(), 0, []
    for cut in [*cuts, samples]:
        out.append(stream.push(sound[place : place + cut]))
        place += cut
    pieces = torch.cat([*out, stream.finish()])
    torch.testing.assert_close(pieces, log_mel(sound[None])[0], atol=2e-5, rtol=0)
