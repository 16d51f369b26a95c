"""Examples of different lengths to one padded batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from avsr.data.dataset import Example
from avsr.schema import Batch
from avsr.units import FEATURES_PER_FRAME


def _padded(
    arrays: Sequence[np.ndarray | None], lengths: Sequence[int], per_frame: int = 1
) -> torch.Tensor | None:
    there = [array for array in arrays if array is not None]
    if not there:
        return None
    shape = (len(arrays), max(lengths) * per_frame, *there[0].shape[1:])
    out = np.zeros(shape, dtype=there[0].dtype)
    for row, array in enumerate(arrays):
        if array is not None:
            out[row, : len(array)] = array
    return torch.from_numpy(out)


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples with zeros to the longest; presence tells what is real.

    Raises:
        ValueError: a stream whose length does not fit its utterance's number of frames.
    """
    lengths = [example.num_frames for example in examples]
    for example in examples:
        for name, array, per_frame in (
            ("features", example.features, FEATURES_PER_FRAME),
            ("mouth crops", example.mouth_crops, 1),
            ("lips", example.lips, 1),
            ("crop validities", example.crops_valid, 1),
            ("lip validities", example.lips_valid, 1),
        ):
            if array is not None and len(array) != example.num_frames * per_frame:
                raise ValueError(
                    f"utterance {example.utterance_id}: {len(array)} {name} for "
                    f"{example.num_frames} video frames, expected "
                    f"{example.num_frames * per_frame}; prepare the corpus again"
                )
    tokens = [np.asarray(example.tokens, dtype=np.int64) for example in examples]
    token_lengths = [len(row) for row in tokens]
    num_frames = max(lengths)

    def presence(masks: list[np.ndarray], values: list[np.ndarray | None]) -> torch.Tensor:
        out = np.zeros((len(masks), num_frames), dtype=bool)
        for row, (mask, value) in enumerate(zip(masks, values, strict=True)):
            if value is not None:
                out[row, : len(mask)] = mask
        return torch.from_numpy(out)

    frame_tokens = np.full((len(examples), num_frames), -1, dtype=np.int64)
    for row, example in enumerate(examples):
        if example.frame_tokens is not None:
            frame_tokens[row, : example.num_frames] = example.frame_tokens
    crops = [example.mouth_crops for example in examples]
    lips = [example.lips for example in examples]
    padded_tokens = np.zeros((len(tokens), max(1, *token_lengths)), dtype=np.int64)
    for row, ids in enumerate(tokens):
        padded_tokens[row, : len(ids)] = ids
    return Batch(
        utterance_ids=tuple(example.utterance_id for example in examples),
        lengths=torch.tensor(lengths),
        features=_padded([e.features for e in examples], lengths, FEATURES_PER_FRAME),
        mouth_crops=_padded(crops, lengths),
        lips=_padded(lips, lengths),
        audio_present=torch.tensor([e.features is not None for e in examples]),
        crops_present=presence([e.crops_valid for e in examples], crops),
        lips_present=presence([e.lips_valid for e in examples], lips),
        tokens=torch.from_numpy(padded_tokens),
        token_lengths=torch.tensor(token_lengths),
        frame_tokens=torch.from_numpy(frame_tokens),
    )
