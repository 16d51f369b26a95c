"""How many torch threads one program uses where it decodes on a CPU.

Two threads halve the time of a large network and lose a tenfold of a small one's on a machine that
is busy: at the end of each of its hundreds of short loops one thread waits for the other. No rule
knows both the network and the machine's other work, so it is measured, in a second or two.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from avsr.data.collate import collate
from avsr.data.dataset import Example, features_of
from avsr.models.recognizer import Recognizer
from avsr.schema import Batch
from avsr.training.command import available_cores
from avsr.units import LIP_POINTS, SAMPLE_RATE_HZ, VIDEO_FPS

WORTH = 0.9  # more threads must take at most this share of the time that fewer take
LIMIT_S = 2.0  # after which no further round is begun
CROP_SIDE = 88  # of the middle of a stored mouth crop


def fastest_threads(call: Callable[[], Any], counts: Sequence[int], rounds: int = 3) -> int:
    """The number of torch threads with which ``call`` is fastest; torch's setting is put back.

    Args:
        call: the work, a sample of it.
        counts: numbers to try, rising; a larger one must save a tenth of the time.
        rounds: timed calls of each, in turns, after one that is not timed.
    """
    before = torch.get_num_threads()
    times: dict[int, list[float]] = {count: [] for count in counts}
    started = time.monotonic()
    try:
        for number in range(rounds + 1):
            for count in counts:
                torch.set_num_threads(count)
                begun = time.perf_counter()
                call()
                if number:
                    times[count].append(time.perf_counter() - begun)
            if number and time.monotonic() - started > LIMIT_S:
                break
    finally:
        torch.set_num_threads(before)
    best = counts[0]
    for count in counts[1:]:
        if statistics.median(times[count]) < WORTH * statistics.median(times[best]):
            best = count
    return best


def silent_batch(model: Recognizer, seconds: float = 1.0) -> Batch:
    """A clip of silence with every stream that a recogniser takes."""
    frames = round(seconds * VIDEO_FPS)
    there = np.ones(frames, dtype=bool)
    streams = model.config.streams
    sound = np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)
    return collate(
        [
            Example(
                utterance_id="silence",
                num_frames=frames,
                features=features_of(sound, model.config.num_mels) if "audio" in streams else None,
                mouth_crops=np.zeros((frames, CROP_SIDE, CROP_SIDE), np.uint8)
                if "crops" in streams
                else None,
                lips=np.zeros((frames, LIP_POINTS, 3), np.float32) if "lips" in streams else None,
                crops_valid=there,
                lips_valid=there,
                tokens=(),
            )
        ]
    )


@torch.no_grad()
def use_fastest_threads(model: Recognizer) -> int:
    """Set torch's threads for decoding one file after the other with this network.

    Left alone are a network on a GPU, a machine with one core, and a user who has set
    ``OMP_NUM_THREADS``.

    Returns:
        the number that is set from now on.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    if on_cpu and available_cores() > 1 and "OMP_NUM_THREADS" not in os.environ:
        batch = silent_batch(model)
        counts = (1, available_cores())
        torch.set_num_threads(fastest_threads(lambda: model(batch), counts))
    return torch.get_num_threads()
