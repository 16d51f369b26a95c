"""The transducer head: shapes, contexts, and one frame at a time equal to all at once."""

from __future__ import annotations

import torch

from avsr.models.transducer import CONTEXT, Transducer


def head() -> Transducer:
    torch.manual_seed(0)
    return Transducer(vocabulary_size=7, width=12, dropout=0.1).eval()


def test_logits_at_a_frame_after_some_tokens_are_those_of_decoding() -> None:
    model = head()
    memory = torch.randn(2, 4, 12, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[3, 5, 2], [6, 0, 0]])
    logits = model(memory, tokens)
    assert logits.shape == (2, 4, 4, 7)
    for after, context in enumerate(([0, 0], [0, 3], [3, 5], [5, 2])):
        predicted = model.predict(torch.tensor([context]))
        alone = model.join(model.project(memory[:1, 2]), predicted)[0]
        torch.testing.assert_close(logits[0, 2, after], alone)


def test_it_sees_the_last_tokens_in_their_order_and_no_others() -> None:
    model = head()
    with torch.no_grad():
        model.places.copy_(torch.randn(CONTEXT, 12, generator=torch.Generator().manual_seed(2)))
    memory = torch.randn(1, 1, 12)
    first, second, swapped = (
        model(memory, torch.tensor([tokens]))[0, 0, -1]
        for tokens in ([1, 2, 3], [4, 2, 3], [1, 3, 2])
    )
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first, swapped)


def test_every_parameter_gets_a_gradient() -> None:
    model = head()
    model(torch.randn(1, 3, 12), torch.tensor([[1, 2]])).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
