"""Collation: padding, presence, and lengths that do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from avsr.data.collate import collate
from avsr.data.dataset import Example


def example(name: str, frames: int, tokens: tuple[int, ...] = (1, 2)) -> Example:
    rng = np.random.default_rng(frames)
    valid = np.ones(frames, dtype=bool)
    valid[1] = False
    return Example(
        utterance_id=name,
        num_frames=frames,
        features=rng.normal(size=(4 * frames, 8)).astype(np.float32),
        mouth_crops=rng.integers(1, 256, (frames, 88, 88), dtype=np.uint8),
        lips=rng.normal(size=(frames, 40, 3)).astype(np.float32),
        crops_valid=valid,
        lips_valid=~valid,
        tokens=tokens,
    )


def test_padding_and_presence() -> None:
    short, long = example("a", 3), example("b", 5, (4, 5, 6))
    batch = collate([short, long])
    assert batch.utterance_ids == ("a", "b") and batch.lengths.tolist() == [3, 5]
    assert batch.features is not None and batch.mouth_crops is not None and batch.lips is not None
    assert batch.features.shape == (2, 20, 8) and batch.features.dtype == torch.float32
    assert batch.mouth_crops.shape == (2, 5, 88, 88) and batch.mouth_crops.dtype == torch.uint8
    assert batch.lips.shape == (2, 5, 40, 3) and batch.lips.dtype == torch.float32
    assert short.features is not None
    np.testing.assert_array_equal(batch.features[0, :12], short.features)
    assert not batch.features[0, 12:].any() and not batch.mouth_crops[0, 3:].any()
    assert batch.crops_present.tolist() == [
        [True, False, True, False, False],
        [True, False, True, True, True],
    ]
    assert batch.lips_present[0].tolist() == [False, True, False, False, False]
    assert batch.tokens is not None and batch.token_lengths is not None
    assert batch.tokens.tolist() == [[1, 2, 0], [4, 5, 6]]
    assert batch.token_lengths.tolist() == [2, 3] and batch.num_targets == 5


def test_a_stream_that_only_one_has() -> None:
    batch = collate([replace(example("a", 4), features=None, lips=None), example("b", 4)])
    assert batch.audio_present.tolist() == [False, True]
    assert not batch.lips_present[0].any() and batch.lips_present[1].any()
    assert batch.features is not None and not batch.features[0].any()


def test_a_stream_that_nobody_has_is_none() -> None:
    batch = collate([replace(example("a", 4), mouth_crops=None)])
    assert batch.mouth_crops is None and not batch.crops_present.any()


def test_no_tokens_at_all() -> None:
    batch = collate([example("a", 3, ())])
    assert batch.tokens is not None and batch.tokens.shape == (1, 1) and batch.num_targets == 0


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("features", "utterance a: 11 features for 3 video frames, expected 12"),
        ("mouth_crops", "utterance a: 2 mouth crops for 3 video frames, expected 3"),
        ("lips", "utterance a: 2 lips for 3 video frames, expected 3"),
        ("crops_valid", "utterance a: 2 crop validities for 3 video frames"),
        ("lips_valid", "utterance a: 2 lip validities for 3 video frames"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(field: str, message: str) -> None:
    one = example("a", 3)
    wrong = replace(one, **{field: getattr(one, field)[:-1]})
    with pytest.raises(ValueError, match=message):
        collate([wrong, example("b", 5)])
