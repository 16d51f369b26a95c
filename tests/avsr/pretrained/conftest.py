"""Small randomly initialised checkpoints in the transformers layout, one of each kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SMALL: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
# Both families: norm of the whole utterance and post-norm layers, layer norms and pre-norm layers.
STYLES: dict[str, dict[str, Any]] = {
    "group": {"feat_extract_norm": "group", "do_stable_layer_norm": False},
    "layer": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
}
WHISPER: dict[str, Any] = {
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 80,
    "max_target_positions": 16,
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}


def save_checkpoint(kind: str, style: str, folder: Path) -> Any:
    """Save a small checkpoint into ``folder``; returns transformers' own network."""
    import torch
    import transformers

    torch.manual_seed(0)
    if kind == "whisper":
        model = transformers.WhisperModel(transformers.WhisperConfig(**WHISPER))
    else:
        classes: dict[str, Any] = {
            "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
            "hubert": (transformers.HubertConfig, transformers.HubertModel),
            "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
        }
        config, network = classes[kind]
        model = network(config(**SMALL, **STYLES[style]))
        with torch.no_grad():  # a norm's random weight and bias show whether they are used
            for name, value in model.named_parameters():
                if name.endswith(("layer_norm.weight", "layer_norm.bias")):
                    value.add_(0.3 * torch.randn(value.shape))
    model.save_pretrained(folder)
    preprocessor = {"do_normalize": style == "layer", "sampling_rate": 16000}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")
    return model.eval()


@pytest.fixture(params=["wav2vec2", "hubert", "wavlm"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["group", "layer"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)
