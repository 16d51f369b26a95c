"""Long talk in windows: where to cut, and how the windows' words become one text again.

A cut falls into a pause where there is one: nobody's word crosses it, and the windows share only a
part of the pause. Where there is none, both windows also hear ``overlap_s`` beyond the cut, and the
words of the overlap, which both have, are matched.
"""

# T frames at 25 fps

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avsr.schema import RecognizedWord
from avsr.units import VIDEO_FPS

SAME_WORD_S = 0.4  # two windows' times of one word differ by less
QUIET_SHARE = 0.25  # a frame this far up from the quietest to the loud ones is no speech, ...
QUIET_DB = 25.0  # ... nor is one so far below the loud ones (beside digital silence)
PAUSE_HEARD_S = 0.3  # of a pause, by the windows on both sides
MIN_RANGE_DB = 12.0  # below it the sound has no pauses that could be told from speech
RANGE_PERCENTILES = (5.0, 95.0)


@dataclass(frozen=True)
class WindowConfig:
    """How long talk is cut.

    min_s: no stretch between two cuts is shorter. max_s: nor longer. pause_s: shortest quiet
    stretch that counts as a pause. overlap_s: what a window hears beyond a cut that is in no pause.
    batch: windows decoded at once. A network reads best what is as long as what it was trained on:
    with sentences of 3 s, long windows cost it many words.
    """

    min_s: float = 2.0
    max_s: float = 16.0
    pause_s: float = 0.3
    overlap_s: float = 1.0
    batch: int = 4

    def __post_init__(self) -> None:
        if not 0.04 <= self.pause_s <= self.min_s <= self.max_s:
            raise ValueError(
                f"pause_s {self.pause_s}, min_s {self.min_s}, max_s {self.max_s} must be in "
                "ascending order, the first at least 0.04 s"
            )
        if not 0.0 <= self.overlap_s <= self.min_s / 2:
            raise ValueError(
                f"overlap_s {self.overlap_s} must be between 0 and half of min_s {self.min_s}"
            )
        if self.batch < 1:
            raise ValueError(f"batch {self.batch} must be at least 1 window")


@dataclass(frozen=True)
class Cut:
    """A cut before ``frame``; ``overlap`` frames on either side are heard by both windows."""

    frame: int
    overlap: int


def next_cut(
    level_db: np.ndarray | None, start: int, num_frames: int, last: bool, config: WindowConfig
) -> Cut | None:
    """Where the window that starts at frame ``start`` ends.

    Args:
        level_db: float (T,), the sound's level at frames start .. start + T in dB; ``None`` where
            there is no sound.
        num_frames: frames known so far, counted from frame 0.
        last: nothing follows them.
        config: limits.

    Returns:
        The cut, or ``None`` where all that is left is one window. The first pause after ``min_s``
        is taken; without one, and where more than ``max_s`` is left, the quietest place in the
        later half of the window.
    """
    longest, shortest = _frames(config.max_s), _frames(config.min_s)
    left, overlap = num_frames - start, _frames(config.overlap_s)
    whole = last and left <= longest
    if level_db is not None:
        # The last window is not cut so that a rest shorter than min_s remains.
        latest = left - shortest if last else left
        pause = _first_pause(level_db[:longest], shortest, latest, _frames(config.pause_s))
        if pause is not None:
            middle, length = pause
            return Cut(start + middle, min(length // 2, _frames(PAUSE_HEARD_S)))
    if whole:
        return None
    if level_db is None:
        return Cut(start + longest - overlap, overlap)
    smooth = np.convolve(level_db[:longest], np.ones(5) / 5, mode="same")
    low, high = max(shortest, longest // 2), longest - overlap
    return Cut(start + low + int(smooth[low:high].argmin()), overlap)


def _frames(seconds: float) -> int:
    return round(seconds * VIDEO_FPS)


def _first_pause(
    level_db: np.ndarray, earliest: int, latest: int, pause: int
) -> tuple[int, int] | None:
    """Middle and length of the first quiet stretch with its middle between two frames."""
    low, high = np.percentile(level_db, RANGE_PERCENTILES)
    if high - low < MIN_RANGE_DB:
        return None
    quiet = level_db < max(low + QUIET_SHARE * (high - low), high - QUIET_DB)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(int)))
    for start, end in edges.reshape(-1, 2):
        middle = int(start + end) // 2
        if end - start >= pause and earliest <= middle <= latest and end < len(level_db):
            return middle, int(end - start)
    return None


def join_words(
    before: Sequence[RecognizedWord],
    after: Sequence[RecognizedWord],
    cut_s: float,
    overlap_s: float,
) -> list[RecognizedWord]:
    """Words of two windows that both hear ``cut_s`` +- ``overlap_s``, as one sequence.

    The same word at about the same time in both is one word (a monotone matching that prefers many
    pairs, then near ones, among the words with their middles in the overlap). The text changes over
    from one window to the other at the pair nearest to the cut; a pair is told by the window in
    which it lies deeper. Without a pair the cut decides by the middle of each word, and of two
    words at one time (sharing over 0.3 of the shorter) only the more confident stays: no stretch of
    speech is told twice.
    """
    inside = [
        [i for i, w in enumerate(words) if abs(_middle(w) - cut_s) <= overlap_s]
        for words in (before, after)
    ]
    pairs = [
        (inside[0][i], inside[1][j])
        for i, j in _matching([before[i] for i in inside[0]], [after[j] for j in inside[1]])
    ]
    if pairs:
        i, j = min(pairs, key=lambda ij: abs(_middle(before[ij[0]]) - cut_s))
        if _middle(before[i]) < cut_s:
            return [*before[: i + 1], *after[j + 1 :]]
        return [*before[:i], *after[j:]]
    kept = [word for word in before if _middle(word) < cut_s]
    rest = [word for word in after if _middle(word) >= cut_s]
    lost_before = [word for word in before if _middle(word) >= cut_s]
    lost_after = [word for word in after if _middle(word) < cut_s]
    if kept and rest and _collide(kept[-1], rest[0]):
        if kept[-1].confidence >= rest[0].confidence:
            rest = rest[1:]
        else:
            kept = kept[:-1]
    elif lost_before and lost_after and _collide(lost_before[0], lost_after[-1]):
        kept.append(max(lost_before[0], lost_after[-1], key=lambda word: word.confidence))
    return kept + rest


def _middle(word: RecognizedWord) -> float:
    return (word.start_s + word.end_s) / 2


def _collide(a: RecognizedWord, b: RecognizedWord) -> bool:
    shared = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    return shared > 0.3 * min(a.end_s - a.start_s, b.end_s - b.start_s)


def _matching(
    before: Sequence[RecognizedWord], after: Sequence[RecognizedWord]
) -> list[tuple[int, int]]:
    """Monotone matching of equal words at about the same time, of the highest summed score."""
    score = np.zeros((len(before) + 1, len(after) + 1))
    for i in range(len(before) - 1, -1, -1):
        for j in range(len(after) - 1, -1, -1):
            value, skip = _likeness(before[i], after[j]), max(score[i + 1, j], score[i, j + 1])
            score[i, j] = max(skip, value + score[i + 1, j + 1]) if value else skip
    pairs, i, j = [], 0, 0
    while i < len(before) and j < len(after):
        value = _likeness(before[i], after[j])
        if value and score[i, j] == value + score[i + 1, j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif score[i, j] == score[i + 1, j]:
            i += 1
        else:
            j += 1
    return pairs


def _likeness(a: RecognizedWord, b: RecognizedWord) -> float:
    """Between 1 and 2 for one word at about one time, else 0."""
    away = abs(_middle(a) - _middle(b))
    return 2.0 - away / SAME_WORD_S if a.word == b.word and away < SAME_WORD_S else 0.0
