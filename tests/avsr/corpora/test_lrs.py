"""LRS label files, cutting at word times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.corpora.clips import CorpusError, TalkingClip
from avsr.corpora.lrs import LrsConfig, cut_at_words, read_film, read_label, spoken
from avsr.schema import WordTime

LABEL = """Text:  {LG} SO IT'S {NS} FINE
Conf:  5
Ref:   00j9bKdiOjk

FRAME 	X 	Y 	W 	H
000123 	0.305 	0.123 	0.230 	0.410

WORD START END ASDSCORE
SO 0.10 0.30 8.8
IT'S 0.30 0.62 9.1
{NS} 0.70 0.75 1.0
FINE 0.90 1.20 7.0
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_label_files_with_tags_boxes_and_word_times(tmp_path: Path) -> None:
    label = read_label(write(tmp_path / "a.txt", LABEL))
    assert label.text == "so it's fine"
    assert label.words == (
        WordTime("so", 0.1, 0.3),
        WordTime("it's", 0.3, 0.62),
        WordTime("fine", 0.9, 1.2),
    )
    short = read_label(write(tmp_path / "b.txt", "Text:  HELLO\nConf:  3\n"))
    assert short.text == "hello" and short.words == ()
    assert spoken("[MUSIC] well <X> THEN") == "well then"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Conf: 3\n", "a.txt: has no line 'Text: ...'"),
        ("Text: A\n\nWORD START END\nA 0.2\n", r"a.txt:4: 'A 0.2' is not"),
        ("Text: A\n\nWORD START END\nA 0.2 x 3\n", r"a.txt:4"),
        ("Text: A\n\nWORD START END\nA 0.5 0.2 3\n", r"a.txt:4"),
        ("Text: A\n\nWORD START END\nA 0.5 0.6 3\nB 0.1 0.2 3\n", r"a.txt:5"),
        ("Text: A\n\nWORD START END\nA nan nan 3\n", r"a.txt:4"),
    ],
)
def test_bad_labels_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_label(write(tmp_path / "a.txt", text))


def random_words(seed: int) -> list[WordTime]:
    rng = np.random.default_rng(seed)
    words, time = [], 0.0
    for number in range(int(rng.integers(1, 120))):
        time += float(rng.choice([0.0, 0.0, 0.05, 0.3, 1.5]))
        length = float(rng.uniform(0.02, 0.9))
        words.append(WordTime(f"w{number}", round(time, 2), round(time + length, 2)))
        time = words[-1].end_s
    return words


@pytest.mark.parametrize("seed", range(20))
def test_pieces_hold_every_word_whole_and_once(seed: int) -> None:
    words, longest = random_words(seed), (2.0, 4.0, 16.0)[seed % 3]
    pieces = cut_at_words(words, longest)
    assert [word for piece, _ in pieces for word in piece] == words
    for piece, (start, end) in pieces:
        assert 0.0 <= start <= piece[0].start_s and piece[-1].end_s <= end
        assert end - start <= longest + 1e-9
    for (_, before), (_, after) in zip(pieces, pieces[1:], strict=False):
        assert before[1] <= after[0] + 0.04 + 1e-9  # they share at most a frame


def test_a_cut_is_made_in_the_widest_pause() -> None:
    ends = [0.4, 0.9, 1.4, 1.9, 2.4]
    words = [WordTime(str(k), end - 0.4, end) for k, end in enumerate(ends)]
    late = [WordTime(w.word, w.start_s + 0.5, w.end_s + 0.5) for w in words[3:]]
    pieces = cut_at_words([*words[:3], *late], 2.7)
    assert [len(piece) for piece, _ in pieces] == [3, 2]
    (_, first), (_, second) = pieces
    assert first == pytest.approx((0.0, 1.6))  # 0.2 s of the pause of 0.6
    assert second == pytest.approx((1.8, 3.1))


def film(path: Path, subset: str = "pretrain") -> TalkingClip:
    return TalkingClip(f"{subset}/t/00001", "t", path, "t/00001.mp4", "train", "")


def test_pretrain_clips_become_pieces_with_their_own_times(tmp_path: Path) -> None:
    rows = "".join(f"W{k} {k * 0.5:.2f} {k * 0.5 + 0.4:.2f} 9\n" for k in range(20))
    text = " ".join(f"W{k}" for k in range(20))
    write(tmp_path / "a.txt", f"Text: {text}\n\nWORD START END ASDSCORE\n{rows}")
    clips, skipped = read_film(film(tmp_path / "a.mp4"), max_seconds=4.0)
    assert skipped == [] and len(clips) >= 3
    assert " ".join(clip.text for clip in clips) == text.lower()
    assert [clip.utterance_id for clip in clips[:2]] == [
        "pretrain/t/00001-000",
        "pretrain/t/00001-001",
    ]
    for clip in clips:
        assert clip.span_s is not None
        first = int(clip.span_s[0] * 25 + 1e-6) / 25
        number = int(clip.words[0].word[1:])
        assert clip.words[0].start_s + first == pytest.approx(number * 0.5)
        assert clip.text == " ".join(word.word for word in clip.words)


def test_a_word_longer_than_a_piece_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "Text: A B\n\nWORD START END\nA 0.0 9.0 1\nB 9.0 9.5 1\n")
    clips, [row] = read_film(film(tmp_path / "a.mp4"), max_seconds=4.0)
    assert [clip.text for clip in clips] == ["b"] and "'a' alone lasts 9.0 s" in row["reason"]


def test_pretrain_clips_need_word_times_and_others_do_not(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "Text: A B\n")
    with pytest.raises(CorpusError, match="no word times"):
        read_film(film(tmp_path / "a.mp4"), max_seconds=4.0)
    [clip], _ = read_film(film(tmp_path / "a.mp4", "trainval"), max_seconds=4.0)
    assert clip.text == "a b" and clip.words == () and clip.span_s is None


def test_word_times_of_another_text_are_not_used(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "Text: A C\n\nWORD START END\nA 0.0 0.5 1\nB 0.5 0.9 1\n")
    [clip], _ = read_film(film(tmp_path / "a.mp4", "test"), max_seconds=4.0)
    assert clip.text == "a c" and clip.words == ()


@pytest.mark.parametrize(
    "option",
    [{"max_seconds": 0.5}, {"vocabulary_size": 1}, {"valid_share": 0.0}, {"valid_share": 1.0}],
)
def test_impossible_settings_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(CorpusError, match=next(iter(option))):
        LrsConfig(**option)  # type: ignore[arg-type]
