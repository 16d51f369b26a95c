"""What training and storing costs by size of network, counted: operations, parameters, bytes.

    python benchmarks/training_cost.py
    python benchmarks/training_cost.py --prepared runs/grid/prepared

Operations are counted by torch's flop counter over a forward pass of one audio-visual clip (CTC,
and the attention decoder where the size has one); they do not depend on the machine. A backward
pass is taken as two forward ones: there the counter counts depthwise convolutions as full ones.
Writes ``benchmarks/results/training_cost.json`` and, from it, ``training_cost.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import torch  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.data.manifest import COLUMNS, load_info, load_prepared  # noqa: E402
from avsr.files import write_atomically, write_json  # noqa: E402
from avsr.models.presets import PRESETS  # noqa: E402
from avsr.models.recognizer import Recognizer  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from avsr.units import VIDEO_FPS  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing.recognition import example_batch  # noqa: E402

STATE_COPIES = 4  # of a checkpoint: weights, their average, and AdamW's two moments
TOKENS = 15  # of the example's transcript


def main(
    presets: tuple[str, ...] = tuple(PRESETS),
    seconds: float = 3.0,
    prepared: Path | None = None,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Count what a training costs.

    Args:
        presets: sizes of network.
        seconds: length of the clip; attention's share grows with it.
        prepared: a prepared corpus whose bytes a second are counted.
        out: folder of training_cost.json and training_cost.md.
    """
    use_one_thread()
    report = scrubbed(
        {
            "schema": "benchmarks.training_cost",
            "machine": provenance(),
            "seconds": seconds,
            "networks": {name: _cost(name, seconds) for name in presets},
            "stored": None if prepared is None else _stored(prepared),
        }
    )
    write_json(out / "training_cost.json", report)
    with write_atomically(out / "training_cost.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def _cost(name: str, seconds: float) -> dict[str, float]:
    torch.manual_seed(0)
    model = Recognizer(PRESETS[name](5001)).train()
    batch = example_batch(("audio", "crops"), seconds)
    with torch.no_grad(), FlopCounterMode(display=False) as forward:
        memory = model.memory_of(batch)
        model.ctc_logits(memory)
        if model.decoder is not None:
            tokens = torch.ones(1, TOKENS, dtype=torch.long)
            there = torch.ones(memory.shape[:2], dtype=torch.bool)
            model.decoder(tokens, memory, there)
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "parameters": parameters,
        "forward_flop_per_s": forward.get_total_flops() / seconds,
        "training_flop_per_s": 3 * forward.get_total_flops() / seconds,
        "checkpoint_bytes": 4 * STATE_COPIES * parameters,
    }


def _stored(prepared: Path) -> dict[str, Any]:
    """Bytes of each column for a second of video, over the first hundred training rows."""
    rows = load_prepared(prepared, "train")
    part = [rows[index] for index in range(min(100, len(rows)))]
    duration_s = sum(row["num_frames"] for row in part) / VIDEO_FPS
    sizes = {
        name: sum(len(row[name]) for row in part if isinstance(row[name], bytes | str)) / duration_s
        for name in COLUMNS
    }
    return {"corpus": load_info(prepared).get("name"), "clips": len(part), "bytes_per_s": sizes}


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    machine = report["machine"]
    lines = [
        "| network | parameters | forward | training (3x) | an hour of video, trained once "
        "| checkpoint |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, cost in report["networks"].items():
        lines.append(
            f"| {name} | {cost['parameters'] / 1e6:.1f} M "
            f"| {cost['forward_flop_per_s'] / 1e9:.1f} GFLOP/s "
            f"| {cost['training_flop_per_s'] / 1e9:.1f} GFLOP/s "
            f"| {3600 * cost['training_flop_per_s'] / 1e15:.3f} PFLOP "
            f"| {cost['checkpoint_bytes'] / 1e9:.2f} GB |"
        )
    parts = [
        "# What training costs, counted",
        f"Floating-point operations (a multiplication and an addition are two) of one audio-visual "
        f"clip of {report['seconds']:g} s, divided by its length; 5000 pieces. Torch "
        f"{machine['versions']['torch']}, commit `{machine['commit']}`. A checkpoint holds "
        f"{STATE_COPIES} float32 copies: weights, average, two moments of AdamW.",
        "\n".join(lines),
    ]
    if report["stored"] is not None:
        sizes = report["stored"]["bytes_per_s"]
        total = sum(sizes.values())
        table = ["| column | kB a second of video | GB an hour |", "|---|---:|---:|"]
        table += [
            f"| {name} | {size / 1e3:.1f} | {3600 * size / 1e9:.3f} |"
            for name, size in sorted(sizes.items(), key=lambda pair: -pair[1])
            if size >= 50
        ]
        table.append(f"| **all** | {total / 1e3:.1f} | {3600 * total / 1e9:.2f} |")
        parts += [
            "## Prepared corpus",
            f"{report['stored']['corpus']}, {report['stored']['clips']} training clips.",
            "\n".join(table),
        ]
    parts.append(f"```text\n{machine['command']}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    run_command(main)
