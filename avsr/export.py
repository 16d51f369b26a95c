"""A trained recogniser for other runtimes: ONNX, and int8 weights.

    <name>.onnx   stream encoders, fusion and CTC logits; batch and frames are free
    <name>.json   network config, tokenizer, inputs, sha256 of the .onnx, largest difference from
                  torch; written last: it marks a finished export

Features are made outside (:func:`avsr.audio.log_mel`, mouth crops, lips): the network takes what
:func:`avsr.data.collate.collate` gives.
"""

# B batch, T frames at 25 fps, F mel bands, H W crop, P lip points, K vocabulary with blank 0

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.files import read_json, sha256_file, write_atomically, write_json
from avsr.models.fusion import Stream
from avsr.models.layers import mask_of_lengths, masked
from avsr.models.recognizer import Recognizer
from avsr.models.video_encoder import STEM_FRAMES, VideoEncoder
from avsr.schema import Batch
from avsr.text import Tokenizer
from avsr.units import FEATURES_PER_FRAME, LIP_POINTS, MODEL_CROP_SIZE

TOLERANCE = 1e-4  # between torch's and ONNX Runtime's log probabilities, float32
OPSET = 20
KIND = "avsr.onnx"


class ExportError(ValueError):
    """A network that cannot be exported, or an export that cannot be used."""


class PlainForward(nn.Module):
    """The recogniser without shapes that depend on data: every frame of every stream is computed.

    Inputs, for each of the network's streams in its order: values and presence (B, T) bool; then
    the valid mask (B, T) bool. What absent frames hold does not matter.
    """

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        """CTC log probabilities (B, T, K)."""
        valid_mask, encoded = inputs[-1], {}
        for place, name in enumerate(self.model.config.streams):
            values, present = inputs[2 * place : 2 * place + 2]
            present = present & valid_mask
            # An utterance without the stream is computed as if it had it, and not used: attention
            # over no frame at all would be 0 / 0.
            looked_at = present | (valid_mask & ~present.any(1, keepdim=True))
            x = self._encoder(name, values, looked_at)
            for layer in self.model.stream_layers[name]:  # type: ignore[attr-defined]
                x = layer(x, looked_at)
            encoded[name] = (x, present)
        return self.model.recognize(encoded, valid_mask).log_softmax(-1)

    def _encoder(self, name: Stream, values: Tensor, present: Tensor) -> Tensor:
        encoder = self.model.encoders[name]
        if not isinstance(encoder, VideoEncoder):
            return encoder(values, present)
        batch, frames = present.shape
        reach = STEM_FRAMES // 2
        x = F.pad(encoder.scaled(values, present), (0, 0, 0, 0, reach, reach))
        windows = torch.stack([x[:, i : i + frames] for i in range(STEM_FRAMES)], dim=2)
        y = encoder.encode_images(windows.flatten(0, 1))
        return masked(y.reshape(batch, frames, y.shape[-1]), present)


def quantise(model: Recognizer) -> Recognizer:
    """A copy whose linear layers hold int8 weights and quantise their inputs as they come.

    torch's dynamic quantisation, for CPUs; convolutions stay float32.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torchao is to take over; not yet
        from torch.ao.quantization import quantize_dynamic

        quantised = quantize_dynamic(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    return quantised.eval()


def _input_names(streams: tuple[Stream, ...]) -> list[str]:
    return [n for name in streams for n in (name, f"{name}_present")] + ["valid"]


def inputs_of(batch: Batch, model_streams: tuple[Stream, ...], num_mels: int) -> dict[str, Any]:
    """NumPy inputs of the exported network by name; streams that a batch lacks are zeros, absent.

    Crops become float in [0, 1].
    """
    size, frames = len(batch.lengths), int(batch.lengths.max())
    valid = mask_of_lengths(batch.lengths, frames)
    there = batch.streams(valid)
    shapes = {
        "audio": (size, frames * FEATURES_PER_FRAME, num_mels),
        "crops": (size, frames, MODEL_CROP_SIZE, MODEL_CROP_SIZE),
        "lips": (size, frames, LIP_POINTS, 3),
    }
    inputs: dict[str, Any] = {}
    for name in model_streams:
        values, present = there.get(name, (torch.zeros(shapes[name]), torch.zeros_like(valid)))
        if values.dtype == torch.uint8:
            values = values.float() / 255.0
        inputs[name], inputs[f"{name}_present"] = values.numpy(), present.numpy()
    return {**inputs, "valid": valid.numpy()}


def _example_batch(model: Recognizer, lengths: tuple[int, ...], absent: frozenset[str]) -> Batch:
    """Random streams, with gaps; ``absent`` ones are missing from the last utterance."""
    assert model.config.num_mels is not None
    draw = torch.Generator().manual_seed(len(lengths))
    size, frames = len(lengths), max(lengths)
    crops_present = torch.rand(size, frames, generator=draw) > 0.2
    crops_present[-1] &= "crops" not in absent
    lips_present = torch.rand(size, frames, generator=draw) > 0.2
    lips_present[-1] &= "lips" not in absent
    features = torch.randn(size, frames * FEATURES_PER_FRAME, model.config.num_mels, generator=draw)
    side = MODEL_CROP_SIZE
    crops = torch.randint(0, 256, (size, frames, side, side), generator=draw, dtype=torch.uint8)
    audio_present = torch.ones(size, dtype=torch.bool)
    audio_present[-1] = "audio" not in absent
    return Batch(
        utterance_ids=tuple(str(number) for number in range(size)),
        lengths=torch.tensor(lengths),
        features=4.0 * features - 7.0,
        mouth_crops=crops,
        lips=3.0 * torch.randn(size, frames, LIP_POINTS, 3, generator=draw),
        audio_present=audio_present,
        crops_present=crops_present,
        lips_present=lips_present,
    )


def _check_exportable(model: Recognizer) -> None:
    if model.config.speech_encoder is not None:
        raise ExportError(
            "a network with a pretrained speech encoder is not exported; give one on log-mel "
            "features"
        )


def export_onnx(model: Recognizer, tokenizer: Tokenizer, out: Path, *, int8: bool = False) -> Path:
    """Write ``out`` (.onnx) and the JSON beside it, after comparing it with torch.

    The attention and transducer decoders are left out: what is exported reads by CTC.

    Args:
        model: trained network, on the CPU.
        tokenizer: of its training; it goes into the JSON.
        out: file ending in .onnx.
        int8: weights of matrix products as int8 (ONNX Runtime's dynamic quantisation); the
            difference from torch is then measured and kept, not held to ``TOLERANCE``.

    Raises:
        ExportError: another suffix, a network that cannot be exported, a missing library, or a
            result that differs from torch by more than ``TOLERANCE``; nothing is then written.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise ExportError(f"{out}: an export needs a name that ends in .onnx")
    _check_exportable(model)
    model = copy.deepcopy(model).eval()
    description = out.with_suffix(".json")
    with write_atomically(out) as temporary:
        _write_onnx(model, temporary, int8)
        difference = largest_difference(model, temporary)
        if not int8 and not difference <= TOLERANCE:
            raise ExportError(
                f"{out}: log probabilities differ from torch's by {difference:.2g}, more than "
                f"{TOLERANCE}; report it with the versions of torch, onnx and onnxruntime"
            )
        description.unlink(missing_ok=True)  # it would describe another file
    facts = {
        "kind": KIND,
        "config": asdict(model.config),
        "tokenizer": tokenizer.model.hex(),
        "inputs": _input_names(model.config.streams),
        "int8": int8,
        "largest_difference": difference,
        "onnx_sha256": sha256_file(out),
    }
    write_json(description, facts)
    return out


def _write_onnx(model: Recognizer, path: Path, int8: bool) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise ExportError(
            f"{error}; install the extra: pip install 'avsr-learn2talk[export]'"
        ) from error
    streams = model.config.streams
    assert model.config.num_mels is not None
    batch = _example_batch(model, (12, 9), frozenset())
    inputs = inputs_of(batch, streams, model.config.num_mels)
    arguments = tuple(torch.from_numpy(array) for array in inputs.values())
    size, frames = torch.export.Dim("batch"), torch.export.Dim("frames", min=2)
    shapes = {
        name: {0: size, 1: FEATURES_PER_FRAME * frames if name == "audio" else frames}
        for name in inputs
    }
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            PlainForward(model),
            arguments,
            str(path),
            input_names=list(inputs),
            output_names=["log_probabilities"],
            dynamic_shapes=(tuple(shapes.values()),),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        if int8:
            quantize_dynamic(
                str(path),
                str(path),
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul", "Gemm"],
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters tell of operators that are not ours; what counts is compared afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def largest_difference(model: Recognizer, path: Path) -> float:
    """Of log probabilities at valid frames, torch's from ONNX Runtime's, on random batches.

    The batches differ in size and length, and each stream is missing once.
    """
    runner = _session(path, num_threads=1)
    worst = 0.0
    for lengths, absent in (
        ((7,), frozenset[str]()),
        ((31, 20, 26), frozenset({"crops", "lips"})),
        ((18, 40), frozenset({"audio"})),
    ):
        if absent >= set(model.config.streams):
            continue
        batch = _example_batch(model, lengths, absent)
        assert model.config.num_mels is not None
        inputs = inputs_of(batch, model.config.streams, model.config.num_mels)
        with torch.no_grad():
            wanted = model(batch).float().log_softmax(-1).numpy()
        found = runner.run(None, inputs)[0]
        valid = inputs["valid"]
        worst = max(worst, float(np.abs(wanted - found)[valid].max()))
    return worst


def _session(path: Path, num_threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError(
            f"{error}; install the extra: pip install 'avsr-learn2talk[export]'"
        ) from error
    options = onnxruntime.SessionOptions()
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )


@dataclass(frozen=True, eq=False)
class OnnxRecognizer:
    """An exported recogniser in ONNX Runtime."""

    session: Any
    streams: tuple[Stream, ...]
    num_mels: int

    def __call__(self, batch: Batch) -> Tensor:
        """CTC log probabilities (B, T, K) of a batch on the CPU; past the end of each, anything."""
        inputs = inputs_of(batch, self.streams, self.num_mels)
        return torch.from_numpy(self.session.run(None, inputs)[0])


def load_onnx(
    path: Path | str, *, num_threads: int | None = None
) -> tuple[OnnxRecognizer, Tokenizer]:
    """An export and its tokenizer.

    Args:
        path: the .onnx file; its JSON lies beside it.
        num_threads: of ONNX Runtime, ``None`` leaves it to the library.

    Raises:
        ExportError: a file is missing, damaged, or does not belong to the other.
    """
    path = Path(path)
    description = path.with_suffix(".json")
    for needed in (path, description):
        if not needed.is_file():
            raise ExportError(f"{needed}: no such file; write both with 'avsr export'")
    facts = read_json(description)
    if not isinstance(facts, dict) or facts.get("kind") != KIND:
        raise ExportError(f"{description}: does not describe an exported recogniser")
    if facts.get("onnx_sha256") != sha256_file(path):
        raise ExportError(
            f"{path}: is not the file that {description.name} describes (sha256 differs); copy both"
        )
    try:
        streams, num_mels = tuple(facts["config"]["streams"]), int(facts["config"]["num_mels"])
        tokenizer = Tokenizer(bytes.fromhex(facts["tokenizer"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ExportError(f"{description}: is damaged ({error}); export again") from error
    return OnnxRecognizer(_session(path, num_threads), streams, num_mels), tokenizer
