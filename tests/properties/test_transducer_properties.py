"""The batched transducer beam is the slow one, hypothesis by hypothesis, score by score."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsr.decode.transducer import beam_reference, transducer_beam
from avsr.models.transducer import Transducer


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    vocabulary=st.integers(2, 6),
    beam_size=st.integers(1, 6),
    tokens_per_frame=st.integers(1, 3),
    sharpness=st.sampled_from([1.0, 5.0]),
)
def test_batched_beam_equals_the_reference(
    seed: int,
    lengths: list[int],
    vocabulary: int,
    beam_size: int,
    tokens_per_frame: int,
    sharpness: float,
) -> None:
    torch.manual_seed(seed)
    model = Transducer(vocabulary, 5, dropout=0.0).double().eval()
    with torch.no_grad():
        model.to_logits.weight *= sharpness
    memory = 2 * torch.randn(len(lengths), max(lengths), 5, dtype=torch.float64)
    fast = transducer_beam(model, memory, torch.tensor(lengths), beam_size, tokens_per_frame)
    for row, length in enumerate(lengths):
        slow = beam_reference(model, memory[row, :length], beam_size, tokens_per_frame)
        assert [tokens for tokens, _ in fast[row]] == [tokens for tokens, _ in slow]
        assert [s for _, s in fast[row]] == pytest.approx([s for _, s in slow], abs=1e-9)
