"""The student fed in pieces: the frames of the whole utterance, at the promised time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avsr.audio import log_mel
from avsr.models.speech_encoder import SpeechEncoderConfig
from learn2talk.models.student import Student, StudentConfig
from learn2talk.models.student_streaming import StreamingStudent
from learn2talk.models.styles import speaker_style


def student_of(look_back: int, look_ahead: int, layers: int = 3, num_styles: int = 0) -> Student:
    torch.manual_seed(look_back + 100 * look_ahead)
    config = StudentConfig(
        width=16,
        layers=layers,
        heads=2,
        feedforward=24,
        look_back_frames=look_back,
        look_ahead_frames=look_ahead,
        num_styles=num_styles,
    )
    student = Student(config, num_vertices=5).eval()
    for layer in student.layers:  # an untrained bias is zero and would hide a wrong offset
        torch.nn.init.normal_(layer.attention.offset_bias)
    return student


def sound_of(samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, generator=generator) * 2 - 1


def streamed(live: StreamingStudent, sound: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """All frames, the sound pushed in pieces of these sizes, over and over."""
    parts, start, turn = [], 0, 0
    while start < len(sound):
        size = max(1, sizes[turn % len(sizes)]) if turn >= len(sizes) else sizes[turn]
        parts.append(live.push(sound[start : start + size]))
        start, turn = start + size, turn + 1
    return torch.cat([*parts, live.finish()])


@given(
    samples=st.integers(0, 640 * 30),
    sizes=st.lists(st.integers(0, 4000), min_size=1, max_size=6),
    look_back=st.integers(0, 9),
    look_ahead=st.integers(1, 7),
    layers=st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_however_the_sound_is_cut_the_frames_are_those_of_the_whole(
    samples: int, sizes: list[int], look_back: int, look_ahead: int, layers: int
) -> None:
    student = student_of(look_back, look_ahead, layers)
    sound = sound_of(samples)
    out = streamed(StreamingStudent(student), sound, sizes)
    if samples == 0:
        assert out.shape == (0, 5, 3)
        return
    with torch.no_grad():
        whole = student(log_mel(sound[None]))[0]
    torch.testing.assert_close(out, whole, atol=1e-5, rtol=0)


def test_what_is_kept_does_not_grow() -> None:
    live = StreamingStudent(student_of(7, 5))
    sizes = []
    for second in range(4):
        live.push(sound_of(16_000, second))
        sizes.append([(x.keys.shape[2], x.waiting.shape[1]) for x in live.layers])
    assert sizes[1] == sizes[2] == sizes[3]
    assert all(keys <= 7 + 5 for keys, _ in sizes[3]) and live.num_frames > 90


@pytest.mark.parametrize("look_ahead", [1, 4, 10])
def test_a_frame_comes_with_the_sample_that_the_latency_names(look_ahead: int) -> None:
    live = StreamingStudent(student_of(6, look_ahead))
    samples = round(live.latency_ms * 16)
    assert samples == 640 * look_ahead + 120
    assert len(live.push(sound_of(samples - 1))) == 0
    assert len(live.push(sound_of(1))) == 1
    assert len(live.push(sound_of(640))) == 1  # and then one each 40 ms


def test_200_ms_are_reached_with_four_frames() -> None:
    live = StreamingStudent(student_of(60, 4))
    assert live.latency_ms == 167.5 and live.look_ahead_ms == 127.5


def test_style_is_streamed_too() -> None:
    student = student_of(5, 3, num_styles=2)
    torch.nn.init.normal_(student.styles.table)  # type: ignore[union-attr]
    sound, style = sound_of(6400), speaker_style(1, 2)
    with torch.no_grad():
        whole = student(log_mel(sound[None]), style=style)[0]
        plain = student(log_mel(sound[None]))[0]
    out = streamed(StreamingStudent(student, style), sound, [700])
    torch.testing.assert_close(out, whole, atol=1e-5, rtol=0)
    assert (out - plain).abs().max() > 1e-3
    average = streamed(StreamingStudent(student), sound, [700])
    torch.testing.assert_close(average, plain, atol=1e-5, rtol=0)


def test_what_cannot_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="in training mode"):
        StreamingStudent(student_of(5, 3).train())
    settings_of = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "conv_dim": (4,) * 7,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
    }
    encoder = SpeechEncoderConfig("wav2vec2", settings_of).to_json()
    config = StudentConfig(width=8, heads=2, layers=1, num_mels=None, speech_encoder=encoder)
    with pytest.raises(ValueError, match="hears the whole utterance"):
        StreamingStudent(Student(config, 5).eval())
    live = StreamingStudent(student_of(5, 3))
    live.finish()
    for call in (live.finish, lambda: live.push(torch.zeros(3))):
        with pytest.raises(ValueError, match="the utterance is finished"):
            call()
    with pytest.raises(ValueError, match="has no styles"):
        StreamingStudent(student_of(5, 3), speaker_style(0, 2))
