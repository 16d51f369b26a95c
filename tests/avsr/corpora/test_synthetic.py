"""Synthetic speech: exact times, disjoint speakers, the same numbers each time."""

from __future__ import annotations

import numpy as np
import pytest

from avsr.corpora.synthetic import (
    GRID_SLOTS,
    MAX_SPEAKERS,
    grid_sentence,
    say,
    speakers,
    split_speakers,
    wide_sentence,
)
from avsr.text import phones_to_visemes

PEOPLE = speakers(24, 0)


def test_speakers_differ_and_the_splits_share_none() -> None:
    assert len({person.voice.name.split("+")[1] for person in speakers(MAX_SPEAKERS, 0)}) >= 24
    splits = split_speakers(PEOPLE)
    ids = [{person.speaker_id for person in people} for people in splits.values()]
    assert [len(names) for names in ids] == [18, 3, 3]
    assert len(set().union(*ids)) == 24


def test_rate_and_pitch_depend_on_the_seed() -> None:
    assert speakers(24, 0) == PEOPLE
    assert [p.voice for p in speakers(24, 1)] != [p.voice for p in PEOPLE]


@pytest.mark.parametrize("count", [2, MAX_SPEAKERS + 1])
def test_impossible_numbers_of_speakers_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=str(count)):
        speakers(count, 0)


def test_grid_sentences_follow_the_grammar() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        words = grid_sentence(generator).words
        assert len(words) == len(GRID_SLOTS)
        assert all(word in slot for word, slot in zip(words, GRID_SLOTS, strict=True))


def test_the_wider_vocabulary_is_wide() -> None:
    generator = np.random.default_rng(0)
    words = {word for _ in range(600) for word in wide_sentence(generator).words}
    assert len(words) > 150


@pytest.mark.parametrize("index", range(0, 24, 3))
def test_times_are_in_order_and_inside_the_audio(index: int) -> None:
    generator = np.random.default_rng(index)
    sentence = (grid_sentence if index % 2 else wide_sentence)(generator)
    speech = say(sentence, PEOPLE[index], generator)
    assert speech.waveform.dtype == np.float32
    assert len(speech.waveform) % 640 == 0
    assert np.abs(speech.waveform).max() <= 1.0
    assert tuple(word.word for word in speech.words) == sentence.words
    for spans in (speech.phones, speech.words):
        edges = [edge for span in spans for edge in (span.start_s, span.end_s)]
        assert edges == sorted(edges)
        assert 0.0 < edges[0]
        assert edges[-1] < len(speech.waveform) / 16_000
        assert all(span.end_s > span.start_s for span in spans)
    assert len(phones_to_visemes([p.phone for p in speech.phones])) == len(speech.phones)


def test_sound_is_where_the_phones_are() -> None:
    generator = np.random.default_rng(5)
    speech = say(grid_sentence(generator), PEOPLE[0], generator)
    inside = np.zeros(len(speech.waveform), dtype=bool)
    for phone in speech.phones:
        inside[int(phone.start_s * 16_000) : int(phone.end_s * 16_000)] = True
    power = speech.waveform.astype(np.float64) ** 2
    assert power[inside].mean() > 300 * power[~inside].mean()


def test_the_same_draw_gives_the_same_sound_whatever_was_said_before() -> None:
    def once() -> tuple[np.ndarray, object]:
        generator = np.random.default_rng(3)
        speech = say(grid_sentence(generator), PEOPLE[1], generator)
        return speech.waveform, (speech.phones, speech.words)

    sound, times = once()
    other = np.random.default_rng(9)
    say(wide_sentence(other), PEOPLE[7], other)
    again, same_times = once()
    np.testing.assert_array_equal(sound, again)
    assert times == same_times
