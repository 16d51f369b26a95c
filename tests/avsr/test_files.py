"""Reading and writing: rates, channels, damaged files, atomic writes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from avsr import files
from avsr.files import MediaError, read_audio, read_video, write_atomically, write_video

TONE_HZ = 440.0


def tone(seconds: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def numbered_frames(count: int) -> np.ndarray:
    """Frames whose gray level tells their number."""
    frames = np.zeros((count, 32, 48, 3), np.uint8)
    frames[:] = (20 + 2 * np.arange(count)).astype(np.uint8)[:, None, None, None]
    return frames


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_and_stereo_become_16_khz_mono(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.repeat(tone(0.5, rate)[:, None], channels, 1), rate)
    read = read_audio(path)
    assert read.dtype == np.float32 and read.shape == (8000,)
    middle = slice(1000, 7000)
    assert np.abs(read - tone(0.5, 16000))[middle].max() < 0.01


def test_one_sample_is_audio_and_none_is_not(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", np.array([0.25]), 16000)
    assert read_audio(tmp_path / "one.wav").shape == (1,)
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    with pytest.raises(MediaError, match=r"none.wav.*0 samples"):
        read_audio(tmp_path / "none.wav")


@pytest.mark.parametrize("reader", [read_audio, read_video])
@pytest.mark.parametrize("suffix", [".wav", ".mp4", ".mpg"])
def test_missing_empty_folder_and_text(reader, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        reader(tmp_path / f"missing{suffix}")
    (tmp_path / f"empty{suffix}").touch()
    with pytest.raises(MediaError, match="empty"):
        reader(tmp_path / f"empty{suffix}")
    (tmp_path / f"text{suffix}").write_text("this is not media\n" * 20)
    with pytest.raises(MediaError, match=r"text\..*not readable"):
        reader(tmp_path / f"text{suffix}")
    with pytest.raises(MediaError, match="is a folder"):
        reader(tmp_path)


def test_truncated_film_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    noisy = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8)
    write_video(path, noisy, 25, tone(1.6, 16000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match="truncated"):
        read_video(path)


def test_video_without_audio_and_audio_without_video(tmp_path: Path) -> None:
    silent, sound = tmp_path / "silent.mp4", tmp_path / "sound.wav"
    write_video(silent, numbered_frames(5), 25)
    with pytest.raises(MediaError, match="no audio stream"):
        read_audio(silent)
    soundfile.write(sound, tone(0.2, 16000), 16000)
    with pytest.raises(MediaError, match="no video stream"):
        read_video(sound)


def test_film_keeps_frames_and_sound_together(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_video(path, numbered_frames(25), 25, tone(1.0, 16000))
    frames, sound = read_video(path), read_audio(path)
    assert frames.shape == (25, 32, 48, 3)
    assert np.abs(frames[:, 16, 24, 0].astype(int) - (20 + 2 * np.arange(25))).max() <= 3
    assert abs(len(sound) - 16000) <= 1024  # AAC works in blocks of 1024
    spectrum = np.abs(np.fft.rfft(sound[2000:10000]))
    assert abs(spectrum.argmax() * 16000 / 8000 - TONE_HZ) < 3


def test_sound_of_a_written_film_is_in_time(tmp_path: Path) -> None:
    """AAC starts with a block of its own: without its edit list all sound comes 64 ms late."""
    click = np.zeros(16000, np.float32)
    click[4000] = 0.9
    write_video(tmp_path / "film.mp4", numbered_frames(25), 25, click)
    assert abs(int(np.abs(read_audio(tmp_path / "film.mp4")).argmax()) - 4000) <= 8


@pytest.mark.parametrize(("numerator", "denominator"), [(24, 1), (30000, 1001), (30, 1), (50, 1)])
def test_other_frame_rates_are_resampled_by_time(
    tmp_path: Path, numerator: int, denominator: int
) -> None:
    """Two seconds stay two seconds, and each frame shows what was on screen at its middle."""
    from fractions import Fraction

    rate = Fraction(numerator, denominator)
    path = tmp_path / "film.mp4"
    count = round(2 * rate)
    frames = np.zeros((count, 32, 48, 3), np.uint8)
    frames[:] = (20 + 2 * np.arange(count)).astype(np.uint8)[:, None, None, None]
    write_video(path, frames, rate)
    read = read_video(path)
    assert len(read) == 50
    shown = (read[:, 16, 24, 0].astype(float) - 20) / 2
    expected = np.floor((np.arange(50) + 0.5) / 25 * float(rate) + 1e-6)
    assert np.abs(shown - expected).max() <= 1.5  # the codec's rounding of gray levels


def test_wav_that_would_clip_is_refused_not_clipped(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"peak 1\.500.*clip"):
        files.write_wav(tmp_path / "a.wav", np.array([0.0, 1.5]))
    files.write_wav(tmp_path / "b.wav", np.array([0.0, 1.5]), subtype="FLOAT")
    assert read_audio(tmp_path / "b.wav").max() == 1.5
    assert not (tmp_path / "a.wav").exists()


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), write_atomically(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"disk full while writing .*a\.txt; free some space"):
        with write_atomically(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_kill_in_the_middle_of_a_write_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    code = (
        "import os, signal, sys\nfrom avsr.files import write_atomically\n"
        "with write_atomically(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()


def test_jsonl_errors_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": \n')
    with pytest.raises(ValueError, match=r"rows\.jsonl:3"):
        list(files.read_jsonl(path))
    path.write_text("[1]\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl:1: is a list"):
        list(files.read_jsonl(path))


def test_weights_round_trip_and_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    files.save_weights(path, {"a": torch.arange(3.0)}, {"note": "x"})
    state, info = files.load_weights(path)
    assert info == {"note": "x"} and torch.equal(state["a"], torch.arange(3.0))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="not a complete safetensors"):
        files.load_weights(path)
    with pytest.raises(ValueError, match="no such weights"):
        files.load_weights(tmp_path / "none.safetensors")


@pytest.mark.real_data
def test_grid_clip(avsr_data: Path) -> None:
    clip = next((avsr_data / "grid" / "s1" / "video").glob("*.mp4"))
    assert read_video(clip).shape == (75, 288, 360, 3)
    assert abs(len(read_audio(clip)) - 48000) <= 1024
    with av.open(str(clip)) as container:
        assert container.streams.video[0].average_rate == 25
