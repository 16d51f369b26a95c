"""A file in, its text out, and everything that a file can lack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import avsr.transcribe
from avsr.data.collate import collate
from avsr.decode.ctc import ctc_prefix_beam
from avsr.files import MediaError, write_video, write_wav
from avsr.models.recognizer import Recognizer
from avsr.tracking import TrackingError
from avsr.training.recognizer import plain_example
from avsr.transcribe import transcribe


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.2 * rng.standard_normal(640 * 20)).clip(-1, 1).astype(np.float32)


@pytest.fixture
def loaded(recognizer: Any, tokenizer: Any) -> tuple[Any, Any]:
    return recognizer, tokenizer


def film(path: Path, frames: int, audio: np.ndarray | None) -> Path:
    picture = np.full((64, 64, 3), 90, np.uint8)
    write_video(path, (picture for _ in range(frames)), audio=audio)
    return path


def test_text_is_the_decoded_network_output(
    tmp_path: Path, recognizer_file: Path, loaded: tuple[Any, Any], test_rows: Any
) -> None:
    from avsr.data.manifest import decode_array

    row = test_rows[0]
    path = tmp_path / "clip.wav"
    write_wav(path, decode_array(row["audio"]), subtype="FLOAT")
    model, tokenizer = loaded
    batch = collate([plain_example(row, ("audio",), num_mels=80)])
    with torch.no_grad():
        scores = model(batch)[0].log_softmax(-1).numpy()
    expected = tokenizer.decode(ctc_prefix_beam(scores, 3)[0][0])
    assert expected  # an untrained network that says something
    assert transcribe(path, recognizer_file, beam_size=3) == expected
    assert transcribe(str(path), loaded, beam_size=3) == expected


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_other_rates_and_stereo_are_resampled(
    tmp_path: Path, loaded: tuple[Any, Any], rate_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    whole = avsr.transcribe.features_of

    def features_of(waveform: np.ndarray, num_mels: int) -> np.ndarray:
        seen.append(len(waveform))
        return whole(waveform, num_mels)

    monkeypatch.setattr(avsr.transcribe, "features_of", features_of)
    rng = np.random.default_rng(0)
    write_wav(tmp_path / "a.wav", rng.uniform(-0.1, 0.1, (rate_hz, 2)), rate_hz)
    transcribe(tmp_path / "a.wav", loaded)
    assert seen == [16000]


def test_one_sample_is_transcribed_and_none_is_refused(
    tmp_path: Path, loaded: tuple[Any, Any]
) -> None:
    write_wav(tmp_path / "one.wav", np.zeros(1))
    assert isinstance(transcribe(tmp_path / "one.wav", loaded), str)
    write_wav(tmp_path / "none.wav", np.zeros(0))
    with pytest.raises(MediaError, match=r"none.wav: audio has 0 samples"):
        transcribe(tmp_path / "none.wav", loaded)


def test_more_than_a_minute_is_refused(tmp_path: Path, loaded: tuple[Any, Any]) -> None:
    write_wav(tmp_path / "talk.wav", np.zeros(600 * 16000))
    with pytest.raises(MediaError, match=r"talk.wav: 600 s of sound, more than 60 s"):
        transcribe(tmp_path / "talk.wav", loaded)


def test_modality_that_the_recogniser_lacks(tmp_path: Path, loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    deaf = Recognizer(replace(model.config, streams=("crops", "lips"))).eval()
    with pytest.raises(ValueError, match=r"'audio' needs the streams \['audio'\].*'crops', 'lips'"):
        transcribe(tmp_path / "any.wav", (deaf, tokenizer))
    blind = Recognizer(replace(model.config, streams=("audio",))).eval()
    for modality in ("video", "audio_visual"):
        with pytest.raises(ValueError, match=rf"'{modality}' needs the streams \['crops'\]"):
            transcribe(tmp_path / "any.wav", (blind, tokenizer), modality=modality)  # type: ignore[arg-type]


def test_lips_need_the_landmarker(
    tmp_path: Path, loaded: tuple[Any, Any], speech: np.ndarray
) -> None:
    path = film(tmp_path / "face.mp4", 20, speech)
    for modality in ("video", "audio_visual"):
        with pytest.raises(ValueError, match=r"avsr fetch face-landmarker.*--landmarker-model"):
            transcribe(path, loaded, modality=modality)  # type: ignore[arg-type]
    assert isinstance(transcribe(path, loaded), str)  # its sound needs none


def test_video_without_audio_and_audio_without_video(
    tmp_path: Path, loaded: tuple[Any, Any], speech: np.ndarray
) -> None:
    silent = film(tmp_path / "silent.mp4", 5, None)
    for modality in ("audio", "audio_visual"):
        with pytest.raises(MediaError, match=r"silent.mp4: has no audio stream"):
            transcribe(silent, loaded, modality=modality, landmarker_model=tmp_path)  # type: ignore[arg-type]
    write_wav(tmp_path / "sound.wav", speech)
    with pytest.raises(MediaError, match=r"sound.wav: has no video stream"):
        transcribe(tmp_path / "sound.wav", loaded, modality="video", landmarker_model=tmp_path)


class FakeTracker:
    """Stands for MediaPipe: finds a face of random landmarks in the frames it is told to."""

    tracked = np.ones(0, bool)

    def __init__(self, model: Path) -> None:
        assert model.name == "model.task"

    def __enter__(self) -> FakeTracker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def track(self, frames: np.ndarray) -> SimpleNamespace:
        found = np.resize(self.tracked, len(frames))
        landmarks = np.random.default_rng(0).uniform(10, 50, (len(frames), 478, 3))
        return SimpleNamespace(tracked=found, landmarks=landmarks.astype(np.float32))


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> type[FakeTracker]:
    monkeypatch.setattr(avsr.transcribe, "FaceTracker", FakeTracker)
    monkeypatch.setattr(
        avsr.transcribe,
        "crop_mouths",
        lambda frames, *_: np.full((len(frames), 96, 96), 9, np.uint8),
    )
    monkeypatch.setattr(FakeTracker, "tracked", np.ones(1, bool))
    return FakeTracker


def test_no_face_is_said(
    tmp_path: Path, loaded: tuple[Any, Any], tracker: type[FakeTracker], speech: np.ndarray
) -> None:
    tracker.tracked = np.zeros(1, bool)
    path = film(tmp_path / "wall.mp4", 20, speech)
    with pytest.raises(TrackingError, match=r"wall.mp4: no face found in any of 20 frames"):
        transcribe(path, loaded, modality="video", landmarker_model=tmp_path / "model.task")


@pytest.mark.parametrize("modality", ["video", "audio_visual"])
def test_lips_are_read(
    tmp_path: Path,
    loaded: tuple[Any, Any],
    tracker: type[FakeTracker],
    speech: np.ndarray,
    modality: Any,
) -> None:
    path = film(tmp_path / "face.mp4", 20, speech)
    text = transcribe(path, loaded, modality=modality, landmarker_model=tmp_path / "model.task")
    assert isinstance(text, str)


def test_sound_and_picture_of_different_lengths(
    tmp_path: Path, loaded: tuple[Any, Any], tracker: type[FakeTracker]
) -> None:
    """A little more or less of one is usual; most of the speech without pictures is not."""
    options: Any = {"modality": "audio_visual", "landmarker_model": tmp_path / "model.task"}
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16000 * 8).astype(np.float32)
    near = film(tmp_path / "near.mp4", 20, noise[: 640 * 23])
    assert isinstance(transcribe(near, loaded, **options), str)
    far = film(tmp_path / "far.mp4", 20, noise)
    with pytest.raises(MediaError, match=r"far.mp4: 8.\d s of sound but 0.8 s of pictures"):
        transcribe(far, loaded, **options)


def test_more_than_a_minute_of_pictures_is_refused(
    tmp_path: Path, loaded: tuple[Any, Any], tracker: type[FakeTracker]
) -> None:
    path = film(tmp_path / "long.mp4", 25 * 61, None)
    with pytest.raises(MediaError, match=r"long.mp4: 61 s of pictures, more than 60 s"):
        transcribe(path, loaded, modality="video", landmarker_model=tmp_path / "model.task")
