"""How fast the recognition engine is on this machine: sizes, decoders, front-ends, tracking.

    python benchmarks/engine_speed.py

Writes ``benchmarks/results/engine_speed.json`` and, from it, ``engine_speed.md``. Weights are
random: the time of a network does not depend on them, and a beam is never narrower than with them.
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
from avsr.training.command import available_cores  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing import engine  # noqa: E402
from benchmarks.timing.clock import Row, as_json, page  # noqa: E402
from benchmarks.timing.real_data import NoDataError, real_data  # noqa: E402

Part = Literal["sizes", "decoders", "front_ends", "tracking"]
PARTS: tuple[Part, ...] = ("sizes", "decoders", "front_ends", "tracking")
Preset = Literal["tiny", "small", "base", "large"]


def main(
    parts: tuple[Part, ...] = PARTS,
    presets: tuple[Preset, ...] = ("tiny", "small", "base", "large"),
    calls: int = 5,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure the speed of the recognition engine.

    Args:
        parts: which to measure.
        presets: sizes of the network for the part 'sizes'.
        calls: timed calls of each function.
        out: folder of engine_speed.json and engine_speed.md.
    """
    cores = available_cores()
    load = os.getloadavg()[0]
    facts: dict[str, str] = {"networks": "random weights, 5001 classes"}

    def sizes() -> list[Row]:
        counts = (1, cores) if cores > 1 else (1,)
        rows, chosen = engine.sizes(calls, presets, counts)
        facts.update({f"fastest, {what}": count for what, count in chosen.items()})
        return rows

    def front_ends() -> list[Row]:
        rows, costs = engine.front_ends(calls)
        facts.update({f"front-end {name}": cost for name, cost in costs.items()})
        return rows

    measured: dict[Part, Callable[[], list[Row]]] = {
        "sizes": sizes,
        "decoders": lambda: engine.decoders(calls, cores),
        "front_ends": front_ends,
        "tracking": lambda: engine.tracking(calls, real_data()),
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
            "schema": "benchmarks.engine_speed",
            "machine": provenance(),
            "load": load,
            "weights": facts,
            "rows": as_json(rows),
            "left_out": left_out,
        }
    )
    write_json(out / "engine_speed.json", report)
    with write_atomically(out / "engine_speed.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


if __name__ == "__main__":
    run_command(main)
