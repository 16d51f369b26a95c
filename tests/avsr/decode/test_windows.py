"""Cuts fall into pauses, and two windows' words become one text."""

from __future__ import annotations

import numpy as np
import pytest

from avsr.decode.windows import Cut, WindowConfig, join_words, next_cut
from avsr.schema import RecognizedWord

CONFIG = WindowConfig(min_s=4.0, max_s=16.0, pause_s=0.3, overlap_s=1.6)


def level(frames: int, *pauses: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(0)
    db = rng.uniform(-30, -15, frames)
    for start, end in pauses:
        db[start:end] = rng.uniform(-70, -65, end - start)
    return db


def words(*said: tuple[str, float] | tuple[str, float, float]) -> list[RecognizedWord]:
    """Words of 0.2 s by their middle, with a confidence of 0.5 or the one given."""
    return [
        RecognizedWord(name, at - 0.1, at + 0.1, rest[0] if rest else 0.5)
        for name, at, *rest in said
    ]


def texts(joined: list[RecognizedWord]) -> str:
    return " ".join(word.word for word in joined)


def test_what_is_left_is_one_window() -> None:
    assert next_cut(level(400), 100, 500, True, CONFIG) is None
    assert next_cut(level(401), 100, 501, True, CONFIG) is not None
    assert next_cut(level(300, (150, 161)), 0, 300, True, CONFIG) == Cut(155, 5)
    # ... but not with a pause near its end, nor with the silence at its end.
    assert next_cut(level(300, (230, 241), (290, 300)), 0, 300, True, CONFIG) is None


def test_first_pause_after_the_shortest_window() -> None:
    db = level(500, (50, 60), (97, 102), (150, 161), (300, 320))
    assert next_cut(db, 1000, 1500, False, CONFIG) == Cut(1000 + 155, 5)


def test_long_pause_is_not_heard_whole() -> None:
    assert next_cut(level(500, (110, 330)), 0, 500, False, CONFIG) == Cut(220, 8)


def test_without_a_pause_the_quietest_place_and_an_overlap() -> None:
    db = level(500, (260, 264))
    cut = next_cut(db, 0, 500, False, CONFIG)
    assert cut is not None and abs(cut.frame - 262) <= 1 and cut.overlap == 40


def test_digital_silence_does_not_hide_the_pauses_of_a_room() -> None:
    db = level(500, (0, 60))
    db[150:165] = -45.0  # 15 dB and more below speech, but 25 dB above the digital silence
    assert next_cut(db, 0, 500, False, CONFIG) == Cut(157, 7)


def test_noise_without_range_has_no_pauses() -> None:
    db = np.random.default_rng(0).uniform(-30, -25, 500)
    db[150:160] = -30
    cut = next_cut(db, 0, 500, False, CONFIG)
    assert cut is not None and cut.overlap == 40 and 200 <= cut.frame < 360


def test_pictures_alone_are_cut_by_time() -> None:
    assert next_cut(None, 10, 900, False, CONFIG) == Cut(10 + 360, 40)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pause_s": 0.0},
        {"min_s": 0.2},
        {"max_s": 1.0},
        {"overlap_s": -0.1},
        {"overlap_s": 1.1},
        {"batch": 0},
    ],
)
def test_impossible_windows_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        WindowConfig(**wrong)  # type: ignore[arg-type]


def test_both_heard_the_same() -> None:
    before = words(("a", 8.2), ("b", 9.0), ("c", 9.8), ("d", 10.6))
    after = words(("b", 9.02), ("c", 9.84), ("d", 10.58), ("e", 11.5))
    assert texts(join_words(before, after, 10.0, 1.6)) == "a b c d e"


def test_word_on_the_cut_is_neither_doubled_nor_lost() -> None:
    for early, late in ((9.95, 10.05), (10.05, 9.95)):
        joined = join_words(words(("b", early)), words(("b", late), ("c", 12.0)), 10.0, 1.6)
        assert texts(joined) == "b c"
        other = join_words(words(("b", early, 0.4)), words(("p", late, 0.6)), 10.0, 1.6)
        assert texts(other) == "p"  # two readings of one sound: the more confident one


def test_rests_of_words_at_the_windows_edges_are_left_out() -> None:
    before = words(("a", 8.5), ("b", 9.4), ("c", 10.3), ("rest", 11.5))
    after = words(("rust", 8.45), ("b", 9.4), ("c", 10.3), ("d", 11.3))
    assert texts(join_words(before, after, 10.0, 1.6)) == "a b c d"


def test_repeated_words_keep_their_number() -> None:
    times = np.arange(8.5, 11.5, 0.3)
    before = words(("z", 8.0), *(("no", t) for t in times))
    after = words(*(("no", t + 0.08) for t in times), ("y", 12.0))
    assert texts(join_words(before, after, 10.0, 1.6)) == "z " + "no " * len(times) + "y"


def test_the_same_word_on_both_sides_of_a_pause_is_two_words() -> None:
    assert texts(join_words(words(("no", 9.75)), words(("no", 10.1)), 9.925, 0.05)) == "no no"
    assert texts(join_words(words(("no", 9.75)), words(("no", 9.9)), 9.825, 0.3)) == "no"


def test_empty_windows() -> None:
    some = words(("a", 9.0))
    assert join_words(some, [], 10.0, 1.6) == some and join_words([], some, 8.0, 1.6) == some
    assert join_words([], [], 10.0, 1.6) == []
