"""Latency of `learn2talk live` from sound to screen, and what a shorter look-ahead costs the lips.

    AVSR_DATA=data python benchmarks/live_latency.py

Writes ``benchmarks/results/live_latency.json`` and, from it, ``live_latency.md``: for pages of a
headless Chromium the latency that they measure, frames a second and what was lost; for real
sentences how far the lips of a shorter look-ahead are from those of the full one. Without a browser
or without data it says so and measures the other.
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

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.corpora.grid import read_splits  # noqa: E402
from avsr.files import read_audio, write_atomically, write_json  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from avsr.units import SAMPLES_PER_FRAME  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing.live_pages import (  # noqa: E402
    NoBrowserError,
    Setting,
    measure_pages,
)
from benchmarks.timing.real_data import NoDataError, real_data  # noqa: E402
from learn2talk.default_student import default_student  # noqa: E402
from learn2talk.files import TrainedStudent, load_student  # noqa: E402
from learn2talk.metrics.closure import lip_gap_mm  # noqa: E402
from learn2talk.models.student import Student  # noqa: E402
from learn2talk.streaming import LiveFace  # noqa: E402
from learn2talk.viewer.live_page import LIVE_LOOK_AHEAD_FRAMES  # noqa: E402

AIM_FPS = 25.0


def main(
    student: Path | None = None,
    sentences: int = 40,
    seconds: float = 15.0,
    look_aheads: tuple[int, ...] = (1, 4, 10),
    pages: int = 2,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure the pages, then the look-ahead on real sentences.

    Args:
        student: folder of a trained student; default the one that comes with the package.
        sentences: of GRID's test split, at most.
        seconds: counted of each page.
        look_aheads: frames that a page with a microphone is measured at.
        pages: at once, in the measurement of several.
        out: folder of live_latency.json and live_latency.md.
    """
    use_one_thread()
    load = os.getloadavg()[0]
    trained = load_student(default_student() if student is None else student)
    left_out: dict[str, str] = {}
    usual = LIVE_LOOK_AHEAD_FRAMES
    settings = [Setting("microphone", 1, frames) for frames in look_aheads]
    settings += [Setting("microphone", pages, usual), Setting("file", 1, usual)]
    rows: list[dict[str, Any]] = []
    try:
        for setting in settings:
            before = os.getloadavg()[0]
            rows.append(measure_pages(setting, seconds, ROOT) | {"load": before})
    except NoBrowserError as error:
        left_out["pages"] = str(error)
    ahead: list[dict[str, Any]] = []
    try:
        ahead = look_ahead_rows(trained, sounds_of_test_split(real_data(), sentences))
    except NoDataError as error:
        left_out["the look-ahead on real sentences"] = str(error)
    report = scrubbed(
        {
            "schema": "benchmarks.live_latency",
            "title": "Live faces: latency from sound to screen",
            "machine": provenance(),
            "load": load,
            "student": "the bundled one" if student is None else student.name,
            "pages": rows,
            "look_ahead": ahead,
            "left_out": left_out,
        }
    )
    write_json(out / "live_latency.json", report)
    with write_atomically(out / "live_latency.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def sounds_of_test_split(data: Path, count: int) -> list[np.ndarray]:
    """Sound (S,) at 16 kHz of the first test sentences of GRID."""
    splits = read_splits(data / "grid" / "splits.tsv")
    names = sorted(name for name, (split, _) in splits.items() if split == "test")[:count]
    folder = data / "grid"
    found = []
    for name in names:
        speaker, _, sentence = name.partition("/")
        (path,) = (folder / speaker / "video").glob(f"{sentence}.*")
        found.append(read_audio(path))
    return found


def look_ahead_rows(trained: TrainedStudent, sounds: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """For each look-ahead: latency, distance of the lips from the full one's, unrest, computing."""
    assert isinstance(trained.model, Student)
    own = trained.model.config.look_ahead_frames
    lips = trained.template.lip_ids
    full = [_streamed(trained, sound, own)[0][:, lips] for sound in sounds]
    rows = []
    for frames in range(1, own + 1):
        errors, gaps, unrest, times_ms = [], [], [], []
        for sound, wanted in zip(sounds, full, strict=True):
            vertices, times = _streamed(trained, sound, frames)
            moved = vertices[:, lips]
            errors.append(np.linalg.norm(moved - wanted, axis=-1).mean(axis=1))
            gaps.append(np.abs(lip_gap_mm(moved) - lip_gap_mm(wanted)))
            unrest.append(np.linalg.norm(np.diff(moved, 2, axis=0), axis=-1).mean())
            times_ms += times
        error = np.concatenate(errors)
        rows.append(
            {
                "look_ahead_frames": frames,
                "latency_ms": LiveFace(trained, look_ahead_frames=frames).latency_ms,
                "lip_deviation_mm": float(error.mean()),
                "lip_deviation_95_mm": float(np.percentile(error, 95)),
                "lip_gap_deviation_mm": float(np.concatenate(gaps).mean()),
                "unrest_mm": float(np.mean(unrest)),
                "compute_median_ms": statistics.median(times_ms),
                "compute_95_ms": float(np.percentile(times_ms, 95)),
                "frames": len(error),
                "sentences": len(sounds),
            }
        )
    return rows


def _streamed(
    trained: TrainedStudent, sound: np.ndarray, look_ahead_frames: int
) -> tuple[np.ndarray, list[float]]:
    """Vertices (T, V, 3) of a sound pushed in pieces of 40 ms, and the ms of each push."""
    live = LiveFace(trained, look_ahead_frames=look_ahead_frames)
    parts, times_ms = [], []
    for start in range(0, len(sound), SAMPLES_PER_FRAME):
        begun = time.perf_counter()
        parts.append(live.push(sound[start : start + SAMPLES_PER_FRAME]))
        times_ms.append(1000 * (time.perf_counter() - begun))
    parts.append(live.finish())
    return np.concatenate(parts), times_ms


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    machine = report["machine"]
    parts = [
        f"# {report['title']}",
        f"{machine['cpu_count']} cores {machine['processor']}, Python {machine['python']}, torch "
        f"{machine['versions']['torch']}, commit `{machine['commit']}`; load when started "
        f"{report['load']:.2f}. Student: {report['student']}, on one thread.",
    ]
    if report["pages"]:
        parts += ["## Sound to screen", PAGES_SAID, _pages_table(report["pages"]), _aim(report)]
        if max(row["load"] for row in report["pages"]) > machine["cpu_count"]:
            parts.append(BUSY_SAID)
    if report["look_ahead"]:
        parts += ["## What a shorter look-ahead costs", AHEAD_SAID, _ahead_table(report)]
    parts += [f"Left out: {what}: {why}." for what, why in report["left_out"].items()]
    parts.append(f"```text\n{machine['command']}\n```")
    return "\n\n".join(parts) + "\n"


PAGES_SAID = """\
Pages of 640x480 in a headless Chromium that draws by software, on the machine that also computes; \
its microphone plays a file. Sound to screen is from the moment the browser hands over the first \
sample of a frame until the picture with that frame has gone to the screen (the next picture \
begins). A microphone's own delay before the browser and a monitor's after it are not in it. A \
frame reached its page is the same until the message is there. The algorithm alone waits for the \
frame itself and its look-ahead: nothing is faster. With a file the page plays the sound later on \
purpose, so that lips and voice fit; its latency is that delay."""

BUSY_SAID = """\
The load is the machine's before each row, what came before it included. Above the number of cores \
other work had taken the time that computing and drawing need: such rows say what a busy machine \
does, not what this one can."""

AHEAD_SAID = """\
Real sentences, pushed in pieces of 40 ms. A frame is computed as if the sound ended after its \
look-ahead; the student was trained with the longest. Deviation: mean distance of the 40 lip \
points from those with the full look-ahead (for scale: the README of the bundled student states \
its own error on such sentences); gap: of the opening of the inner lips; unrest: mean second \
difference of the lip points from frame to frame."""


def _pages_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| sound | pages | look-ahead | algorithm alone | frame reached its page, median "
        "| sound to screen, median | 95 % | jitter of 40 ms, median, 95 % | frames a second "
        "| computing, median, 95 % | skipped, late, dropped of shown | load |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        latency, jitter, compute = row["latency_ms"], row["jitter_ms"], row["compute_ms"]
        lost = f"{row['skipped']}, {row['late']}, {row['dropped'] + row['unsent']}"
        delay = "" if row["delay_ms"] is None else f", {row['delay_ms']:.0f} ms later on purpose"
        lines.append(
            f"| {row['source']}{delay} | {row['pages']} | {row['look_ahead_frames']} "
            f"| {row['algorithmic_ms']:.1f} ms | {row['arrival_ms']['p50']:.0f} ms "
            f"| {latency['p50']:.0f} ms | {latency['p95']:.0f} ms "
            f"| {jitter['p50']:.0f} ms, {jitter['p95']:.0f} ms | {row['fps']:.1f} "
            f"| {compute['p50']:.1f} ms, {compute['p95']:.1f} ms "
            f"| {lost} of {row['shown']} | {row['load']:.2f} |"
        )
    return "\n".join(lines)


def _aim(report: Mapping[str, Any]) -> str:
    slowest = min(row["fps"] for row in report["pages"])
    # Frames come 25 times a second: less than 1 % below it is the measurement's ends.
    reached = "reached" if slowest >= 0.99 * AIM_FPS else "not reached everywhere on this machine"
    return f"Aim: {AIM_FPS:g} frames a second; {reached} (slowest page {slowest:.1f})."


def _ahead_table(report: Mapping[str, Any]) -> str:
    rows = report["look_ahead"]
    lines = [
        f"{rows[0]['sentences']} sentences of GRID's test split, {rows[0]['frames']} frames.",
        "",
        "| look-ahead, frames | algorithm's latency | lip deviation, mean | 95 % | gap | unrest "
        "| computing a piece, median | 95 % |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['look_ahead_frames']} | {row['latency_ms']:.1f} ms "
            f"| {row['lip_deviation_mm']:.3f} mm | {row['lip_deviation_95_mm']:.3f} mm "
            f"| {row['lip_gap_deviation_mm']:.3f} mm | {row['unrest_mm']:.3f} mm "
            f"| {row['compute_median_ms']:.2f} ms | {row['compute_95_ms']:.2f} ms |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
