"""A language model with another vocabulary, asked at the ends of words."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from avsr.decode.config import DecodingConfig
from avsr.decode.joint import joint_beam_search
from avsr.decode.lm import WordLanguageModel
from avsr.text import Tokenizer, train_tokenizer

TEXTS = ("the cat sat on a mat", "a cat in the hat", "that man sat in the van")
BEGIN = END = 0


def letters(text: str) -> list[int]:
    """A vocabulary of characters: 1 is the space, 2 to 27 the letters."""
    return [1 if c == " " else ord(c) - ord("a") + 2 for c in text]


@pytest.fixture(scope="module")
def gpt2() -> Any:
    """Random weights, made here."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=28, n_embd=16, n_layer=1, n_head=2, n_positions=64)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wte.weight.mul_(20)
    return model


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    return Tokenizer(train_tokenizer(TEXTS, 24))


@pytest.fixture
def wrapped(gpt2: Any, pieces: Tokenizer) -> WordLanguageModel:
    return WordLanguageModel(
        gpt2,
        letters,
        begin_id=BEGIN,
        end_id=END,
        ids_to_text=pieces.decode,
        vocabulary_size=pieces.size,
    )


@torch.no_grad()
def text_score(gpt2: Any, text: str) -> float:
    ids = torch.tensor([[BEGIN, *letters(text)]])
    scores = gpt2(input_ids=ids).logits[0].log_softmax(-1)
    targets = torch.tensor([*letters(text), END])
    return float(scores.gather(1, targets[:, None]).sum())


@pytest.mark.parametrize("text", [*TEXTS, ""])
def test_steps_sum_to_the_score_of_the_text(
    wrapped: WordLanguageModel, gpt2: Any, pieces: Tokenizer, text: str
) -> None:
    """Whatever stands in the neighbouring rows, and when rows change places."""
    tokens = pieces.encode(text)
    assert len(tokens) > len(text.split()) or not text  # words of several pieces
    other = pieces.encode("mat")[:1]
    total, state, newest = 0.0, wrapped.start(2), torch.tensor([0, 0])
    for number, token in enumerate([*tokens, 0]):
        scores, state = wrapped.step(state, newest)
        assert scores.shape == (2, pieces.size) and bool((scores <= 1e-5).all())
        row = number % 2
        total += float(scores[row, token])
        state = wrapped.reorder(state, torch.tensor([row, row]))
        newest = torch.tensor([other[0], other[0]])
        newest[1 - row] = token
    assert total == pytest.approx(text_score(gpt2, text), abs=1e-4)


def test_pieces_inside_a_word_are_free(wrapped: WordLanguageModel, pieces: Tokenizer) -> None:
    scores, state = wrapped.step(wrapped.start(1), torch.tensor([0]))
    assert bool((scores[0, 1:] == 0).all()) and scores[0, 0] < 0  # nothing said yet, or the end
    scores, _ = wrapped.step(state, torch.tensor(pieces.encode("the")[:1]))
    inside = ~wrapped.starts_word
    assert inside.any() and bool((scores[0, inside] == 0).all())
    assert bool((scores[0, wrapped.starts_word] < 0).all())


def test_the_search_follows_the_language_model(
    wrapped: WordLanguageModel, gpt2: Any, pieces: Tokenizer
) -> None:
    """Sound cannot tell two texts apart; the language model can."""
    options = [pieces.encode("the cat sat"), pieces.encode("the cat mat")]
    assert len(options[0]) == len(options[1])
    frames = 2 * len(options[0])
    logits = torch.full((1, frames, pieces.size), -9.0, dtype=torch.float64)
    logits[..., 0] = 0.0
    for option in options:
        for place, token in enumerate(option):
            logits[0, 2 * place, token] = 9.0
    scores = [text_score(gpt2, pieces.decode(option)) for option in options]
    assert abs(scores[0] - scores[1]) > 0.1
    (found,) = joint_beam_search(
        logits,
        torch.tensor([frames]),
        DecodingConfig("joint", 8, ctc_weight=1.0, lm_weight=0.05),
        language_model=wrapped,
    )
    assert found[0][0] == options[scores[1] > scores[0]]
