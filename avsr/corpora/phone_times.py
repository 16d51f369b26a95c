"""Phone times where only word times are known, and how words are said: both as espeak-ng has them.

A word's phones share its time as they share it when espeak-ng says the sentence. Such times are an
estimate: the start of a word's first phone and the end of its last one are the word's, what lies
between is off by some tens of milliseconds. Real phone times are better wherever a corpus has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from avsr.corpora.espeak import Voice, speak
from avsr.corpora.synthetic import american_phone, spoken_form
from avsr.schema import PhoneTime, WordTime

VOICE = Voice("en-us")
EDGE_S = 1e-4  # times of phones and words are rounded to samples


@lru_cache(maxsize=4096)
def _said(words: tuple[str, ...]) -> tuple[tuple[tuple[str, float, float], ...], ...]:
    """For each word its phones, each with the share of the word's time at which it starts, ends.

    Raises:
        ValueError: espeak-ng says one of the words not at all.
    """
    speech = speak([spoken_form(word) for word in words], VOICE, words=list(words))
    if len(speech.words) != len(words):
        silent = sorted(set(words) - {word.word for word in speech.words})
        raise ValueError(
            f"espeak-ng gives no times for {', '.join(map(repr, silent)) or 'a word'} in "
            f"{' '.join(words)!r}; spell it out as it is said"
        )
    shares = []
    for word in speech.words:
        length = word.end_s - word.start_s
        inside = [
            phone
            for phone in speech.phones
            if phone.start_s >= word.start_s - EDGE_S and phone.end_s <= word.end_s + EDGE_S
        ]
        shares.append(
            tuple(
                (
                    american_phone(phone.phone),
                    (phone.start_s - word.start_s) / length,
                    (phone.end_s - word.start_s) / length,
                )
                for phone in inside
            )
        )
    return tuple(shares)


def estimated_phones(words: Sequence[WordTime]) -> tuple[PhoneTime, ...]:
    """Phones of an utterance with estimated times.

    Args:
        words: normalised words with their times.

    Returns:
        phones (IPA as `avsr.text.VISEMES` knows them) in order; nothing for no words.

    Raises:
        ValueError: espeak-ng is missing, or says one of the words not at all.
    """
    if not words:
        return ()
    shares = _said(tuple(word.word for word in words))
    return tuple(
        PhoneTime(
            phone,
            word.start_s + first * (word.end_s - word.start_s),
            word.start_s + last * (word.end_s - word.start_s),
        )
        for word, phones in zip(words, shares, strict=True)
        for phone, first, last in phones
    )


@lru_cache(maxsize=65536)
def pronunciation(word: str) -> str:
    """Phones of one normalised word, apart by hyphens: "b-ɪ-n".

    Raises:
        ValueError: espeak-ng is missing, or says nothing for it.
    """
    (phones,) = _said((word,))
    return "-".join(phone for phone, _, _ in phones)
