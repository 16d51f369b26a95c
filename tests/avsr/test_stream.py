"""Files and standard input as streams: pieces, pace, latency, errors."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import avsr.stream
from avsr.cli import COMMANDS, DESCRIPTION
from avsr.command_line import run_commands
from avsr.decode.live import LiveConfig, LiveText
from avsr.files import MediaError, read_audio, write_video, write_wav
from avsr.live import LiveRecognizer
from avsr.models.recognizer import Recognizer
from avsr.stream import (
    Latency,
    Piece,
    frames_of,
    pieces_of_file,
    pieces_of_pcm,
    stream,
    stream_source,
)
from avsr.tracking import TrackingError
from avsr.training.recognizer import save_recognizer

LIVE = LiveConfig(chunk_frames=4, left_chunks=2, beam_size=4)


@pytest.fixture(scope="module")
def causal(recognizer: Any) -> Recognizer:
    torch.manual_seed(3)
    model = Recognizer(replace(recognizer.config, causal=True)).eval()
    with torch.no_grad():
        model.to_logits.weight.mul_(30)
    return model


def noise(frames: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, int(640 * frames)).astype(np.float32)


def film(path: Path, frames: int, sound: np.ndarray | None) -> Path:
    write_video(path, (np.full((64, 64, 3), t, np.uint8) for t in range(frames)), audio=sound)
    return path


def final(texts: list[LiveText]) -> list[str]:
    return [text.text for text in texts if text.final]


def test_blocks_of_any_size_become_frames() -> None:
    sound = noise(5.5)
    parts = list(frames_of([sound[:100], sound[100:100], sound[100:3000], sound[3000:]]))
    assert [len(part) for part in parts] == [640, 640, 640, 640, 640, 320]
    np.testing.assert_array_equal(np.concatenate(parts), sound)


def test_file_and_standard_input_say_the_same(
    tmp_path: Path, causal: Recognizer, tokenizer: Any
) -> None:
    path = tmp_path / "talk.wav"
    write_wav(path, noise(21.3))
    pcm = np.rint(read_audio(path) * 32768).astype("<i2").tobytes()
    said: dict[str, list[LiveText]] = {}
    for source in (str(path), "-"):
        said[source] = []
        latency = stream_source(
            source,
            LiveRecognizer(causal, tokenizer, "audio", LIVE),
            modality="audio",
            pace="fast",
            landmarker_model=None,
            standard_input=io.BytesIO(pcm),
            say=said[source].append,
            warn=pytest.fail,
        )
        assert latency.duration_s == pytest.approx(22 / 25)
        assert len(latency.compute_ms) == 5 and latency.behind_ms == []
    assert said["-"] == said[str(path)] and final(said["-"])


def test_real_pace_waits_for_each_piece_and_measures(causal: Recognizer, tokenizer: Any) -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    def clock() -> float:
        now[0] += 0.001  # each look at the clock costs a millisecond: computing takes time
        return now[0]

    live = LiveRecognizer(causal, tokenizer, "audio", LIVE)
    pieces = [Piece(noise(1, seed), None) for seed in range(9)]
    latency = stream(pieces, live, None, pace="real", say=lambda _: None, clock=clock, sleep=sleep)
    assert 0.36 < now[0] - 100.0 < 0.40  # nine pieces of 40 ms
    assert len(slept) == 9
    assert len(latency.compute_ms) == 2
    assert latency.compute_ms == pytest.approx([1.0, 1.0])
    assert all(1.0 <= behind <= 4.0 for behind in latency.behind_ms)
    assert latency.algorithmic_ms == 167.5


def test_latency_line() -> None:
    latency = Latency(167.5, 4.0, 0.2, [1.0, 2.0, 3.0], [5.0])
    assert latency.line == (
        "latency: algorithm 167.5 ms (chunk and look-ahead); compute median 2.0 ms, 95th "
        "percentile 2.9 ms; behind median 5.0 ms, 95th percentile 5.0 ms; 4.00 s in 0.050 x real "
        "time"
    )


def test_pieces_of_a_film(tmp_path: Path) -> None:
    path = film(tmp_path / "face.mp4", 12, noise(8))
    pieces = list(pieces_of_file(path, "audio_visual"))
    heard = [piece.samples is not None for piece in pieces]
    assert heard[0] and len(pieces) >= 12
    assert all(piece.picture is not None for piece in pieces[:12])
    assert not any(heard[10:])  # the sound is over
    assert all(piece.samples is None for piece in pieces_of_file(path, "video"))
    assert all(piece.picture is None for piece in pieces_of_file(path, "audio"))


class FakeTracker:
    def __init__(self, model: Path) -> None:
        assert model.name == "model.task"

    def __enter__(self) -> FakeTracker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def detect(self, frame: np.ndarray) -> list[np.ndarray]:
        rng = np.random.default_rng(1)
        return [rng.uniform(10, 50, (478, 3)).astype(np.float32)] if frame.mean() > 3 else []


@pytest.mark.parametrize("modality", ["video", "audio_visual"])
def test_lips_are_read_live(
    tmp_path: Path,
    causal: Recognizer,
    tokenizer: Any,
    modality: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(avsr.stream, "FaceTracker", FakeTracker)
    path, said = film(tmp_path / "face.mp4", 20, noise(18)), []
    latency = stream_source(
        str(path),
        LiveRecognizer(causal, tokenizer, modality, LIVE),
        modality=modality,
        pace="fast",
        landmarker_model=tmp_path / "model.task",
        standard_input=io.BytesIO(),
        say=said.append,
        warn=pytest.fail,
    )
    assert latency.algorithmic_ms == 240.0 and latency.duration_s >= 20 / 25
    assert final(said)


def test_half_a_sample_is_told_and_left_out() -> None:
    told: list[str] = []
    pieces = list(pieces_of_pcm(io.BytesIO(b"\x00\x40" * 700 + b"\x01"), told.append))
    assert [len(piece.samples) for piece in pieces if piece.samples is not None] == [640, 60]
    assert pieces[0].samples is not None and pieces[0].samples[0] == 0.5
    assert len(told) == 1 and "16-bit" in told[0]


def test_what_cannot_be_streamed(
    tmp_path: Path, causal: Recognizer, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(avsr.stream, "find_face_landmarker", lambda _: None)
    silent = film(tmp_path / "silent.mp4", 5, None)
    write_wav(tmp_path / "sound.wav", noise(5))

    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    def run(source: str, modality: Any, standard_input: Any = None) -> None:
        stream_source(
            source,
            LiveRecognizer(causal, tokenizer, modality, LIVE),
            modality=modality,
            pace="fast",
            landmarker_model=None,
            standard_input=standard_input or io.BytesIO(),
            say=lambda _: None,
            warn=pytest.fail,
        )

    with pytest.raises(MediaError, match="standard input: no sound came"):
        run("-", "audio")
    with pytest.raises(ValueError, match="is a terminal"):
        run("-", "audio", Terminal())
    with pytest.raises(ValueError, match="'video' needs pictures, standard input is sound alone"):
        run("-", "video")
    with pytest.raises(MediaError, match=r"none.wav"):
        run(str(tmp_path / "none.wav"), "audio")
    with pytest.raises(MediaError, match=r"silent.mp4: has no audio stream"):
        run(str(silent), "audio")
    with pytest.raises(TrackingError, match=r"avsr fetch face-landmarker.*--landmarker-model"):
        run(str(silent), "video")
    with pytest.raises(MediaError, match=r"sound.wav: has no video stream"):
        list(pieces_of_file(tmp_path / "sound.wav", "video"))


def test_the_command_prints_texts_and_latency(
    tmp_path: Path, causal: Recognizer, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, sound = tmp_path / "best.safetensors", tmp_path / "talk.wav"
    save_recognizer(weights, causal, tokenizer, {})
    write_wav(sound, noise(21))

    def avsr_command(*words: str) -> None:
        run_commands(
            "avsr", DESCRIPTION, COMMANDS, ["stream", *words, "--recognizer", str(weights)]
        )

    avsr_command(str(sound), "--pace", "fast", "--live.chunk-frames", "4", "--live.pause-s", "None")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["final", "latency:"]
    assert lines[0].startswith("partial 0.00-")
    assert "algorithm 167.5 ms" in lines[-1] and "x real time" in lines[-1]
    with pytest.raises(SystemExit):
        avsr_command(str(tmp_path / "none.wav"))
    error = capsys.readouterr().err
    assert error.startswith("avsr: error: ") and "none.wav" in error and error.count("\n") == 1
