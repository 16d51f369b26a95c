"""Decoding and training on a GPU: a test set of LRS3's size at beam 10, hours of video per hour.

    python benchmarks/gpu.py

Writes ``benchmarks/results/gpu.json``. Without a GPU it says so, writes nothing, and ends well.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import torch  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.files import write_json  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing import accelerator  # noqa: E402

Preset = Literal["tiny", "small", "base", "large"]


def main(
    presets: tuple[Preset, ...] = ("small", "base", "large"),
    clips: int = accelerator.LRS3_CLIPS,
    updates: int = 20,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure decoding and training on a GPU.

    Args:
        presets: sizes of the network.
        clips: of the test set; LRS3's has 1321.
        updates: timed updates of the training.
        out: folder of gpu.json.
    """
    if not torch.cuda.is_available():
        print("torch sees no CUDA device: nothing was measured, nothing was written")
        return
    results = {
        name: {
            "decoding": accelerator.decoding(name, clips, "cuda"),
            "training": accelerator.training(name, updates, "cuda"),
        }
        for name in presets
    }
    report = {
        "schema": "benchmarks.gpu",
        "device": torch.cuda.get_device_name(),
        "machine": provenance(),
        "load": os.getloadavg()[0],
        "weights": "random, 5001 classes; the length bonus is set so that a clip gets about "
        f"{accelerator.TOKENS_A_CLIP} tokens",
        "results": results,
    }
    write_json(out / "gpu.json", scrubbed(report))
    for name, parts in results.items():
        for part, values in parts.items():
            print(name, part, ", ".join(f"{key} {value:g}" for key, value in values.items()))


if __name__ == "__main__":
    run_command(main)
