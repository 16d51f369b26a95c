"""Each method by its name, on a recogniser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from avsr.decode.config import DecodingConfig
from avsr.decode.ctc import ctc_prefix_beam
from avsr.decode.decoding import decode_memory
from avsr.decode.greedy import ctc_greedy
from avsr.decode.joint import joint_beam_search
from avsr.decode.transducer import transducer_beam, transducer_greedy
from avsr.models.recognizer import Recognizer, RecognizerConfig

LENGTHS = torch.tensor([12, 7])


@pytest.fixture(scope="module")
def model() -> Recognizer:
    torch.manual_seed(0)
    config = RecognizerConfig(
        8, ("audio",), width=16, num_heads=2, fused_layers=1, decoder_layers=1
    )
    model = Recognizer(config).eval()
    with torch.no_grad():
        model.to_logits.weight.mul_(8)
    return model


@pytest.fixture(scope="module")
def memory() -> torch.Tensor:
    return torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(1))


def test_greedy_and_beam_are_those_of_ctc(model: Any, memory: torch.Tensor) -> None:
    logits = model.ctc_logits(memory).detach()
    found = decode_memory(model, memory, LENGTHS, DecodingConfig("greedy"))
    assert found == ctc_greedy(logits, LENGTHS)
    found = decode_memory(model, memory, LENGTHS, DecodingConfig("ctc", 3))
    alone = logits[1, :7].log_softmax(-1).numpy()
    assert found[1] == ctc_prefix_beam(alone, 3)[0][0]


def test_joint_looks_at_the_decoder_and_the_language_model(
    model: Any, memory: torch.Tensor
) -> None:
    config = DecodingConfig("joint", 4, 0.3)
    expected = joint_beam_search(
        model.ctc_logits(memory), LENGTHS, config, decoder=model.decoder, memory=memory
    )
    found = decode_memory(model, memory, LENGTHS, config)
    assert found == [best[0][0] for best in expected]

    class OnlySevens:
        def start(self, batch: int) -> None:
            return None

        def step(self, state: None, tokens: torch.Tensor) -> tuple[torch.Tensor, None]:
            scores = torch.full((len(tokens), 8), -1000.0)
            scores[:, 7], scores[tokens == 7, 0] = -1.0, -1.0
            return scores, None

        def reorder(self, state: None, index: torch.Tensor) -> None:
            return None

    fused = decode_memory(model, memory, LENGTHS, replace(config, lm_weight=1.0), OnlySevens())
    assert fused and all(tokens and set(tokens) == {7} for tokens in fused)


def test_a_recogniser_without_decoder_says_so(memory: torch.Tensor) -> None:
    plain = Recognizer(RecognizerConfig(8, ("audio",), width=16, num_heads=2)).eval()
    with pytest.raises(ValueError, match="decoder_layers above 0"):
        decode_memory(plain, memory, LENGTHS, DecodingConfig("joint"))


def test_the_transducer_by_its_name(model: Any, memory: torch.Tensor) -> None:
    torch.manual_seed(0)
    config = replace(model.config, transducer=True)
    with_head = Recognizer(config).eval()
    assert with_head.transducer is not None
    beam = decode_memory(with_head, memory, LENGTHS, DecodingConfig("transducer", 4))
    expected = transducer_beam(with_head.transducer, memory, LENGTHS, 4)
    assert beam == [found[0][0] for found in expected]
    best = decode_memory(with_head, memory, LENGTHS, DecodingConfig("transducer", 1))
    assert best == transducer_greedy(with_head.transducer, memory, LENGTHS)
    with pytest.raises(ValueError, match="needs a network with a transducer"):
        decode_memory(model, memory, LENGTHS, DecodingConfig("transducer"))
