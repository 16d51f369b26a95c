"""Latency of streaming against word error rate, over chunk sizes, on a trained causal run.

    python benchmarks/streaming_latency.py --run runs/grid_causal

Writes ``benchmarks/results/streaming.json`` and, from it, ``streaming.md``. Every test sentence is
pushed through the live recogniser in pieces of 40 ms, from prepared sound and crops, clean; the
whole sentence with full attention and the same weights stands beside it. Without ``--run`` it says
what it needs and measures nothing.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.data.collate import collate  # noqa: E402
from avsr.data.manifest import decode_array, load_prepared  # noqa: E402
from avsr.decode.ctc import ctc_prefix_beam  # noqa: E402
from avsr.decode.live import LiveConfig, LiveText  # noqa: E402
from avsr.files import sha256_file, write_atomically, write_json  # noqa: E402
from avsr.live import LiveRecognizer  # noqa: E402
from avsr.metrics import Score, clustered_bootstrap, corpus_errors, word_errors  # noqa: E402
from avsr.models.recognizer import Recognizer  # noqa: E402
from avsr.schema import Modality  # noqa: E402
from avsr.text import Tokenizer, normalise  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.recognizer import load_recognizer, plain_example  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from avsr.units import SAMPLES_PER_FRAME  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402

READS: dict[str, tuple[Modality, ...]] = {
    "audio": ("audio",),
    "audio_visual": ("audio", "video", "audio_visual"),
}
STREAMS: dict[Modality, tuple[str, ...]] = {
    "audio": ("audio",),
    "video": ("crops",),
    "audio_visual": ("audio", "crops"),
}


@dataclass(frozen=True)
class Measured:
    """One network, modality and chunk; ``chunk_frames`` None is full attention, not streamed."""

    network: str
    modality: Modality
    chunk_frames: int | None
    latency_ms: float | None
    scores: list[Score]  # one a sentence
    compute_ms: list[float]  # of each chunk, or of each whole sentence


def main(
    run: Path | None = None,
    prepared: Path | None = None,
    split: str = "test",
    chunks: tuple[int, ...] = (4, 8, 16, 32),
    left_chunks: int = 8,
    beam_size: int = 8,
    sentences: int | None = None,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure the word error rate and the latency of streaming over chunk sizes.

    Args:
        run: folder of a recipe's run with causal networks; without it nothing is measured.
        prepared: the prepared corpus; default its folder in the run.
        split: of the prepared corpus.
        chunks: frames of 40 ms of a chunk.
        left_chunks: that the attention looks back to.
        beam_size: of the CTC prefix search.
        sentences: the first so many only; default all.
        out: folder of streaming.json and streaming.md.

    Raises:
        ValueError: the run has no causal network.
    """
    if run is None:
        print("left out: streaming needs a run of causal networks; give one with --run (README)")
        return
    use_one_thread()
    load = os.getloadavg()[0]
    rows = load_prepared(prepared or run / "prepared", split)
    rows = rows.select(range(len(rows) if sentences is None else min(sentences, len(rows))))
    found: list[Measured] = []
    weights: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for network, modalities in READS.items():
        path = run / network / "best.safetensors"
        if not path.is_file():
            left_out[network] = "is not in the run"
            continue
        model, tokenizer = load_recognizer(path)
        if not model.config.causal:
            left_out[network] = "is not causal; train it with --loop.model.causal"
            continue
        weights[network] = sha256_file(path)
        for modality in modalities:
            if not set(STREAMS[modality]) <= set(model.config.streams):
                continue
            print(f"== {network}, {modality}", flush=True)
            found.append(whole(network, model, tokenizer, modality, rows, beam_size))
            for size in chunks:
                live = LiveConfig(size, left_chunks, beam_size, pause_s=None)
                found.append(streamed(network, model, tokenizer, modality, rows, live))
    if not found:
        told = "; ".join(f"{name} {why}" for name, why in left_out.items())
        raise ValueError(f"{run}: has no causal network ({told})")
    report = scrubbed(
        {
            "schema": "benchmarks.streaming",
            "machine": provenance(),
            "load": load,
            "split": split,
            "sentences": len(rows),
            "left_chunks": left_chunks,
            "beam_size": beam_size,
            "weights_sha256": weights,
            "left_out": left_out,
            "rows": [as_row(one) for one in found],
        }
    )
    write_json(out / "streaming.json", report)
    with write_atomically(out / "streaming.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


@torch.no_grad()
def whole(
    network: str,
    model: Recognizer,
    tokenizer: Tokenizer,
    modality: Modality,
    rows: Any,
    beam_size: int,
) -> Measured:
    """Full attention over each sentence, from features to text."""
    scored, times = [], []
    for row in rows:
        example = plain_example(row, STREAMS[modality], num_mels=model.config.num_mels)
        batch = collate([example])
        started = time.perf_counter()
        scores = model(batch)[0].float().log_softmax(-1).numpy()
        text = tokenizer.decode(ctc_prefix_beam(scores, beam_size)[0][0])
        times.append(1000 * (time.perf_counter() - started))
        scored.append(_score(row, text))
    return Measured(network, modality, None, None, scored, times)


def _score(row: Mapping[str, Any], text: str) -> Score:
    errors = word_errors(reference=normalise(row["text"]), hypothesis=text)
    return Score(row["utterance_id"], row["speaker_id"], "none", None, None, errors)


def streamed(
    network: str,
    model: Recognizer,
    tokenizer: Tokenizer,
    modality: Modality,
    rows: Any,
    config: LiveConfig,
) -> Measured:
    """Each sentence through the live recogniser, a frame of 40 ms at a time."""
    scored, latency_ms = [], 0.0
    times: list[float] = []
    for row in rows:
        live = LiveRecognizer(model, tokenizer, modality, config)
        latency_ms = live.latency_ms
        said = push_row(live, row, modality, times)
        scored.append(_score(row, said[-1].text if said else ""))
    return Measured(network, modality, config.chunk_frames, latency_ms, scored, times)


def push_row(
    live: LiveRecognizer, row: Mapping[str, Any], modality: Modality, times: list[float]
) -> list[LiveText]:
    """All texts of a prepared row; ``times`` gets the milliseconds of frames that ended a chunk."""
    example = plain_example(dict(row), STREAMS[modality], num_mels=live.model.config.num_mels)
    audio = decode_array(row["audio"])
    said: list[LiveText] = []
    for t in range(row["num_frames"]):
        before, started = live.num_frames, time.perf_counter()
        if "audio" in STREAMS[modality]:
            said += live.push_sound(audio[SAMPLES_PER_FRAME * t : SAMPLES_PER_FRAME * (t + 1)])
        if example.mouth_crops is not None:
            said += live.push_mouth(example.mouth_crops[t] if example.crops_valid[t] else None)
        if live.num_frames > before:
            times.append(1000 * (time.perf_counter() - started))
    return said + live.finish()


def as_row(one: Measured) -> dict[str, Any]:
    """Figures of a row, for the JSON file."""
    errors = corpus_errors(score.errors for score in one.scores)
    return {
        "network": one.network,
        "modality": one.modality,
        "chunk_frames": one.chunk_frames,
        "algorithmic_latency_ms": one.latency_ms,
        "wer": asdict(clustered_bootstrap(one.scores, seed=0, num_resamples=2000)),
        "errors": asdict(errors),
        "compute_median_ms": statistics.median(one.compute_ms) if one.compute_ms else None,
        "compute_95_ms": float(np.percentile(one.compute_ms, 95)) if one.compute_ms else None,
        "timed": len(one.compute_ms),
    }


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    machine = report["machine"]
    parts = [
        "# Streaming: latency against word error rate",
        f"{report['sentences']} {report['split']} sentences, clean, from prepared sound and crops; "
        f"{report['left_chunks']} chunks to the left, beam {report['beam_size']}. The latency of "
        "the algorithm is a chunk and the look-ahead; compute is measured for each chunk, on one "
        "thread (for whole sentences: for each sentence). "
        f"{machine['cpu_count']} cores {machine['processor']}, torch "
        f"{machine['versions']['torch']}, commit `{machine['commit']}`; load when started "
        f"{report['load']:.2f}.",
        table(report["rows"]),
    ]
    if report["left_out"]:
        lines = [f"- {name} {why}" for name, why in report["left_out"].items()]
        parts += ["Left out:", "\n".join(lines)]
    parts.append(f"```text\n{machine['command']}\n```")
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the page."""
    lines = [
        "| network | modality | chunk | algorithm's latency | WER | compute, median | 95 % |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        frames = row["chunk_frames"]
        chunk = "whole sentence" if frames is None else f"{frames} frames, {40 * frames} ms"
        latency = row["algorithmic_latency_ms"]
        waits = "\u2013" if latency is None else f"{latency:.1f} ms"
        times = [
            "\u2013" if row[name] is None else f"{row[name]:.1f} ms"
            for name in ("compute_median_ms", "compute_95_ms")
        ]
        lines.append(
            f"| {row['network']} | {row['modality']} | {chunk} | {waits} "
            f"| {_percent(row['wer'])} | {times[0]} | {times[1]} |"
        )
    return "\n".join(lines)


def _percent(interval: Mapping[str, Any]) -> str:
    value, low, high = (100 * interval[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}] %"


if __name__ == "__main__":
    run_command(main)
