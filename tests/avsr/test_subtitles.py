"""Subtitles: the limits, and the two formats' rules."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avsr.schema import RecognizedWord, Segment
from avsr.subtitles import cues_of, srt, vtt


def segment(*words: tuple[str, float, float]) -> Segment:
    return Segment(tuple(RecognizedWord(*word, 0.9) for word in words))


@st.composite
def talk(draw: st.DrawFn) -> list[Segment]:
    at, segments = 0.0, []
    for _ in range(draw(st.integers(0, 4))):
        said = []
        for _ in range(draw(st.integers(1, 30))):
            length = draw(st.sampled_from([0.04, 0.3, 0.7, 9.0]))
            text = "x" * draw(st.sampled_from([1, 3, 8, 20, 42, 43, 100]))
            said.append((text, at, at + length))
            at += length + draw(st.sampled_from([0.0, 0.02, 0.5]))
        segments.append(segment(*said))
        at += draw(st.floats(0.5, 4.0))
    return segments


@given(talk())
def test_limits_order_and_no_word_lost(segments: list[Segment]) -> None:
    cues = cues_of(segments)
    for cue in cues:
        assert 1 <= len(cue.lines) <= 2
        assert all(1 <= len(line) <= 42 for line in cue.lines)
        assert 0 < cue.end_ms - cue.start_ms <= 7000
    for before, after in zip(cues[:-1], cues[1:], strict=True):
        assert before.end_ms <= after.start_ms
    shown = "".join(line for cue in cues for line in cue.lines).replace(" ", "")
    assert shown == "".join(word.word for part in segments for word in part.words)


@given(talk())
def test_srt_rules(segments: list[Segment]) -> None:
    """Blocks of number, times, text, with an empty line between; numbers count from 1."""
    text = srt(segments)
    blocks = [block.split("\n") for block in text.rstrip("\n").split("\n\n")] if text else []
    assert len(blocks) == len(cues_of(segments))
    for number, (count, times, *lines) in enumerate(blocks, 1):
        assert count == str(number)
        assert re.fullmatch(r"(\d\d:[0-5]\d:[0-5]\d,\d{3}) --> (\d\d:[0-5]\d:[0-5]\d,\d{3})", times)
        assert lines and all(lines)


@given(talk())
def test_vtt_rules(segments: list[Segment]) -> None:
    header, *blocks = vtt(segments).rstrip("\n").split("\n\n")
    assert header == "WEBVTT" and len(blocks) == len(cues_of(segments))
    for block in blocks:
        times, *lines = block.split("\n")
        assert re.fullmatch(r"\d\d:[0-5]\d:[0-5]\d\.\d{3} --> \d\d:[0-5]\d:[0-5]\d\.\d{3}", times)
        assert lines and not any("-->" in line for line in lines)


def test_files_by_hand() -> None:
    talk = [
        segment(("good", 0.5, 0.8), ("morning", 0.85, 1.25)),
        segment(("r&b", 3600.0, 3600.5), ("<now>", 3600.6, 3602.3456)),
    ]
    assert srt(talk) == (
        "1\n00:00:00,500 --> 00:00:01,500\ngood morning\n\n"
        "2\n01:00:00,000 --> 01:00:02,346\nr&b <now>\n"
    )
    assert vtt(talk) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\ngood morning\n\n"
        "01:00:00.000 --> 01:00:02.346\nr&amp;b &lt;now&gt;\n"
    )


def test_lines_are_balanced_and_full_cues_are_broken() -> None:
    words = [("word", 0.3 * i, 0.3 * i + 0.2) for i in range(30)]
    cues = cues_of([segment(*words)])
    assert len(cues) == 2  # 17 words of 4 fill two lines of 42
    assert [len(line.split()) for line in cues[0].lines] == [8, 8]
    assert np.ptp([len(line) for line in cues[1].lines]) <= 5


def test_nothing_said() -> None:
    assert cues_of([]) == [] and srt([]) == "" and vtt([]) == "WEBVTT\n"
