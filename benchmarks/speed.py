"""How fast each part is on this machine, with the ratios measured in the same run.

    python benchmarks/speed.py

Writes ``benchmarks/results/speed.json`` and, from it, ``speed.md``. Without a run it takes random
weights of the recipe's sizes, which cost the same time, and says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.files import write_atomically, write_json  # noqa: E402
from avsr.tracking import TrackingError  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing import faces, recognition, training  # noqa: E402
from benchmarks.timing.clock import Row, as_json, page  # noqa: E402
from benchmarks.timing.real_data import NoDataError, real_data  # noqa: E402

Part = Literal["features", "recogniser", "student", "drawing", "tracking", "training"]
PARTS: tuple[Part, ...] = (
    "features",
    "recogniser",
    "student",
    "drawing",
    "tracking",
    "training",
)


def main(
    parts: tuple[Part, ...] = PARTS,
    recognizer: Path | None = None,
    student: Path | None = None,
    calls: int = 9,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure the speed of the toolkit's parts.

    Args:
        parts: which to measure.
        recognizer: best.safetensors of a trained audio-visual recogniser; default random weights.
        student: folder of a trained student; default random weights.
        calls: timed calls of each function.
        out: folder of speed.json and speed.md.
    """
    use_one_thread()
    load = os.getloadavg()[0]
    measured: dict[Part, Callable[[], list[Row]]] = {
        "features": lambda: recognition.features(calls),
        "recogniser": lambda: recognition.recogniser(calls, recognizer),
        "student": lambda: faces.student(calls, student),
        "drawing": lambda: faces.drawing(calls),
        "tracking": lambda: faces.tracking(calls, real_data()),
        "training": lambda: training.training(calls),
    }
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    for part in parts:
        print(f"== {part}", flush=True)
        try:
            rows += measured[part]()
        except (TrackingError, NoDataError) as error:
            left_out[part] = str(error)
            print(f"left out: {error}")
    report = scrubbed(
        {
            "schema": "benchmarks.speed",
            "machine": provenance(),
            "load": load,
            "weights": {
                "recogniser": recognition.recogniser_of(recognizer)[1],
                "student": faces.student_of(student)[1],
            },
            "rows": as_json(rows),
            "left_out": left_out,
        }
    )
    write_json(out / "speed.json", report)
    with write_atomically(out / "speed.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


if __name__ == "__main__":
    run_command(main)
