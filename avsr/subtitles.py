"""Words with times to subtitles: SRT and WebVTT.

The limits are those that broadcasters share: two lines of 42 characters (Netflix Timed Text Style
Guide, English: at most 42 a line, two lines, 7 s).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avsr.schema import RecognizedWord, Segment

LINE_CHARACTERS = 42
MAX_CUE_S = 7.0
MIN_CUE_S = 1.0  # a shorter one stays on screen so long, where the next one leaves it time


@dataclass(frozen=True)
class Cue:
    """One subtitle: whole milliseconds from the start of the file, one or two lines."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues_of(segments: Sequence[Segment]) -> list[Cue]:
    """Cues of at most 2 lines x 42 characters and 7 s, in order and never two at a time.

    A cue ends with its segment, and where the next word would break a limit. A word of over 42
    characters is cut at the 42nd.
    """
    groups: list[list[RecognizedWord]] = []
    for segment in segments:
        current: list[RecognizedWord] = []
        for word in (piece for whole in segment.words for piece in _pieces(whole)):
            if current and not _fits([*current, word]):
                groups.append(current)
                current = []
            current.append(word)
        groups.append(current)
    cues: list[Cue] = []
    for number, group in enumerate(groups):
        start = max(_ms(group[0].start_s), cues[-1].end_ms if cues else 0)
        end = max(_ms(group[-1].end_s), _ms(group[0].start_s + MIN_CUE_S))
        if number + 1 < len(groups):
            end = min(end, _ms(groups[number + 1][0].start_s))
        end = min(max(end, start + 1), start + _ms(MAX_CUE_S))
        cues.append(Cue(start, end, _lines([word.word for word in group])))
    return cues


def srt(segments: Sequence[Segment]) -> str:
    """SubRip text of the segments, "" where nothing was said."""
    blocks = [
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n"
        + "".join(f"{line}\n" for line in cue.lines)
        for number, cue in enumerate(cues_of(segments), 1)
    ]
    return "\n".join(blocks)


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT text of the segments (W3C WebVTT 1, sec. 4.1)."""
    blocks = [
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n"
        + "".join(f"{_escaped(line)}\n" for line in cue.lines)
        for cue in cues_of(segments)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _pieces(word: RecognizedWord) -> list[RecognizedWord]:
    """The word, or parts of at most one line that share out its time."""
    text = word.word
    parts = [text[i : i + LINE_CHARACTERS] for i in range(0, len(text), LINE_CHARACTERS)]
    step = (word.end_s - word.start_s) / max(1, len(parts))
    return [
        RecognizedWord(
            part, word.start_s + i * step, word.start_s + (i + 1) * step, word.confidence
        )
        for i, part in enumerate(parts)
    ]


def _fits(words: Sequence[RecognizedWord]) -> bool:
    short = _ms(words[-1].end_s) - _ms(words[0].start_s) <= _ms(MAX_CUE_S)
    return short and max(map(len, _lines([word.word for word in words]))) <= LINE_CHARACTERS


def _lines(words: Sequence[str]) -> tuple[str, ...]:
    """One line where the words fit on it, else the two that are most alike in length."""
    whole = " ".join(words)
    if len(whole) <= LINE_CHARACTERS or len(words) == 1:
        return (whole,)
    splits = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return min(splits, key=lambda pair: max(map(len, pair)))


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{rest:03d}"


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
