"""Phones from word times, and how words are said."""

from __future__ import annotations

import pytest

from avsr.corpora.phone_times import estimated_phones, pronunciation
from avsr.schema import WordTime


def test_phones_fill_their_words() -> None:
    words = [WordTime("bin", 0.5, 0.8), WordTime("blue", 0.8, 1.1), WordTime("a", 1.3, 1.5)]
    phones = estimated_phones(words)
    assert [one.phone for one in phones] == ["b", "ɪ", "n", "b", "l", "u", "eɪ"]
    assert (phones[0].start_s, phones[2].end_s) == pytest.approx((0.5, 0.8))
    assert (phones[3].start_s, phones[5].end_s) == pytest.approx((0.8, 1.1))
    assert (phones[6].start_s, phones[6].end_s) == pytest.approx((1.3, 1.5))
    for one, after in zip(phones, phones[1:], strict=False):
        assert one.start_s < one.end_s <= after.start_s + 1e-9


def test_no_words_have_no_phones() -> None:
    assert estimated_phones([]) == ()


def test_pronunciation_of_letters_and_words() -> None:
    assert pronunciation("bin") == "b-ɪ-n"
    assert pronunciation("a") == "eɪ"  # the letter, not the article


def test_what_cannot_be_said_is_named() -> None:
    with pytest.raises(ValueError, match="'!!'"):
        estimated_phones([WordTime("bin", 0.0, 0.2), WordTime("!!", 0.2, 0.3)])
