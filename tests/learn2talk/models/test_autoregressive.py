"""The baseline against the paper's equations, written out here a second time without a cache."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from avsr.pretrained.speech_encoders import load_speech_encoder
from learn2talk.models.autoregressive import (
    AutoregressiveConfig,
    AutoregressiveStudent,
    DecoderLayer,
    head_slopes,
    periodic_positions,
)
from learn2talk.models.styles import speaker_style, style_vector
from tests.avsr.pretrained.conftest import save_checkpoint

PERIOD = 7
SMALL = AutoregressiveConfig(
    width=16,
    layers=2,
    feedforward=24,
    period_frames=PERIOD,
    num_styles=2,
    encoder_layers=1,
    encoder_feedforward=16,
    look_back_frames=6,
    look_ahead_frames=4,
)


def student_of(config: AutoregressiveConfig = SMALL, vertices: int = 5) -> AutoregressiveStudent:
    torch.manual_seed(0)
    student = AutoregressiveStudent(config, vertices).eval()
    torch.nn.init.normal_(student.motion_decoder.weight, std=0.5)  # they start at zero
    if student.styles is not None:
        torch.nn.init.normal_(student.styles.table)
    return student


def layer_by_the_book(layer: DecoderLayer, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """A post-norm decoder layer over all frames (T, D), with both biases as matrices."""
    length, width = x.shape
    vectors, heads = memory.shape[1], layer.heads
    size = width // heads
    t = torch.arange(length)
    causal = torch.full((heads, length, length), -math.inf)
    for head in range(heads):
        slope = 2 ** (-8 * (head + 1) / heads)
        for i in range(length):
            for j in range(i + 1):
                causal[head, i, j] = -slope * ((i - j) // PERIOD)
    frame_of_key = torch.arange(length * vectors) // vectors
    aligned = torch.where(frame_of_key[None] == t[:, None], 0.0, -math.inf)

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor):
        q, k, v = (m.view(len(m), heads, size).transpose(0, 1) for m in (q, k, v))
        weights = (q @ k.transpose(1, 2) / math.sqrt(size) + bias).softmax(-1)
        return (weights @ v).transpose(0, 1).reshape(length, width)

    q, k, v = layer.self_project(x).chunk(3, dim=1)
    x = layer.self_norm(x + layer.self_merge(attention(q, k, v, causal)))
    k, v = layer.cross_project(memory.reshape(-1, width)).chunk(2, dim=1)
    x = layer.cross_norm(x + layer.cross_merge(attention(layer.cross_query(x), k, v, aligned)))
    hidden = functional.relu(layer.feedforward[0](x))
    return layer.feedforward_norm(x + layer.feedforward[3](hidden))


def uncached(student: AutoregressiveStudent, memory: torch.Tensor, style: torch.Tensor):
    """The roll-out that computes every earlier frame again, as the published code does."""
    length, width = memory.shape[0], memory.shape[2]
    inputs = [style]
    for t in range(length):
        x = torch.stack(inputs)
        for place in range(len(x)):
            angle = [(place % PERIOD) / 10000 ** (2 * i / width) for i in range(width // 2)]
            both = [f(a) for a in angle for f in (math.sin, math.cos)]
            x[place] = x[place] + torch.tensor(both)
        for layer in student.layers:
            x = layer_by_the_book(layer, x, memory[: t + 1])  # type: ignore[arg-type]
        moved = student.motion_decoder(x)
        inputs.append(student.motion_encoder(moved[-1]) + style)
    return moved.view(length, -1, 3)


@torch.no_grad()
def test_cached_roll_out_equals_the_uncached_one() -> None:
    student = student_of()
    features = torch.randn(1, 4 * 25, 80)
    style = speaker_style(1, 2)
    vector = style_vector(student.styles, style, 1)
    assert vector is not None
    expected = uncached(student, student.memory_of(features)[0], vector[0, 0])
    out = student(features, style=style)[0]
    assert out.abs().max() > 0.1
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_pieces_and_padding_change_nothing() -> None:
    student = student_of()
    features = torch.randn(2, 4 * 30, 80)
    valid = torch.arange(30)[None] < torch.tensor([[30], [19]])
    together = student(features, valid)
    alone = student(features[1:, : 4 * 19])
    torch.testing.assert_close(together[1, :19], alone[0], atol=1e-5, rtol=0)
    assert (together[1, 19:] == 0).all()
    pieces = torch.cat(list(student.forward_windows(features[0], 8)))
    torch.testing.assert_close(pieces, together[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_it_does_not_stop_at_600_frames() -> None:
    config = AutoregressiveConfig(width=8, heads=2, feedforward=8, encoder_layers=1)
    out = torch.cat(list(student_of(config, 1).forward_windows(torch.randn(4 * 650, 80))))
    assert out.shape == (650, 1, 3) and torch.isfinite(out).all() and out[600:].std() > 0


def test_positions_slopes_and_the_start_at_rest() -> None:
    positions = periodic_positions(25, 8)
    assert positions.shape == (25, 8)
    assert positions[0].tolist() == [0, 1] * 4
    assert float(positions[3, 2]) == pytest.approx(math.sin(3 / 10000 ** (2 / 8)))
    assert head_slopes(4).tolist() == pytest.approx([2**-2, 2**-4, 2**-6, 2**-8])
    fresh = AutoregressiveStudent(SMALL, 5).eval()
    assert (fresh(torch.randn(1, 40, 80)) == 0).all()


def test_an_early_frame_reaches_a_late_one_and_gradients_go_through() -> None:
    student = student_of()
    features = torch.randn(1, 4 * 40, 80)
    changed = features.clone()
    changed[:, :4] += 3.0
    with torch.no_grad():  # beyond what the encoder looks back to
        late = (student(features) - student(changed))[0, 30:].abs().max()
    assert late > 1e-6
    out = student(features)
    out[0, -1].sum().backward()
    assert student.motion_encoder.weight.grad is not None
    assert student.motion_encoder.weight.grad.abs().max() > 0


@torch.no_grad()
def test_a_pretrained_encoder_gives_two_vectors_a_frame(tmp_path: Path, kind: str) -> None:
    save_checkpoint(kind, "group", tmp_path)
    encoder, weights = load_speech_encoder(tmp_path)
    config = AutoregressiveConfig(
        width=16, period_frames=PERIOD, num_mels=None, speech_encoder=encoder.to_json()
    )
    student = student_of(config)
    student.speech.backbone.load_state_dict(weights)
    sound = 0.1 * torch.randn(2, 4 * 12, 160)
    memory = student.memory_of(sound)
    assert memory.shape == (2, 12, 2, 16)
    vectors = student.speech.vectors(sound[:1].flatten(1), torch.ones(1, 12, dtype=torch.bool))
    expected = student.audio_map(vectors[-1])[0]
    torch.testing.assert_close(memory[0].reshape(24, 16), expected, atol=1e-5, rtol=1e-4)
    assert not any(p.requires_grad for p in student.speech.parameters())
    zero = torch.zeros(config.width)
    expected = uncached(student, memory[1], zero)
    torch.testing.assert_close(student(sound)[1], expected, atol=1e-5, rtol=1e-4)
    valid = torch.arange(12)[None] < torch.tensor([[12], [7]])
    alone = student(sound[1:, :28])
    torch.testing.assert_close(student(sound, valid)[1, :7], alone[0], atol=2e-5, rtol=1e-4)


def test_a_trained_encoder_keeps_its_convolutions(tmp_path: Path) -> None:
    save_checkpoint("wav2vec2", "group", tmp_path)
    encoder, _ = load_speech_encoder(tmp_path, trained=True)
    config = AutoregressiveConfig(width=16, num_mels=None, speech_encoder=encoder.to_json())
    backbone = student_of(config).speech.backbone
    assert not any(p.requires_grad for p in backbone.feature_extractor.parameters())
    assert all(p.requires_grad for p in backbone.encoder.parameters())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": 3, "width": 24}, "power of two"),
        ({"heads": 0}, "power of two"),
        ({"width": 30}, "width 30 must be even and divisible by 4"),
        ({"look_ahead_frames": 0}, "look_ahead_frames is 0"),
        ({"period_frames": 0}, "must be positive"),
        ({"num_styles": -1}, "must be positive"),
        ({"num_mels": None}, "num_mels None must be None with a speech_encoder"),
        ({"speech_encoder": "{}"}, "num_mels 80 must be None"),
        ({"speech_encoder": "wav2vec", "num_mels": None}, "not a SpeechEncoderConfig"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AutoregressiveConfig(**changes)


def test_features_of_another_student_are_refused() -> None:
    with pytest.raises(ValueError, match="features have 160 numbers a row; this student takes 80"):
        student_of()(torch.zeros(1, 40, 160))
