"""The small language model: causal, and the same one token at a time."""

from __future__ import annotations

import pytest
import torch

from avsr.models.language_model import LanguageModelConfig, TransformerLanguageModel


def test_steps_equal_the_whole_forward_in_any_order() -> None:
    torch.manual_seed(0)
    config = LanguageModelConfig(vocabulary_size=9, width=16, num_heads=2, num_layers=2)
    model = TransformerLanguageModel(config).double().eval()
    history = torch.zeros(3, 1, dtype=torch.long)
    state = model.start(3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        log_probs, state = model.step(state, history[:, -1])
        torch.testing.assert_close(log_probs, model(history)[:, -1].log_softmax(-1))
        index = torch.randint(0, 3, (3,), generator=generator)
        state, history = model.reorder(state, index), history[index]
        newest = torch.randint(1, 9, (3, 1), generator=generator)
        history = torch.cat([history, newest], dim=1)


@pytest.mark.parametrize(
    ("change", "message"), [({"vocabulary_size": 1}, "vocabulary_size 1"), ({"dropout": 1.0}, "dr")]
)
def test_impossible_config_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModelConfig(**{"vocabulary_size": 5, **change})
