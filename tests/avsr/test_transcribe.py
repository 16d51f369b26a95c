"""A file in, its text with times out, and everything that a file can lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import avsr.transcribe
from avsr.data.collate import collate
from avsr.decode.config import DecodingConfig
from avsr.decode.ctc import ctc_prefix_beam
from avsr.decode.windows import WindowConfig
from avsr.files import MediaError, write_video, write_wav
from avsr.models.recognizer import Recognizer
from avsr.schema import RecognizedWord
from avsr.text import Tokenizer, train_tokenizer
from avsr.tracking import NUM_LANDMARKS, TrackingError
from avsr.training.recognizer import plain_example
from avsr.transcribe import segments_of, transcribe, words_of

BEAM_3 = DecodingConfig(beam_size=3)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.2 * rng.standard_normal(640 * 20)).clip(-1, 1).astype(np.float32)


@pytest.fixture
def loaded(recognizer: Any, tokenizer: Any) -> tuple[Any, Any]:
    return recognizer, tokenizer


def film(path: Path, frames: int, audio: np.ndarray | None, fps: Any = 25) -> Path:
    picture = np.full((64, 64, 3), 90, np.uint8)
    write_video(path, (picture for _ in range(frames)), fps, audio=audio)
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
    found = transcribe(path, recognizer_file, decoding=BEAM_3)
    assert found.text == expected and found.modality == "audio" and found.warnings == ()
    assert found.duration_s == row["num_frames"] / 25
    times = [t for word in found.words for t in (word.start_s, word.end_s)]
    assert times == sorted(times) and times[-1] <= found.duration_s
    assert transcribe(str(path), loaded, decoding=BEAM_3) == found


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_other_rates_and_stereo_are_resampled(
    tmp_path: Path, loaded: tuple[Any, Any], rate_hz: int
) -> None:
    rng = np.random.default_rng(0)
    write_wav(tmp_path / "a.wav", rng.uniform(-0.1, 0.1, (rate_hz, 2)), rate_hz)
    assert transcribe(tmp_path / "a.wav", loaded).duration_s == 1.0


def test_one_sample_is_transcribed_and_none_is_refused(
    tmp_path: Path, loaded: tuple[Any, Any]
) -> None:
    write_wav(tmp_path / "one.wav", np.zeros(1))
    assert transcribe(tmp_path / "one.wav", loaded).duration_s == 1 / 16000
    write_wav(tmp_path / "none.wav", np.zeros(0))
    with pytest.raises(MediaError, match=r"none.wav: audio has 0 samples"):
        transcribe(tmp_path / "none.wav", loaded)


def test_modality_that_the_recogniser_lacks(tmp_path: Path, loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    deaf = Recognizer(replace(model.config, streams=("crops", "lips"))).eval()
    with pytest.raises(ValueError, match=r"'audio' needs the streams \['audio'\].*'crops', 'lips'"):
        transcribe(tmp_path / "any.wav", (deaf, tokenizer), modality="audio")
    blind = Recognizer(replace(model.config, streams=("audio",))).eval()
    for modality in ("video", "audio_visual"):
        with pytest.raises(ValueError, match=rf"'{modality}' needs the streams \['crops'\]"):
            transcribe(tmp_path / "any.wav", (blind, tokenizer), modality=modality)  # type: ignore[arg-type]
    lips = Recognizer(replace(model.config, streams=("lips",))).eval()
    with pytest.raises(ValueError, match=r"'auto' needs the streams \['audio', 'crops'\]"):
        transcribe(tmp_path / "any.wav", (lips, tokenizer))


@pytest.fixture
def no_landmarker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AVSR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_lips_need_the_landmarker_and_auto_goes_on_without(
    tmp_path: Path, loaded: tuple[Any, Any], speech: np.ndarray, no_landmarker: None
) -> None:
    path = film(tmp_path / "face.mp4", 20, speech)
    for modality in ("video", "audio_visual"):
        with pytest.raises(TrackingError, match=r"avsr fetch face-landmarker.*--landmarker-model"):
            transcribe(path, loaded, modality=modality)  # type: ignore[arg-type]
    found = transcribe(path, loaded)
    assert found.modality == "audio"
    assert "face.mp4: lips are not read: " in found.warnings[0]
    assert transcribe(path, loaded, modality="audio").warnings == ()
    silent = film(tmp_path / "silent.mp4", 20, None)
    with pytest.raises(TrackingError, match="avsr fetch face-landmarker"):
        transcribe(silent, loaded)


class FakeTracker:
    """Stands for MediaPipe: finds faces in the frames that it is told to."""

    tracked = np.ones(1, bool)
    faces = 1
    looked_at = 0

    def __init__(self, model: Path) -> None:
        assert Path(model).name == "model.task"
        FakeTracker.looked_at = 0

    def __enter__(self) -> FakeTracker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def detect(self, _: np.ndarray) -> list[np.ndarray]:
        there = np.resize(self.tracked, self.looked_at + 1)[-1]
        FakeTracker.looked_at += 1
        rng = np.random.default_rng(0)
        face = rng.uniform(10, 40, (NUM_LANDMARKS, 3)).astype(np.float32)
        face[33], face[263] = (15, 20, 0), (35, 20, 0)
        moved = [face + np.float32([200 * n, 0, 0]) for n in range(self.faces)]
        return moved if there else []


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> type[FakeTracker]:
    monkeypatch.setattr(avsr.transcribe, "FaceTracker", FakeTracker)
    monkeypatch.setattr(FakeTracker, "tracked", np.ones(1, bool))
    monkeypatch.setattr(FakeTracker, "faces", 1)
    # A still picture repeats one object: each frame has to be looked at.
    real = avsr.long_form.stream_video
    monkeypatch.setattr(avsr.long_form, "stream_video", lambda path: map(np.copy, real(path)))
    return FakeTracker


MODEL = Path("model.task")


def test_video_without_audio_and_audio_without_video(
    tmp_path: Path, loaded: tuple[Any, Any], tracker: type[FakeTracker], speech: np.ndarray
) -> None:
    model, tokenizer = loaded
    silent = film(tmp_path / "silent.mp4", 20, None)
    for modality in ("auto", "audio_visual"):
        found = transcribe(silent, loaded, modality=modality, landmarker_model=MODEL)  # type: ignore[arg-type]
        assert found.modality == "video"
        assert found.warnings == (f"{silent}: has no audio stream; read from the lips alone",)
    with pytest.raises(MediaError, match=r"silent.mp4: has no audio stream; give a file with soun"):
        transcribe(silent, loaded, modality="audio")
    blind = Recognizer(replace(model.config, streams=("audio",))).eval()
    with pytest.raises(MediaError, match=r"silent.mp4: has no audio stream"):
        transcribe(silent, (blind, tokenizer))

    write_wav(tmp_path / "sound.wav", speech)
    assert transcribe(tmp_path / "sound.wav", loaded).warnings == ()
    both = transcribe(tmp_path / "sound.wav", loaded, modality="audio_visual")
    assert "sound.wav: has no video stream; read from the sound alone" in both.warnings[0]
    with pytest.raises(MediaError, match=r"sound.wav: has no video stream"):
        transcribe(tmp_path / "sound.wav", loaded, modality="video", landmarker_model=MODEL)


def test_no_face_is_said_and_the_sound_is_read(
    tmp_path: Path, loaded: tuple[Any, Any], tracker: type[FakeTracker], speech: np.ndarray
) -> None:
    tracker.tracked = np.zeros(1, bool)
    path = film(tmp_path / "wall.mp4", 20, speech)
    with pytest.raises(TrackingError, match=r"wall.mp4: no face found in any of 20 frames"):
        transcribe(path, loaded, modality="video", landmarker_model=MODEL)
    found = transcribe(path, loaded, landmarker_model=MODEL)
    assert found.modality == "audio" and "no face found in any of 20 frames" in found.warnings[0]
    assert found.text == transcribe(path, loaded, modality="audio").text


def test_lips_are_read(
    tmp_path: Path, loaded: tuple[Any, Any], tracker: type[FakeTracker], speech: np.ndarray
) -> None:
    path = film(tmp_path / "face.mp4", 20, speech)
    for modality in ("video", "audio_visual", "auto"):
        found = transcribe(path, loaded, modality=modality, landmarker_model=MODEL)  # type: ignore[arg-type]
        assert found.modality == ("video" if modality == "video" else "audio_visual")
        assert found.warnings == ()


def presence(monkeypatch: pytest.MonkeyPatch, loaded: tuple[Any, Any]) -> Callable[[], np.ndarray]:
    """Which frames' crops the network is given, of the last batch's first window."""
    seen: list[Any] = []
    real = Recognizer.encode_batch

    def encode_batch(self: Recognizer, batch: Any) -> Any:
        seen.append(batch)
        return real(self, batch)

    monkeypatch.setattr(Recognizer, "encode_batch", encode_batch)
    return lambda: seen[-1].crops_present[0].numpy()


def test_frames_without_a_face_are_not_read(
    tmp_path: Path,
    loaded: tuple[Any, Any],
    tracker: type[FakeTracker],
    speech: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = presence(monkeypatch, loaded)
    tracker.tracked = np.arange(20) < 15
    found = transcribe(film(tmp_path / "a.mp4", 20, speech), loaded, landmarker_model=MODEL)
    assert last()[:20].tolist() == tracker.tracked.tolist() and not last()[20:].any()
    assert "a.mp4: a face in 15 of 20 frames" in found.warnings[0]


def test_several_faces_are_told(
    tmp_path: Path, loaded: tuple[Any, Any], tracker: type[FakeTracker], speech: np.ndarray
) -> None:
    tracker.faces = 2
    path = film(tmp_path / "two.mp4", 20, speech)
    found = transcribe(path, loaded, landmarker_model=MODEL)
    assert "up to 2 faces at once; the one whose mouth goes with the sound" in found.warnings[0]
    found = transcribe(path, loaded, modality="video", landmarker_model=MODEL)
    assert "whose mouth moves most" in found.warnings[0]


@pytest.mark.parametrize("fps", [24, 29.97, 30, 50])
def test_other_frame_rates(
    tmp_path: Path,
    loaded: tuple[Any, Any],
    tracker: type[FakeTracker],
    fps: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fractions import Fraction

    last = presence(monkeypatch, loaded)
    rate = Fraction(30000, 1001) if fps == 29.97 else Fraction(fps)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 2 * 16000).astype(np.float32)
    path = film(tmp_path / "a.mp4", round(2 * rate), noise, rate)
    found = transcribe(path, loaded, landmarker_model=MODEL)
    assert abs(last().sum() - 50) <= 1 and abs(found.duration_s - 2.0) < 0.1


def test_sound_and_picture_of_different_lengths(
    tmp_path: Path, loaded: tuple[Any, Any], tracker: type[FakeTracker]
) -> None:
    """A little more or less of one is usual; most of the speech without pictures is told."""
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16000 * 8).astype(np.float32)
    near = film(tmp_path / "near.mp4", 20, noise[: 640 * 23])
    assert transcribe(near, loaded, landmarker_model=MODEL).warnings == ()
    far = film(tmp_path / "far.mp4", 20, noise)
    found = transcribe(far, loaded, landmarker_model=MODEL)
    assert abs(found.duration_s - 8.0) < 0.1
    assert "s of sound but 0.8 s of pictures" in found.warnings[-1]
    short = film(tmp_path / "short.mp4", 50, noise[:6400])
    assert (
        "0.4 s of sound but 2.0 s of pictures"
        in (transcribe(short, loaded, landmarker_model=MODEL).warnings[-1])
    )


def test_damage_is_one_line(tmp_path: Path, loaded: tuple[Any, Any]) -> None:
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 32000).astype(np.float32)
    path = film(tmp_path / "film.mp4", 50, noise)
    whole = path.read_bytes()
    for name, content in (
        ("half.mp4", whole[: len(whole) // 2]),
        ("empty.mp4", b""),
        ("empty.wav", b""),
        ("text.mp4", b"this is not media\n" * 30),
        ("text.wav", b"this is not media\n" * 30),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=name) as told:
            transcribe(tmp_path / name, loaded, modality="audio")
        assert "\n" not in str(told.value)


@pytest.mark.slow
def test_ten_minutes(tmp_path: Path, loaded: tuple[Any, Any]) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "talk.wav"
    write_wav(path, rng.uniform(-0.1, 0.1, 600 * 8000), 8000)
    found = transcribe(path, loaded, decoding=DecodingConfig("greedy"))
    assert found.duration_s == 600 and found.words[-1].end_s > 580


def test_windows_and_batches_do_not_change_what_pauses_part(
    tmp_path: Path, loaded: tuple[Any, Any]
) -> None:
    """Sentences parted by silence: several windows at once give what one at a time gives."""
    rng = np.random.default_rng(0)
    parts = [np.zeros(16000)]
    for _ in range(6):
        parts += [rng.uniform(-0.3, 0.3, 16000 * 2), np.zeros(16000)]
    write_wav(tmp_path / "talk.wav", np.concatenate(parts))
    found = [
        transcribe(
            tmp_path / "talk.wav",
            loaded,
            windows=WindowConfig(min_s=2.0, max_s=6.0, overlap_s=1.0, batch=batch),
        )
        for batch in (1, 3)
    ]
    assert found[0].text == found[1].text and found[0].text
    for a, b in zip(found[0].words, found[1].words, strict=True):
        assert (a.start_s, a.end_s) == (b.start_s, b.end_s)
        assert a.confidence == pytest.approx(b.confidence, abs=1e-3)


def certain(frames: int, size: int, at: dict[int, int]) -> np.ndarray:
    """Log posteriors 0.9 for the token told at a frame, blank elsewhere."""
    scores = np.full((frames, size), np.log(0.1 / (size - 1)))
    for t in range(frames):
        scores[t, at.get(t, 0)] = np.log(0.9)
    return scores


def test_words_take_times_from_the_frames_and_confidence_from_ctc(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("bin now")
    number = len(tokens)
    ctc = certain(40, tokenizer.size, dict(enumerate(tokens)))
    spoken = {t: token for i, token in enumerate(tokens) for t in range(10 + 4 * i, 14 + 4 * i)}
    frames = certain(40, tokenizer.size, spoken)
    found = words_of(tokens, ctc, frames, tokenizer, first_frame=100)
    assert [word.word for word in found] == ["bin", "now"]
    assert found[0].start_s == 110 / 25 and found[-1].end_s == (110 + 4 * number) / 25
    assert [word.confidence for word in found] == pytest.approx([0.9, 0.9])
    untrained = np.full((40, tokenizer.size), -np.log(tokenizer.size))
    other = words_of(tokens, ctc, untrained, tokenizer)
    assert other[0].start_s == 0.0 and other[-1].end_s == number / 25
    assert words_of([], ctc, frames, tokenizer) == []


def test_words_in_pieces_belong_together() -> None:
    tokenizer = Tokenizer(train_tokenizer(["seven again", "a sea"], 12, model_type="char"))
    tokens = tokenizer.encode("again sea")
    assert len(tokens) == len("again sea") + 1
    scores = certain(30, tokenizer.size, {2 * i: token for i, token in enumerate(tokens)})
    found = words_of(tokens, scores, scores, tokenizer)
    assert [word.word for word in found] == ["again", "sea"]
    # The word mark in front of "sea" is part of "sea".
    assert [(word.start_s * 25, word.end_s * 25) for word in found] == [(0, 11), (12, 19)]


def test_segments_part_at_pauses() -> None:
    words = [RecognizedWord("a", t, t + 0.2, 1.0) for t in (0.0, 0.5, 1.49, 2.5)]
    assert [len(part.words) for part in segments_of(words)] == [3, 1]
    assert segments_of([]) == ()
