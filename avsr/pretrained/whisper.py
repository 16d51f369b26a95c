"""Whisper's weights and tokenizer from the transformers layout: a local folder or a hub id."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from avsr.models.whisper import Whisper, WhisperConfig
from avsr.text import normalise


class WhisperTokenizer:
    """Whisper's byte-level BPE.

    Args:
        text: content of the checkpoint's ``tokenizer.json``.
        language: of a multilingual checkpoint's prompt.
    """

    def __init__(self, text: str, language: str = "en") -> None:
        from tokenizers import Tokenizer

        self.text = text
        self._bpe = Tokenizer.from_str(text)
        self.end = self._id("<|endoftext|>")
        start, quiet = self._id("<|startoftranscript|>"), self._id("<|notimestamps|>")
        self.prompt: tuple[int, ...] = (start, quiet)
        # The English checkpoints, whose vocabulary is one smaller, know no language and no task.
        if start != 50257:
            self.prompt = (start, self._id(f"<|{language}|>"), self._id("<|transcribe|>"), quiet)

    def _id(self, name: str) -> int:
        found = self._bpe.token_to_id(name)
        if found is None:
            raise ValueError(f"tokenizer has no {name}; give a Whisper checkpoint's, or a language")
        return int(found)

    def encode(self, text: str) -> list[int]:
        """Tokens of the normalised text with the end of the sentence; no prompt."""
        return [*self._bpe.encode(f" {normalise(text)}", add_special_tokens=False).ids, self.end]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens; special tokens are left out."""
        return str(self._bpe.decode(list(ids), skip_special_tokens=True)).strip()


def config_of(settings: dict[str, Any]) -> WhisperConfig:
    """Our config from that of transformers.

    Raises:
        ValueError: not a Whisper, or one whose shape this network does not have.
    """
    if settings.get("model_type") != "whisper":
        raise ValueError(f"a {settings.get('model_type')!r} checkpoint is not a Whisper")
    if settings["encoder_ffn_dim"] != settings["decoder_ffn_dim"] or settings["scale_embedding"]:
        raise ValueError("a Whisper with scaled embeddings or two feed-forward widths is not known")
    return WhisperConfig(
        num_mels=settings["num_mel_bins"],
        width=settings["d_model"],
        encoder_layers=settings["encoder_layers"],
        encoder_heads=settings["encoder_attention_heads"],
        decoder_layers=settings["decoder_layers"],
        decoder_heads=settings["decoder_attention_heads"],
        hidden=settings["encoder_ffn_dim"],
        max_frames=settings["max_source_positions"],
        max_tokens=settings["max_target_positions"],
        vocabulary_size=settings["vocab_size"],
    )


def read_settings(name: str | Path) -> dict[str, Any]:
    """``config.json`` of a checkpoint in the transformers layout.

    Args:
        name: local folder, or id on the Hugging Face hub.

    Raises:
        ValueError: no such checkpoint.
    """
    settings: dict[str, Any] = json.loads(_file(name, "config.json").read_text(encoding="utf-8"))
    return settings


def _file(name: str | Path, file: str) -> Path:
    """A file of a checkpoint; from the hub it is fetched once and kept."""
    if Path(name).is_dir():
        path = Path(name) / file
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give a folder in the transformers layout")
        return path
    from transformers.utils import cached_file

    try:
        return Path(str(cached_file(str(name), file)))
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{name}: neither a folder nor a checkpoint to be had ({reason})"
        ) from error


def load_state(name: str | Path, model_class: Any) -> dict[str, torch.Tensor]:
    """Weights of a checkpoint as float32, without reading pickles that hold more than tensors.

    Raises:
        ValueError: weights are missing or damaged.
    """
    from safetensors import SafetensorError

    try:
        model, info = model_class.from_pretrained(
            str(name), dtype=torch.float32, output_loading_info=True
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{name}: its weights do not load ({reason}); copy it again") from error
    if info["mismatched_keys"]:
        raise ValueError(f"{name}: weights of wrong shape: {sorted(info['mismatched_keys'])[:3]}")
    # The masking vector of pretraining is not used, and a head's missing one is none of ours.
    missing = sorted(set(info["missing_keys"]) - {"masked_spec_embed", "proj_out.weight"})
    if missing:
        raise ValueError(f"{name}: {len(missing)} weights are missing, for example {missing[:3]}")
    state: dict[str, torch.Tensor] = model.state_dict()
    return state


def load_whisper(name: str | Path) -> tuple[Whisper, WhisperTokenizer]:
    """A pretrained Whisper in eval mode and its tokenizer.

    Args:
        name: local folder, or id on the Hugging Face hub such as ``openai/whisper-tiny.en``.

    Raises:
        ValueError: no such checkpoint, not a Whisper, damaged weights.
    """
    import transformers

    model = Whisper(config_of(read_settings(name)))
    model.load_state_dict(load_state(name, transformers.WhisperModel))
    tokenizer = WhisperTokenizer(_file(name, "tokenizer.json").read_text(encoding="utf-8"))
    return model.eval(), tokenizer
