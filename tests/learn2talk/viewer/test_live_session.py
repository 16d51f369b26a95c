"""Live speech without a server: the frames of `animate` with their times, and sound that is not."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch

from learn2talk.animate import animate
from learn2talk.data.motion import animated_ids
from learn2talk.default_student import default_student
from learn2talk.files import TrainedStudent, load_student
from learn2talk.metrics.closure import lip_gap_mm
from learn2talk.models.student import Student, StudentConfig
from learn2talk.streaming import LiveFace
from learn2talk.viewer.live_session import (
    FRAME_HEADER,
    MAX_MESSAGE_BYTES,
    SOUND_HEADER,
    LiveFrame,
    LiveSession,
    SoundFormat,
    SoundPiece,
    checked_format,
    read_sound,
)

from ..conftest import tiny_template


@pytest.fixture(scope="module")
def trained() -> TrainedStudent:
    template = tiny_template()
    ids = animated_ids(template)
    torch.manual_seed(0)
    config = StudentConfig(width=16, layers=2, heads=2, feedforward=16, look_ahead_frames=4)
    return TrainedStudent(Student(config, len(ids)).eval(), template, ids, {})


def speech(frames: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, 640 * frames).astype(np.float32)


def message(samples: np.ndarray, captured_ms: float = 0.0) -> bytes:
    return struct.pack("<d", captured_ms) + samples.tobytes()


def test_frames_are_those_of_animate_and_know_when_their_sound_was_captured(trained) -> None:
    sound = speech(20)
    session = LiveSession(LiveFace(trained))
    frames: list[LiveFrame] = []
    for start in range(0, len(sound), 160):
        session.take(read_sound(message(sound[start : start + 160], 500 + start / 16), "float32"))
        frames += session.compute()
        # A frame comes out with the first piece that completes its look-ahead, never before.
        assert len(frames) == max(0, (start + 160 - 120) // 640 - 3)
    frames += session.finish()
    whole = animate(sound, trained).vertices[:, trained.animated_ids]
    np.testing.assert_allclose(np.stack([one.positions for one in frames]), whole, atol=2e-5)
    assert [one.number for one in frames] == list(range(20))
    np.testing.assert_allclose([one.captured_ms for one in frames], 500 + 40 * np.arange(20))
    assert all(one.dropped == 0 and one.compute_ms > 0 for one in frames)


def test_sound_of_16_bits_is_heard_alike(trained) -> None:
    whole_numbers = np.round(speech(8) * 32767).astype(np.int16)
    session = LiveSession(LiveFace(trained))
    session.take(read_sound(message(whole_numbers), "int16"))
    frames = session.finish()
    wanted = animate(whole_numbers / np.float32(32768), trained).vertices[:, trained.animated_ids]
    np.testing.assert_allclose(np.stack([one.positions for one in frames]), wanted, atol=2e-5)


def test_a_frame_message_reads_back() -> None:
    positions = np.arange(6, dtype=np.float32).reshape(2, 3)
    sent = LiveFrame(50, 1234.5, 2.5, 3, positions).message(sent_ms=99.25)
    assert FRAME_HEADER.size == 40 and len(sent) == 40 + 24
    assert FRAME_HEADER.unpack_from(sent) == (50, 2, 2.0, 1234.5, 99.25, 2.5, 3)
    np.testing.assert_array_equal(np.frombuffer(sent[40:], "<f4").reshape(2, 3), positions)


def test_too_slow_computing_drops_the_oldest_frames_of_sound_and_says_so(trained) -> None:
    sound = speech(30)
    session = LiveSession(LiveFace(trained), waiting_limit_s=0.4)  # 10 frames
    for start in range(0, 640 * 15, 160):  # nobody computes for 15 frames
        session.take(SoundPiece(sound[start : start + 160], start / 16))
    assert session.dropped_frames == 5 and session.num_waiting == 640 * 10
    frames = session.compute()
    session.take(SoundPiece(sound[640 * 15 :], 600.0))  # 15 more at once
    frames += session.finish()
    # Ten of fifteen, then ten of fifteen; each where its own sound was.
    numbers = [*range(5, 15), *range(20, 30)]
    assert [one.number for one in frames] == numbers
    np.testing.assert_allclose([one.captured_ms for one in frames], 40.0 * np.array(numbers))
    assert session.dropped_frames == frames[-1].dropped == 10
    heard = sound.reshape(30, 640)[numbers].ravel()
    wanted = animate(heard, trained).vertices[:, trained.animated_ids]
    np.testing.assert_allclose(np.stack([one.positions for one in frames]), wanted, atol=2e-5)


def test_sessions_that_share_a_student_do_not_hear_each_other(trained) -> None:
    sounds = [speech(10), speech(10)[::-1].copy()]
    sessions = [LiveSession(LiveFace(trained)) for _ in sounds]
    frames: list[list[LiveFrame]] = [[], []]
    for start in range(0, 6400, 500):
        for session, sound, found in zip(sessions, sounds, frames, strict=True):
            session.take(SoundPiece(sound[start : start + 500], 0.0))
            found += session.compute()
    for session, sound, found in zip(sessions, sounds, frames, strict=True):
        found += session.finish()
        wanted = animate(sound, trained).vertices[:, trained.animated_ids]
        np.testing.assert_allclose(np.stack([one.positions for one in found]), wanted, atol=2e-5)


def test_a_session_computes_a_little_at_a_time(trained) -> None:
    session = LiveSession(LiveFace(trained))
    session.take(SoundPiece(speech(25), 0.0))
    session.compute()
    assert session.num_waiting == 640 * 15


@pytest.mark.parametrize("noise", [0.0, 0.003])  # digital silence, and that of a quiet room
def test_the_bundled_students_mouth_is_closed_and_still_while_nobody_speaks(noise: float) -> None:
    student = load_student(default_student())
    session = LiveSession(LiveFace(student, look_ahead_frames=4))
    sound = np.random.default_rng(0).normal(0, noise, 640 * 24).astype(np.float32)
    session.take(SoundPiece(sound, 0.0))
    lips = np.tile(student.template.vertices, (24, 1, 1))
    lips[:, student.animated_ids] = np.stack([one.positions for one in session.finish()])
    lips = lips[:, student.template.lip_ids]
    assert lip_gap_mm(lips).max() < 0.8
    assert np.abs(np.diff(lips, axis=0)).max() < 0.25  # mm from frame to frame


def test_nothing_said_is_no_frames(trained) -> None:
    session = LiveSession(LiveFace(trained))
    assert session.compute() == [] and session.finish() == []


@pytest.mark.parametrize(
    ("sent", "sound_format", "said"),
    [
        (b"", "int16", "message of 0 bytes"),
        (bytes(8), "int16", "message of 8 bytes"),
        (bytes(8 + 3), "int16", "3 bytes are not whole int16 samples of 2 bytes"),
        (bytes(8 + 6), "float32", "6 bytes are not whole float32 samples"),
        (bytes(MAX_MESSAGE_BYTES + 1), "float32", f"at most {MAX_MESSAGE_BYTES}"),
        (bytes(SOUND_HEADER.size + 2 * 16001), "int16", "16001 samples; at most 1 s"),
        (message(np.zeros(4, np.float32), float("nan")), "float32", "capture is nan"),
        (message(np.zeros(4, np.float32), float("inf")), "float32", "capture is inf"),
        (message(np.full(4, np.nan, np.float32)), "float32", "not finite or beyond 16"),
        (message(np.full(4, -np.inf, np.float32)), "float32", "not finite or beyond 16"),
        (message(np.full(4, 1e30, np.float32)), "float32", "not finite or beyond 16"),
    ],
)
def test_messages_that_are_no_sound(sent: bytes, sound_format: SoundFormat, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_sound(sent, sound_format)


def test_a_second_of_each_format_is_the_longest_message() -> None:
    for sound_format, kind in (("int16", np.int16), ("float32", np.float32)):
        piece = read_sound(message(np.zeros(16000, kind), 7.0), sound_format)
        assert len(piece.samples) == 16000 and piece.captured_ms == 7.0
        assert checked_format(sound_format) == sound_format
    with pytest.raises(ValueError, match="'mp3'; give int16 or float32"):
        checked_format("mp3")
    with pytest.raises(ValueError, match="give int16 or float32"):
        checked_format(["int16"])
