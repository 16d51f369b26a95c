"""A prepared corpus of random arrays of real sizes: what it holds does not change what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from avsr.data.manifest import (
    FaceTemplates,
    PreparedUtterance,
    encode_utterance,
    save_prepared,
)
from avsr.text import Tokenizer, train_tokenizer
from avsr.units import LIP_POINTS, MOUTH_CROP_SIZE, SAMPLES_PER_FRAME

TEXTS = ("bin blue at a one now", "set red by b two please", "lay green in c three soon")
FRAMES = 75  # 3 s
FACE_POINTS = 478  # of MediaPipe's face
_TEMPLATE = np.zeros((FACE_POINTS, 3), np.float32)


def tokenizer() -> Tokenizer:
    """Of the three sentences."""
    return Tokenizer(train_tokenizer(TEXTS, 40))


def rows(name: str, count: int, frames: int = FRAMES) -> Iterator[dict[str, Any]]:
    """Rows of a split; lengths vary by a third."""
    rng = np.random.default_rng(0)
    for number in range(count):
        length = frames - (number % 4) * frames // 12
        face = rng.normal(0, 20, (length, FACE_POINTS, 3)).astype(np.float32)
        yield encode_utterance(
            PreparedUtterance(
                utterance_id=f"{name}/{number}",
                speaker_id="s0",
                text=TEXTS[number % len(TEXTS)],
                audio=rng.uniform(-0.3, 0.3, SAMPLES_PER_FRAME * length).astype(np.float32),
                mouth_crops=rng.integers(
                    0, 256, (length, MOUTH_CROP_SIZE, MOUTH_CROP_SIZE), dtype=np.uint8
                ),
                lips=face[:, :LIP_POINTS],
                vertices=face,
                video_valid=np.ones(length, dtype=bool),
                words=(),
                phones=(),
                num_frames=length,
                num_samples=SAMPLES_PER_FRAME * length,
                source="benchmark",
            )
        )


def write_corpus(folder: Path, counts: dict[str, int], frames: int = FRAMES) -> Path:
    """A prepared corpus with so many utterances a split."""
    ring = np.arange(LIP_POINTS, dtype=np.int32)
    faces = FaceTemplates(
        topology="benchmark",
        triangles=np.array([[0, 1, 2]], dtype=np.int32),
        regions={"lips_outer": ring[:20], "lips_inner": ring[20:]},
        templates={"s0": _TEMPLATE},
    )
    splits = {name: rows(name, counts.get(name, 0), frames) for name in ("train", "valid", "test")}
    return save_prepared(folder, splits, faces, {"name": "benchmark"})
