"""Transcripts as files: the four formats, and files that would overwrite each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import avsr.transcript_files
from avsr.schema import RecognizedWord, Segment, Transcript
from avsr.transcript_files import FORMATS, transcribe_files


def transcript(path: Path, *warnings: str) -> Transcript:
    segments = (
        Segment((RecognizedWord("bin", 0.5, 0.8, 0.91239), RecognizedWord("blue", 0.8, 1.1, 0.5))),
        Segment((RecognizedWord("now", 3.0, 3.4, 1.0),)),
    )
    return Transcript(str(path), 4.0, "audio_visual", segments, warnings)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A recogniser that always says the same, and fails on files named bad."""

    def transcribe(path: Path, *_: Any, **__: Any) -> Transcript:
        if path.stem.startswith("bad"):
            raise ValueError(f"{path}: is bad")
        return transcript(path, f"{path}: a warning")

    monkeypatch.setattr(avsr.transcript_files, "transcribe", transcribe)
    return None


def test_formats(tmp_path: Path, engine: Any) -> None:
    said: list[str] = []
    transcribe_files([Path("a/talk.mp4")], engine, out=tmp_path, say=said.append, warn=said.append)
    assert said[0] == "warning: a/talk.mp4: a warning" and said[1].startswith("a/talk.mp4\t")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"talk.{name}" for name in sorted(FORMATS)
    ]
    assert (tmp_path / "talk.txt").read_text() == "bin blue\nnow\n"
    row = json.loads((tmp_path / "talk.json").read_text())
    assert row["text"] == "bin blue now" and row["modality"] == "audio_visual"
    assert row["duration_s"] == 4.0 and row["warnings"] == ["a/talk.mp4: a warning"]
    assert row["segments"][0]["words"][0] == {
        "word": "bin",
        "start_s": 0.5,
        "end_s": 0.8,
        "confidence": 0.912,
    }
    assert "00:00:03,000 --> 00:00:04,000\nnow\n" in (tmp_path / "talk.srt").read_text()
    assert (tmp_path / "talk.vtt").read_text().startswith("WEBVTT\n\n00:00:00.500 --> ")


def test_text_is_printed_without_a_folder(engine: Any) -> None:
    said: list[str] = []
    transcribe_files([Path("talk.mp4")], engine, say=said.append, warn=lambda _: None)
    assert said == ["talk.mp4\tbin blue now"]


def test_bad_files_do_not_lose_the_others(tmp_path: Path, engine: Any) -> None:
    clips = [Path(name) for name in ("bad1.mp4", "one.mp4", "bad2.mp4", "two.mp4")]
    warned: list[str] = []
    with pytest.raises(ValueError, match=r"2 of 4 files .*: bad1.mp4, bad2.mp4"):
        transcribe_files(
            clips, engine, out=tmp_path, formats=["txt"], say=lambda _: None, warn=warned.append
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.txt", "two.txt"]
    assert warned[0] == "error: bad1.mp4: is bad"
    with pytest.raises(ValueError, match=r"^bad1.mp4: is bad$"):
        transcribe_files(clips[:1], engine)


def test_same_names_and_unknown_formats_are_refused_first(tmp_path: Path, engine: Any) -> None:
    clips = [Path("a/talk.mp4"), Path("b/talk.wav")]
    with pytest.raises(ValueError, match=r"a/talk.mp4 and b/talk.wav would both be written as"):
        transcribe_files(clips, engine, out=tmp_path, say=lambda _: None)
    transcribe_files(clips, engine, say=lambda _: None, warn=lambda _: None)  # printing is fine
    for formats in (["txt", "doc"], []):
        with pytest.raises(ValueError, match="must be some of txt, json, srt, vtt"):
            transcribe_files(clips[:1], engine, out=tmp_path, formats=formats)
    assert list(tmp_path.iterdir()) == []
