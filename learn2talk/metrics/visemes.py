"""Readability of a mouth in visemes: VER and VWER of what a lip reader wrote.

The reader saw no sound. Canonical here: counts over the corpus, one symbol a viseme (Amazon Polly's
table in avsr/text.py), word boundaries are no symbols. `spectre_viseme_rates` is what the code of
SPECTRE (Filntisis et al., CVPRW 2023; utils/run_av_hubert.py and utils/lipread_utils.py of
filby89/spectre at 176d33f) computes, to compare with its tables. On grey meshes such rates sit near
70 %: they rank systems and say no more.

A phone string has its words apart by spaces and the phones of a word by hyphens: "b-ɪ-n b-l-uː".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from avsr.metrics import character_errors, word_errors
from avsr.schema import ErrorCounts
from avsr.text import SILENCE_VISEME, normalise, phones_to_visemes

# Symbols of SPECTRE's table and the phones that it knows, as espeak-ng's en-us voice writes them.
# Against Polly's: r-coloured vowels and syllabic l take two letters, l is with t, and ʔ none.
_SPECTRE_ROWS: dict[str, str] = {
    "p": "b m p",
    "t": "d l ɾ n t n̩",
    "S": "d͡ʒ dʒ ʃ t͡ʃ tʃ ʒ",
    "T": "ð θ",
    "f": "f v",
    "k": "ɡ h k ŋ",
    "i": "j i iː ɪ iə ᵻ",
    "r": "ɹ ɹ̩",
    "s": "s z",
    "u": "w u uː ʊ",
    "@": "ə ɚ",
    "a": "æ aɪ aʊ ɑ ɑː ɐ a aɪə",
    "e": "eɪ",
    "E": "ɝ ɜː ɛ ʌ e",
    "o": "oʊ",
    "O": "ɔ ɔː ɔɪ oː o",
    "er": "ɛɹ ʊɹ",
    "Or": "ɔːɹ oːɹ",
    "ar": "ɑːɹ",
    "ir": "ɪɹ",
    "@t": "əl",
    "": "ʔ",
}
_SPECTRE = {phone: symbol for symbol, row in _SPECTRE_ROWS.items() for phone in row.split()}


def text_to_phones(text: str, pronunciations: Mapping[str, str]) -> str:
    """Phone string of a text, word by word.

    Args:
        text: any text; it is normalised first.
        pronunciations: normalised word to its phones, apart by hyphens.

    Raises:
        ValueError: words without a pronunciation; the message lists them.
    """
    words = normalise(text).split()
    missing = sorted({word for word in words if word not in pronunciations})
    if missing:
        raise ValueError(
            f"no pronunciation of {', '.join(map(repr, missing))}; add them to the table that maps "
            "words to phones"
        )
    return " ".join(pronunciations[word] for word in words)


def viseme_words(phones: str) -> str:
    """Words of a phone string, one symbol a viseme; silences and words without a viseme vanish.

    Raises:
        ValueError: phones that avsr/text.py does not know.
    """
    words = []
    for word in phones.split():
        visemes = phones_to_visemes(phone for phone in word.split("-") if phone)
        words.append("".join(one for one in visemes if one != SILENCE_VISEME))
    return " ".join(word for word in words if word)


def viseme_errors(*, reference: str, hypothesis: str) -> ErrorCounts:
    """VER of one utterance as counts: edits between two viseme sequences.

    Sum over the corpus (`avsr.metrics.corpus_errors`) before the rate is taken.

    Args:
        reference, hypothesis: phone strings.

    Raises:
        ValueError: an unknown phone.
    """
    real, read = (viseme_words(text).replace(" ", "") for text in (reference, hypothesis))
    return character_errors(reference=real, hypothesis=read)


def viseme_word_errors(*, reference: str, hypothesis: str) -> ErrorCounts:
    """VWER of one utterance as counts: edits between words that are spelt in visemes.

    Words that look alike on the lips ("pat", "bat") are no error. Arguments and errors as in
    `viseme_errors`.
    """
    return word_errors(reference=viseme_words(reference), hypothesis=viseme_words(hypothesis))


@dataclass(frozen=True)
class SpectreRates:
    """What SPECTRE's code would print, as fractions; means of utterances' rates."""

    ver: float
    vwer: float
    utterances: int
    dropped_phones: int
    """Phones that its table does not know and its code leaves out, in both texts together."""


def spectre_viseme_rates(pairs: Iterable[tuple[str, str]]) -> SpectreRates:
    """VER and VWER as SPECTRE's code takes them: the legacy variant, by its table.

    Means of per-utterance rates, so that short utterances weigh as much as long ones; letters of
    the spelling are counted, two for some visemes, and single spaces between words count too.

    Args:
        pairs: (reference, hypothesis) phone strings, stress marks left out.

    Raises:
        ValueError: no utterance, or a reference without a symbol.
    """
    letters, words, dropped = [], [], 0
    for reference, hypothesis in pairs:
        real, lost = _spectre_spelling(reference)
        read, lost_too = _spectre_spelling(hypothesis)
        dropped += lost + lost_too
        letters.append(character_errors(reference=real, hypothesis=read).rate)
        words.append(word_errors(reference=real, hypothesis=read).rate)
    if not letters:
        raise ValueError("no utterance to take a mean of; give (reference, hypothesis) pairs")
    return SpectreRates(sum(letters) / len(letters), sum(words) / len(words), len(letters), dropped)


def _spectre_spelling(phones: str) -> tuple[str, int]:
    spelt = [[_SPECTRE.get(phone) for phone in word.split("-") if phone] for word in phones.split()]
    unknown = sum(symbol is None for word in spelt for symbol in word)
    return " ".join("".join(symbol or "" for symbol in word) for word in spelt), unknown
