from __future__ import annotations

import pytest

from avsr.metrics import corpus_errors
from avsr.schema import ErrorCounts
from avsr.text import VISEME_NAMES
from learn2talk.metrics import (
    spectre_viseme_rates,
    text_to_phones,
    viseme_errors,
    viseme_word_errors,
    viseme_words,
)

PAT, BAT, CAT = "p-æ-t", "b-æ-t", "k-æ-t"


def test_each_viseme_is_one_symbol() -> None:
    assert all(len(name) == 1 for name in VISEME_NAMES if name != "sil")
    assert viseme_words("b-ɪ-n b-l-uː") == "pit plu"
    assert viseme_words("h-ɑːɹ-d əl") == "kat @"  # two letters each in SPECTRE's spelling
    assert viseme_words("sil p-sil-i _") == "pi"
    with pytest.raises(ValueError, match="unknown phones 'q'"):
        viseme_words("p-q")


def test_words_that_look_alike_are_no_error() -> None:
    assert viseme_errors(reference=PAT, hypothesis=BAT).errors == 0
    assert viseme_word_errors(reference=PAT, hypothesis=BAT).errors == 0
    assert viseme_word_errors(reference=PAT, hypothesis=CAT) == ErrorCounts(1, 0, 0, 1)


def test_viseme_errors_by_hand() -> None:
    # pat pat against pat k: three visemes for one, boundaries are no symbols.
    counts = viseme_errors(reference=f"{PAT} {PAT}", hypothesis=f"{PAT} k")
    assert counts == ErrorCounts(substitutions=1, insertions=0, deletions=2, reference_length=6)
    assert viseme_errors(reference=f"{PAT} {PAT}", hypothesis="p-æ-t-p-æ-t").errors == 0


def test_empty_texts() -> None:
    assert viseme_errors(reference="", hypothesis="") == ErrorCounts(0, 0, 0, 0)
    assert viseme_errors(reference="", hypothesis=PAT) == ErrorCounts(0, 3, 0, 0)
    assert viseme_word_errors(reference=f"{PAT} {CAT}", hypothesis="").deletions == 2
    with pytest.raises(ValueError, match="0 reference tokens"):
        _ = viseme_errors(reference="", hypothesis=PAT).rate


def test_spectres_rates_are_means_of_utterances() -> None:
    """A short utterance all wrong and a long one all right: 1/2 there, 1/11 by the corpus."""
    pairs = [(PAT, CAT), (" ".join([PAT] * 10), " ".join([BAT] * 10))]
    legacy = spectre_viseme_rates(pairs)
    assert legacy.vwer == 0.5 and legacy.utterances == 2 and legacy.dropped_phones == 0
    counts = corpus_errors(viseme_word_errors(reference=r, hypothesis=h) for r, h in pairs)
    assert counts.rate == pytest.approx(1 / 11)


def test_spectres_spelling_takes_two_letters() -> None:
    # "hard" is kart there: losing the r-coloured vowel costs 2 of 4 letters, here 1 of 3 visemes.
    assert spectre_viseme_rates([("h-ɑːɹ-d", "h-d")]).ver == 0.5
    assert viseme_errors(reference="h-ɑːɹ-d", hypothesis="h-d").rate == pytest.approx(1 / 3)
    # l is spelt t there and has its own viseme here.
    assert spectre_viseme_rates([("l-eɪ", "d-eɪ")]).ver == 0.0
    assert viseme_errors(reference="l-eɪ", hypothesis="d-eɪ").errors == 1
    # Spaces are letters there.
    assert spectre_viseme_rates([("p-æ p-æ", "p-æ-p-æ")]).ver == pytest.approx(1 / 5)


def test_what_spectres_table_does_not_know_is_counted() -> None:
    assert spectre_viseme_rates([("p-x-æ", "p-æ")]).dropped_phones == 1
    assert spectre_viseme_rates([("p-ʔ-æ", "p-æ")]).dropped_phones == 0
    with pytest.raises(ValueError, match="no utterance"):
        spectre_viseme_rates([])


def test_text_to_phones_lists_what_it_cannot_say() -> None:
    table = {"pat": PAT, "cat": CAT}
    assert text_to_phones("Cat, pat!", table) == f"{CAT} {PAT}"
    with pytest.raises(ValueError, match="no pronunciation of 'bat', 'dog'"):
        text_to_phones("dog bat cat", table)
