"""The recogniser: padding, missing streams, configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.schema import Batch
from avsr.units import LIP_POINTS, MODEL_CROP_SIZE

SMALL = RecognizerConfig(
    vocabulary_size=7, width=16, num_heads=2, fused_layers=1, video_channels=(8, 8, 16)
)


def make_batch(lengths: list[int], seed: int = 0) -> Batch:
    torch.manual_seed(seed)
    size, frames = len(lengths), max(lengths)
    valid = torch.arange(frames)[None] < torch.tensor(lengths)[:, None]
    features = torch.randn(size, 4 * frames, 80)
    crops = torch.randint(
        0, 255, (size, frames, MODEL_CROP_SIZE, MODEL_CROP_SIZE), dtype=torch.uint8
    )
    return Batch(
        utterance_ids=tuple(f"u{i}" for i in range(size)),
        lengths=torch.tensor(lengths),
        features=features,
        mouth_crops=crops,
        lips=torch.randn(size, frames, LIP_POINTS, 3),
        audio_present=torch.ones(size, dtype=torch.bool),
        crops_present=valid.clone(),
        lips_present=valid.clone(),
    )


def row_of(batch: Batch, row: int) -> Batch:
    """The utterance alone, without the padding."""
    length = int(batch.lengths[row])
    assert batch.features is not None and batch.mouth_crops is not None and batch.lips is not None
    one = slice(row, row + 1)
    return Batch(
        utterance_ids=batch.utterance_ids[one],
        lengths=batch.lengths[one],
        features=batch.features[one, : 4 * length],
        mouth_crops=batch.mouth_crops[one, :length],
        lips=batch.lips[one, :length],
        audio_present=batch.audio_present[one],
        crops_present=batch.crops_present[one, :length],
        lips_present=batch.lips_present[one, :length],
    )


@pytest.fixture(scope="module")
def model() -> Recognizer:
    torch.manual_seed(0)
    return Recognizer(SMALL).eval()


def test_padding_changes_nothing(model: Recognizer) -> None:
    """An utterance alone and in a padded batch: the same logits, whatever stands in the padding."""
    batch = make_batch([9, 14, 5])
    batch.crops_present[1, 3:6] = False
    together = model(batch)
    for row in range(3):
        alone = model(row_of(batch, row))
        length = int(batch.lengths[row])
        torch.testing.assert_close(together[row, :length], alone[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("missing", [("audio",), ("crops",), ("lips",), ("crops", "lips")])
def test_absent_stream_equals_no_stream(model: Recognizer, missing: tuple[str, ...]) -> None:
    """A stream marked absent is not looked at: the same logits as without its values."""
    batch = make_batch([6, 8])
    marked, without = batch, batch
    for name in missing:
        field = {"audio": "features", "crops": "mouth_crops", "lips": "lips"}[name]
        present = f"{name}_present"
        nothing = torch.zeros_like(getattr(batch, present))
        marked = replace(marked, **{present: nothing})
        without = replace(without, **{present: nothing, field: None})
    torch.testing.assert_close(model(marked), model(without))
    assert not torch.allclose(model(marked), model(batch))


def test_untracked_frames_are_not_looked_at(model: Recognizer) -> None:
    batch = make_batch([10])
    batch.crops_present[0, 4:7] = False
    before = model(batch)
    assert batch.mouth_crops is not None
    batch.mouth_crops[0, 4:7] = 255
    torch.testing.assert_close(model(batch), before)


def test_a_row_without_any_stream_still_gives_finite_logits(model: Recognizer) -> None:
    batch = make_batch([6, 6])
    batch.crops_present[:] = False
    batch.lips_present[:] = False
    batch.audio_present[0] = False
    assert torch.isfinite(model(batch)).all()


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model = Recognizer(SMALL)
    full, none = make_batch([6]), make_batch([6])
    none.crops_present[:], none.lips_present[:], none.audio_present[:] = False, False, False
    logits, frames = model.forward_with_frames(full)
    total = logits.square().sum() + sum(x.square().sum() for x, _ in frames.values())
    (total + model(none).square().sum()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # A key's bias shifts all attention scores of a query alike, so only that part may be zero.
    assert without == []


def test_a_decoder_is_added_beside_the_same_network() -> None:
    torch.manual_seed(0)
    plain = Recognizer(SMALL).eval()
    torch.manual_seed(0)
    hybrid = Recognizer(replace(SMALL, decoder_layers=2)).eval()
    assert plain.decoder is None and hybrid.decoder is not None
    batch = make_batch([6, 9])
    assert torch.equal(plain(batch), hybrid(batch))
    memory = hybrid.memory_of(batch)
    assert memory.shape == (2, 9, SMALL.width)
    assert torch.equal(hybrid.ctc_logits(memory), hybrid(batch))


def test_stream_that_the_network_lacks_is_ignored_as_input() -> None:
    torch.manual_seed(0)
    audio_only = Recognizer(replace(SMALL, streams=("audio",))).eval()
    batch = make_batch([6])
    torch.testing.assert_close(audio_only(batch), audio_only(replace(batch, mouth_crops=None)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary_size": 1}, "vocabulary_size 1"),
        ({"streams": ()}, "streams"),
        ({"streams": ("smell",)}, "smell"),
        ({"num_mels": 81}, "num_mels 81"),
        ({"kernel": 4}, "kernel 4"),
        ({"video_channels": (8, 12)}, "video_channels"),
        ({"video_channels": (8,)}, "video_channels"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"decoder_layers": -1}, "decoder_layers -1"),
    ],
)
def test_impossible_config_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)
