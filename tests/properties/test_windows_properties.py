"""Talk that is cut into windows and joined again is the talk."""

from __future__ import annotations

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from avsr.decode.windows import WindowConfig, join_words, next_cut
from avsr.schema import RecognizedWord
from avsr.units import VIDEO_FPS

CONFIG = WindowConfig(min_s=4.0, max_s=10.0, pause_s=0.3, overlap_s=1.6)
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # it takes minutes here
JITTER_S = 0.05  # what two windows' times of one word differ by, and more, is less than a gap


@st.composite
def talk(draw: st.DrawFn) -> tuple[list[RecognizedWord], float]:
    """Words of 0.12-0.8 s from a small vocabulary, with gaps of 0.12-1 s between them."""
    at, said = draw(st.floats(0.0, 1.0)), []
    for _ in range(draw(st.integers(0, 60))):
        length = draw(st.floats(0.12, 0.8))
        name = draw(st.sampled_from(["a", "b", "no", "yes", "no"]))
        said.append(RecognizedWord(name, at, at + length, 0.9))
        at += length + draw(st.sampled_from([0.12, 0.12, 0.2, 0.35, 1.0]))
    return said, at + draw(st.floats(0.04, 5.0))


def heard(
    said: list[RecognizedWord], start_s: float, end_s: float, rng: np.random.Generator
) -> list[RecognizedWord]:
    """What a window tells: words wholly in it a little off, and noise for words cut by its edge."""
    found = []
    for word in said:
        if word.end_s <= start_s or word.start_s >= end_s:
            continue
        if word.start_s >= start_s and word.end_s <= end_s:
            by = max(rng.uniform(-JITTER_S, JITTER_S), -word.start_s)
            found.append(RecognizedWord(word.word, word.start_s + by, word.end_s + by, 0.9))
        elif rng.random() < 0.5:  # a rest of a word, read as another word
            inside = max(word.start_s, start_s), min(word.end_s, end_s)
            found.append(RecognizedWord("rest", *inside, 0.3))
    return found


@settings(max_examples=200, deadline=None, phases=NO_SHRINKING)
@given(talk(), st.integers(0, 2**32 - 1), st.sampled_from(["pauses", "noise", "no sound"]))
def test_joined_windows_are_the_talk(
    spoken: tuple[list[RecognizedWord], float], seed: int, sound: str
) -> None:
    said, duration_s = spoken
    rng = np.random.default_rng(seed)
    num_frames = int(np.ceil(duration_s * VIDEO_FPS))
    level = rng.uniform(-70, -65, num_frames)
    middles = (np.arange(num_frames) + 0.5) / VIDEO_FPS
    for word in said:
        level[(middles >= word.start_s) & (middles < word.end_s)] = rng.uniform(-30, -15)
    if sound == "noise":
        level = rng.uniform(-30, -25, num_frames)
    joined: list[RecognizedWord] = []
    start, heard_from, cut_s, overlap_s = 0, 0, 0.0, 0.0
    while True:
        known = None if sound == "no sound" else level[start:]
        cut = next_cut(known, start, num_frames, True, CONFIG)
        end = num_frames if cut is None else cut.frame + cut.overlap
        told = heard(said, heard_from / VIDEO_FPS, end / VIDEO_FPS, rng)
        joined = join_words(joined, told, cut_s, overlap_s)
        if cut is None:
            break
        assert cut.frame - start <= CONFIG.max_s * VIDEO_FPS and cut.frame > start
        start, heard_from = cut.frame, cut.frame - cut.overlap
        cut_s, overlap_s = cut.frame / VIDEO_FPS, cut.overlap / VIDEO_FPS
    assert [word.word for word in joined] == [word.word for word in said]
