"""The benchmark of long films: what it makes of clips, and what it counts of transcripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.decode.windows import WindowConfig
from avsr.files import probe_media, read_audio, read_video, write_video
from avsr.schema import RecognizedWord, Segment, Transcript
from benchmarks import long_films
from benchmarks.films.making import (
    Clip,
    film_file,
    groups_of,
    sound_file,
    two_faces,
    whole_frames,
    without_pauses,
)


def clip(folder: Path, number: int, word: str) -> Clip:
    path = folder / f"{number}.mp4"
    frames = [np.full((32, 32, 3), 60 * number + 30, np.uint8)] * (10 + number)
    write_video(path, frames)
    waveform = np.full(640 * len(frames) - 100, 0.1, np.float32)
    words = ((word, 0.1, 0.2), ("now", 0.2, 0.3))
    crops = np.zeros((len(frames), 96, 96), np.uint8)
    return Clip(f"s/{number}", f"{word} now", waveform, words, path, crops)


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return [clip(tmp_path, number, word) for number, word in enumerate(("bin", "lay", "set"))]


def test_films_hold_all_pictures_and_their_sound(clips: list[Clip], tmp_path: Path) -> None:
    path = film_file(tmp_path / "long.mp4", clips)
    pictures = read_video(path)
    assert len(pictures) == 10 + 11 + 12
    assert [round(pictures[k].mean() / 30) for k in (0, 9, 10, 20, 21)] == [1, 1, 3, 3, 5]
    assert probe_media(path).has_audio and abs(len(read_audio(path)) - 640 * 33) < 1100
    both = read_video(two_faces(tmp_path / "two.mp4", clips[0], clips[1], clips[0]))
    assert both.shape[:3] == (10, 32, 64)
    assert both[0, :, :32].mean() < both[0, :, 32:].mean()


def test_sound_is_cut_to_its_words_and_filled_to_its_frames(
    clips: list[Clip], tmp_path: Path
) -> None:
    part = without_pauses(clips[0])
    assert len(part) == round(0.34 * 16000) - round(0.06 * 16000)  # 40 ms on either side
    assert part[0] == 0 and part[-1] == 0 and part[len(part) // 2] == np.float32(0.1)
    assert (clips[0].waveform == np.float32(0.1)).all()  # not changed
    assert len(whole_frames(clips[0].waveform, 10)) == 6400
    path = sound_file(tmp_path / "a.wav", [np.zeros(100), np.ones(50)])
    assert len(read_audio(path)) == 150
    assert [len(group) for group in groups_of(clips, 2)] == [2, 1]


def said(words: list[str], start_s: float = 0.13) -> Transcript:
    times = [
        RecognizedWord(word, start_s + 0.1 * k, start_s + 0.1 * k + 0.1, 1.0)
        for k, word in enumerate(words)
    ]
    return Transcript("x", 1.0, "audio", (Segment(tuple(times)),) if times else ())


def test_words_lost_and_doubled_are_told_apart(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_films, "film_file", lambda path, group: path)

    def read(path: Path, modality: str, windows: WindowConfig) -> Transcript:
        name = path.name
        if name == "one.wav" or name[0].isdigit():
            return said(["bin", "now"])  # the first clip's words for all three
        if windows.max_s == 4.0:  # of the films without pauses
            return said(["bin", "now", "lay", "lay", "now", "set", "now"])
        return said([])

    chosen = {"joined": WindowConfig(max_s=3.0), "joined, pauses cut out": WindowConfig(max_s=4.0)}
    rows, times = long_films.measured(clips * 2, 3, read, chosen, tmp_path)
    by_name = {(row.material, row.modality, row.windows): row for row in rows}
    alone = by_name["one by one", "audio", "2 to 16 s"]
    assert (alone.substitutions, alone.insertions, alone.deletions, alone.words) == (4, 0, 0, 12)
    tight = by_name["joined, pauses cut out", "audio", "2 to 4 s"]
    assert (tight.insertions, tight.deletions, tight.substitutions) == (2, 0, 0)
    assert by_name["joined", "audio_visual", "2 to 3 s"].deletions == 12
    # 30 ms late, the starts and ends of the only sentence, heard twice, that was read right.
    assert times["words"] == 8 and times["mean_ms"] == pytest.approx(30.0)


def test_all_limits_that_are_tried_are_possible() -> None:
    for pair in long_films.LIMITS_S:
        windows = long_films.windows_of_limits(*pair)
        assert (windows.min_s, windows.max_s) == pair and windows.overlap_s <= 1.0


def test_without_a_run_or_data_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long_films.main(out=tmp_path)
    assert "left out" in capsys.readouterr().out
    monkeypatch.delenv("AVSR_DATA", raising=False)
    long_films.main(run=tmp_path, out=tmp_path)
    assert "left out: AVSR_DATA" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_page_is_made_of_the_report() -> None:
    row: dict[str, Any] = {
        "material": "joined",
        "modality": "audio",
        "windows": "2 to 3 s",
        "films": 4,
        "wer": 0.125,
        "low": 0.1,
        "high": 0.2,
        "insertions": 1,
        "deletions": 2,
        "substitutions": 3,
        "words": 48,
    }
    report = {
        "machine": {
            "cpu_count": 2,
            "processor": "made up",
            "versions": {"torch": "0"},
            "commit": "0" * 40,
            "command": "python benchmarks/long_films.py",
        },
        "recognizer": "audio_visual",
        "clips_per_film": 5,
        "validation_wer": [{"min_s": 2.0, "max_s": 3.0, "wer": {"joined": 0.25, "other": 0.5}}],
        "rows": [row],
        "word_times": {"words": 9, "mean_ms": 17.0, "median_ms": 12.0, "95_ms": 40.0},
        "two_faces": {"right": 23, "films": 24},
    }
    text = long_films.page(report)
    assert "| joined | audio | 2 to 3 s | 4 | 12.5 [10.0, 20.0] % | 1 | 2 | 3 |" in text
    assert "| windows | joined | other |" in text and "| 2 to 3 s | 25.0 % | 50.0 % |" in text
    assert "read in 23 of 24 films" in text
