"""A tiny prepared corpus of random arrays, its tokenizer, an untrained recogniser, a noisy test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.data.manifest import (
    FaceTemplates,
    PreparedUtterance,
    encode_utterance,
    load_prepared,
    save_prepared,
)
from avsr.noisy_test_building import build
from tests.avsr.made_up_noisy_test import make_place, settings

TEXTS = ("bin blue at a one now", "set red by b two please", "lay green in c three soon")


def _utterance(name: str, num_frames: int, text: str, seed: int) -> PreparedUtterance:
    rng = np.random.default_rng(seed)
    valid = np.ones(num_frames, dtype=bool)
    valid[0] = False
    audio = 0.2 * rng.standard_normal(640 * num_frames)
    return PreparedUtterance(
        utterance_id=name,
        speaker_id=f"s{seed % 2}",
        text=text,
        audio=audio.clip(-1, 1).astype(np.float32),
        mouth_crops=rng.integers(0, 256, (num_frames, 96, 96), dtype=np.uint8),
        lips=rng.normal(0, 10, (num_frames, 40, 3)).astype(np.float32),
        vertices=rng.normal(0, 10, (num_frames, 42, 3)).astype(np.float32),
        video_valid=valid,
        words=(),
        phones=(),
        num_frames=num_frames,
        num_samples=640 * num_frames,
        source="tests",
    )


@pytest.fixture(scope="session")
def make_row() -> Callable[..., dict[str, Any]]:
    """A function (name, num_frames, text, seed) to a row of a prepared split."""

    def make(
        name: str = "u", num_frames: int = 20, text: str = TEXTS[0], seed: int = 0
    ) -> dict[str, Any]:
        return encode_utterance(_utterance(name, num_frames, text, seed))

    return make


@pytest.fixture(scope="session")
def corpus(
    tmp_path_factory: pytest.TempPathFactory, make_row: Callable[..., dict[str, Any]]
) -> Path:
    """Four training, two validation and three test utterances of 18 to 28 frames, two speakers."""
    splits = {
        split: [
            make_row(f"{split}/{i}", 18 + 5 * (i % 3), TEXTS[i % 3], 10 * offset + i)
            for i in range(count)
        ]
        for offset, (split, count) in enumerate({"train": 4, "valid": 2, "test": 3}.items())
    }
    ring = np.arange(40, dtype=np.int32)
    faces = FaceTemplates(
        topology="tests",
        triangles=np.array([[0, 1, 2]], dtype=np.int32),
        regions={"lips_outer": ring[:20], "lips_inner": ring[20:]},
        templates={name: np.zeros((42, 3), np.float32) for name in ("s0", "s1")},
    )
    return save_prepared(tmp_path_factory.mktemp("prepared"), splits, faces, {"name": "tests"})


@pytest.fixture(scope="session")
def test_rows(corpus: Path) -> Any:
    return load_prepared(corpus, "test")


@pytest.fixture(scope="session")
def train_rows(corpus: Path) -> Any:
    return load_prepared(corpus, "train")


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from avsr.text import Tokenizer, train_tokenizer

    return Tokenizer(train_tokenizer(TEXTS, 40))


@pytest.fixture(scope="session")
def recognizer(tokenizer: Any) -> Any:
    """An untrained audio-visual network; its outputs are spread out, so that texts differ."""
    import torch

    from avsr.models.recognizer import Recognizer, RecognizerConfig

    torch.manual_seed(0)
    config = RecognizerConfig(
        vocabulary_size=tokenizer.size,
        width=16,
        num_heads=2,
        fused_layers=1,
        video_channels=(8, 8, 8),
    )
    model = Recognizer(config).eval()
    with torch.no_grad():
        model.to_logits.weight.mul_(30)
    return model


@pytest.fixture(scope="session")
def recognizer_file(
    recognizer: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from avsr.training.recognizer import save_recognizer

    path = tmp_path_factory.mktemp("recognizer") / "best.safetensors"
    save_recognizer(path, recognizer, tokenizer, {"valid_wer": "1.0"})
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances of two speakers, two talkers, noise, and a room."""
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def built_test(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "test"
    build(settings(place), folder)
    return folder
