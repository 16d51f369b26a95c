"""Numbers as English words: ``4`` and ``four`` are the same answer to a scorer that says so."""

from __future__ import annotations

SPOKEN_NUMBERS_VERSION = "1"
_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
MAX_DIGITS = 6


def spell_numbers(text: str) -> str:
    """Words of digits spelled out in English, the other words left alone.

    ``21`` becomes ``twenty one``, ``105`` ``one hundred five``. Numbers of more than six digits and
    those that begin with zero are read digit by digit, ``007`` as ``zero zero seven``. Years,
    ordinals and mixtures such as ``f2`` stay what they are: there is no one way to say them.

    Args:
        text: normalised (:func:`avsr.text.normalise`), words between single spaces.
    """
    return " ".join(
        _spelled(word) if word.isascii() and word.isdigit() else word for word in text.split()
    )


def _spelled(digits: str) -> str:
    if len(digits) > MAX_DIGITS or (digits[0] == "0" and len(digits) > 1):
        return " ".join(_SMALL[int(digit)] for digit in digits)
    number = int(digits)
    thousands, rest = divmod(number, 1000)
    words = [*_below_thousand(thousands), "thousand"] if thousands else []
    return " ".join([*words, *_below_thousand(rest)] if number else [_SMALL[0]])


def _below_thousand(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_SMALL[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        words.append(_TENS[rest // 10 - 2])
        rest %= 10
    return [*words, _SMALL[rest]] if rest else words
