"""Piece by piece and in one masked pass: the same memory. Chunks hide what they must."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from avsr.models.layers import ChunkConfig, chunk_mask
from avsr.models.recognizer import Recognizer
from avsr.models.streaming import StreamingEncoder
from tests.avsr.models.test_recognizer import SMALL, make_batch, row_of


@pytest.fixture(scope="module")
def model() -> Recognizer:
    torch.manual_seed(0)
    return Recognizer(replace(SMALL, causal=True, kernel=5, fused_layers=2)).eval()


def test_chunk_mask_shows_its_chunk_and_those_before() -> None:
    seen = chunk_mask(5, ChunkConfig(2, 1)).int().tolist()
    assert seen == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]
    assert chunk_mask(6, ChunkConfig(2, None))[5].all()
    assert chunk_mask(4, ChunkConfig(4, 0)).all()


@pytest.mark.parametrize(("frames", "left"), [(0, None), (4, -1)])
def test_impossible_chunks_are_refused(frames: int, left: int | None) -> None:
    with pytest.raises(ValueError, match=r"at least 1|0 \(none\) or more"):
        ChunkConfig(frames, left)


def test_one_chunk_over_everything_is_full_attention(model: Recognizer) -> None:
    batch = make_batch([9, 14])
    torch.testing.assert_close(model(batch, chunks=ChunkConfig(20)), model(batch))
    assert not torch.allclose(model(batch, chunks=ChunkConfig(3)), model(batch), atol=1e-3)


def test_no_frame_looks_beyond_its_chunk_and_the_stems_look_ahead(model: Recognizer) -> None:
    """The frames of the first chunk of 4 depend on 2 frames after it, in crops and lips only."""
    batch, chunks = make_batch([12]), ChunkConfig(4, 1)
    before = model.memory_of(batch, chunks=chunks)
    assert batch.features is not None and batch.lips is not None and batch.mouth_crops is not None
    for fields, changed_from, same_frames in (
        ({"features": batch.features.clone()}, 4 * 4, 4),
        ({"lips": batch.lips.clone()}, 6, 4),
        ({"mouth_crops": batch.mouth_crops.clone()}, 6, 4),
        ({"lips": batch.lips.clone()}, 5, 0),
        ({"mouth_crops": batch.mouth_crops.clone()}, 5, 0),
    ):
        (values,) = fields.values()
        values[:, changed_from:] = 7
        after = model.memory_of(replace(batch, **fields), chunks=chunks)  # type: ignore[arg-type]
        torch.testing.assert_close(after[:, :same_frames], before[:, :same_frames])
        assert not torch.allclose(
            after[:, same_frames : same_frames + 4], before[:, same_frames:][:, :4]
        )


def test_a_causal_network_with_full_attention_is_padding_exact(model: Recognizer) -> None:
    batch = make_batch([9, 14, 5])
    batch.crops_present[1, 3:6] = False
    for chunks in (None, ChunkConfig(4, 1)):
        together = model(batch, chunks=chunks)
        for row in range(3):
            alone = model(row_of(batch, row), chunks=chunks)
            length = int(batch.lengths[row])
            torch.testing.assert_close(together[row, :length], alone[0], atol=2e-5, rtol=1e-4)


def test_a_chunk_without_a_valid_frame_gives_no_nan(model: Recognizer) -> None:
    batch = make_batch([12])
    batch.crops_present[0, 4:] = False
    batch.lips_present[0, :8] = False
    logits = model(batch, chunks=ChunkConfig(4, 0))
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    model.zero_grad()


def test_frames_come_out_as_soon_as_their_chunk_is_whole(model: Recognizer) -> None:
    batch = make_batch([10])
    assert batch.features is not None and batch.lips is not None
    sound = StreamingEncoder(model, ChunkConfig(4, 1), ("audio",))
    given = [len(sound.push("audio", batch.features[0, k : k + 4])) for k in range(0, 40, 4)]
    assert given == [0, 0, 0, 4, 0, 0, 0, 4, 0, 0]
    assert sound.look_ahead == 0
    assert len(sound.finish()) == 2
    lips = StreamingEncoder(model, ChunkConfig(4, 1), ("lips",))
    assert [len(lips.push("lips", batch.lips[0, t : t + 1])) for t in range(10)] == [
        *(0, 0, 0, 0, 0, 4),
        *(0, 0, 0, 4),
    ]
    assert lips.look_ahead == 2
    assert len(lips.finish()) == 2


def test_memory_is_bounded_by_left_chunks(model: Recognizer) -> None:
    encoder = StreamingEncoder(model, ChunkConfig(2, 3), ("audio",))
    for seed in range(10):
        encoder.push("audio", torch.randn(16, 80, generator=torch.Generator().manual_seed(seed)))
    assert [block.keys.shape[2] for block in encoder.fused_blocks] == [6, 6]


def test_a_stream_that_ends_early_is_missing_at_its_end(model: Recognizer) -> None:
    batch, chunks = make_batch([9]), ChunkConfig(4, 1)
    batch.lips_present[0, 6:] = False
    batch = replace(batch, mouth_crops=None)
    assert batch.features is not None and batch.lips is not None
    encoder = StreamingEncoder(model, chunks, ("audio", "lips"))
    parts = [encoder.push("lips", batch.lips[0, :6]), encoder.push("audio", batch.features[0])]
    memory = torch.cat([*parts, encoder.finish()])
    torch.testing.assert_close(memory, model.memory_of(batch, chunks=chunks)[0], atol=1e-4, rtol=0)


def test_nothing_pushed_is_nothing_out(model: Recognizer) -> None:
    assert StreamingEncoder(model, ChunkConfig(4), ("audio", "crops", "lips")).finish().shape == (
        0,
        16,
    )


def test_what_cannot_be_streamed_is_refused(model: Recognizer) -> None:
    chunks = ChunkConfig(4)
    with pytest.raises(ValueError, match="causal True"):
        StreamingEncoder(Recognizer(SMALL).eval(), chunks, ("audio",))
    with pytest.raises(ValueError, match="causal True"):
        Recognizer(SMALL).eval()(make_batch([6]), chunks=chunks)
    with pytest.raises(ValueError, match=r"eval\(\)"):
        StreamingEncoder(Recognizer(model.config), chunks, ("audio",))
    deaf = Recognizer(replace(model.config, streams=("lips",))).eval()
    with pytest.raises(ValueError, match=r"\['audio'\] must be some of .*\['lips'\]"):
        StreamingEncoder(deaf, chunks, ("audio",))
    encoder = StreamingEncoder(model, chunks, ("audio", "lips"))
    bad: list[tuple[Any, Any, str]] = [
        (("crops", torch.zeros(1, 88, 88)), None, "'crops': it was not announced"),
        (("audio", torch.zeros(4, 81)), None, r"\(K, 80\)"),
        (("audio", torch.zeros(5, 80)), torch.ones(1, dtype=torch.bool), "presence of 1 frames"),
        (("lips", torch.zeros(5, 40, 3)), torch.ones(1, dtype=torch.bool), "presence of 1 frames"),
    ]
    for arguments, present, message in bad:
        with pytest.raises(ValueError, match=message):
            encoder.push(*arguments, present)
    encoder.push("audio", torch.zeros(3, 80))
    with pytest.raises(ValueError, match="3 rows into a frame"):
        encoder.finish()
    done = StreamingEncoder(model, chunks, ("lips",))
    done.finish()
    with pytest.raises(ValueError, match="finished"):
        done.push("lips", torch.zeros(1, 40, 3))
