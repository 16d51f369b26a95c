"""The attention decoder: causal, padding-exact, and the same one token at a time."""

from __future__ import annotations

import math

import pytest
import torch

from avsr.models.decoder import FIRST_CAPACITY, AttentionDecoder, sinusoids
from avsr.models.layers import mask_of_lengths

K, D = 11, 16


@pytest.fixture(scope="module")
def decoder() -> AttentionDecoder:
    torch.manual_seed(0)
    return AttentionDecoder(K, D, num_heads=2, num_layers=2, dropout=0.1).double().eval()


@pytest.fixture(scope="module")
def memory() -> torch.Tensor:
    return torch.randn(2, 9, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


VALID = mask_of_lengths(torch.tensor([9, 5]), 9)


def tokens_in(batch: int, length: int) -> torch.Tensor:
    tokens = torch.randint(1, K, (batch, length), generator=torch.Generator().manual_seed(2))
    tokens[:, 0] = 0
    return tokens


def test_a_token_sees_only_what_came_before(
    decoder: AttentionDecoder, memory: torch.Tensor
) -> None:
    tokens = tokens_in(2, 6)
    other = tokens.clone()
    other[:, 4] = 1 + other[:, 4] % (K - 1)
    before, after = decoder(tokens, memory, VALID), decoder(other, memory, VALID)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_padding_changes_nothing(decoder: AttentionDecoder, memory: torch.Tensor) -> None:
    """Frames after the end of the memory and tokens after the end of the sentence are not seen."""
    tokens = tokens_in(2, 6)
    together = decoder(tokens, memory, VALID)
    alone = decoder(tokens[1:, :4], memory[1:, :5], VALID[1:, :5])
    torch.testing.assert_close(together[1:, :4], alone)
    noisy = memory.clone()
    noisy[1, 5:] = 100.0
    torch.testing.assert_close(decoder(tokens, noisy, VALID), together)


def test_order_and_memory_matter(decoder: AttentionDecoder, memory: torch.Tensor) -> None:
    swapped = decoder(torch.tensor([[0, 2, 1, 3]]), memory[:1], VALID[:1])
    straight = decoder(torch.tensor([[0, 1, 2, 3]]), memory[:1], VALID[:1])
    assert not torch.allclose(swapped[:, -1], straight[:, -1])
    other = decoder(torch.tensor([[0, 1, 2, 3]]), 2 * memory[:1], VALID[:1])
    assert not torch.allclose(other, straight)


def test_steps_equal_the_whole_forward(decoder: AttentionDecoder, memory: torch.Tensor) -> None:
    """Past the first capacity, with hypotheses that change places and an utterance that ends."""
    length = FIRST_CAPACITY + 3
    generator = torch.Generator().manual_seed(3)
    history = torch.zeros(2, 3, 0, dtype=torch.long)
    state = decoder.start(memory, VALID, 3)
    kept_memory, kept_valid = memory, VALID
    for step in range(length):
        if step == 5:
            last = torch.tensor([1])
            state, history = decoder.keep(state, last), history[last]
            kept_memory, kept_valid = memory[last], VALID[last]
        newest = torch.randint(1, K, history.shape[:2], generator=generator)
        newest = newest if step else torch.zeros_like(newest)
        history = torch.cat([history, newest[..., None]], dim=-1)
        logits, state = decoder.step(state, newest)
        for slot in range(3):
            whole = decoder(history[:, slot], kept_memory, kept_valid)[:, -1]
            torch.testing.assert_close(logits[:, slot], whole)
        index = torch.randint(0, 3, history.shape[:2], generator=generator)
        state = decoder.reorder(state, index)
        history = history.gather(1, index[..., None].expand_as(history))


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    decoder = AttentionDecoder(K, D, num_heads=2, num_layers=1, dropout=0.0)
    memory = torch.randn(1, 4, D)
    decoder(tokens_in(1, 6), memory, VALID[:1, :4]).square().sum().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None] == []


def test_positions_are_those_of_the_paper() -> None:
    table = sinusoids(3, 4, start=1)
    assert table.shape == (3, 4)
    expected = torch.tensor([math.sin(2.0), math.cos(2.0)])
    torch.testing.assert_close(table[1, :2], expected)
    torch.testing.assert_close(table[2, 2], torch.tensor(3.0 / 100).sin())


@pytest.mark.parametrize(("heads", "layers", "message"), [(3, 1, "width 16"), (2, 0, "num_layers")])
def test_impossible_shapes_are_refused(heads: int, layers: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionDecoder(K, D, num_heads=heads, num_layers=layers, dropout=0.0)
