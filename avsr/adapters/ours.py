"""A recogniser of this project, by ear alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from avsr.adapters import Adapter, hashes_of
from avsr.data.collate import collate
from avsr.data.dataset import Example, features_of
from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.models.recognizer import Recognizer
from avsr.text import Tokenizer
from avsr.training.hub import recognizer_file
from avsr.training.recognizer import load_recognizer
from avsr.units import num_video_frames


def load_ours(model: Path) -> Adapter:
    """Decoded as ``avsr transcribe`` does: joint with an attention decoder, else CTC's beam.

    Args:
        model: ``best.safetensors`` of a run, or a folder of ``avsr publish``.

    Raises:
        ValueError: not such a file; a network without sound.
    """
    network, tokenizer = load_recognizer(model)
    if "audio" not in network.config.streams:
        raise ValueError(
            f"{model}: was trained with the streams {list(network.config.streams)}; give a "
            "recogniser that hears"
        )
    decoding = DecodingConfig("ctc" if network.decoder is None else "joint")
    told = f"{decoding.method}, beam {decoding.beam_size}"
    if decoding.method == "joint":
        told += f", CTC weight {decoding.ctc_weight:g}"

    def transcribe(waveforms: Sequence[np.ndarray]) -> list[str]:
        return _transcribe(waveforms, network, tokenizer, decoding)

    weights = recognizer_file(model)
    name = weights.parent.name if weights.stem in ("best", "model") else weights.stem
    facts = {"decoding": told, "torch": torch.__version__, **hashes_of({"weights": weights})}
    return Adapter(name or "ours", transcribe, facts)


@torch.no_grad()
def _transcribe(
    waveforms: Sequence[np.ndarray],
    network: Recognizer,
    tokenizer: Tokenizer,
    decoding: DecodingConfig,
) -> list[str]:
    batch = collate([_example(waveform, network.config.num_mels) for waveform in waveforms])
    batch = batch.to(next(network.parameters()).device)
    encoded, valid_mask = network.encode_batch(batch)
    memory = network.fuse(encoded, valid_mask)
    return [
        tokenizer.decode(ids) for ids in decode_memory(network, memory, batch.lengths, decoding)
    ]


def _example(waveform: np.ndarray, num_mels: int | None) -> Example:
    unseen = np.zeros(num_video_frames(len(waveform)), dtype=bool)
    return Example(
        utterance_id="",
        num_frames=len(unseen),
        features=features_of(waveform, num_mels),
        mouth_crops=None,
        lips=None,
        crops_valid=unseen,
        lips_valid=unseen,
        tokens=(),
    )
