"""Recordings of speech without faces, and what a Whisper hears in them, frame by frame.

Axis letters: B batch, S samples, T frames at 25 fps, F mel bands, W Whisper's width.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsr.audio import whisper_log_mel
from avsr.data.dataset import features_of, generator_of
from avsr.data.noise_bank import NoiseBank
from avsr.data.random_mixtures import random_mixture
from avsr.files import read_audio, read_json, resample, sha256_file, write_atomically, write_json
from avsr.models.layers import mask_of_lengths
from avsr.models.whisper import WhisperEncoder
from avsr.pretrained.whisper import load_whisper
from avsr.units import FEATURES_PER_FRAME, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

TARGETS, TARGETS_INFO = "targets.f16", "targets.json"
WHISPER_S, GAP_S = 30.0, 0.4  # what Whisper hears at once; silence between the sounds in it
VECTORS_PER_FRAME = 2
STD_FLOOR = 1e-3
SPEED_STEPS = 40  # factors of a speed change are multiples of 1 / 40: cheap to resample


@dataclass(frozen=True)
class Sound:
    """A recording of one voice: a sound or video file of at most 29 s."""

    name: str
    speaker: str
    path: Path


@dataclass(frozen=True)
class SoundChanges:
    """How strongly recordings are changed in training; the targets stay those of the clean one."""

    speed: float = 0.15
    """A recording is played faster or slower by up to this share: another voice."""
    gain_db: float = 6.0
    """And louder or softer by up to this much."""
    snr_db: tuple[float, float] = (-5.0, 20.0)
    """Level of the noise that is mixed in where noise is given."""
    clean_share: float = 0.4
    """How many examples get no noise."""

    def __post_init__(self) -> None:
        if not 0 <= self.speed < 0.5 or not 0 <= self.clean_share <= 1 or self.gain_db < 0:
            raise ValueError(
                f"speed {self.speed} must be in [0, 0.5), clean_share {self.clean_share} in "
                f"[0, 1], gain_db {self.gain_db} at least 0"
            )


def read_sounds(table: Path | str, root: Path | str) -> dict[str, list[Sound]]:
    """Recordings of a tab-separated table with the columns file, speaker and split.

    Args:
        table: split is train or valid; further columns are not read.
        root: folder that the files are named from.

    Raises:
        ValueError: a missing table or column, another split; names file and line.
    """
    table = Path(table)
    found: dict[str, list[Sound]] = {"train": [], "valid": []}
    if not table.is_file():
        raise ValueError(f"{table}: no such table; give one with the columns file, speaker, split")
    with open(table, encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if missing := {"file", "speaker", "split"} - set(rows.fieldnames or ()):
            raise ValueError(f"{table}:1: lacks the columns {', '.join(sorted(missing))}")
        for row in rows:
            if row["split"] not in found or not row["file"] or not row["speaker"]:
                raise ValueError(
                    f"{table}:{rows.line_num}: needs a file, a speaker, and train or valid as "
                    f"split, not {row['split']!r}"
                )
            found[row["split"]].append(Sound(row["file"], row["speaker"], Path(root) / row["file"]))
    return found


def read_speech(sound: Sound) -> NDArray[np.float32]:
    """Samples (640 T,) of whole frames.

    Raises:
        ValueError: longer than 29 s, or shorter than a frame; names the file.
    """
    samples = read_audio(sound.path)
    frames = len(samples) // SAMPLES_PER_FRAME
    if not 0 < len(samples) <= (WHISPER_S - 1) * SAMPLE_RATE_HZ or not frames:
        raise ValueError(
            f"{sound.path}: {len(samples) / SAMPLE_RATE_HZ:.2f} s; give recordings of one frame "
            "(0.04 s) to 29 s"
        )
    whole: NDArray[np.float32] = samples[: frames * SAMPLES_PER_FRAME].astype(np.float32)
    return whole


def packed(
    sounds: Sequence[Sound], read: Callable[[Sound], NDArray[np.float32]] = read_speech
) -> Iterator[list[tuple[Sound, int, NDArray[np.float32]]]]:
    """Sounds in groups that fit into 30 s with gaps, each with its first sample there.

    Whisper always hears 30 s: eight sentences of three seconds cost it what one does.
    """
    group: list[tuple[Sound, int, NDArray[np.float32]]] = []
    start, gap = 0, round(GAP_S * SAMPLE_RATE_HZ / SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME
    for sound in sounds:
        samples = read(sound)
        if group and start + len(samples) > WHISPER_S * SAMPLE_RATE_HZ:
            yield group
            group, start = [], 0
        group.append((sound, start, samples))
        start += len(samples) + gap
    if group:
        yield group


@torch.no_grad()
def whisper_vectors(
    encoder: WhisperEncoder, group: Sequence[tuple[Sound, int, NDArray[np.float32]]]
) -> list[NDArray[np.float16]]:
    """Whisper's vectors of each sound of a group, two a frame averaged: (T, W)."""
    whole = np.zeros(round(WHISPER_S * SAMPLE_RATE_HZ), np.float32)
    for _, start, samples in group:
        whole[start : start + len(samples)] = samples
    waveform = torch.from_numpy(whole)[None]
    log_mel = whisper_log_mel(waveform, torch.tensor([len(whole)]), encoder.config.num_mels)
    valid = torch.ones(1, encoder.config.max_frames, dtype=torch.bool)
    vectors = encoder.layers_of_mel(log_mel, valid)[-1][0]
    frames = vectors.unflatten(0, (-1, VECTORS_PER_FRAME)).mean(1)
    spans = [(start // SAMPLES_PER_FRAME, len(s) // SAMPLES_PER_FRAME) for _, start, s in group]
    return [frames[first : first + count].numpy().astype(np.float16) for first, count in spans]


def write_targets(sounds: Sequence[Sound], whisper: Path | str, out: Path) -> Path:
    """What Whisper hears in every sound, as one memory-mapped array and its index.

    A folder that holds the targets of these very sounds is left alone.

    Args:
        sounds: recordings, each under a name of its own.
        whisper: folder or hub id of a Whisper.
        out: gets ``targets.f16``, float16 (all frames, W) without a header, and ``targets.json``.

    Raises:
        ValueError: a name twice, or an unreadable recording.
    """
    names = [sound.name for sound in sounds]
    if len(set(names)) < len(names) or not names:
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{len(names)} sounds, names given twice: {twice[:3]}; give each its own")
    told = out / TARGETS_INFO
    if told.is_file():
        kept = read_json(told)
        if kept["whisper"] == str(whisper) and [row[0] for row in kept["sounds"]] == names:
            return out
        raise ValueError(f"{out}: holds the targets of other sounds; give another folder")
    encoder = load_whisper(whisper)[0].encoder.eval()
    rows: list[tuple[str, int, int]] = []
    first = 0
    with write_atomically(out / TARGETS) as temporary, open(temporary, "wb") as stream:
        for group in packed(sounds):
            for (sound, _, _), vectors in zip(group, whisper_vectors(encoder, group), strict=True):
                rows.append((sound.name, first, len(vectors)))
                vectors.tofile(stream)
                first += len(vectors)
    width, digest = encoder.config.width, sha256_file(out / TARGETS)
    info = {"whisper": str(whisper), "width": width, "sounds": rows, "sha256": digest}
    write_json(told, info)
    return out


@dataclass(frozen=True, eq=False)
class EarBatch:
    """Speech and what Whisper hears in it, padded with zeros."""

    utterance_ids: tuple[str, ...]
    features: Tensor  # (B, 4 T, F)
    valid_mask: Tensor  # (B, T) bool
    targets: Tensor  # (B, T, W), standardised
    num_targets: int

    def to(self, device: torch.device) -> EarBatch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in moved.items() if hasattr(v, "to")})


@dataclass(frozen=True, eq=False)
class EarExample:
    """One recording as it looks in an epoch."""

    name: str
    features: NDArray[np.float32]  # (4 T, F)
    targets: NDArray[np.float32]  # (T, W), standardised


class EarExamples:
    """Recordings with their targets, changed anew in every epoch.

    Args:
        sounds: of one split.
        folder: of :func:`write_targets`, which must hold all of them.
        changes: ``None`` leaves the sounds as they are.
        num_mels: F.
        statistics: mean and standard deviation (W,) of the targets; ``None`` takes these sounds'.
        noise: mixed in, ``None`` for none.
    """

    def __init__(
        self,
        sounds: Sequence[Sound],
        folder: Path,
        changes: SoundChanges | None,
        num_mels: int,
        statistics: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
        noise: NoiseBank | None = None,
        seed: int = 0,
    ) -> None:
        self.sounds, self.changes, self.num_mels = list(sounds), changes, num_mels
        self.noise, self.seed = noise, seed
        told = read_json(folder / TARGETS_INFO)
        raw = np.memmap(folder / TARGETS, np.float16, "r")
        self.vectors = raw.reshape(-1, told["width"])
        place = {name: (first, count) for name, first, count in told["sounds"]}
        if missing := [sound.name for sound in sounds if sound.name not in place]:
            raise ValueError(f"{folder}: has no targets of {missing[:3]}; write them first")
        self.places = [place[sound.name] for sound in sounds]
        self.num_frames = [count for _, count in self.places]
        self.statistics = statistics or self._statistics()

    def _statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        total = squares = np.zeros(self.vectors.shape[1])
        for first, count in self.places:
            part = self.vectors[first : first + count].astype(np.float64)
            total, squares = total + part.sum(0), squares + np.square(part).sum(0)
        mean = total / sum(self.num_frames)
        spread = np.sqrt(np.maximum(squares / sum(self.num_frames) - np.square(mean), 0.0))
        return mean.astype(np.float32), (spread + STD_FLOOR).astype(np.float32)

    def example(self, index: int, epoch: int) -> EarExample:
        """Recording ``index`` as it sounds in ``epoch``."""
        first, count = self.places[index]
        mean, spread = self.statistics
        sound, changes = self.sounds[index], self.changes
        samples = read_speech(sound)
        targets = (self.vectors[first : first + count].astype(np.float32) - mean) / spread
        if changes is not None:
            rng = generator_of(self.seed, epoch, sound.name)
            steps = round(changes.speed * SPEED_STEPS)
            slower = int(rng.integers(-steps, steps + 1)) + SPEED_STEPS
            samples, targets = at_speed(samples, targets, SPEED_STEPS, slower)
            gain = 10 ** (rng.uniform(-changes.gain_db, changes.gain_db) / 20)
            samples = (gain * samples).astype(np.float32)
            if self.noise is not None:
                samples = random_mixture(
                    samples, self.noise, rng, changes.snr_db, changes.clean_share
                ).waveform.astype(np.float32)
        return EarExample(sound.name, features_of(samples, self.num_mels), targets)


def at_speed(
    samples: NDArray[np.float32], targets: NDArray[np.float32], before: int, after: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sound played ``after / before`` times as long, pitch and formants included, and its targets.

    Frame t of the result takes the target of the frame that sounded then.
    """
    if before == after:
        return samples, targets
    played = resample(samples, before, after)
    frames = max(1, len(played) // SAMPLES_PER_FRAME)
    whole = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
    whole[: len(played)] = played[: len(whole)]
    index = np.floor((np.arange(frames) + 0.5) * before / after).astype(int)
    return whole, targets[np.minimum(index, len(targets) - 1)]


def collate_ear(examples: Sequence[EarExample]) -> EarBatch:
    """Examples to a padded batch; its targets are the real frames."""
    lengths = torch.tensor([len(one.targets) for one in examples])
    longest = int(lengths.max())
    features = np.zeros(
        (len(examples), longest * FEATURES_PER_FRAME, examples[0].features.shape[1]), np.float32
    )
    targets = np.zeros((len(examples), longest, examples[0].targets.shape[1]), np.float32)
    for row, one in enumerate(examples):
        features[row, : len(one.features)] = one.features
        targets[row, : len(one.targets)] = one.targets
    return EarBatch(
        tuple(one.name for one in examples),
        torch.from_numpy(features),
        mask_of_lengths(lengths, longest),
        torch.from_numpy(targets),
        int(lengths.sum()),
    )
