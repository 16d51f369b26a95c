"""A student behind a pretrained speech encoder, with small random checkpoints of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avsr.pretrained.speech_encoders import load_speech_encoder
from learn2talk.models.speech import windows
from learn2talk.models.student import Student, StudentConfig
from tests.avsr.pretrained.conftest import save_checkpoint


def student_of(folder: Path, *, trained: bool = False) -> Student:
    torch.manual_seed(0)
    encoder, weights = load_speech_encoder(folder, trained=trained, weighted_layers=True)
    config = StudentConfig(
        width=16,
        layers=1,
        heads=2,
        feedforward=16,
        look_back_frames=5,
        look_ahead_frames=3,
        num_mels=None,
        speech_encoder=encoder.to_json(),
    )
    student = Student(config, 4)
    student.speech.backbone.load_state_dict(weights)
    return student.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm", "whisper"])
def test_every_kind_is_taken_and_padding_changes_nothing(name: str, tmp_path: Path) -> None:
    save_checkpoint(name, "group", tmp_path)
    student = student_of(tmp_path)
    sound = 0.1 * torch.randn(2, 4 * 15, 160)
    valid = torch.arange(15)[None] < torch.tensor([[15], [6]])
    together = student(sound, valid)
    alone = student(sound[1:, :24])
    assert together.shape == (2, 15, 4, 3) and (together[1, 6:] == 0).all()
    torch.testing.assert_close(together[1, :6], alone[0], atol=2e-5, rtol=1e-4)
    assert (together[0] - student(2 * sound[:1].flip(1))[0]).abs().max() > 1e-3
    pieces = torch.cat(list(student.forward_windows(sound[0], 400)))
    torch.testing.assert_close(pieces, together[0], atol=1e-5, rtol=0)


def test_frozen_unless_it_is_trained(tmp_path: Path) -> None:
    save_checkpoint("hubert", "layer", tmp_path)
    for trained in (False, True):
        student = student_of(tmp_path, trained=trained).train()
        assert student.speech.backbone.training is trained
        student(0.1 * torch.randn(1, 40, 160)).square().sum().backward()
        moved = [p.grad is not None for p in student.speech.backbone.parameters()]
        assert any(moved) is trained
        assert student.speech.out.weight.grad is not None


@torch.no_grad()
def test_a_long_sound_goes_in_pieces_with_context(tmp_path: Path) -> None:
    save_checkpoint("wav2vec2", "layer", tmp_path)
    student = student_of(tmp_path)
    sound = 0.1 * torch.randn(4 * 150, 160)
    pieces = torch.cat(list(student.forward_windows(sound, 60)))
    whole = student(sound[None])[0]
    assert pieces.shape == whole.shape
    # The encoder hears less than everything: near, and not the same.
    assert 0 < (pieces - whole).abs().mean() < 0.2 * whole.std()


def test_windows_cover_everything_once() -> None:
    pieces = list(windows(25, 10, 3, 4))
    assert pieces == [(0, 10, 0, 14), (10, 20, 7, 24), (20, 25, 17, 25)]
    assert list(windows(0, 10, 3, 4)) == []


def test_samples_are_expected(tmp_path: Path) -> None:
    save_checkpoint("wav2vec2", "group", tmp_path)
    with pytest.raises(ValueError, match="80 numbers a row; this student takes 160 samples a hop"):
        student_of(tmp_path)(torch.zeros(1, 40, 80))
    with pytest.raises(ValueError, match="num_mels None must be None with a speech_encoder"):
        StudentConfig(num_mels=None)


@pytest.mark.real_data
@torch.no_grad()
def test_whisper_tiny_is_taken(avsr_data: Path) -> None:
    student = student_of(avsr_data / "models" / "whisper-tiny.en")
    generator = torch.Generator().manual_seed(0)
    sound = 0.1 * torch.randn(1, 4 * 40, 160, generator=generator)
    out = student(sound)
    assert out.shape == (1, 40, 4, 3) and torch.isfinite(out).all()
    assert (out - student(0.1 * sound)).abs().max() > 1e-3
