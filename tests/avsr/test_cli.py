"""The `avsr` command: mixtures at the level asked, and bad input that is named."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from avsr.cli import COMMANDS, DESCRIPTION
from avsr.command_line import run_commands
from avsr.files import read_audio, write_json, write_wav
from tests.avsr.made_up_report import made_up_readability, made_up_results, write_media


def avsr(*words: object) -> None:
    run_commands("avsr", DESCRIPTION, COMMANDS, [str(word) for word in words])


def fails(capsys: pytest.CaptureFixture[str], *words: object, code: int = 1) -> str:
    with pytest.raises(SystemExit) as stop:
        avsr(*words)
    assert stop.value.code == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert code == 2 or error.count("\n") == 1
    return error


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_wav(tmp_path / "speech.wav", (0.1 * rng.standard_normal(16000)).clip(-1, 1))
    return tmp_path / "speech.wav"


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    write_wav(tmp_path / "noise.wav", (0.02 * rng.standard_normal(9000)).clip(-1, 1))
    return tmp_path / "noise.wav"


@pytest.mark.parametrize("snr_db", [0.0, -5.0, 10.0])
def test_mix_gives_the_level_that_was_asked(
    speech: Path, noise: Path, tmp_path: Path, snr_db: float, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mixed.wav"
    avsr("mix", speech, noise, "--snr-db", snr_db, "--out", out)
    said = capsys.readouterr().out
    assert f"{snr_db:.2f} dB over the utterance" in said
    factor = float(said.rsplit("scaled by ", 1)[1])
    clean = factor * read_audio(speech).astype(np.float64)
    rest = read_audio(out) - clean
    measured = 10 * np.log10((clean**2).sum() / (rest**2).sum())
    assert abs(measured - snr_db) < 0.05  # 16 bit, and a factor of three decimals


def test_mix_that_would_clip_is_scaled(
    noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = tmp_path / "loud.wav"
    write_wav(loud, np.sin(np.arange(16000) / 10))
    avsr("mix", loud, noise, "--snr-db", 0, "--out", tmp_path / "out.wav")
    assert float(capsys.readouterr().out.rsplit("scaled by ", 1)[1]) < 1.0
    assert 0.9 < np.abs(read_audio(tmp_path / "out.wav")).max() <= 1.0


def test_mix_that_is_no_number(
    speech: Path, noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.wav"
    assert "nan" in fails(capsys, "mix", speech, noise, "--snr-db", "nan", "--out", out)
    assert "inf" in fails(capsys, "mix", speech, noise, "--snr-db", "inf", "--out", out)
    assert "loud" in fails(capsys, "mix", speech, noise, "--snr-db", "loud", "--out", out, code=2)
    assert not out.exists()


def test_mix_names_the_file_that_cannot_be_used(
    speech: Path, noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.wav"
    empty, text, silent = tmp_path / "empty.wav", tmp_path / "text.wav", tmp_path / "silent.wav"
    empty.touch()
    text.write_text("not sound at all")
    write_wav(silent, np.zeros(8000))
    options = ("--snr-db", 0, "--out", out)
    for bad in (tmp_path / "missing.wav", tmp_path, empty, text, silent):
        assert str(bad) in fails(capsys, "mix", speech, bad, *options)
        assert str(bad) in fails(capsys, "mix", bad, noise, *options)
    assert not out.exists()


def test_mix_of_no_samples_is_refused(
    noise: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
    error = fails(capsys, "mix", path, noise, "--snr-db", 0, "--out", tmp_path / "o.wav")
    assert f"{path}: audio has 0 samples" in error


def test_transcribe_prints_a_line_for_each_file(
    recognizer_file: Path, speech: Path, noise: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    avsr("transcribe", speech, noise, "--recognizer", recognizer_file, "--beam-size", 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(speech), str(noise)]
    assert all(len(line.split("\t")) == 2 for line in lines)


def test_transcribe_names_what_is_wrong(
    recognizer_file: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "no.safetensors"
    assert str(missing) in fails(capsys, "transcribe", speech, "--recognizer", missing)
    assert str(speech) in fails(capsys, "transcribe", speech, "--recognizer", speech)
    options = ("--recognizer", recognizer_file)
    assert "gone.wav" in fails(capsys, "transcribe", tmp_path / "gone.wav", *options)
    fails(capsys, "transcribe", speech, *options, "--modality", "smell", code=2)
    error = fails(capsys, "transcribe", speech, *options, "--modality", "video")
    assert f"{speech}: has no video stream" in error
    assert "formats" in fails(capsys, "transcribe", speech, *options, "--formats", "doc")
    assert "decoder" in fails(capsys, "transcribe", speech, *options, "--method", "joint")
    fails(capsys, "transcribe", speech, *options, "--windows.max-s", 1, code=2)
    assert "beam" in fails(capsys, "transcribe", speech, *options, "--beam-size", 0)


def test_transcribe_goes_on_after_a_bad_file(
    recognizer_file: Path, speech: Path, noise: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = speech.with_name("gone.wav")
    words = ("transcribe", speech, gone, noise, "--recognizer", recognizer_file)
    with pytest.raises(SystemExit) as stop:
        avsr(*words)
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == [str(speech), str(noise)]
    reason, last = printed.err.splitlines()
    assert reason == f"error: {gone}: no such file; check the path"
    assert "1 of 3 files could not be transcribed" in last and str(gone) in last


def test_transcribe_writes_the_formats_asked_for(
    recognizer_file: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "texts"
    options = ("--recognizer", recognizer_file, "--out", out, "--beam-size", 2)
    avsr("transcribe", speech, *options, "--formats", "json", "srt", "--method", "greedy")
    assert sorted(path.name for path in out.iterdir()) == ["speech.json", "speech.srt"]
    avsr("transcribe", speech, *options)
    assert sorted(path.suffix for path in out.iterdir()) == [".json", ".srt", ".txt", ".vtt"]


@pytest.mark.parametrize("content", ["{}", "[]", "not json"])
def test_report_of_something_else(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    fails(capsys, "report", path, "--out", tmp_path / "out")


def test_report_with_faces_and_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    write_json(tmp_path / "results.json", made_up_results(tmp_path))
    write_json(tmp_path / "readability.json", made_up_readability())
    write_media(tmp_path)
    sounds, texts = {"clean": "clean.wav"}, {"clean": {"A": "bin red"}}
    sample = {"title": "u7", "reference": "bin blue", "sounds": sounds, "transcripts": texts}
    write_json(tmp_path / "samples.json", [{**sample, "faces": {"real": "real.mp4"}}])
    words = ("report", tmp_path / "results.json", "--out", tmp_path / "out")
    faces = ("--readability", tmp_path / "readability.json")
    avsr(*words, *faces, "--samples", tmp_path / "samples.json")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for said in ("u7", 'id="readability"', "codetalker &amp; co", "data:video/mp4", "1 of 2 words"):
        assert said in page
    assert str(tmp_path / "out" / "rows.tex") in capsys.readouterr().out
    (tmp_path / "readability.json").write_text("[]")
    assert "benchmark of faces" in fails(capsys, *words, *faces)
    (tmp_path / "clean.wav").unlink()
    error = fails(capsys, *words, "--samples", tmp_path / "samples.json")
    assert "clean.wav" in error and "u7" in error


def test_report_of_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(capsys, "report", tmp_path / "no.json", "--out", tmp_path / "out")
    assert "no.json" in error


def test_prepare_names_a_folder_without_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--root", tmp_path / "raw", "--out", tmp_path / "out")
    assert str(tmp_path / "raw") in fails(capsys, "prepare", "grid", *options)
    error = fails(capsys, "prepare", "grid", *options, "--config.limit", 0, code=2)
    assert "limit is 0" in error
    assert not (tmp_path / "out").exists()


def test_fetch_takes_the_file_of_avsr_data_only_if_it_is_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    write_json(data / "mediapipe_face" / "face_landmarker.task", {"not": "the model"})
    monkeypatch.setenv("AVSR_DATA", str(data))
    out = tmp_path / "face_landmarker.task"
    assert "sha256" in fails(capsys, "fetch", "face-landmarker", "--out", out).lower()
    assert not out.exists()


def test_fetch_fills_the_cache_where_all_commands_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from avsr.tracking import find_face_landmarker

    def fetch(destination: Path, _: object) -> Path:
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.touch()
        return destination

    monkeypatch.setattr("avsr.tracking.fetch_face_landmarker", fetch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    avsr("fetch", "face-landmarker")
    assert capsys.readouterr().out.strip() == str(find_face_landmarker(None))
