"""Prepared utterances as examples for the recogniser: features, crops, lips, tokens."""

# T frames at 25 fps, F mel bands, P lip points, S samples

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from avsr.audio import log_mel
from avsr.data.augment import (
    MIRROR_ORDER,
    AugmentConfig,
    augment_crops,
    crop_offsets,
    hide_spans,
    interpolate,
    mask_features,
    mask_waveform,
    mirror_lips,
    stretch_features,
    stretch_index,
    stretch_waveform,
)
from avsr.data.manifest import decode_array
from avsr.data.trainable import LeftOut, untrainable
from avsr.text import Tokenizer
from avsr.units import HOP_SAMPLES, MODEL_CROP_SIZE, SAMPLES_PER_FRAME, VIDEO_FPS

if TYPE_CHECKING:
    import datasets

Mixer = Callable[[np.ndarray, np.random.Generator], np.ndarray]
# What an example is made of; the vertices, the largest column after the crops, are not.
COLUMNS_READ = (
    "utterance_id",
    "text",
    "audio",
    "mouth_crops",
    "lips",
    "video_valid",
    "words",
    "num_frames",
)
# tracked lips (T, P, 3) mm, the clean sound (S,), the sound heard beside the lips (S,) or None
LipChooser = Callable[
    [np.ndarray, np.ndarray, "np.ndarray | None", np.random.Generator], np.ndarray
]

# Which streams a training utterance keeps, with weights: each single stream must be learned, and
# the fused pairs in which it will be used. The visual streams, the harder ones, come most often.
AUDIO_ONLY_MIX: tuple[tuple[tuple[str, ...], float], ...] = ((("audio",), 1.0),)
AUDIO_VISUAL_MIX: tuple[tuple[tuple[str, ...], float], ...] = (
    (("audio",), 0.2),
    (("crops",), 0.3),
    (("lips",), 0.1),
    (("audio", "crops"), 0.2),
    (("audio", "lips"), 0.15),
    (("audio", "crops", "lips"), 0.05),
)
# The second phase goes on from networks that read each stream: the pairs come more often.
FINE_TUNING_MIX: tuple[tuple[tuple[str, ...], float], ...] = (
    (("audio",), 0.15),
    (("crops",), 0.2),
    (("lips",), 0.1),
    (("audio", "crops"), 0.3),
    (("audio", "lips"), 0.2),
    (("audio", "crops", "lips"), 0.05),
)


@dataclass(frozen=True)
class Example:
    """One utterance ready to be collated; a stream that it lacks is ``None``."""

    utterance_id: str
    num_frames: int
    features: np.ndarray | None  # (4 T, F) float32
    mouth_crops: np.ndarray | None  # (T, 88, 88) uint8
    lips: np.ndarray | None  # (T, P, 3) float32 mm
    crops_valid: np.ndarray  # (T,) bool
    lips_valid: np.ndarray  # (T,) bool
    tokens: tuple[int, ...]
    frame_tokens: np.ndarray | None = None  # (T,) int64: token said at a frame, see Batch


def generator_of(seed: int, epoch: int, utterance_id: str) -> np.random.Generator:
    """The random stream of one utterance in one epoch: independent of order, batch and process."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{utterance_id}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest[:16], np.uint32))


def features_of(waveform: np.ndarray, num_mels: int | None) -> np.ndarray:
    """Log-mel (4 T, F) float32 of a waveform (S,), or its samples (4 T, 160) for ``None``."""
    if num_mels is None:
        filled = np.pad(waveform, (0, -len(waveform) % SAMPLES_PER_FRAME))
        return filled.astype(np.float32).reshape(-1, HOP_SAMPLES)
    tensor = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))
    return log_mel(tensor[None], num_mels)[0].numpy()


class TrainingDataset:
    """Augmented examples of a prepared split.

    Args:
        rows: a split from :func:`avsr.data.manifest.load_prepared`.
        encode: text to token ids.
        stream_mix: which streams an utterance keeps, with weights.
        mix_noise: adds noise to a waveform (S,) float32; ``None`` trains on the speech as it is.
        choose_lips: may replace the tracked lips of an utterance, for example by ones generated
            from its clean sound (second argument) or the sound heard beside them (third).
        augment: strengths; ``None`` changes nothing.
        num_mels: F; ``None`` gives the waveform itself, which has no bands to hide.
        seed: of every draw.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        *,
        encode: Callable[[str], list[int]],
        stream_mix: Sequence[tuple[tuple[str, ...], float]],
        mix_noise: Mixer | None,
        augment: AugmentConfig | None,
        choose_lips: LipChooser | None = None,
        num_mels: int | None = 80,
        seed: int = 0,
    ) -> None:
        self.rows = rows.select_columns(list(COLUMNS_READ))
        self.encode, self.seed, self.num_mels = encode, seed, num_mels
        self.mix_noise, self.choose_lips, self.augment = mix_noise, choose_lips, augment
        self.stream_choices = [set(streams) for streams, _ in stream_mix]
        weights = np.asarray([weight for _, weight in stream_mix], dtype=float)
        if (weights < 0).any() or weights.sum() <= 0:
            raise ValueError(f"stream weights {weights.tolist()} must be >= 0 with one above 0")
        self.stream_weights = weights / weights.sum()
        self.num_frames = np.asarray(rows["num_frames"][:], dtype=np.int32)
        self.places = np.arange(len(rows), dtype=np.int32)  # rows that are trained on

    def __len__(self) -> int:
        return len(self.places)

    def leave_out_untrainable(self, tokenizer: Tokenizer) -> list[LeftOut]:
        """Keep only rows that CTC can be trained on; returns the others with their reasons.

        Raises:
            ValueError: no row is left; the first reason is given.
        """
        shortest = 1.0 if self.augment is None else 1.0 - self.augment.stretch
        left_out = untrainable(self.rows, tokenizer, shortest)
        self.places = np.setdiff1d(
            np.arange(len(self.rows), dtype=np.int32), [one.index for one in left_out]
        )
        if not len(self.places):
            raise ValueError(
                f"none of {len(self.rows)} utterances can be trained on; the first: "
                f"{left_out[0].utterance_id}: {left_out[0].reason}"
            )
        self.num_frames = np.asarray(self.rows["num_frames"][:], dtype=np.int32)[self.places]
        return left_out

    def example(self, index: int, epoch: int) -> Example:
        """Utterance ``index`` of those trained on, as it looks in ``epoch``."""
        row = self.rows[int(self.places[index])]
        rng = generator_of(self.seed, epoch, row["utterance_id"])
        kept = self.stream_choices[rng.choice(len(self.stream_choices), p=self.stream_weights)]
        return _build_example(
            row,
            kept,
            self.encode,
            self.num_mels,
            _Changes(self.augment, self.mix_noise, self.choose_lips, rng),
        )


@dataclass(frozen=True)
class _Changes:
    augment: AugmentConfig | None
    mix_noise: Mixer | None
    choose_lips: LipChooser | None
    rng: np.random.Generator


def _build_example(
    row: dict[str, Any],
    kept: set[str],
    encode: Callable[[str], list[int]],
    num_mels: int | None,
    changes: _Changes,
) -> Example:
    augment, rng = changes.augment, changes.rng
    num_frames = row["num_frames"]
    positions = (
        stretch_index(num_frames, augment, rng) if augment else np.arange(num_frames, dtype=float)
    )
    nearest = np.rint(positions).astype(int)
    valid = decode_array(row["video_valid"])[nearest]
    mirrored = bool(augment and augment.flip and rng.random() < 0.5)
    features = crops = lips = heard = None
    if "audio" in kept:
        waveform = decode_array(row["audio"])
        if changes.mix_noise is not None:
            waveform = changes.mix_noise(waveform, rng)
        heard = waveform
        if augment:
            waveform = waveform * 10 ** (rng.uniform(-augment.gain_db, augment.gain_db) / 20)
        if num_mels is None and augment:
            waveform = mask_waveform(stretch_waveform(waveform, positions), augment, rng)
        features = features_of(waveform, num_mels)
        if num_mels is not None and augment:
            features = mask_features(stretch_features(features, positions), augment, rng)
    if "crops" in kept:
        crops = decode_array(row["mouth_crops"])
        if augment:
            crops = augment_crops(crops, augment, rng)[nearest]
            crops = crops[:, :, ::-1] if mirrored else crops
        else:
            crops = middle_crop(crops)
    if "lips" in kept:
        lips = decode_array(row["lips"])
        if changes.choose_lips is not None:
            lips = changes.choose_lips(lips, decode_array(row["audio"]), heard, rng)
        lips = interpolate(lips, positions)
        if augment:
            lips = mirror_lips(lips, MIRROR_ORDER) if mirrored else lips
            lips = lips + rng.normal(0, augment.lip_noise_mm, lips.shape[1:])
    crops_valid = lips_valid = valid
    if augment:
        spans = augment.time_masks, augment.time_mask_frames
        crops_valid = hide_spans(valid, *spans, rng)
        lips_valid = hide_spans(valid, *spans, rng)
    return Example(
        utterance_id=row["utterance_id"],
        num_frames=len(positions),
        features=features,
        mouth_crops=crops,
        lips=None if lips is None else lips.astype(np.float32),
        crops_valid=crops_valid,
        lips_valid=lips_valid,
        tokens=tuple(encode(row["text"])),
        frame_tokens=tokens_of_frames(json.loads(row["words"]), positions, encode),
    )


def tokens_of_frames(
    words: Sequence[dict[str, Any]], positions: np.ndarray, encode: Callable[[str], list[int]]
) -> np.ndarray | None:
    """Which token is being said at each frame, by the corpus's word times.

    A word's span is shared out evenly among its tokens.

    Args:
        words: rows of word, start_s, end_s; silences are not words.
        positions: (T,) source frames (may be fractional) at 25 fps.
        encode: a word's token ids.

    Returns:
        int64 (T,), 0 between words, or ``None`` where the corpus has no word times.
    """
    if not words:
        return None
    middles_s = (positions + 0.5) / VIDEO_FPS
    tokens = np.zeros(len(positions), dtype=np.int64)
    for word in words:
        ids = encode(word["word"])
        if not ids:  # a mark that the normaliser takes away
            continue
        inside = (middles_s >= word["start_s"]) & (middles_s < word["end_s"])
        share = (middles_s[inside] - word["start_s"]) / (word["end_s"] - word["start_s"])
        tokens[inside] = np.asarray(ids)[(share * len(ids)).astype(int)]
    return tokens


def middle_crop(crops: np.ndarray) -> np.ndarray:
    """The middle 88x88 of stored crops (T, 96, 96)."""
    top, left = crop_offsets(crops.shape[1], None)
    return crops[:, top : top + MODEL_CROP_SIZE, left : left + MODEL_CROP_SIZE]
