from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avsr.files import write_json
from avsr.report_samples import ReportSample, read_samples

WHOLE = {
    "title": "u1",
    "reference": "bin blue",
    "condition": "seed 0",
    "sounds": {"clean": "sounds/clean.wav", "noisy": "noisy.wav"},
    "transcripts": {"noisy": {"A": "bin"}},
    "faces": {"generated": "face.mp4"},
}


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "samples.json"
    write_json(path, [WHOLE, {"title": "u2", "reference": "a"}])
    first, second = read_samples(path)
    assert first == ReportSample(
        "u1",
        "bin blue",
        {"clean": tmp_path / "in/sounds/clean.wav", "noisy": tmp_path / "in/noisy.wav"},
        {"noisy": {"A": "bin"}},
        {"generated": tmp_path / "in/face.mp4"},
        "seed 0",
    )
    assert list(first.sounds) == ["clean", "noisy"]
    assert second == ReportSample("u2", "a")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"title": "u1"}, "is a dict; write a list"),
        ([3], "sample 0 is a int"),
        ([WHOLE, {"title": "u1"}], r"sample 1: missing fields \['reference'\]"),
        ([{**WHOLE, "audio": "x"}], r"unknown fields \['audio'\]"),
        ([{**WHOLE, "title": 1}], "title is 1"),
        ([{**WHOLE, "sounds": ["a.wav"]}], "sounds is"),
        ([{**WHOLE, "faces": {"a": 1}}], "faces is"),
        ([{**WHOLE, "transcripts": []}], "transcripts are"),
        ([{**WHOLE, "transcripts": {"noisy": "bin"}}], "transcripts of 'noisy'"),
        ([{**WHOLE, "transcripts": {"nosy": {"A": "bin"}}}], "sample 0: .*nosy.*clean"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: Any, says: str) -> None:
    path = tmp_path / "samples.json"
    write_json(path, content)
    with pytest.raises(ValueError, match=says) as caught:
        read_samples(path)
    assert str(path) in str(caught.value)


def test_transcripts_may_stand_without_a_sound() -> None:
    sample = ReportSample("u", "a", transcripts={"babble": {"A": "b"}})
    assert sample.transcripts["babble"]["A"] == "b"
