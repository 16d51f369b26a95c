"""Speech recognisers of the transformers library, from a local folder.

Sounds are read one by one, not padded into a batch: a wav2vec 2.0 whose encoder normalises over
time hears its neighbours' padding, and on one thread Whisper in batches of 8 is no faster.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avsr.adapters import Adapter, hashes_of
from avsr.files import read_json
from avsr.units import SAMPLE_RATE_HZ
from avsr.weights import one_line

KINDS = {  # ends of the architecture's name in config.json, to how it is read
    "ForCTC": "ctc",
    "ForConditionalGeneration": "seq2seq",
    "SpeechEncoderDecoderModel": "seq2seq",
}
TRAINING_ONLY = ("masked_spec_embed",)  # published wav2vec 2.0 weights may lack it
HASHED = (".json", ".safetensors", ".txt", ".model")
GENERATION_FACTS = ("num_beams", "max_length", "language", "task")


def load_transformers(model: Path) -> Adapter:
    """A CTC network by its best path, any other by ``generate()``, as the folder configures it.

    Args:
        model: folder with config.json, *.safetensors, preprocessor_config.json and a tokenizer.

    Raises:
        ValueError: not such a folder; a network of another kind; weights that are missing.
    """
    kind = decoder_kind(model)
    network, extractor, tokenizer = _load(model, kind)
    if extractor.sampling_rate != SAMPLE_RATE_HZ:
        raise ValueError(
            f"{model}: hears {extractor.sampling_rate} Hz, the test is at {SAMPLE_RATE_HZ} Hz; "
            "give another checkpoint"
        )
    read = _reader(model, kind, network, extractor, tokenizer)
    # Skipping CTC's blank before repeated letters are merged would make "helo" of "hello".
    skip = kind == "seq2seq"

    @torch.no_grad()
    def transcribe(waveforms: Sequence[np.ndarray]) -> list[str]:
        return [tokenizer.decode(read(one), skip_special_tokens=skip) for one in waveforms]

    import transformers

    files = {one.name: one for one in model.iterdir() if one.suffix in HASHED and one.is_file()}
    facts = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "network": type(network).__name__,
        "decoding": "CTC best path" if kind == "ctc" else _generation(network),
        **hashes_of(files),
    }
    return Adapter(model.resolve().name, transcribe, facts)


def decoder_kind(model: Path) -> str:
    """``"ctc"`` or ``"seq2seq"``, by the architecture that the folder's config.json names.

    Raises:
        ValueError: no config.json, or an architecture that writes no text.
    """
    path = model / "config.json"
    if not path.is_file():
        raise ValueError(
            f"{model}: has no config.json; give the local folder of a transformers checkpoint "
            "(nothing is downloaded)"
        )
    config = read_json(path)
    names = config.get("architectures") if isinstance(config, dict) else None
    for name in names or []:
        for end, kind in KINDS.items():
            if str(name).endswith(end):
                return kind
    raise ValueError(
        f"{path}: architectures {names} write no text; give a checkpoint whose architecture ends "
        f"in {', '.join(KINDS)}"
    )


def _load(model: Path, kind: str) -> tuple[Any, Any, Any]:
    """Network in eval mode, feature extractor and tokenizer."""
    from transformers import (
        AutoFeatureExtractor,
        AutoModelForCTC,
        AutoModelForSpeechSeq2Seq,
        AutoTokenizer,
    )

    auto = AutoModelForCTC if kind == "ctc" else AutoModelForSpeechSeq2Seq
    try:
        network, told = auto.from_pretrained(
            model,
            local_files_only=True,
            use_safetensors=True,  # a pickle can hold any program
            dtype=torch.float32,
            output_loading_info=True,
        )
        extractor = AutoFeatureExtractor.from_pretrained(model, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError) as error:
        raise ValueError(f"{model}: transformers cannot load it ({one_line(error)})") from error
    # transformers draws what is missing at random, and only warns.
    missing = sorted(key for key in told["missing_keys"] if not key.endswith(TRAINING_ONLY))
    if missing:
        raise ValueError(
            f"{model}: {len(missing)} weights are missing, such as {missing[0]}; give a checkpoint "
            "that was trained to write text"
        )
    return network.eval(), extractor, tokenizer


def _reader(
    model: Path, kind: str, network: Any, extractor: Any, tokenizer: Any
) -> Callable[[np.ndarray], Any]:
    """Function from a waveform (S,) to token ids."""

    def inputs_of(waveform: np.ndarray, **how: Any) -> Any:
        return extractor(waveform, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt", **how)

    # Not all_special_ids: the mark between words may be among them.
    marks = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id)
    unwritten = torch.tensor([mark for mark in marks if mark is not None])

    def best_path(waveform: np.ndarray) -> Any:
        ids = network(**inputs_of(waveform)).logits[0].argmax(-1)
        ids[torch.isin(ids, unwritten)] = tokenizer.pad_token_id
        return ids

    def generated(waveform: np.ndarray) -> Any:
        return network.generate(**inputs_of(waveform), do_sample=False)[0]

    def by_whisper(waveform: np.ndarray) -> Any:
        if len(waveform) <= extractor.n_samples:
            inputs = inputs_of(waveform, return_attention_mask=True)
            return network.generate(**inputs, do_sample=False)[0]
        if getattr(network.generation_config, "no_timestamps_token_id", None) is None:
            raise ValueError(
                f"{model}: reads at most {extractor.n_samples / SAMPLE_RATE_HZ:g} s, a sound has "
                f"{len(waveform) / SAMPLE_RATE_HZ:.1f} s; cut it, or give a checkpoint whose "
                "generation_config.json has no_timestamps_token_id"
            )
        inputs = inputs_of(
            waveform, return_attention_mask=True, truncation=False, padding="longest"
        )
        return network.generate(**inputs, do_sample=False, return_timestamps=True)[0]

    if kind == "ctc":
        return best_path
    return by_whisper if network.config.model_type == "whisper" else generated


def _generation(network: Any) -> str:
    told = network.generation_config.to_dict()
    chosen = {name: told[name] for name in GENERATION_FACTS if told.get(name) is not None}
    return f"generate() without sampling, {json.dumps(chosen, sort_keys=True)}"
