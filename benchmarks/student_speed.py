"""Speed of the student beside the autoregressive baseline, and its latency when it streams.

    python benchmarks/student_speed.py

Writes ``benchmarks/results/student_speed.json`` and, from it, ``student_speed.md``: the real-time
factor at two lengths, how time grows between them, the ratio to the baseline in the same run, with
our log-mel encoder (the same as the student's) and with wav2vec 2.0 base (the paper's), and for
streaming the algorithm's latency and the compute of each piece of 40 ms. Without folders it takes
random weights, which cost the same time, and says so.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.files import write_atomically, write_json  # noqa: E402
from avsr.models.speech_encoder import SpeechEncoderConfig  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from avsr.units import SAMPLES_PER_FRAME  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing.clock import Row, Work, as_json, measure  # noqa: E402
from benchmarks.timing.clock import page as page_of_rows  # noqa: E402
from benchmarks.timing.faces import student_of  # noqa: E402
from benchmarks.timing.recognition import speech_like  # noqa: E402
from learn2talk.animate import displacement_of  # noqa: E402
from learn2talk.files import TrainedStudent, load_student  # noqa: E402
from learn2talk.models.autoregressive import (  # noqa: E402
    AutoregressiveConfig,
    AutoregressiveStudent,
)
from learn2talk.models.student import Student, StudentConfig  # noqa: E402
from learn2talk.streaming import LiveFace  # noqa: E402

GROUP = "Speech to motion, one thread"
BASELINE = "autoregressive, the student's encoder"
PAPERS = "autoregressive, wav2vec 2.0 base"
SHORT_LOOK_AHEAD = 4  # frames: a latency below 200 ms
# What we aim at: name -> (unit, at least or at most, value).
AIMS: dict[str, tuple[str, str, float]] = {
    "times_real_time": ("x", "at least", 100.0),
    "long_over_short": ("x", "at most", 6.5),
    "baseline_over_student": ("x", "at least", 20.0),
    "papers_baseline_over_student": ("x", "at least", 20.0),
    "latency_ms": ("ms", "at most", 200.0),
}


def main(
    student: Path | None = None,
    baseline: Path | None = None,
    lengths_s: tuple[float, float] = (10.0, 60.0),
    calls: int = 5,
    streamed_s: float = 10.0,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure student, baseline and streaming.

    Args:
        student: folder of a trained student of log-mel features; default random weights.
        baseline: folder of a trained autoregressive one; default random weights.
        lengths_s: seconds of the short and of the long sound.
        calls: timed calls of each function.
        streamed_s: seconds of the sound that is streamed, once for each look-ahead.
        out: folder of student_speed.json and student_speed.md.
    """
    use_one_thread()
    load = os.getloadavg()[0]
    trained, said = student_of(student)
    other, other_said = baseline_of(baseline, trained)
    rows = offline(trained, other, papers_baseline(trained), lengths_s, calls)
    streaming = [streamed(trained, streamed_s), streamed(quick(trained), streamed_s)]
    report = scrubbed(
        {
            "schema": "benchmarks.student_speed",
            "title": "Speed of the student",
            "machine": provenance(),
            "load": load,
            "weights": {"student": said, "baseline": other_said, PAPERS: "random weights"},
            "rows": as_json(rows),
            "figures": figures(rows, lengths_s) | {"latency_ms": streaming[1]["latency_ms"]},
            "streaming": streaming,
            "left_out": {},
        }
    )
    write_json(out / "student_speed.json", report)
    with write_atomically(out / "student_speed.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def baseline_of(folder: Path | None, trained: TrainedStudent) -> tuple[TrainedStudent, str]:
    """The baseline with our encoder, and what it is in words."""
    if folder is not None:
        return load_student(folder), f"trained, {folder.name}"
    return _autoregressive(AutoregressiveConfig(), trained), "random weights, default size"


def papers_baseline(trained: TrainedStudent) -> TrainedStudent:
    """The baseline behind wav2vec 2.0 base with random weights."""
    encoder = SpeechEncoderConfig("wav2vec2", {}).to_json()
    config = AutoregressiveConfig(num_mels=None, speech_encoder=encoder)
    return _autoregressive(config, trained)


def _autoregressive(config: AutoregressiveConfig, trained: TrainedStudent) -> TrainedStudent:
    torch.manual_seed(0)
    model = AutoregressiveStudent(config, len(trained.animated_ids)).eval()
    return TrainedStudent(model, trained.template, trained.animated_ids, {})


def quick(trained: TrainedStudent) -> TrainedStudent:
    """A student of the default size whose look-ahead stays below 200 ms; random weights."""
    torch.manual_seed(0)
    config = StudentConfig(look_ahead_frames=SHORT_LOOK_AHEAD)
    model = Student(config, len(trained.animated_ids)).eval()
    return TrainedStudent(model, trained.template, trained.animated_ids, {})


def offline(
    student: TrainedStudent,
    baseline: TrainedStudent,
    papers: TrainedStudent,
    lengths_s: tuple[float, float],
    calls: int,
) -> list[Row]:
    """Whole sounds: the student at both lengths, both baselines at the short one."""
    short, long = lengths_s
    sounds = {seconds: speech_like(seconds) for seconds in lengths_s}
    first = f"student, {short:g} s"

    def work(trained: TrainedStudent, seconds: float, against: str | None) -> Work:
        sound = sounds[seconds]
        return Work(lambda: displacement_of(trained, sound), seconds, "s of sound", against)

    return measure(
        GROUP,
        {
            first: work(student, short, None),
            f"student, {long:g} s": work(student, long, first),
            f"{BASELINE}, {short:g} s": work(baseline, short, first),
            f"{PAPERS}, {short:g} s": work(papers, short, first),
        },
        calls,
    )


def figures(rows: Sequence[Row], lengths_s: tuple[float, float]) -> dict[str, float]:
    """The ratios that the aims are about, of the medians."""
    seconds = {row.what: row.seconds for row in rows}
    short, long = lengths_s
    first = seconds[f"student, {short:g} s"]
    return {
        "times_real_time": short / first,
        "long_over_short": seconds[f"student, {long:g} s"] / first,
        "baseline_over_student": seconds[f"{BASELINE}, {short:g} s"] / first,
        "papers_baseline_over_student": seconds[f"{PAPERS}, {short:g} s"] / first,
    }


def streamed(trained: TrainedStudent, seconds: float) -> dict[str, float | int]:
    """A sound pushed in pieces of 40 ms: the algorithm's latency, and the time of each piece."""
    live = LiveFace(trained)
    sound = speech_like(seconds)
    times_ms = []
    for start in range(0, len(sound), SAMPLES_PER_FRAME):
        before, started = live.num_frames, time.perf_counter()
        live.push(sound[start : start + SAMPLES_PER_FRAME])
        if live.num_frames > before:
            times_ms.append(1000 * (time.perf_counter() - started))
    assert times_ms, "the streamed sound is longer than the look-ahead"
    return {
        "look_ahead_frames": trained.model.config.look_ahead_frames,
        "latency_ms": live.latency_ms,
        "compute_median_ms": statistics.median(times_ms),
        "compute_95_ms": float(np.percentile(times_ms, 95)),
        "pieces": len(times_ms),
    }


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    names = {
        "times_real_time": "student, times real time",
        "long_over_short": "long sound over short one",
        "baseline_over_student": f"{BASELINE}, over student",
        "papers_baseline_over_student": f"{PAPERS}, over student",
        "latency_ms": f"streaming latency with {SHORT_LOOK_AHEAD} frames",
    }
    lines = ["| what | measured | aim | reached |", "|---|---:|---:|---|"]
    for name, (unit, side, aim) in AIMS.items():
        value = report["figures"][name]
        reached = value >= aim if side == "at least" else value <= aim
        lines.append(
            f"| {names[name]} | {value:.1f} {unit} | {side} {aim:g} {unit} "
            f"| {'yes' if reached else 'no'} |"
        )
    live = [
        "| look-ahead | algorithm's latency | compute a piece, median | 95 % |",
        "|---:|---:|---:|---:|",
    ]
    live += [
        f"| {row['look_ahead_frames']} frames | {row['latency_ms']:.1f} ms "
        f"| {row['compute_median_ms']:.2f} ms | {row['compute_95_ms']:.2f} ms |"
        for row in report["streaming"]
    ]
    parts = [
        page_of_rows(report).rstrip("\n"),
        "## Aims",
        "\n".join(lines),
        "## Streaming, pieces of 40 ms",
        "The latency is from the first sample of a frame until the frame can come out.",
        "\n".join(live),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    run_command(main)
