"""Speed of recognition from prepared crops: sizes, threads, decoders, front-ends; tracking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avsr.corpora.clip_tracking import prepare_clip
from avsr.corpora.clips import PrepareConfig
from avsr.data.collate import collate
from avsr.data.dataset import Example, features_of
from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.models.presets import preset
from avsr.models.recognizer import Recognizer
from avsr.models.video_encoder import VideoEncoder
from avsr.schema import Batch
from avsr.threads import fastest_threads
from avsr.tracking import FaceTracker
from avsr.units import VIDEO_FPS
from benchmarks.timing.clock import Row, Work, measure
from benchmarks.timing.recognition import CROP, speech_like

CLIP_S = 3.0
BATCH = 8
PRESETS = ("tiny", "small", "base", "large")
GREEDY = DecodingConfig("greedy")
# Stem and stages, blocks of a stage. The first is tiny's and small's, the third base's, the last
# has the trunk of ResNet-18.
FRONT_ENDS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((16, 32, 64, 128), 1),
    ((32, 64, 128, 256), 1),
    ((32, 64, 128, 256), 2),
    ((64, 64, 128, 256, 512), 1),
    ((64, 64, 128, 256, 512), 2),
)


def network(name: str) -> Recognizer:
    """A preset with random weights and every head, in eval mode."""
    torch.manual_seed(0)
    return Recognizer(replace(preset(name), transducer=True)).eval()


def clip(seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A waveform (S,) and prepared crops uint8 (T, 88, 88)."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * VIDEO_FPS)
    return speech_like(seconds, seed), rng.integers(0, 255, (frames, CROP, CROP), dtype=np.uint8)


def batch_of(clips: Sequence[tuple[np.ndarray, np.ndarray]], streams: Sequence[str]) -> Batch:
    """What decoding does with prepared clips before the network: features, padding."""
    examples = []
    for number, (sound, crops) in enumerate(clips):
        there = np.ones(len(crops), dtype=bool)
        examples.append(
            Example(
                utterance_id=str(number),
                num_frames=len(crops),
                features=features_of(sound, 80) if "audio" in streams else None,
                mouth_crops=crops if "crops" in streams else None,
                lips=None,
                crops_valid=there,
                lips_valid=np.zeros(len(crops), dtype=bool),
                tokens=(),
            )
        )
    return collate(examples)


@torch.no_grad()
def decoded(
    model: Recognizer,
    clips: Sequence[tuple[np.ndarray, np.ndarray]],
    streams: Sequence[str] = ("audio", "crops"),
    decoding: DecodingConfig = GREEDY,
) -> list[list[int]]:
    """Sound and crops to tokens: all that stands between a prepared clip and its text."""
    batch = batch_of(clips, streams)
    return decode_memory(model, model.memory_of(batch), batch.lengths, decoding)


def with_threads(count: int, call: Callable[[], Any]) -> Callable[[], Any]:
    """The call on so many torch threads."""

    def threaded() -> Any:
        torch.set_num_threads(count)
        return call()

    return threaded


def sizes(
    calls: int,
    names: Sequence[str] = PRESETS,
    threads: Sequence[int] = (1, 2),
    seconds: float = CLIP_S,
) -> tuple[list[Row], dict[str, str]]:
    """Greedy decoding of one clip and of a batch; which number of threads would be chosen."""
    rows: list[Row] = []
    chosen = {}
    models = {name: network(name) for name in names}
    for copies in (1, BATCH):
        clips = [clip(seconds, seed) for seed in range(copies)]
        work = {}
        for name, model in models.items():
            for count in threads:
                what = f"{name}, {count} thread{'s' if count > 1 else ''}"
                against = None if count == threads[0] else f"{name}, {threads[0]} thread"
                call = with_threads(count, partial(decoded, model, clips))
                work[what] = Work(call, seconds * copies, "s of sound", against)
            best = fastest_threads(partial(decoded, model, clips), threads)
            chosen[f"{name}, {copies} x {seconds:g} s"] = f"{best} of {max(threads)} threads"
        title = f"Greedy, audio-visual, {copies} clip{'s' if copies > 1 else ''} of {seconds:g} s"
        rows += measure(title, work, calls)
    return rows, chosen


def decoders(
    calls: int, threads: int, name: str = "small", seconds: float = CLIP_S, copies: int = BATCH
) -> list[Row]:
    """Modalities and decoders of one size, in a batch; random weights make every beam full."""
    model = network(name)
    clips = [clip(seconds, seed) for seed in range(copies)]
    amount = seconds * copies
    methods = {
        "greedy": GREEDY,
        "CTC beam 10": DecodingConfig("ctc", 10),
        "transducer greedy": DecodingConfig("transducer", 1),
        "transducer beam 10": DecodingConfig("transducer", 10),
    }
    if model.decoder is not None:
        methods["joint beam 10"] = DecodingConfig("joint", 10)

    def works(streams: Sequence[str], how: DecodingConfig) -> Work:
        call = with_threads(threads, lambda: decoded(model, clips, streams, how))
        return Work(call, amount, "s of sound", "audio-visual, greedy")

    work = {
        f"audio-visual, {what}": works(("audio", "crops"), how) for what, how in methods.items()
    }
    work["audio, greedy"] = works(("audio",), GREEDY)
    work["video, greedy"] = works(("crops",), GREEDY)
    return measure(f"Decoders of {name}, {copies} clips of {seconds:g} s", work, calls)


def front_ends(
    calls: int, seconds: float = CLIP_S, shapes: Sequence[tuple[tuple[int, ...], int]] = FRONT_ENDS
) -> tuple[list[Row], dict[str, str]]:
    """Mouth front-ends on one thread; their operations and parameters."""
    from torch.utils.flop_counter import FlopCounterMode

    _, pictures = clip(seconds, 0)
    crops, there = torch.from_numpy(pictures)[None], torch.ones(1, len(pictures), dtype=torch.bool)
    work, costs = {}, {}
    first = None
    for channels, blocks in shapes:
        torch.manual_seed(0)
        encoder = VideoEncoder(256, channels, 0.0, blocks).eval()
        name = f"{'-'.join(map(str, channels))}, {blocks} a stage"
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(crops, there)
        count = sum(parameter.numel() for parameter in encoder.parameters())
        giga = counter.get_total_flops() / seconds / 1e9
        costs[name] = f"{giga:.2f} GFLOP a second of video, {count / 1e6:.2f} M parameters"

        def call(encoder: VideoEncoder = encoder) -> Any:
            with torch.no_grad():
                return encoder(crops, there)

        work[name] = Work(with_threads(1, call), seconds, "s of sound", first)
        first = first or name
    return measure(
        f"Mouth front-ends, {seconds:g} s of 88x88 crops, one thread", work, calls
    ), costs


_tracker: FaceTracker | None = None  # one a process of the pool


def _open(model: Path) -> None:
    global _tracker
    torch.set_num_threads(1)
    _tracker = FaceTracker(model)


def _prepare(path: Path) -> int:
    assert _tracker is not None
    return len(prepare_clip(path, _tracker, PrepareConfig())["mouth_crops"])


def tracking(calls: int, data: Path, films: int = 8) -> list[Row]:
    """Film to crops and lips (decoding, landmarks, head pose, crops) in one process and in two."""
    paths = sorted((data / "grid" / "s1" / "video").glob("*"))[:films]
    model = data / "mediapipe_face" / "face_landmarker.task"
    work, pools = {}, []
    try:
        for processes in (1, 2):
            pool = ProcessPoolExecutor(processes, get_context("spawn"), _open, (model,))
            pools.append(pool)
            frames = sum(pool.map(_prepare, paths))  # the first round, which is not timed

            def follow(pool: ProcessPoolExecutor = pool) -> list[int]:
                return list(pool.map(_prepare, paths))

            name = f"{processes} process{'es' if processes > 1 else ''}"
            work[name] = Work(follow, frames, "frames", None if processes == 1 else "1 process")
        return measure("Tracking and cropping, GRID 360x288, film to crops", work, calls)
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)
