"""The same training and decoding in one process and in two, and after ``kill -9``.

    python benchmarks/processes.py

Trains a tiny network on random data and writes ``benchmarks/results/processes.json`` and, from it,
``processes.md``: what is compared is the loss of every update and the final weights, not speed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import psutil  # type: ignore[import-untyped]  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.files import load_weights, read_jsonl, write_atomically, write_json  # noqa: E402
from avsr.training.checkpoint import latest_checkpoint  # noqa: E402
from avsr.training.command import launch  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.scale.corpus import write_corpus  # noqa: E402

WORK = ROOT / "benchmarks" / "scale" / "work.py"
# Two processes add their gradients in another order, so the last bits differ and training carries
# them on. The same number of processes must end with the same bits.
TOLERANCE = 1e-3


def main(
    updates: int = 40,
    utterances: int = 64,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Compare one process with two, and a run with one that was killed and resumed.

    Args:
        updates: of each training, 4 micro-batches each.
        utterances: of the training split.
        out: folder of processes.json and processes.md.
    """
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        corpus = write_corpus(
            base / "corpus", {"train": utterances, "valid": 4, "test": 8}, frames=30
        )

        def train(name: str, processes: int) -> Path:
            run = base / name
            launch([str(WORK), "train", str(corpus), str(run), str(updates)], processes)
            return run

        one, two = train("one", 1), train("two", 2)
        killed = base / "killed"
        killed_after = _kill_in_the_middle(corpus, killed, updates)
        train("killed", 2)
        for processes in (1, 2):
            launch([str(WORK), "decode", str(corpus), str(base / f"texts{processes}")], processes)
        report = scrubbed(
            {
                "schema": "benchmarks.processes",
                "machine": provenance(),
                "load": os.getloadavg()[0],
                "updates": updates,
                "killed_after_update": killed_after,
                "losses": {"one": _losses(one), "two": _losses(two)},
                "one_against_two": compared(one, two),
                "two_against_killed_and_resumed": compared(two, killed),
                "decoding": _same_texts(base / "texts1", base / "texts2"),
                "tolerance": TOLERANCE,
            }
        )
    write_json(out / "processes.json", report)
    with write_atomically(out / "processes.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def _kill_in_the_middle(corpus: Path, run: Path, updates: int) -> int:
    """Start two processes and SIGKILL them all after the second checkpoint; the last update."""
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = subprocess.Popen(
        [*argv, str(WORK), "train", str(corpus), str(run), str(updates)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    second = 2 * max(1, updates // 4)
    while process.poll() is None:
        rows = _rows(run)
        if rows and rows[-1]["update"] > second:
            # torchrun's workers have sessions of their own: the group is not all of them.
            for one in (*psutil.Process(process.pid).children(recursive=True), process):
                one.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.02)
    return int(_rows(run)[-1]["update"])


def _rows(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def _losses(run: Path) -> list[float]:
    return [float(row["loss"]) for row in read_jsonl(run / "metrics.jsonl")]


def compared(a: Path, b: Path) -> dict[str, float]:
    """Largest differences of the losses, relative, and of the weights of two finished runs."""
    losses = list(zip(_losses(a), _losses(b), strict=True))
    weights = [load_weights(_last(run) / "model.safetensors")[0] for run in (a, b)]
    return {
        "largest_relative_loss_difference": max(abs(x - y) / abs(x) for x, y in losses),
        "largest_weight_difference": max(
            float((tensor - weights[1][name]).abs().max()) for name, tensor in weights[0].items()
        ),
    }


def _last(run: Path) -> Path:
    found = latest_checkpoint(run)
    assert found is not None
    return found


def _same_texts(a: Path, b: Path) -> dict[str, Any]:
    names = sorted(path.name for path in a.glob("*.jsonl"))
    same = [name for name in names if (a / name).read_bytes() == (b / name).read_bytes()]
    return {"utterances": len(names), "identical": len(same)}


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    machine = report["machine"]

    def line(what: str, found: Mapping[str, float]) -> str:
        loss, weight = (found[f"largest_{name}_difference"] for name in ("relative_loss", "weight"))
        return f"| {what} | {loss:.1e} | {weight:.1e} |"

    decoding = report["decoding"]
    losses = report["losses"]
    shown = range(0, len(losses["one"]), max(1, len(losses["one"]) // 8))
    parts = [
        "# One process and two",
        f"A tiny network without dropout, {report['updates']} updates of 4 micro-batches on random "
        f"data, CPU, gloo. {machine['cpu_count']} cores {machine['processor']}, torch "
        f"{machine['versions']['torch']}, commit `{machine['commit']}`.",
        "\n".join(
            [
                "| | largest relative difference of a loss | of a weight at the end |",
                "|---|---:|---:|",
                line("1 process against 2", report["one_against_two"]),
                line(
                    f"2 processes against 2 that were killed (`kill -9`) at update "
                    f"{report['killed_after_update']} and resumed",
                    report["two_against_killed_and_resumed"],
                ),
            ]
        ),
        "Two processes add gradients in another order than one: their last bits differ. The same "
        "layout gives the same bits.",
        "\n".join(
            ["| update | loss, 1 process | loss, 2 processes |", "|---:|---:|---:|"]
            + [f"| {n + 1} | {losses['one'][n]:.6f} | {losses['two'][n]:.6f} |" for n in shown]
        ),
        f"Decoding: {decoding['identical']} of {decoding['utterances']} utterances have identical "
        "hypotheses in one process and in two.",
        f"```text\n{machine['command']}\n```",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    run_command(main)
