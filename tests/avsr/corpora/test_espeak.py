"""The engine: closures belong to their stops, errors say what to do."""

from __future__ import annotations

import re

import numpy as np
import pytest

from avsr.corpora.espeak import Voice, speak


def test_a_stop_begins_with_its_silent_closure() -> None:
    speech = speak(["a", "happy", "cat"], Voice("en-us+m3"))
    stop = next(phone for phone in speech.phones if phone.phone == "p")
    start = int(stop.start_s * speech.sample_rate_hz)
    closure = speech.waveform[start : start + speech.sample_rate_hz // 50]
    before = speech.waveform[start - speech.sample_rate_hz // 50 : start]
    assert np.abs(closure).max() < 0.002
    assert np.abs(before).max() > 0.02


def test_written_words_may_differ_from_spoken_ones() -> None:
    speech = speak(["at", "[[eI]]", "two"], Voice("en-us"), words=["at", "a", "two"])
    assert [word.word for word in speech.words] == ["at", "a", "two"]
    letter = speech.words[1]
    inside = [p.phone for p in speech.phones if letter.start_s <= p.start_s < letter.end_s]
    assert inside == ["eɪ"]


def test_the_faster_voice_takes_less_time() -> None:
    slow, fast = (
        len(speak(["good", "morning"], Voice("en-us", rate_wpm=rate)).waveform)
        for rate in (120, 200)
    )
    assert fast < 0.8 * slow


def test_an_unknown_voice_and_no_words_are_refused() -> None:
    for name in ("atlantean", "en-us+nobody"):
        with pytest.raises(ValueError, match=re.escape(name)):
            speak(["hello"], Voice(name))
    with pytest.raises(ValueError, match="0 spoken words"):
        speak([], Voice("en-us"))
    with pytest.raises(ValueError, match="1 spoken words for 2"):
        speak(["hello"], Voice("en-us"), words=["hello", "there"])
