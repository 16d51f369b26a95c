"""Windows of a film hold its samples and frames, each in its place, in memory that stays flat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import avsr.long_form
from avsr.data.dataset import features_of
from avsr.decode.windows import WindowConfig
from avsr.files import read_audio, write_wav
from avsr.long_form import FilmFacts, TalkWindow, windows_of
from avsr.tracking import NUM_LANDMARKS

CONFIG = WindowConfig(min_s=2.0, max_s=4.0, overlap_s=0.8)


def talk(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.1, 0.1, round(16000 * seconds))


def windows(path: Path, **changes: Any) -> tuple[list[TalkWindow], FilmFacts]:
    facts = FilmFacts()
    options: dict[str, Any] = {
        "sound": True,
        "tracker": None,
        "audio_delay_s": 0.0,
        "num_mels": None,
        "config": CONFIG,
        **changes,
    }
    return list(windows_of(path, facts, **options)), facts


def samples(window: TalkWindow) -> np.ndarray:
    assert window.example.features is not None
    return window.example.features.reshape(-1)


@pytest.mark.parametrize("seconds", [0.0001, 0.5, 4.0, 4.01, 13.33])
def test_windows_cover_the_sound_and_each_sample_is_in_its_place(
    tmp_path: Path, seconds: float
) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, talk(seconds), subtype="FLOAT")
    whole = read_audio(path)
    found, facts = windows(path)
    assert facts.num_samples == len(whole) and facts.duration_s == len(whole) / 16000
    assert len(found) == 1 if seconds <= 4 else len(found) > 1
    cuts = [window.cut_s for window in found]
    assert cuts[0] == 0 and cuts == sorted(cuts)
    end = 0
    for window in found:
        first = 640 * window.first_frame
        assert first <= end  # no gap
        heard = samples(window)
        assert len(heard) == 640 * window.example.num_frames
        end = first + len(heard)
        expected = np.pad(whole[first:end], (0, max(0, end - len(whole))))
        np.testing.assert_array_equal(heard, expected)
        assert len(heard) <= (4.0 + 2 * 0.8) * 16000 + 640
    assert end >= len(whole) > end - 640


def test_one_window_has_the_features_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, talk(1.23), subtype="FLOAT")
    (window,), _ = windows(path, num_mels=80)
    np.testing.assert_array_equal(window.example.features, features_of(read_audio(path), 80))


class Tracker:
    """Finds one face, whose x tells the number of the frame."""

    def detect(self, frame: np.ndarray) -> list[np.ndarray]:
        face = np.random.default_rng(0).uniform(20, 60, (NUM_LANDMARKS, 3)).astype(np.float32)
        face[33], face[263] = (30, 40, 0), (70, 40, 0)
        return [face] if frame[0, 0, 0] != 99 else []


def frames(count: int, without: range = range(0)) -> list[np.ndarray]:
    return [np.full((100, 100, 3), 99 if t in without else 98, np.uint8) for t in range(count)]


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    shown: list[np.ndarray] = []
    monkeypatch.setattr(avsr.long_form, "stream_video", lambda _: iter(shown))
    return shown


def test_frames_stay_beside_their_sound(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    missing = range(130, 170)
    pictures += frames(300, missing)
    path = tmp_path / "a.wav"
    write_wav(path, talk(12.0))
    found, facts = windows(path, tracker=Tracker())
    assert facts.num_pictures == 300 and facts.num_valid == 260 and facts.most_faces == 1
    for window in found:
        at = window.first_frame + np.flatnonzero(~window.example.crops_valid)
        here = range(window.first_frame, window.first_frame + window.example.num_frames)
        assert at.tolist() == [t for t in missing if t in here]


def test_pictures_alone(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    pictures += frames(300, range(100, 300))
    found, facts = windows(tmp_path / "a.mp4", sound=False, tracker=Tracker())
    assert all(window.example.features is None for window in found)
    assert [window.example.mouth_crops is None for window in found][0] is False
    assert found[-1].example.mouth_crops is None  # nothing to read there
    assert facts.duration_s == 12.0 and facts.num_valid == 100


@pytest.mark.parametrize("delay_s", [0.4, -0.4, 0.01])
def test_sound_that_starts_early_or_late_is_moved(
    tmp_path: Path, pictures: list[np.ndarray], delay_s: float
) -> None:
    pictures += frames(50)
    path = tmp_path / "a.wav"
    write_wav(path, talk(2.0), subtype="FLOAT")
    (window, *_), _ = windows(path, tracker=Tracker(), audio_delay_s=delay_s)
    heard, whole = samples(window), read_audio(path)
    if delay_s == 0.4:
        assert not heard[:6400].any()
        np.testing.assert_array_equal(heard[6400:32000], whole[: 32000 - 6400])
    elif delay_s == -0.4:
        np.testing.assert_array_equal(heard[: 32000 - 6400], whole[6400:])
    else:  # within half a frame
        np.testing.assert_array_equal(heard, whole)
    (alone,), _ = windows(path, audio_delay_s=delay_s)  # without pictures nothing is moved
    np.testing.assert_array_equal(samples(alone), whole)


def test_what_is_held_does_not_grow(
    tmp_path: Path, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures += frames(1500)
    path = tmp_path / "a.wav"
    write_wav(path, talk(60.0))
    held: list[tuple[int, int]] = []
    sound, faces = avsr.long_form._Sound, avsr.long_form._Faces
    kept: list[Any] = []
    monkeypatch.setattr(avsr.long_form, "_Sound", lambda *a: kept.append(sound(*a)) or kept[-1])
    monkeypatch.setattr(avsr.long_form, "_Faces", lambda *a: kept.append(faces(*a)) or kept[-1])
    facts = FilmFacts()
    for _ in windows_of(
        path,
        facts,
        sound=True,
        tracker=Tracker(),  # type: ignore[arg-type]
        audio_delay_s=0.0,
        num_mels=None,
        config=CONFIG,
    ):
        held.append((len(kept[0]._held), len(kept[1].tracks._seen)))
    assert len(held) > 10
    assert max(frames for _, frames in held) <= (4.0 + 4 * 0.8) * 25
    assert max(count for count, _ in held) <= (4.0 + 4 * 0.8 + 20.0) * 16000  # a block of 10 s
