"""Speed of joint CTC/attention decoding against its reference, and that both find the same.

    python benchmarks/decoder_speed.py

Writes ``benchmarks/results/decoder_speed.json`` and, from it, ``decoder_speed.md``. Weights are
random and the sound's pieces made up, three a second, so that texts have the length of speech.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import torch  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.files import write_atomically, write_json  # noqa: E402
from avsr.training.command import available_cores  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing import decoding  # noqa: E402
from benchmarks.timing.clock import Row, as_json, page  # noqa: E402

SHORT_S, LONG_S = 3.0, 10.0  # clips up to the first, and from the second on, have an aim
AIMS = {"short": 4.0, "long": 10.0}  # times the reference's speed
REAL_TIME_AIMS = {"greedy": 0.10, "joint beam 10": 0.20}


def main(
    seconds: tuple[float, ...] = (2.3, 12.0),
    beams: tuple[int, ...] = (10, 40),
    calls: int = 3,
    threads: int = 0,
    size: str = "small",
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure the speed of joint decoding.

    Args:
        seconds: lengths of the clips.
        beams: beam sizes.
        calls: timed calls of each function; the reference takes long.
        threads: of torch; 0 takes one a core.
        size: preset of the recogniser.
        out: folder of decoder_speed.json and decoder_speed.md.
    """
    torch.set_num_threads(threads or available_cores())
    load = os.getloadavg()[0]
    rows: list[Row] = []
    equalities: list[decoding.Equality] = []
    for length in seconds:
        for beam in beams:
            print(f"== {length:g} s, beam {beam}", flush=True)
            found, same = decoding.search(calls, length, beam, size)
            rows, equalities = [*rows, *found], [*equalities, same]
    print("== real time", flush=True)
    rows += decoding.real_time(max(calls, 5), min(seconds), size)
    report = scrubbed(
        {
            "schema": "benchmarks.decoder_speed",
            "title": "Speed of joint decoding",
            "machine": provenance(),
            "load": load,
            "weights": {
                "network": f"random weights, preset {size}",
                "threads": str(torch.get_num_threads()),
            },
            "rows": as_json(rows),
            "equalities": [asdict(one) for one in equalities],
            "speed_ups": speed_ups(rows),
            "left_out": {},
        }
    )
    write_json(out / "decoder_speed.json", report)
    text = decoder_page(report)
    with write_atomically(out / "decoder_speed.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)


def speed_ups(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """By group, how many times as fast as the reference each row is, a second of sound each."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        for other in rows:
            if (other.group, other.what) == (row.group, row.against) and "reference" in other.what:
                faster = (other.seconds / other.amount) / (row.seconds / row.amount)
                found.setdefault(row.group, {})[row.what] = faster
    return found


def decoder_page(report: Mapping[str, Any]) -> str:
    """The page of the timings, with equality and aims before it."""
    rows = [Row(**one) for one in report["rows"]]
    lines = [
        "| search | pieces | same text | difference of scores | one clip | batch | aim |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for one in report["equalities"]:
        alone, batch = report["speed_ups"][one["what"]].values()
        length = next(row.amount for row in rows if row.group == one["what"])
        aim = AIMS["short"] if length <= SHORT_S else AIMS["long"] if length >= LONG_S else None
        lines.append(
            f"| {one['what']} | {one['pieces']} | {'yes' if one['same_text'] else 'NO'} | "
            f"{one['score_difference']:.1e} nats | {alone:.1f}x | {batch:.1f}x | "
            f"{f'{aim:g}x' if aim else '-'} |"
        )
    factors = [
        f"- {row.what}: real-time factor {row.seconds / row.amount:.3f}, "
        f"aim {REAL_TIME_AIMS[row.what]:.2f}"
        for row in rows
        if row.what in REAL_TIME_AIMS
    ]
    summary = [
        "Times the reference's speed, with the same weights in the same run:",
        "\n".join(lines),
        "\n".join(factors),
    ]
    title, rest = page(report).split("\n\n", 1)
    return "\n\n".join([title, *summary, rest])


if __name__ == "__main__":
    run_command(main)
