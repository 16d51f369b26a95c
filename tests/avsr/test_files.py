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
from hypothesis import given
from hypothesis import strategies as st

from avsr import files
from avsr.files import (
    MediaError,
    MediaStreams,
    probe_media,
    read_audio,
    read_video,
    stream_audio,
    stream_video,
    write_atomically,
    write_video,
)

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


def shown_by_definition(times_s: np.ndarray, source_fps: float, fps: float) -> np.ndarray:
    """For each output frame the last source frame that began by its middle, found in one go."""
    relative = times_s - times_s[0]
    count = max(1, round((float(relative[-1]) + 1.0 / source_fps) * fps))
    middles = (np.arange(count) + 0.5) / fps
    shown = np.searchsorted(relative, middles + 1e-6, side="right") - 1
    return np.clip(shown, 0, len(times_s) - 1)


@given(
    st.lists(st.floats(0.001, 0.3), min_size=0, max_size=60),
    st.sampled_from([12.0, 24.0, 25.0, 30000 / 1001, 30.0, 50.0]),
    st.floats(-1.0, 5.0),
)
def test_a_stream_of_frames_shows_what_the_whole_list_shows(
    steps: list[float], source_fps: float, start_s: float
) -> None:
    times = start_s + np.concatenate([[0.0], np.cumsum(steps)])
    streamed = list(files._at_rate(zip(range(len(times)), times, strict=True), source_fps, 25.0))
    assert streamed == shown_by_definition(times, source_fps, 25.0).tolist()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("block_s", [0.3, 1.0])
def test_streamed_sound_is_the_whole_sound(tmp_path: Path, rate: int, block_s: float) -> None:
    path = tmp_path / "a.wav"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (round(40.123 * rate), 2))
    soundfile.write(path, noise, rate, subtype="FLOAT")
    blocks = list(stream_audio(path, block_s=block_s))
    assert len(blocks) > 3
    np.testing.assert_allclose(np.concatenate(blocks), read_audio(path), atol=2e-6)


def test_streamed_film_is_the_whole_film(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_video(path, numbered_frames(80), 30, tone(2.7, 44100), 44100)
    np.testing.assert_array_equal(np.stack(list(stream_video(path))), read_video(path))
    np.testing.assert_allclose(np.concatenate(list(stream_audio(path))), read_audio(path))


def test_streams_tell_damage_too(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    with pytest.raises(MediaError, match=r"none.wav.*0 samples"):
        list(stream_audio(tmp_path / "none.wav"))
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan]), 16000, subtype="FLOAT")
    for reader in (read_audio, lambda path: list(stream_audio(path))):
        with pytest.raises(MediaError, match=r"nan.wav: audio has NaN"):
            reader(tmp_path / "nan.wav")


def test_probe_says_which_streams_there_are(tmp_path: Path) -> None:
    write_video(tmp_path / "silent.mp4", numbered_frames(5), 25)
    write_video(tmp_path / "film.mp4", numbered_frames(25), 25, tone(1.0, 16000))
    soundfile.write(tmp_path / "sound.wav", tone(0.2, 16000), 16000)
    assert probe_media(tmp_path / "silent.mp4") == MediaStreams(False, True)
    assert probe_media(tmp_path / "film.mp4") == MediaStreams(True, True, 0.0)
    assert probe_media(tmp_path / "sound.wav") == MediaStreams(True, False)
    (tmp_path / "text.mp4").write_text("this is not media\n" * 20)
    with pytest.raises(MediaError, match=r"text\.mp4: not readable"):
        probe_media(tmp_path / "text.mp4")


def late_sound(path: Path, delay_s: float) -> Path:
    """A film whose sound starts later than its pictures."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.pix_fmt, video.height, video.width = "yuv420p", 32, 48
        sound = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        for frame in numbered_frames(50):
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(video.encode(None))
        samples = (tone(1.0, 16000) * 30000).astype(np.int16)[None]
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        block.sample_rate, block.pts = 16000, round(delay_s * 16000)
        out.mux(sound.encode(block))
        out.mux(sound.encode(None))
    return path


def test_probe_says_that_the_sound_starts_late(tmp_path: Path) -> None:
    found = probe_media(late_sound(tmp_path / "late.mkv", 0.6))
    assert abs(found.audio_delay_s - 0.6) < 0.05


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
