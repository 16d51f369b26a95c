"""Whisper's encoder without its 30 s padding: how much faster, and how far from the padded one.

    AVSR_DATA=/path/to/data python benchmarks/whisper_encoder.py

Writes ``benchmarks/results/whisper_encoder.json`` and, from it, ``whisper_encoder.md``. Without
AVSR_DATA it measures the speed of random weights of the same size, which take the same time, and
leaves the differences out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import torch  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.decode.token_beam import TokenBeamConfig, token_beam  # noqa: E402
from avsr.files import read_audio, write_atomically, write_json  # noqa: E402
from avsr.metrics import corpus_errors, word_errors  # noqa: E402
from avsr.models.whisper import Whisper, WhisperConfig  # noqa: E402
from avsr.pretrained.whisper import WhisperTokenizer, load_whisper  # noqa: E402
from avsr.text import normalise  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing.clock import Row, Work, as_json, duration_text, measure, ratio_text  # noqa: E402

WHOLE = 480_000  # samples of 30 s
STEP = 320  # samples of one encoder vector
TAILS_S = (0.0, 0.5, 1.0, 2.0)  # silence after the sound, in place of 30 s


def main(
    lengths_s: tuple[float, ...] = (1.0, 3.0, 10.0),
    sentences: int = 20,
    calls: int = 5,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure Whisper tiny.en's encoder with and without padding.

    Args:
        lengths_s: seconds of sound whose encoding is timed, one utterance on one thread.
        sentences: GRID test sentences on which differences and word errors are measured.
        calls: timed calls of each function.
        out: folder of whisper_encoder.json and whisper_encoder.md.
    """
    use_one_thread()
    load = os.getloadavg()[0]
    data = Path(os.environ.get("AVSR_DATA", ""))
    checkpoint = data / "models" / "whisper-tiny.en"
    differences: list[dict[str, Any]] = []
    if checkpoint.is_dir() and (data / "grid" / "splits.tsv").is_file():
        model, tokenizer = load_whisper(checkpoint)
        differences = compare(model, tokenizer, *grid_sentences(data / "grid", sentences))
    else:
        print("left out: differences, as AVSR_DATA names no folder with Whisper tiny.en and GRID")
        model = Whisper(WhisperConfig()).eval()
    rows = [row for seconds in lengths_s for row in speed(model, seconds, calls)]
    report = scrubbed(
        {
            "schema": "benchmarks.whisper_encoder",
            "machine": provenance(),
            "load": load,
            "sentences": sentences if differences else 0,
            "rows": as_json(rows),
            "differences": differences,
        }
    )
    write_json(out / "whisper_encoder.json", report)
    with write_atomically(out / "whisper_encoder.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def speed(model: Whisper, seconds: float, calls: int) -> list[Row]:
    """One utterance, log-mel included, on one thread."""
    samples = round(seconds * 16_000) // STEP * STEP
    sound = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(sound, (0, WHOLE - samples))

    def encode(waveform: torch.Tensor) -> Work:
        lengths = torch.tensor([waveform.shape[1]])

        @torch.no_grad()
        def call() -> object:
            return model.encoder(waveform, lengths)

        return Work(call, seconds, "s of sound", against="30 s padding")

    work = {"30 s padding": encode(padded), "no padding": encode(sound)}
    return measure(f"{seconds:g} s of sound", work, calls)


def grid_sentences(grid: Path, count: int) -> tuple[list[torch.Tensor], list[str]]:
    """Waveforms (S,) in whole encoder steps, and texts, of GRID's first test sentences."""
    waveforms: list[torch.Tensor] = []
    texts: list[str] = []
    for line in (grid / "splits.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        name, _, split, text, *_ = line.split("\t")
        if split == "test" and len(texts) < count:
            speaker, clip = name.split("/")
            waveform = torch.from_numpy(read_audio(grid / speaker / "video" / f"{clip}.mp4"))
            waveforms.append(waveform[: len(waveform) // STEP * STEP])
            texts.append(normalise(text))
    return waveforms, texts


@torch.no_grad()
def compare(
    model: Whisper, tokenizer: WhisperTokenizer, waveforms: Sequence[torch.Tensor], texts: list[str]
) -> list[dict[str, Any]]:
    """Distance of the vectors from the padded network's, and greedy words, for each tail."""
    rows = []
    config = TokenBeamConfig(tokenizer.prompt, tokenizer.end, beam_size=1, max_tokens=40)
    padded: list[torch.Tensor] = []
    for tail_s in (None, *TAILS_S):
        errors, distances = [], []
        for number, (waveform, text) in enumerate(zip(waveforms, texts, strict=True)):
            room = WHOLE - len(waveform) if tail_s is None else round(tail_s * 16_000)
            sound = torch.nn.functional.pad(waveform, (0, room))[None]
            vectors, valid = model.encoder(sound, torch.tensor([sound.shape[1]]))
            spoken = vectors[0, : len(waveform) // STEP]
            if tail_s is None:
                padded.append(spoken)
            distances.append(float((spoken - padded[number]).norm() / padded[number].norm()))
            state = model.decoder.start(vectors, valid)
            tokens, _ = token_beam(model.decoder, state, 1, config)[0][0]
            said = normalise(tokenizer.decode(tokens))
            errors.append(word_errors(reference=text, hypothesis=said))
        rows.append(
            {
                "tail_s": tail_s,
                "relative_distance": sum(distances) / len(distances),
                "wer": corpus_errors(errors).rate,
            }
        )
    return rows


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    rows, machine = [Row(**one) for one in report["rows"]], report["machine"]
    parts = [
        "# Whisper tiny.en's encoder without 30 s padding",
        f"One thread of {machine['processor']}, torch {machine['versions']['torch']}, commit "
        f"`{machine['commit']}`; load when started {report['load']:.2f}. Medians; the two of a "
        "length take turns. Log-mel included.",
        "| sound | padded | not padded | ratio |\n|---|---:|---:|---|\n"
        + "\n".join(
            f"| {row.group.removesuffix(' of sound')} | {duration_text(padded.seconds)} | "
            f"{duration_text(row.seconds)} | {ratio_text(row, rows)} |"
            for padded, row in zip(rows[::2], rows[1::2], strict=True)
        ),
    ]
    if report["differences"]:
        parts += [
            "The network was trained with 30 s only. How far its vectors are from the padded ones "
            "(relative Euclidean distance over the spoken frames), and what it writes without any "
            f"fine-tuning (greedy, {report['sentences']} GRID test sentences): short input makes "
            "it repeat itself, which fine-tuning without padding ends.",
            "| silence after the sound | distance | WER without fine-tuning |\n|---|---:|---:|\n"
            + "\n".join(
                f"| {'up to 30 s' if one['tail_s'] is None else format(one['tail_s'], 'g') + ' s'} "
                f"| {one['relative_distance']:.3f} | {100 * one['wer']:.1f} % |"
                for one in report["differences"]
            ),
        ]
    parts.append(f"```text\n{machine['command']}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    run_command(main)
