from __future__ import annotations

import pytest

from avsr.spoken_numbers import spell_numbers


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ("0", "zero"),
        ("4", "four"),
        ("13", "thirteen"),
        ("20", "twenty"),
        ("21", "twenty one"),
        ("100", "one hundred"),
        ("105", "one hundred five"),
        ("999", "nine hundred ninety nine"),
        ("1000", "one thousand"),
        ("1999", "one thousand nine hundred ninety nine"),
        ("12034", "twelve thousand thirty four"),
        ("999999", "nine hundred ninety nine thousand nine hundred ninety nine"),
        ("007", "zero zero seven"),
        ("1234567", "one two three four five six seven"),
        ("f2 and 3rd", "f2 and 3rd"),
        ("at f 2 now", "at f two now"),
        ("", ""),
        ("\u0664", "\u0664"),  # an Arabic digit is no English word
    ],
)
def test_numbers_are_said(digits, words):
    assert spell_numbers(digits) == words
    assert spell_numbers(words) == words
