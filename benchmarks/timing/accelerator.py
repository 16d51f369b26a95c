"""Decoding and training throughput of a device, with its utilisation."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.models.presets import preset
from avsr.models.recognizer import Recognizer
from avsr.schema import Batch
from avsr.training.loop import TrainConfig, make_accelerator, update_step
from avsr.training.optim import make_optimizer
from avsr.training.recognizer_loss import RecognizerLoss, TrainedForward
from avsr.units import VIDEO_FPS
from benchmarks.timing.engine import batch_of, clip

LRS3_CLIPS, LRS3_MEAN_S = 1321, 2.3
TOKENS_A_CLIP = 10
BEAM = 10
STREAMS = ("audio", "crops")


@contextmanager
def utilisation(device: str) -> Iterator[list[float]]:
    """Percent of the time in which the GPU worked, sampled four times a second by nvidia-smi."""
    samples: list[float] = []
    done = threading.Event()
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]

    def watch() -> None:
        while not done.wait(0.25):
            try:
                said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
                samples.append(float(said.splitlines()[0]))
            except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
                return  # no nvidia-smi: no figure

    watcher = threading.Thread(target=watch, daemon=True)
    if device == "cuda":
        watcher.start()
    try:
        yield samples
    finally:
        done.set()
        if watcher.ident is not None:
            watcher.join()


def _finished(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def test_set(clips: int) -> list[Batch]:
    """Batches of clips as long as LRS3's (mean 2.3 s, 0.5 to 6.2 s), sorted, 64 to a batch."""
    rng = np.random.default_rng(0)
    seconds = np.clip(rng.lognormal(0.0, 0.5, clips), 0.3, 3.0)
    seconds = np.clip(np.sort(seconds * LRS3_MEAN_S / seconds.mean()), 0.5, 6.2)
    made = [clip(round(s * VIDEO_FPS) / VIDEO_FPS, 0) for s in seconds.tolist()]
    return [batch_of(made[i : i + 64], STREAMS) for i in range(0, clips, 64)]


@torch.no_grad()
def decode(
    model: Recognizer, batches: list[Batch], device: str, config: DecodingConfig
) -> list[list[int]]:
    """Tokens of every clip; bfloat16 on a GPU, the search's scores in float32."""
    half = torch.autocast("cuda", torch.bfloat16) if device == "cuda" else nullcontext()
    found = []
    for batch in batches:
        there = (batch.pin_memory() if device == "cuda" else batch).to(device)
        with half:
            found += decode_memory(model, model.memory_of(there), there.lengths, config)
    return found


def bonus_for(tokens_of: Callable[[float], float], wanted: float) -> float:
    """The length bonus in nats a token with which a search gives about ``wanted`` tokens."""
    low, high = -2.0, 14.0
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if tokens_of(middle) < wanted else (low, middle)
    return high


def decoding(name: str, clips: int, device: str) -> dict[str, float]:
    """Seconds for the test set by joint beam search, from features and crops in memory."""
    torch.manual_seed(0)
    model = Recognizer(preset(name)).eval().to(device)
    batches = test_set(clips)
    joint = DecodingConfig("joint", BEAM) if model.decoder is not None else DecodingConfig("ctc")
    if joint.method == "joint":
        middle = batches[len(batches) // 2 : len(batches) // 2 + 1]

        def tokens_of(bonus: float) -> float:
            found = decode(model, middle, device, replace(joint, length_bonus=bonus))
            return sum(map(len, found)) / len(found)

        joint = replace(joint, length_bonus=bonus_for(tokens_of, TOKENS_A_CLIP))
    decode(model, batches[:1], device, joint)  # warm-up
    seconds = {}
    for what, config in (("greedy_s", DecodingConfig("greedy")), ("beam_s", joint)):
        with utilisation(device) as busy:
            started = _finished(device)
            found = decode(model, batches, device, config)
            seconds[what] = _finished(device) - started
        if busy:
            seconds[f"{what[:-2]}_utilisation_percent"] = statistics.mean(busy)
    frames = sum(int(batch.lengths.sum()) for batch in batches)
    return {
        "clips": len(found),
        "video_s": frames / VIDEO_FPS,
        "tokens_a_clip": sum(map(len, found)) / len(found),
        **seconds,
        "real_time_factor_beam": seconds["beam_s"] / (frames / VIDEO_FPS),
    }


def training(
    name: str, updates: int, device: str, clips: int = 64, clip_s: float = 4.0
) -> dict[str, float]:
    """Hours of video per hour, the batches ready in memory: networks and optimiser."""
    torch.manual_seed(0)
    accelerator = make_accelerator(TrainConfig(), cpu=device == "cpu")
    model = Recognizer(preset(name)).train()
    optimizer = make_optimizer(model, 1e-4, 0.01)
    wrapped, optimizer = accelerator.prepare(TrainedForward(model), optimizer)
    loss = RecognizerLoss(0.0, 0.7 if model.decoder is not None else 0.0)
    batch = batch_of([clip(clip_s, seed) for seed in range(clips)], STREAMS)
    tokens = torch.randint(1, 5001, (clips, 15), generator=torch.Generator().manual_seed(0))
    batch = replace(batch, tokens=tokens, token_lengths=torch.full((clips,), 15))

    def update() -> Any:
        there = (batch.pin_memory() if device == "cuda" else batch).to(accelerator.device)
        return update_step(wrapped, optimizer, loss, [there], accelerator, 5.0)

    for _ in range(3 if updates > 1 else 1):
        update()
    with utilisation(device) as busy:
        started = _finished(device)
        for _ in range(updates):
            update()
        seconds = (_finished(device) - started) / updates
    measured = {
        "seconds_an_update": seconds,
        "video_hours_per_hour": clips * clip_s / seconds,
        "clips": float(clips),
        "clip_s": clip_s,
    }
    if busy:
        measured["utilisation_percent"] = statistics.mean(busy)
    if device == "cuda":
        measured["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return measured
