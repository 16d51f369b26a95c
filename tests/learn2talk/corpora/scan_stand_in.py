"""Small copies of VOCASET and BIWI in the layouts that their users have, on sheets for faces."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avsr.files import write_wav
from tests.learn2talk.sheet_face import MOUTH_Y, Sheet, flame_folder, write_obj, write_ply

FLAME, BIWI = Sheet(5023), Sheet(23370)
SECONDS = 1.0


def sound(seed: int, sample_rate_hz: int = 22000, seconds: float = SECONDS) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = 0.1 * rng.standard_normal(round(sample_rate_hz * seconds))
    return np.clip(noise, -1.0, 1.0).astype(np.float32)


def of_speaker(sheet: Sheet, index: int, frames: np.ndarray) -> np.ndarray:
    """Motion of another, wider face."""
    middle = sheet.vertices.mean(axis=0)
    return (frames - middle) * (1.0 + 0.05 * index) + middle


def write_templates(path: Path, faces: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as stream:
        pickle.dump(faces, stream, protocol=2)


def vocaset(root: Path, names: Sequence[str], fps: float = 60.0) -> Path:
    """The layout of FaceFormer's preprocessing; ``names``: sequences to make."""
    (root / "vertices_npy").mkdir(parents=True)
    speakers = sorted({name.rsplit("_", 1)[0] for name in names})
    flame_folder(root, FLAME)
    templates = {s: of_speaker(FLAME, i, FLAME.vertices) / 1000 for i, s in enumerate(speakers)}
    write_templates(root / "templates.pkl", templates)
    for seed, name in enumerate(names):
        index = speakers.index(name.rsplit("_", 1)[0])
        motion = of_speaker(FLAME, index, FLAME.motion(round(SECONDS * fps), fps)) / 1000
        flat = motion.reshape(len(motion), -1).astype(np.float32)
        np.save(root / "vertices_npy" / f"{name}.npy", flat)
        write_wav(root / "wav" / f"{name}.wav", sound(seed), 22000)
    return root


def vocaset_release(root: Path, names: Sequence[str]) -> Path:
    """The layout of the release: one array of all frames, and pickles."""
    root.mkdir(parents=True)
    flame_folder(root, FLAME)
    index: dict[str, dict[str, dict[int, int]]] = {}
    audio: dict[str, dict[str, dict[str, object]]] = {}
    frames, count = [], 0
    for seed, name in enumerate(names):
        speaker, sentence = name.rsplit("_", 1)
        motion = FLAME.motion(60, 60.0) / 1000
        frames.append(motion[::-1])  # stored in any order: the index says which frame is where
        index.setdefault(speaker, {})[sentence] = {t: count + 59 - t for t in range(60)}
        samples = (sound(seed) * 32767).astype(np.int16)
        audio.setdefault(speaker, {})[sentence] = {"audio": samples, "sample_rate": 22000}
        count += 60
    np.save(root / "data_verts.npy", np.concatenate(frames).astype(np.float32))
    for name, value in (("subj_seq_to_idx", index), ("raw_audio_fixed", audio)):
        with open(root / f"{name}.pkl", "wb") as stream:
            pickle.dump(value, stream, protocol=2)
    write_templates(root / "templates.pkl", dict.fromkeys(index, FLAME.vertices / 1000))
    return root


def biwi(root: Path, names: Sequence[str], unit_mm: float = 185.0, scans: bool = True) -> Path:
    """The layout of CodeTalker's preprocessing, with the scans of the release."""
    (root / "vertices_npy").mkdir(parents=True)
    speakers = sorted({name.split("_")[0] for name in names})
    high = BIWI.vertices[:, 1]
    lve = np.flatnonzero((np.abs(BIWI.vertices[:, 0]) < 40) & (high < MOUTH_Y + 20))
    write_ply(root / "BIWI.ply", BIWI.vertices / unit_mm, BIWI.triangles)
    for file, ids in (
        ("lve", lve),
        ("fdd", np.flatnonzero(high > 0)),
        ("mouth_landmarks", BIWI.landmarks),
    ):
        (root / f"{file}.txt").write_text(", ".join(map(str, ids.tolist())))
    middle = BIWI.vertices.mean(axis=0)
    templates = {}
    for i, speaker in enumerate(speakers):
        face = of_speaker(BIWI, i, BIWI.vertices)
        templates[speaker] = (face - middle) / unit_mm
        if scans:  # the release's own are turned upside down
            write_obj(root / "rigid_scans" / f"{speaker}.obj", face * (1, -1, -1), BIWI.triangles)
    write_templates(root / "templates.pkl", templates)
    for seed, name in enumerate(names):
        index = speakers.index(name.split("_")[0])
        motion = (of_speaker(BIWI, index, BIWI.motion(25, 25.0)) - middle) / unit_mm
        np.save(root / "vertices_npy" / f"{name}.npy", motion.reshape(25, -1).astype(np.float32))
        write_wav(root / "wav" / f"{name}.wav", sound(seed, 44100), 44100)
    return root
