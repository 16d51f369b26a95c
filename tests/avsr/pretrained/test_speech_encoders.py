"""Pretrained speech encoders: transformers' own output, exact padding, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from avsr.models.speech_encoder import SpeechEncoder, SpeechEncoderConfig
from avsr.pretrained.speech_encoders import load_speech_encoder
from tests.avsr.pretrained.conftest import save_checkpoint


def encoder_of(folder: Path, **options: bool) -> SpeechEncoder:
    torch.manual_seed(1)
    config, state = load_speech_encoder(folder, **options)
    encoder = SpeechEncoder(config, width=12)
    encoder.backbone.load_state_dict(state)
    return encoder.eval()


def sound(num_frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 + 0.3 * torch.randn(1, 640 * num_frames, generator=generator)


@torch.no_grad()
def test_vectors_are_those_of_transformers(kind: str, style: str, tmp_path: Path) -> None:
    """On the same samples: ours are its waveform between 40 zeros, two vectors for each frame."""
    theirs = save_checkpoint(kind, style, tmp_path)
    encoder = encoder_of(tmp_path)
    waveform = sound(9)
    layers = encoder.vectors(waveform, torch.ones(1, 9, dtype=torch.bool))
    if style == "layer":  # the checkpoint asks for zero mean and unit variance
        waveform = (waveform - waveform.mean()) / torch.sqrt(waveform.var(correction=0) + 1e-7)
    expected = theirs(torch.nn.functional.pad(waveform, (40, 40)), output_hidden_states=True)
    assert layers[-1].shape == (1, 18, 24) and len(layers) == 3
    torch.testing.assert_close(layers[-1], expected.last_hidden_state, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(layers[0], expected.hidden_states[0], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_alone_and_padded_agree(kind: str, style: str, tmp_path: Path) -> None:
    save_checkpoint(kind, style, tmp_path)
    encoder = encoder_of(tmp_path)
    padded = torch.zeros(2, 15 * 640)
    padded[0] = 3 * sound(15, 1)
    padded[1, : 6 * 640] = sound(6, 2)
    padded[1, 6 * 640 :] = 7.0  # rubbish in the padding
    lengths = torch.tensor([15, 6])
    valid = torch.arange(15)[None] < lengths[:, None]
    together = encoder(padded.view(2, 60, 160), valid)
    alone = encoder(padded[1:, : 6 * 640].view(1, 24, 160), valid[1:, :6])
    assert together.shape == (2, 15, 12) and (together[1, 6:] == 0).all()
    torch.testing.assert_close(together[1:, :6], alone, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_the_padding_would_change_the_plain_network(tmp_path: Path) -> None:
    """What the module repairs is there: transformers alone normalises over the padding."""
    theirs = save_checkpoint("wav2vec2", "group", tmp_path)
    waveform = torch.nn.functional.pad(sound(6), (40, 40))
    padded = torch.nn.functional.pad(waveform, (0, 9 * 640))
    mask = (torch.arange(padded.shape[1]) < waveform.shape[1]).long()[None]
    alone = theirs(waveform).last_hidden_state
    together = theirs(padded, attention_mask=mask).last_hidden_state[:, : alone.shape[1]]
    assert (alone - together).abs().max() > 1e-2


@torch.no_grad()
def test_whisper_encoder_alone_and_padded_agree(tmp_path: Path) -> None:
    save_checkpoint("whisper", "", tmp_path)
    encoder = encoder_of(tmp_path, weighted_layers=True)
    padded = torch.zeros(2, 15 * 640)
    padded[0], padded[1, : 6 * 640] = 3 * sound(15, 1), sound(6, 2)
    valid = torch.arange(15)[None] < torch.tensor([15, 6])[:, None]
    together = encoder(padded.view(2, 60, 160), valid)
    alone = encoder(padded[1:, : 6 * 640].view(1, 24, 160), valid[1:, :6])
    torch.testing.assert_close(together[1:, :6], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_vector_lies_at_its_own_frame(tmp_path: Path) -> None:
    """A click changes the convolutions' vectors of its own frame, and no further ones."""
    save_checkpoint("wav2vec2", "layer", tmp_path)
    encoder = encoder_of(tmp_path)
    extractor = encoder.backbone.feature_extractor  # type: ignore[union-attr]
    quiet = torch.zeros(1, 10 * 640 + 80)
    click = quiet.clone()
    click[0, 40 + 640 * 4 + 480] = 1.0  # the middle of the second half of frame 4
    changed = (extractor(quiet) - extractor(click)).abs().sum(1)[0].nonzero().flatten()  # type: ignore[operator]
    assert changed.tolist() == [9]


@pytest.mark.parametrize("trained", [False, True])
def test_frozen_and_trained(trained: bool, tmp_path: Path) -> None:
    save_checkpoint("wav2vec2", "group", tmp_path)
    encoder = encoder_of(tmp_path, trained=trained, weighted_layers=True).train()
    assert encoder.backbone.training == trained
    encoder(sound(5).view(1, 20, 160), torch.ones(1, 5, dtype=torch.bool)).square().sum().backward()
    assert encoder.layer_weights.grad is not None
    learned = [p.grad is not None and bool(p.grad.any()) for p in encoder.backbone.parameters()]
    assert any(learned) == trained


def test_the_weighted_sum_uses_every_layer(tmp_path: Path) -> None:
    save_checkpoint("wavlm", "layer", tmp_path)
    encoder = encoder_of(tmp_path, weighted_layers=True)
    values, valid = sound(5).view(1, 20, 160), torch.ones(1, 5, dtype=torch.bool)
    with torch.no_grad():
        outputs = []
        for chosen in range(3):
            encoder.layer_weights.fill_(-30.0)
            encoder.layer_weights[chosen] = 30.0
            outputs.append(encoder(values, valid))
    assert all((outputs[i] - outputs[j]).abs().max() > 1e-3 for i, j in ((0, 1), (1, 2), (0, 2)))


def test_the_config_survives_json(kind: str, style: str, tmp_path: Path) -> None:
    save_checkpoint(kind, style, tmp_path)
    config, state = load_speech_encoder(tmp_path)
    assert config.normalise_waveform == (style == "layer")
    again = SpeechEncoderConfig.from_json(config.to_json())
    SpeechEncoder(again, width=4).backbone.load_state_dict(state)


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        load_speech_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    with pytest.raises(ValueError, match="'bert' is not one of wav2vec2, hubert"):
        load_speech_encoder(tmp_path)
    with pytest.raises(ValueError, match="not a SpeechEncoderConfig as JSON"):
        SpeechEncoderConfig.from_json("facebook/wav2vec2-base")
    with pytest.raises(ValueError, match="window 400 and hop 320 samples and an adapter"):
        SpeechEncoderConfig("wav2vec2", {"add_adapter": True})
    with pytest.raises(ValueError, match="window 10 and hop 5"):
        SpeechEncoderConfig("hubert", {"conv_kernel": (10,), "conv_stride": (5,)})


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    save_checkpoint("hubert", "group", tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="weights do not load"):
        load_speech_encoder(tmp_path)


@pytest.mark.real_data
@torch.no_grad()
def test_whisper_tiny_as_speech_encoder(avsr_data: Path) -> None:
    encoder = encoder_of(avsr_data / "models" / "whisper-tiny.en")
    out = encoder(sound(25).view(1, 100, 160), torch.ones(1, 25, dtype=torch.bool))
    assert out.shape == (1, 25, 12) and out.isfinite().all()
