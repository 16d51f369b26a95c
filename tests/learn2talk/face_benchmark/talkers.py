"""Faces whose mouths can be read by construction, and networks that read them so.

A word is a height of the opening, ten frames long; the sound is as loud as the mouth is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from avsr.files import write_wav
from learn2talk.articulation import CONTROLS, animate_head
from learn2talk.drawing import CROP_MOUTH_SHARE
from learn2talk.face_benchmark.carrying import Drawings, carried
from learn2talk.face_benchmark.films import OURS
from learn2talk.face_benchmark.recognisers import LipReader
from learn2talk.files import save_motion
from learn2talk.head import build_head
from learn2talk.metrics import lip_gap_mm
from learn2talk.models.sync_expert import SyncOutput
from learn2talk.schema import Motion

WORDS = {"bin": 0.25, "lay": 0.5, "set": 0.75, "now": 1.0}  # share of the widest opening
FRAMES = 10  # of a word
READER_SHA256, JUDGE_SHA256 = "a" * 64, "b" * 64
REFERENCES = (  # no word is where it is in the next utterance
    "bin lay set now bin set",
    "lay set now bin lay now",
    "set now bin lay now bin",
    "now bin lay set set lay",
    "bin now set lay bin set",
    "lay bin now set lay now",
)


def opening(text: str, seed: int) -> np.ndarray:
    """Jaw control (T,) of a text; it trembles, so that no two moments are alike."""
    levels = np.repeat([WORDS[word] for word in text.split()], FRAMES)
    tremble = np.random.default_rng(seed).uniform(-0.09, 0.09, len(levels))
    return levels + tremble


def spoken(text: str, seed: int) -> Motion:
    """The built-in head saying a text."""
    head = build_head()
    curves = np.zeros((FRAMES * len(text.split()), len(CONTROLS)))
    curves[:, CONTROLS.index("jaw")] = opening(text, seed)
    return Motion(animate_head(head, curves), 25.0, head.template)


def sound(text: str, seed: int) -> np.ndarray:
    """Noise (640 T,) whose loudness is the opening."""
    loud = np.repeat(opening(text, seed), 640)
    noise = np.random.default_rng(seed + 100).uniform(-1, 1, len(loud))
    return (0.4 * loud * noise).astype(np.float32)


@lru_cache(maxsize=1)
def _darkness_of_levels() -> np.ndarray:
    moved = np.concatenate([carried(spoken(word, 0))[:1] * 0 for word in WORDS])
    for row, level in enumerate(WORDS.values()):
        head = build_head()
        curves = np.zeros((1, len(CONTROLS)))
        curves[:, CONTROLS.index("jaw")] = level
        moved[row] = carried(Motion(animate_head(head, curves), 25.0, head.template))[0]
    return _darkness(Drawings(CROP_MOUTH_SHARE).crops(moved))


def _darkness(crops: np.ndarray) -> np.ndarray:
    """How much of the crop's middle column is dark, (T,)."""
    return (crops[:, 30:80, 42:54] < 75).mean(axis=(1, 2))


def read_heights(mouths: Any, valid: Any) -> list[str]:
    """The word of every ten frames whose opening is the nearest."""
    names, levels = list(WORDS), _darkness_of_levels()
    said = []
    for crops, seen in zip(mouths, valid, strict=True):
        dark = _darkness(crops)
        words = []
        for first in range(0, len(crops) - FRAMES + 1, FRAMES):
            part = slice(first, first + FRAMES)
            if seen[part].any():
                words.append(names[int(np.abs(levels - dark[part].mean()).argmin())])
        said.append(" ".join(words))
    return said


def height_reader(path: Path | str, name: str | None = None) -> LipReader:
    """In place of `load_lip_reader`: reads heights, whatever the path."""
    return LipReader(
        name or Path(path).stem, READER_SHA256, "avsr", OURS, CROP_MOUTH_SHARE, read_heights
    )


class LoudnessJudge:
    """In place of a SyncNet3D: a window of sound or motion is its loudness or opening in time."""

    config = SimpleNamespace(num_mels=80, window_frames=5)

    def __call__(self, features: Any, lips: Any, neutral: Any) -> SyncOutput:
        loud = (0.5 * features).exp().mean(2).reshape(1, -1, 4).mean(2)
        gap = torch.from_numpy(lip_gap_mm(lips[0].numpy()))[None]
        audio, motion = (self._windows(one) for one in (loud, gap))
        return SyncOutput(audio, motion, torch.tensor(1.0), torch.tensor(0.0))

    def _windows(self, values: Any) -> Any:
        parts = values.unfold(1, 5, 1).float()
        centred = parts - parts.mean(2, keepdim=True)
        return torch.nn.functional.normalize(centred + 1e-9, dim=-1)

    def window_mask(self, valid: Any) -> Any:
        return valid.unfold(1, 5, 1).all(dim=2)


def loudness_judge(folder: Path, role: str) -> tuple[LoudnessJudge, dict[str, str]]:
    """In place of `load_sync_expert`."""
    return LoudnessJudge(), {"weights_sha256": JUDGE_SHA256}


@dataclass(frozen=True)
class World:
    """Folders of a benchmark."""

    root: Path

    @property
    def audio(self) -> Path:
        return self.root / "audio"

    @property
    def text(self) -> Path:
        return self.root / "text.tsv"

    @property
    def truth(self) -> Path:
        return self.root / "real"

    @property
    def phones(self) -> Path:
        return self.root / "phones"

    @property
    def mine(self) -> Path:
        return self.root / "mine"


def make_world(root: Path, count: int = len(REFERENCES)) -> World:
    """Sounds, texts, phone times, the truth, and a system that mumbles: half as wide open."""
    world = World(root)
    lines = ["utterance_id\ttext\tspeaker_id"]
    for folder in (world.audio, world.truth, world.phones, world.mine):
        folder.mkdir(parents=True)
    for seed, text in enumerate(REFERENCES[:count]):
        name = f"u{seed}"
        motion = spoken(text, seed)
        rest = motion.template.vertices
        save_motion(world.truth / f"{name}.npz", motion, {})
        mumbled = Motion(rest + 0.5 * (motion.vertices - rest), 25.0, motion.template)
        save_motion(world.mine / f"{name}.npz", mumbled, {"made_by": "a test"})
        write_wav(world.audio / f"{name}.wav", sound(text, seed))
        lines.append(f"{name}\t{text.upper()}\ts0")
        (world.phones / f"{name}.tsv").write_text(
            "phone\tstart_s\tend_s\nm\t0.0\t0.2\nɪ\t0.2\t2.2\np\t2.2\t2.4\n", encoding="utf-8"
        )
    lines.append("never\tset bin\ts0")
    world.text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return world
