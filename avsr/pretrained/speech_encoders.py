"""Pretrained speech encoders from the transformers layout: a local folder or a hub id.

The weights keep the licence of whoever published them; the model card names it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from avsr.models.speech_encoder import KINDS, NO_CHANCE, SpeechEncoderConfig, make_backbone
from avsr.pretrained.whisper import config_of, load_state, read_settings

# What transformers adds to a configuration and no network depends on.
NOT_SETTINGS = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


def load_speech_encoder(
    name: str | Path, *, trained: bool = False, weighted_layers: bool = False
) -> tuple[SpeechEncoderConfig, dict[str, torch.Tensor]]:
    """Config and weights of a pretrained encoder's backbone.

    Args:
        name: local folder, or id on the Hugging Face hub: wav2vec 2.0, HuBERT, WavLM or Whisper.
        trained: fine-tune it with the recogniser; False keeps it frozen.
        weighted_layers: use a learned weighted sum of its layers.

    Raises:
        ValueError: no such checkpoint, another kind, or weights that do not fit.
    """
    import transformers

    settings = read_settings(name)
    kind = settings.get("model_type")
    if kind not in KINDS:
        raise ValueError(
            f"{name}: a speech encoder of type {kind!r} is not one of {', '.join(KINDS)}"
        )
    normalise_waveform = False
    if kind == "whisper":
        settings = asdict(config_of(settings))
    else:
        settings = {k: v for k, v in settings.items() if k not in NOT_SETTINGS} | NO_CHANCE
        normalise_waveform = _normalises(name)
    config = SpeechEncoderConfig(
        kind=kind,
        settings=settings,
        normalise_waveform=normalise_waveform,
        trained=trained,
        weighted_layers=weighted_layers,
    )
    classes: dict[str, Any] = {
        "wav2vec2": transformers.Wav2Vec2Model,
        "hubert": transformers.HubertModel,
        "wavlm": transformers.WavLMModel,
        "whisper": transformers.WhisperModel,
    }
    state = load_state(name, classes[kind])
    if kind == "whisper":
        encoder = "encoder."
        state = {k.removeprefix(encoder): v for k, v in state.items() if k.startswith(encoder)}
    else:
        state.pop("masked_spec_embed", None)
    backbone = make_backbone(config)
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{name}: its weights do not fit its config ({error})") from error
    return config, state


def _normalises(name: str | Path) -> bool:
    """Whether the checkpoint was pretrained on waveforms of zero mean and unit variance."""
    from transformers.utils import cached_file

    path = Path(name) / "preprocessor_config.json"
    if not Path(name).is_dir():
        found = cached_file(
            str(name), "preprocessor_config.json", _raise_exceptions_for_missing_entries=False
        )
        if found is None:
            return True
        path = Path(str(found))
    if not path.is_file():  # transformers' own default
        return True
    return bool(json.loads(path.read_text(encoding="utf-8")).get("do_normalize", True))
