"""Peak memory of reading training data, of assembling a corpus, of validation and of decoding.

    python benchmarks/memory.py

Each task runs in a process of its own, on a corpus of random arrays of real sizes and on one 20
times as large. Writes ``benchmarks/results/memory.json`` and, from it, ``memory.md``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.files import read_json, write_atomically, write_json  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.scale.corpus import write_corpus  # noqa: E402

WORK = ROOT / "benchmarks" / "scale" / "work.py"
TASKS = {
    "nothing": "imports alone",
    "training_data": "one epoch of training batches (audio, crops, lips)",
    "assembly": "assembling a prepared corpus",
    "validation": "validation in two conditions",
    "decoding": "decoding the test split in six conditions",
}


def main(
    utterances: int = 40,
    factor: int = 20,
    frames: int = 75,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure peak memory at two corpus sizes.

    Args:
        utterances: of the training and of the test split of the small corpus.
        factor: how many times as large the other corpus is.
        frames: longest utterance; the others are down to three quarters of it.
        out: folder of memory.json and memory.md.
    """
    peaks: dict[str, list[dict[str, float]]] = {task: [] for task in TASKS}
    sizes = []
    for times in (1, factor):
        with tempfile.TemporaryDirectory() as folder:
            base, count = Path(folder), times * utterances
            corpus = write_corpus(base / "corpus", {"train": count, "test": count}, frames)
            size = sum(path.stat().st_size for path in corpus.rglob("*.arrow"))
            sizes.append({"utterances": 2 * count, "mib": size / 2**20})
            for task in TASKS:
                peaks[task].append(_peak(task, corpus, base / task))
    report = scrubbed(
        {
            "schema": "benchmarks.memory",
            "machine": provenance(),
            "factor": factor,
            "corpora": sizes,
            "peaks": peaks,
        }
    )
    write_json(out / "memory.json", report)
    with write_atomically(out / "memory.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def _peak(task: str, corpus: Path, out: Path) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    argv = [sys.executable, str(WORK), task, str(corpus), str(out)]
    subprocess.run(argv, check=True, env=environment, stdout=subprocess.DEVNULL)
    found: dict[str, float] = read_json(out / "peak.json")
    return found


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    machine, factor = report["machine"], report["factor"]
    small, large = report["corpora"]
    lines = [
        f"| task | allocated, 1x | allocated, {factor}x | with mapped files, 1x | {factor}x |",
        "|---|---:|---:|---:|---:|",
    ]
    for task, (first, second) in report["peaks"].items():
        figures = [one[name] for name in first for one in (first, second)]
        lines.append(f"| {TASKS[task]} | " + " | ".join(f"{f:.0f} MiB" for f in figures) + " |")
    parts = [
        "# Memory against corpus size",
        f"Peak of one process. 1x: {small['utterances']} utterances, {small['mib']:.0f} MiB of "
        f"Arrow; {factor}x: {large['utterances']} utterances, {large['mib']:.0f} MiB. "
        f"{machine['processor']}, Python {machine['python']}, torch "
        f"{machine['versions']['torch']}, commit `{machine['commit']}`.",
        "*Allocated* (RssAnon) is what the process asked for and keeps. *With "
        "mapped files* (VmRSS) adds pages of the memory-mapped corpus, which the system drops "
        "when others need them and which therefore grow with whatever has been read. Both are "
        "sampled every 20 ms.",
        "\n".join(lines),
        f"```text\n{machine['command']}\n```",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    run_command(main)
