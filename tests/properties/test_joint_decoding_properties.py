"""The fast joint search finds what the slow, obvious one finds, whatever the setting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsr.decode.config import DecodingConfig
from avsr.decode.joint import joint_beam_search
from avsr.decode.prefix_scores import ctc_log_probabilities
from avsr.decode.reference import NextToken, reference_search
from avsr.models.decoder import AttentionDecoder
from avsr.models.language_model import LanguageModelConfig, TransformerLanguageModel

D = 8


class Setting:
    """Random networks in float64, and a padded batch."""

    def __init__(self, seed: int, vocabulary_size: int, lengths: list[int], sharpness: float):
        torch.manual_seed(seed)
        self.lengths = torch.tensor(lengths)
        self.decoder = AttentionDecoder(vocabulary_size, D, 2, 2, 0.1).double().eval()
        shape = LanguageModelConfig(vocabulary_size, width=D, num_heads=2, num_layers=1)
        self.language_model = TransformerLanguageModel(shape).double().eval()
        frames = max(lengths)
        self.memory = torch.randn(len(lengths), frames, D, dtype=torch.float64)
        logits = torch.randn(len(lengths), frames, vocabulary_size, dtype=torch.float64)
        self.ctc_logits = sharpness * logits
        with torch.no_grad():
            for part in (self.decoder, self.language_model):
                part.to_logits.weight.mul_(sharpness)

    def fast(self, config: DecodingConfig) -> list[list[tuple[list[int], float]]]:
        return joint_beam_search(
            self.ctc_logits,
            self.lengths,
            config,
            decoder=self.decoder,
            memory=self.memory,
            language_model=self.language_model,
        )

    def slow(self, config: DecodingConfig) -> list[list[tuple[list[int], float]]]:
        found = []
        for row, length in enumerate(self.lengths.tolist()):
            memory = self.memory[row : row + 1, :length]
            scores = ctc_log_probabilities(self.ctc_logits[row, :length]).numpy()
            found.append(
                reference_search(
                    scores,
                    config,
                    attention=next_by_attention(self.decoder, memory),
                    language=next_by_language(self.language_model),
                )
            )
        return found


def next_by_attention(decoder: AttentionDecoder, memory: torch.Tensor) -> NextToken:
    valid = torch.ones(memory.shape[:2], dtype=torch.bool)

    @torch.no_grad()
    def next_token(tokens: list[int]) -> np.ndarray:
        logits = decoder(torch.tensor([[0, *tokens]]), memory, valid)
        return logits[0, -1].log_softmax(-1).numpy()

    return next_token


def next_by_language(model: TransformerLanguageModel) -> NextToken:
    @torch.no_grad()
    def next_token(tokens: list[int]) -> np.ndarray:
        return model(torch.tensor([[0, *tokens]]))[0, -1].log_softmax(-1).numpy()

    return next_token


def expect_the_same(setting: Setting, config: DecodingConfig) -> None:
    for fast, slow in zip(setting.fast(config), setting.slow(config), strict=True):
        assert fast[0][0] == slow[0][0]
        # All that ended before the search was over, not only the best.
        assert [tokens for tokens, _ in fast] == [tokens for tokens, _ in slow]
        found, expected = ([score for _, score in one] for one in (fast, slow))
        np.testing.assert_allclose(found, expected, atol=1e-8)


weights = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    vocabulary_size=st.integers(2, 12),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    sharpness=st.sampled_from([0.3, 1.0, 4.0]),
    beam_size=st.integers(1, 8),
    ctc_weight=weights,
    lm_weight=st.one_of(st.just(0.0), st.floats(0.01, 1.0)),
    length_bonus=st.one_of(st.just(0.0), st.floats(-2.0, 2.0)),
)
def test_the_fast_search_equals_the_reference(
    seed: int,
    vocabulary_size: int,
    lengths: list[int],
    sharpness: float,
    beam_size: int,
    ctc_weight: float,
    lm_weight: float,
    length_bonus: float,
) -> None:
    config = DecodingConfig("joint", beam_size, ctc_weight, lm_weight, length_bonus)
    expect_the_same(Setting(seed, vocabulary_size, lengths, sharpness), config)


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_equal_in_float32_and_past_the_first_capacity(seed: int, ctc_weight: float) -> None:
    """Forty frames and a bonus for length, in the precision that is used in practice."""
    setting = Setting(seed, 9, [40, 23, 1], 2.0)
    setting.decoder.float()
    setting.memory = setting.memory.float()
    setting.ctc_logits = setting.ctc_logits.float()
    config = DecodingConfig("joint", 5, ctc_weight, 0.0, 1.5)
    for fast, slow in zip(setting.fast(config), setting.slow(config), strict=True):
        assert fast[0][0] == slow[0][0]
        assert fast[0][1] == pytest.approx(slow[0][1], abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20), beam_size=st.integers(1, 6), ctc_weight=weights)
def test_neighbours_and_padding_change_nothing(
    seed: int, beam_size: int, ctc_weight: float
) -> None:
    setting = Setting(seed, 6, [9, 3, 6, 1], 2.0)
    config = DecodingConfig("joint", beam_size, ctc_weight)
    together = setting.fast(config)
    setting.memory[1, 3:], setting.ctc_logits[1, 3:] = 50.0, torch.nan
    for row, length in enumerate(setting.lengths.tolist()):
        (alone,) = joint_beam_search(
            setting.ctc_logits[row : row + 1, :length],
            setting.lengths[row : row + 1],
            config,
            decoder=setting.decoder,
            memory=setting.memory[row : row + 1, :length],
        )
        assert alone[0][0] == together[row][0][0]
        assert alone[0][1] == pytest.approx(together[row][0][1], abs=1e-8)
    assert setting.fast(config)[1][0] == together[1][0]
