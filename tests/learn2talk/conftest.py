"""A tiny prepared corpus whose lips follow the loudness of the sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.data.manifest import FaceTemplates, PreparedUtterance, encode_utterance, save_prepared
from avsr.schema import PhoneTime, WordTime
from learn2talk.schema import FaceTemplate

EXTRA = 6  # vertices beside the 40 lip points: 4 of the chin, 2 of the forehead


def tiny_template() -> FaceTemplate:
    angle = np.pi + 2 * np.pi * np.arange(20) / 20  # left corner, lower lip, right corner, upper
    outer = np.stack([25 * np.cos(angle), 9 * np.sin(angle) - 70, np.full(20, 90.0)], axis=1)
    inner = np.stack([20 * np.cos(angle), 0.5 * np.sin(angle) - 70, np.full(20, 91.0)], axis=1)
    rest = [(-20, -100, 80), (20, -100, 80), (-8, -112, 82), (8, -112, 82), (-30, 60, 70)]
    vertices = np.concatenate([outer, inner, rest, [(30, 60, 70)]]).astype(np.float32)
    ring = np.arange(20)
    triangles = [(i, (i + 1) % 20, 20 + i) for i in ring]
    triangles += [((i + 1) % 20, 20 + (i + 1) % 20, 20 + i) for i in ring]
    triangles += [(40, 42, 43), (40, 43, 41), (44, 0, 45)]
    return FaceTemplate(
        topology="tiny",
        vertices=vertices,
        triangles=np.array(triangles),
        regions={
            "lips_outer": ring,
            "lips_inner": 20 + ring,
            "lips": np.arange(40),
            "lower_face": np.arange(44),
            "upper_face": np.array([44, 45]),
        },
    )


def tiny_utterance(name: str, speaker: str, seed: int, num_frames: int = 50) -> PreparedUtterance:
    """Noise whose loudness follows a smooth curve, and a mouth that opens with it.

    The mouth crops are noise in ten grey levels from ten times the seed's last digit on.
    """
    crop_level = 10 * (seed % 10)
    rng = np.random.default_rng(seed)
    curve = np.convolve(rng.uniform(0, 1, num_frames + 4), np.ones(3) / 3, "same")[2:-2]
    curve = np.clip(curve, 0.02, 1.0)
    gain = np.interp(np.arange(640 * num_frames) / 640, np.arange(num_frames) + 0.5, curve)
    audio = (0.3 * gain**2 * rng.standard_normal(640 * num_frames)).clip(-1, 1).astype(np.float32)
    template = tiny_template()
    opening = np.zeros((46, 3), dtype=np.float32)
    opening[0:10, 1] = opening[20:30, 1] = -8.0
    opening[10:20, 1] = opening[30:40, 1] = 2.0
    opening[40:44, 1] = -8.0
    vertices = (template.vertices + curve[:, None, None] * opening).astype(np.float32)
    valid = np.ones(num_frames, dtype=bool)
    valid[:2] = False
    return PreparedUtterance(
        utterance_id=name,
        speaker_id=speaker,
        text="a b",
        audio=audio,
        mouth_crops=rng.integers(crop_level, crop_level + 10, (num_frames, 96, 96), np.uint8),
        lips=np.ascontiguousarray(vertices[:, :40]),
        vertices=vertices,
        video_valid=valid,
        words=(WordTime("a", 0.2, 0.8), WordTime("b", 0.8, num_frames / 25 - 0.2)),
        phones=(PhoneTime("p", 0.2, 0.3), PhoneTime("a", 0.3, 1.0)),
        num_frames=num_frames,
        num_samples=640 * num_frames,
        source="tests",
    )


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training, two validation and three test clips of two speakers."""
    splits = {}
    for offset, (split, count) in enumerate({"train": 6, "valid": 2, "test": 3}.items()):
        splits[split] = [
            encode_utterance(
                tiny_utterance(f"{split}{i}", f"s{i % 2}", 100 * offset + i, num_frames=50 + 2 * i)
            )
            for i in range(count)
        ]
    template = tiny_template()
    faces = FaceTemplates(
        topology=template.topology,
        triangles=template.triangles,
        regions=dict(template.regions),
        templates={"s0": template.vertices, "s1": template.vertices},
    )
    folder = tmp_path_factory.mktemp("prepared")
    return save_prepared(folder, splits, faces, {"name": "tiny"})
