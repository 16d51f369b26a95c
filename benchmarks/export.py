"""Speed and reading of a recogniser as float32, with int8 weights, and in ONNX Runtime.

    python benchmarks/export.py
    python benchmarks/export.py --run runs/grid

Writes ``benchmarks/results/export.json`` and, from it, ``export.md``. Without a run the weights are
random: times and differences hold, and there are no words to count.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.data.collate import collate  # noqa: E402
from avsr.data.manifest import load_prepared  # noqa: E402
from avsr.decode.greedy import ctc_greedy  # noqa: E402
from avsr.export import ExportError, export_onnx, load_onnx, quantise  # noqa: E402
from avsr.files import sha256_file, write_atomically, write_json  # noqa: E402
from avsr.metrics import corpus_errors, word_errors  # noqa: E402
from avsr.models.layers import mask_of_lengths  # noqa: E402
from avsr.models.recognizer import Recognizer  # noqa: E402
from avsr.schema import Batch  # noqa: E402
from avsr.text import Tokenizer, normalise  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.recognizer import load_recognizer, plain_example  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.scale.corpus import tokenizer as toy_tokenizer  # noqa: E402
from benchmarks.timing.clock import Row, Work, as_json, duration_text, measure  # noqa: E402
from benchmarks.timing.recognition import CLIP_S, RECIPE_SIZE, example_batch  # noqa: E402

Reader = Callable[[Batch], Tensor]  # a batch to log probabilities (B, T, K)
FLOAT = "torch float32"
MODALITIES = {"audio": ("audio",), "video": ("crops",), "audio_visual": ("audio", "crops")}


def main(
    run: Path | None = None,
    calls: int = 15,
    limit: int | None = None,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure float32, int8 and ONNX Runtime side by side, on one thread.

    Args:
        run: folder of a recipe's run, with audio_visual/best.safetensors and prepared/.
        calls: timed calls of each.
        limit: count words of only so many test utterances, default all.
        out: folder of export.json and export.md.
    """
    use_one_thread()
    load = os.getloadavg()[0]
    model, tokenizer, name = _network(run)
    with tempfile.TemporaryDirectory() as folder:
        readers, sizes, left_out = _readers(model, tokenizer, Path(folder))
        report = scrubbed(
            {
                "schema": "benchmarks.export",
                "machine": provenance(),
                "load": load,
                "weights": name,
                "sizes_mib": sizes,
                "left_out": left_out,
                "rows": as_json(_speed(readers, calls)),
                "largest_difference": _differences(readers),
                "words": None if run is None else _words(readers, tokenizer, run, limit),
            }
        )
    write_json(out / "export.json", report)
    with write_atomically(out / "export.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def _network(run: Path | None) -> tuple[Recognizer, Tokenizer, str]:
    if run is not None:
        weights = run / "audio_visual" / "best.safetensors"
        return *load_recognizer(weights), f"trained, sha256 {sha256_file(weights)[:12]}"
    torch.manual_seed(0)
    return Recognizer(RECIPE_SIZE).eval(), toy_tokenizer(), "random, the GRID recipe's size"


def _readers(
    model: Recognizer, tokenizer: Tokenizer, folder: Path
) -> tuple[dict[str, Reader], dict[str, float], str | None]:
    small = quantise(model)

    def read(network: Recognizer) -> Reader:
        def call(batch: Batch) -> Tensor:
            with torch.no_grad():
                return network(batch).float().log_softmax(-1)

        return call

    readers = {FLOAT: read(model), "torch int8": read(small)}
    sizes = {FLOAT: sum(t.numel() * t.element_size() for t in model.state_dict().values()) / 2**20}
    try:
        for name, int8 in (("ONNX Runtime float32", False), ("ONNX Runtime int8", True)):
            path = export_onnx(model, tokenizer, folder / f"{int8}.onnx", int8=int8)
            readers[name] = load_onnx(path, num_threads=1)[0]
            sizes[name] = path.stat().st_size / 2**20
    except ExportError as error:
        return readers, sizes, str(error)
    return readers, sizes, None


def _speed(readers: Mapping[str, Reader], calls: int) -> list[Row]:
    rows: list[Row] = []
    for modality, streams in MODALITIES.items():
        for seconds in (CLIP_S, 4 * CLIP_S):
            batch = example_batch(streams, seconds)
            work = {
                name: Work(
                    lambda read=read, batch=batch: read(batch),  # type: ignore[misc]
                    seconds,
                    "s of sound",
                    None if name == FLOAT else FLOAT,
                )
                for name, read in readers.items()
            }
            rows += measure(f"{modality}, one {seconds:g} s clip, one thread", work, calls)
    return rows


def _differences(readers: Mapping[str, Reader]) -> dict[str, float]:
    batch = example_batch(("audio", "crops", "lips"), CLIP_S, 3)
    valid = mask_of_lengths(batch.lengths, int(batch.lengths.max()))
    wanted = readers[FLOAT](batch)
    return {
        name: float((read(batch) - wanted)[valid].abs().max())
        for name, read in readers.items()
        if name != FLOAT
    }


def _words(
    readers: Mapping[str, Reader], tokenizer: Tokenizer, run: Path, limit: int | None
) -> dict[str, dict[str, dict[str, int]]]:
    rows = load_prepared(run / "prepared", "test")
    count = len(rows) if limit is None else min(limit, len(rows))
    found: dict[str, dict[str, dict[str, int]]] = {}
    for modality, streams in MODALITIES.items():
        found[modality] = {}
        for name, read in readers.items():
            pairs = _texts(read, tokenizer, (rows[i] for i in range(count)), streams)
            total = corpus_errors(word_errors(reference=r, hypothesis=h) for r, h in pairs)
            found[modality][name] = {"errors": total.errors, "words": total.reference_length}
    return found


def _texts(
    read: Reader, tokenizer: Tokenizer, rows: Iterator[dict[str, Any]], streams: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    for row in rows:
        batch = collate([plain_example(row, streams, num_mels=80)])
        ids = ctc_greedy(read(batch), batch.lengths)[0]
        yield normalise(row["text"]), normalise(tokenizer.decode(ids))


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    machine, rows = report["machine"], [Row(**one) for one in report["rows"]]
    parts = [
        "# int8 and ONNX Runtime",
        f"{machine['cpu_count']} cores {machine['processor']}, one thread, torch "
        f"{machine['versions']['torch']}, commit `{machine['commit']}`; load when started "
        f"{report['load']:.2f}. Weights: {report['weights']}. Medians of calls that take turns.",
    ]
    if report["left_out"]:
        parts.append(f"Left out: {report['left_out']}")
    for group in dict.fromkeys(row.group for row in rows):
        own = [row for row in rows if row.group == group]
        base = next(row for row in own if row.what == FLOAT)
        lines = ["| | time | real-time factor | against float32 |", "|---|---:|---:|---:|"]
        lines += [
            f"| {row.what} | {duration_text(row.seconds)} | {row.seconds / row.amount:.4f} | "
            f"{base.seconds / row.seconds:.2f} x as fast |"
            for row in own
        ]
        parts += [f"## {group}", "\n".join(lines)]
    lines = ["| | file or weights | largest difference of a log probability |", "|---|---:|---:|"]
    for name in dict.fromkeys((*report["sizes_mib"], *report["largest_difference"])):
        size, far = report["sizes_mib"].get(name), report["largest_difference"].get(name)
        said = ("\u2013" if size is None else f"{size:.1f} MiB", _or_dash(far))
        lines.append(f"| {name} | {said[0]} | {said[1]} |")
    parts += ["## Size and difference", "\n".join(lines)]
    if report["words"] is not None:
        names = list(next(iter(report["words"].values())))
        lines = [
            "| WER, clean, greedy | " + " | ".join(names) + " |",
            "|---|" + "---:|" * len(names),
        ]
        for modality, counts in report["words"].items():
            rates = [f"{100 * c['errors'] / c['words']:.2f} %" for c in counts.values()]
            lines.append(f"| {modality} | " + " | ".join(rates) + " |")
        words = next(iter(counts.values()))["words"]
        parts += ["## Words", "\n".join(lines), f"{words} reference words."]
    parts.append(f"```text\n{machine['command']}\n```")
    return "\n\n".join(parts) + "\n"


def _or_dash(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.1e}"


if __name__ == "__main__":
    run_command(main)
