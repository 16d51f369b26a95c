"""How far imported networks' outputs are from those of the published implementations.

    python benchmarks/importer_equality.py

Compares with the files in ``tests/golden`` (see its README), and writes
``benchmarks/results/importer_equality.json`` and, from it, ``importer_equality.md``.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import numpy as np  # noqa: E402
import torch  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.files import read_json, write_atomically, write_json  # noqa: E402
from avsr.models.auto_avsr import AutoAvsr  # noqa: E402
from avsr.models.av_hubert import AvHubert  # noqa: E402
from avsr.pretrained.auto_avsr import auto_avsr_from_tensors  # noqa: E402
from avsr.pretrained.av_hubert import (  # noqa: E402
    av_hubert_from_folder,
    av_hubert_from_tensors,
)
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402

GOLDEN = ROOT / "tests" / "golden"
AIM = 1e-4
STREAMS = {"audio_visual": ("video", "audio"), "video": ("video",), "audio": ("audio",)}
Row = dict[str, Any]


def main(out: Path = ROOT / "benchmarks" / "results") -> None:
    """Compare every network with its golden file.

    Args:
        out: folder of importer_equality.json and importer_equality.md.
    """
    use_one_thread()
    rows = [row for path in sorted(GOLDEN.glob("a*.json")) for row in compared(path)]
    report = scrubbed(
        {
            "schema": "benchmarks.importer_equality",
            "machine": provenance(),
            "aim": AIM,
            "rows": rows,
        }
    )
    write_json(out / "importer_equality.json", report)
    with write_atomically(out / "importer_equality.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def compared(path: Path) -> list[Row]:
    """One row for each output in a golden file of a network; none for another file."""
    golden = read_json(path)
    if "shapes" not in golden:
        return []
    rule = runpy.run_path(str(GOLDEN / "seeded_weights.py"))
    tensors = {
        name: torch.from_numpy(values)
        for name, values in rule["seeded_weights"](golden["shapes"]).items()
    }
    return [
        {
            "golden": path.name,
            "what": golden["what"],
            "commit": golden["commit"],
            "output": output,
            "numbers": int(np.size(expected)),
            "largest_difference": float(np.abs(found - np.asarray(expected)).max()),
            "spread": float(np.std(expected)),
        }
        for output, found, expected in _outputs(path.stem, golden, tensors, rule)
    ]


def _outputs(
    name: str, golden: Mapping[str, Any], tensors: dict[str, torch.Tensor], rule: dict[str, Any]
) -> list[tuple[str, np.ndarray, Any]]:
    """Name, our values and the published ones of each output."""
    frames = golden["num_frames"]
    valid = torch.ones(1, frames, dtype=torch.bool)
    tokens = torch.tensor([golden["tokens_in"]])
    video = torch.from_numpy(rule["seeded_video"](frames))[None]
    found: list[tuple[str, np.ndarray, Any]] = []
    with torch.no_grad():
        if name.startswith("auto_avsr"):
            own: AutoAvsr = auto_avsr_from_tensors(tensors, name)
            given = {"video": video, "audio": torch.from_numpy(rule["seeded_audio"](frames))[None]}
            memory = own.encode(valid, **{stream: given[stream] for stream in own.config.streams})
            decoded = own.decode_logits(tokens, memory, valid)
            found.append(("CTC logits", own.ctc_logits(memory)[0].numpy(), golden["ctc_logits"]))
            found.append(("decoder logits", decoded[0].numpy(), golden["decoder_logits"]))
            return found
        model = _av_hubert(name, golden, tensors)
        features = torch.from_numpy(rule["seeded_features"](frames, 104))[None]
        given = {"video": video, "audio": features}
        for streams, expected in golden["values"].items():
            memory = model.encode(valid, **{stream: given[stream] for stream in STREAMS[streams]})
            what, values = "encoder", memory
            if model.config.head == "ctc":
                what, values = "CTC logits", model.ctc_logits(memory)
            elif model.config.head == "decoder":
                what, values = "decoder logits", model.decode_logits(tokens, memory, valid)
            found.append((f"{what}, {streams}", values[0].numpy(), expected))
    return found


def _av_hubert(name: str, golden: Mapping[str, Any], tensors: dict[str, torch.Tensor]) -> AvHubert:
    if "config" in golden:
        return av_hubert_from_folder(tensors, golden["config"], name)
    decoder = golden["decoder_settings"] or {}
    return av_hubert_from_tensors(tensors, golden["settings"], decoder, name)


def page(report: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    lines = [
        "# Imported networks against the published implementations",
        "",
        "Small random weights, the same on both sides; see `tests/golden/README.md`. "
        f"Aim: {report['aim']:.0e}. Made by `python benchmarks/importer_equality.py`"
        f" at commit {report['machine'].get('commit', 'unknown')}.",
        "",
        "| network | output | largest difference | spread of the values |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['what']} (`{row['golden']}`) | {row['output']} | "
        f"{row['largest_difference']:.1e} | {row['spread']:.2f} |"
        for row in report["rows"]
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    run_command(main)
