"""Words and visemes from the files that people have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avsr.schema import RecognizedWord, Segment, Transcript
from learn2talk.viewer.timeline import read_timeline


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_transcript_of_avsr(tmp_path: Path) -> None:
    words = (RecognizedWord("bin", 0.1, 0.3, 0.9), RecognizedWord("blue", 0.3, 0.6, 0.8))
    transcript = Transcript("a.mp4", 1.0, "audio", (Segment(words),))
    found = read_timeline(written(tmp_path / "a.json", transcript.to_row()))
    assert [(w.word, w.start_s, w.end_s) for w in found.words] == [
        ("bin", 0.1, 0.3),
        ("blue", 0.3, 0.6),
    ]
    assert found.phones_estimated and len(found.phones) == len(found.visemes)
    assert found.visemes[0] == "p" and "u" in found.visemes
    assert all(0.1 <= phone.start_s <= phone.end_s <= 0.6 + 1e-6 for phone in found.phones)


def test_an_align_file_of_grid_without_its_silences(tmp_path: Path) -> None:
    (tmp_path / "a.align").write_text("0 2500 sil\n2500 5000 bin\n5000 7500 sp\n7500 9000 sil\n")
    found = read_timeline(tmp_path / "a.align")
    assert [(w.word, w.start_s, w.end_s) for w in found.words] == [("bin", 0.1, 0.2)]


def test_phones_are_taken_where_they_are_known(tmp_path: Path) -> None:
    phones = [
        {"phone": "m", "start_s": 0.0, "end_s": 0.1},
        {"phone": "AA1", "start_s": 0.1, "end_s": 0.3},
    ]
    for content in ({"phones": phones}, phones):
        found = read_timeline(written(tmp_path / "a.json", content))
        assert found.visemes == ("p", "a") and not found.phones_estimated and found.words == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "no words and no phones"),
        ({"text": "bin blue"}, "no words and no phones"),
        ([{"word": "bin"}], "no start_s and end_s"),
        ([{"word": "bin", "start_s": 0.3, "end_s": 0.1}], "begin at 0 and ascend"),
        ([{"word": "bin", "start_s": -1, "end_s": 0.1}], "begin at 0 and ascend"),
        ([{"word": "bin", "start_s": "x", "end_s": 0.1}], "no start_s and end_s"),
        ([{"phone": "!!", "start_s": 0, "end_s": 0.1}], "unknown phones"),
    ],
)
def test_what_is_no_timeline_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        read_timeline(written(tmp_path / "a.json", content))
    assert str(tmp_path / "a.json") in str(error.value)


def test_a_file_that_is_no_json_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("not json")
    with pytest.raises(ValueError, match=r"is no JSON.*avsr transcribe"):
        read_timeline(tmp_path / "a.json")
    with pytest.raises(ValueError, match="no such file"):
        read_timeline(tmp_path / "b.json")
