"""Losses of a fixed recogniser on a fixed input, against values kept in a file.

A change of a number here is a change of the network's meaning: old weights would then say other
things. Where that is wanted, write the file again and say so in the commit:

    python tests/golden/test_recognizer_loss.py
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.losses import ctc_loss_sum
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.schema import Batch

GOLDEN = Path(__file__).with_name("recognizer_loss.json")
LENGTHS = (9, 14)
STREAMS = {
    "all": ("audio", "crops", "lips"),
    "audio": ("audio",),
    "crops": ("crops",),
    "lips": ("lips",),
}


def fixed_model() -> Recognizer:
    """Weights by numpy from each parameter's name: free of torch's generators and module order."""
    config = RecognizerConfig(
        vocabulary_size=7, width=16, num_heads=2, fused_layers=2, video_channels=(8, 8, 16)
    )
    model = Recognizer(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            scale = 0.5 / np.sqrt(max(1, parameter[0].numel()) if parameter.ndim > 1 else 25)
            values = rng.normal(0, scale, tuple(parameter.shape))
            is_gain = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(torch.from_numpy(values + is_gain))
    return model


def fixed_batch(streams: tuple[str, ...]) -> Batch:
    rng = np.random.default_rng(7)
    frames = max(LENGTHS)
    features = rng.normal(-7, 4, (2, 4 * frames, 80)).astype(np.float32)
    crops = rng.integers(0, 256, (2, frames, 88, 88), dtype=np.uint8)
    lips = rng.normal(0, 15, (2, frames, 40, 3)).astype(np.float32)
    valid = torch.arange(frames)[None] < torch.tensor(LENGTHS)[:, None]
    tracked = valid.clone()
    tracked[0, 3:5] = False
    batch = Batch(
        utterance_ids=("a", "b"),
        lengths=torch.tensor(LENGTHS),
        features=torch.from_numpy(features),
        mouth_crops=torch.from_numpy(crops),
        lips=torch.from_numpy(lips),
        audio_present=torch.ones(2, dtype=torch.bool),
        crops_present=tracked,
        lips_present=tracked,
        tokens=torch.tensor([[1, 2, 2, 0], [3, 4, 5, 6]]),
        token_lengths=torch.tensor([3, 4]),
    )
    fields = {"audio": "features", "crops": "mouth_crops", "lips": "lips"}
    absent = {fields[name]: None for name in fields if name not in streams}
    gone = {
        f"{name}_present": torch.zeros_like(getattr(batch, f"{name}_present"))
        for name in fields
        if name not in streams
    }
    return replace(batch, **absent, **gone)  # type: ignore[arg-type]


def measured() -> dict[str, dict[str, float]]:
    """CTC loss in nats, summed, and the length of its gradient, for each choice of streams."""
    values = {}
    for name, streams in STREAMS.items():
        model, batch = fixed_model(), fixed_batch(streams)
        assert batch.tokens is not None and batch.token_lengths is not None
        loss = ctc_loss_sum(model(batch), batch.lengths, batch.tokens, batch.token_lengths)
        loss.total.backward()
        squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
        norm = torch.stack(squares).sum().sqrt()
        values[name] = {"loss": float(loss.total.detach()), "gradient_norm": float(norm)}
    return values


@pytest.fixture(scope="module")
def values() -> dict[str, dict[str, float]]:
    return measured()


@pytest.mark.parametrize("name", list(STREAMS))
def test_losses_are_those_in_the_file(name: str, values: dict[str, dict[str, float]]) -> None:
    golden = json.loads(GOLDEN.read_text())
    tolerance = golden["relative_tolerance"]
    assert values[name] == pytest.approx(golden["values"][name], rel=tolerance)


def test_every_choice_of_streams_has_a_loss_of_its_own(
    values: dict[str, dict[str, float]],
) -> None:
    """Else a golden value would not notice a stream that is not looked at."""
    losses = sorted(one["loss"] for one in values.values())
    assert min(np.diff(losses)) > 1e-3
    assert all(one["gradient_norm"] > 1e-2 for one in values.values())


if __name__ == "__main__":
    content = {
        "what": "CTC loss (nats, summed) and gradient norm; see test_recognizer_loss.py",
        "torch": torch.__version__,
        "relative_tolerance": 1e-4,
        "values": measured(),
    }
    GOLDEN.write_text(json.dumps(content, indent=2) + "\n")
