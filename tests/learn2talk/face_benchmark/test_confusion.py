"""Viseme confusions worked out by hand, and the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.text import VISEMES as VISEME_OF
from learn2talk.face_benchmark.confusion import (
    DELETED,
    EXAMPLES,
    INSERTED,
    VISEMES,
    as_json,
    plot_confusion,
    viseme_confusion,
)
from learn2talk.metrics.visemes import viseme_errors


def counted(*pairs: tuple[str, str]) -> dict[tuple[str, str], int]:
    """Non-zero entries by their labels."""
    told = as_json(viseme_confusion(pairs))
    counts = np.array(told["counts"])
    return {
        (told["row_labels"][row], told["column_labels"][column]): int(counts[row, column])
        for row, column in np.argwhere(counts)
    }


def test_by_hand() -> None:
    """bin read as pit: p i t, all the same visemes. blue read as lou: p l u against l u."""
    assert counted(("b-ɪ-n", "p-ɪ-t")) == {("p", "p"): 1, ("i", "i"): 1, ("t", "t"): 1}
    assert counted(("b-l-uː", "l-uː")) == {("p", DELETED): 1, ("l", "l"): 1, ("u", "u"): 1}
    assert counted(("l-uː", "b-l-uː")) == {(INSERTED, "p"): 1, ("l", "l"): 1, ("u", "u"): 1}
    assert counted(("s-ɛ-t", "f-ɛ-t")) == {("s", "f"): 1, ("E", "E"): 1, ("t", "t"): 1}


def test_words_have_no_borders_and_pairs_add_up() -> None:
    both = counted(("b-ɪ n-aʊ", "b-ɪ-n aʊ"), ("s-ɛ-t", ""), ("", "f"))
    assert both == {
        ("p", "p"): 1,
        ("i", "i"): 1,
        ("t", "t"): 1,
        ("a", "a"): 1,
        ("s", DELETED): 1,
        ("E", DELETED): 1,
        ("t", DELETED): 1,
        (INSERTED, "f"): 1,
    }


def test_what_is_off_the_diagonal_is_the_viseme_error_rate() -> None:
    """At unequal lengths, where alignments are ambiguous, too."""
    rng = np.random.default_rng(0)
    phones = ["p", "t", "ʃ", "uː", "ɑ", "k", "s", "f"]
    for _ in range(50):
        said, read = ("-".join(rng.choice(phones, rng.integers(0, 9))) for _ in range(2))
        counts = viseme_confusion([(said, read)])
        errors = viseme_errors(reference=said, hypothesis=read)
        assert counts.sum() - np.trace(counts) == errors.errors
        assert counts[:-1].sum() == errors.reference_length
        assert counts[-1].sum() == errors.insertions
        assert counts[:, -1].sum() == errors.deletions


def test_examples_are_phones_of_their_viseme() -> None:
    assert set(EXAMPLES) == set(VISEMES)
    for viseme, phones in EXAMPLES.items():
        assert {VISEME_OF[phone] for phone in phones.split()} == {viseme}


def test_the_picture_is_the_same_each_time(tmp_path: Path) -> None:
    counts = viseme_confusion([("b-l-uː s-ɛ-t", "l-uː f-ɛ-t-t")])
    first = plot_confusion(counts, "one", tmp_path / "confusion_one")
    assert [path.name for path in first] == ["confusion_one.png", "confusion_one.svg"]
    before = [path.read_bytes() for path in first]
    again = plot_confusion(counts, "one", tmp_path / "confusion_one")
    assert [path.read_bytes() for path in again] == before
    assert before[0][:4] == b"\x89PNG" and b"<svg" in before[1]
    assert len(before[0]) > 5000


def test_an_unknown_phone_is_named() -> None:
    with pytest.raises(ValueError, match="unknown phones 'q'"):
        viseme_confusion([("q", "p")])
