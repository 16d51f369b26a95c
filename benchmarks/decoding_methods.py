"""Words and time of every way to decode, on the trained networks of a run.

    AVSR_DATA=/path/to/data python benchmarks/decoding_methods.py --run runs/grid_joint

Writes ``benchmarks/results/decoding_methods.json`` and, from it, ``decoding_methods.md``. The same
networks and mixtures throughout: only the search differs. Weights of the searches are fixed before
anything is decoded, and not chosen by these figures.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.corpora.speechocean762 import ambience_and_babble  # noqa: E402
from avsr.data.collate import collate  # noqa: E402
from avsr.data.manifest import decode_array, load_prepared  # noqa: E402
from avsr.data.mixtures import MixtureRow, render_mixture  # noqa: E402
from avsr.data.noise_bank import NoiseBank  # noqa: E402
from avsr.decode.config import DecodingConfig  # noqa: E402
from avsr.decode.decoding import decode_memory  # noqa: E402
from avsr.decode.lm import LanguageModel  # noqa: E402
from avsr.files import read_jsonl, sha256_file, write_atomically, write_json  # noqa: E402
from avsr.metrics import Score, clustered_bootstrap, paired_bootstrap, word_errors  # noqa: E402
from avsr.models.recognizer import Recognizer  # noqa: E402
from avsr.text import Tokenizer, normalise  # noqa: E402
from avsr.training.command import use_one_thread  # noqa: E402
from avsr.training.language_model import load_language_model  # noqa: E402
from avsr.training.recognizer import load_recognizer, plain_example  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from avsr.units import VIDEO_FPS  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing.real_data import NoDataError, real_data  # noqa: E402

READS = {"audio": ("audio",), "audio_visual": ("audio", "crops")}
BATCH = 8


@dataclass(frozen=True)
class Search:
    """A way to decode; its name on the page."""

    name: str
    config: DecodingConfig
    with_texts: bool = False  # asks the language model


@dataclass(frozen=True)
class Batch:
    """What an encoder made of some utterances, and what identifies them."""

    memory: Tensor
    lengths: Tensor
    keys: list[tuple[str, str, float | None, int | None]]  # utterance, noise type, dB, seed
    references: list[str]
    speakers: list[str]


def searches(beam_size: int, lm_weight: float) -> tuple[Search, ...]:
    """All of them, in the order of the page."""
    return (
        Search("CTC greedy", DecodingConfig("greedy")),
        Search(f"CTC beam {beam_size}", DecodingConfig("ctc", beam_size)),
        Search(f"joint beam {beam_size}", DecodingConfig("joint", beam_size)),
        Search(
            f"joint beam {beam_size}, language model",
            DecodingConfig("joint", beam_size, lm_weight=lm_weight),
            with_texts=True,
        ),
        Search("transducer greedy", DecodingConfig("transducer", 1)),
        Search(f"transducer beam {beam_size}", DecodingConfig("transducer", beam_size)),
    )


def main(
    run: Path | None = None,
    noise_type: str = "babble_4",
    snr_db: float = -5.0,
    beam_size: int = 10,
    lm_weight: float = 0.2,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Decode the test split of a finished run in every way that its networks have.

    Args:
        run: folder of a run of the GRID recipe with decoders; without it nothing is measured.
        noise_type: of the noisy condition, one of the run's.
        snr_db: of the noisy condition, one of the run's.
        beam_size: of the searches that keep several hypotheses.
        lm_weight: of the run's language model, where it has one.
        out: folder of decoding_methods.json and decoding_methods.md.

    Raises:
        ValueError: the run has no such mixtures.
    """
    if run is None:
        print("left out: decoding methods need a run with decoders; give one with --run (README)")
        return
    try:
        bank = NoiseBank(ambience_and_babble(real_data()), "test")
    except NoDataError as error:
        print(f"left out: {error}")
        return
    use_one_thread()
    load = os.getloadavg()[0]
    mixtures = mixtures_of(run, noise_type, snr_db)
    rows: list[dict[str, Any]] = []
    weights: dict[str, str] = {}
    for network, streams in READS.items():
        path = run / network / "best.safetensors"
        if not path.is_file():
            continue
        model, tokenizer = load_recognizer(path)
        weights[network] = sha256_file(path)
        texts = _language_model(run, tokenizer)
        batches = encoded(model, streams, load_prepared(run / "prepared", "test"), mixtures, bank)
        rows += measured(
            network, model, tokenizer, batches, searches(beam_size, lm_weight), texts, beam_size
        )
    report = scrubbed(
        {
            "schema": "benchmarks.decoding_methods",
            "machine": provenance(),
            "load": load,
            "noise": f"{noise_type} at {snr_db:g} dB",
            "lm_weight": lm_weight,
            "weights_sha256": weights,
            "rows": rows,
        }
    )
    write_json(out / "decoding_methods.json", report)
    with write_atomically(out / "decoding_methods.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def mixtures_of(run: Path, noise_type: str, snr_db: float) -> list[MixtureRow]:
    """The run's clean mixtures and those of one noise and level, all seeds.

    Raises:
        ValueError: there are none of that noise and level.
    """
    every = [MixtureRow.from_row(row) for row in read_jsonl(run / "mixtures.jsonl")]
    noisy = [one for one in every if (one.noise_type, one.snr_db) == (noise_type, snr_db)]
    if not noisy:
        known = sorted({f"{one.noise_type} {one.snr_db}" for one in every})
        raise ValueError(
            f"{run}: no mixture of {noise_type} at {snr_db} dB; it has {', '.join(known)}"
        )
    return [one for one in every if one.snr_db is None] + noisy


def _language_model(run: Path, tokenizer: Tokenizer) -> LanguageModel | None:
    path = run / "language_model" / "best.safetensors"
    return load_language_model(path, tokenizer) if path.is_file() else None


@torch.no_grad()
def encoded(
    model: Recognizer,
    streams: Sequence[str],
    rows: Any,
    mixtures: Sequence[MixtureRow],
    bank: NoiseBank,
) -> list[Batch]:
    """Every mixture through the encoder, once."""
    places = {name: place for place, name in enumerate(rows["utterance_id"])}
    batches = []
    for start in range(0, len(mixtures), BATCH):
        part = mixtures[start : start + BATCH]
        chosen = [rows[places[mixture.utterance_id]] for mixture in part]
        batch = collate(
            [
                plain_example(
                    row,
                    streams,
                    num_mels=model.config.num_mels,
                    waveform=render_mixture(mixture, decode_array(row["audio"]), bank),
                )
                for row, mixture in zip(chosen, part, strict=True)
            ]
        )
        batches.append(
            Batch(
                model.memory_of(batch),
                batch.lengths,
                [
                    (m.utterance_id, "none", None, None)
                    if m.snr_db is None
                    else (m.utterance_id, m.noise_type, m.snr_db, m.seed)
                    for m in part
                ],
                [normalise(row["text"]) for row in chosen],
                [row["speaker_id"] for row in chosen],
            )
        )
    return batches


def measured(
    network: str,
    model: Recognizer,
    tokenizer: Tokenizer,
    batches: Sequence[Batch],
    ways: Sequence[Search],
    texts: LanguageModel | None,
    beam_size: int,
) -> list[dict[str, Any]]:
    """A row for each search that the network has the heads for, and condition."""
    seconds_heard = sum(int(batch.lengths.sum()) for batch in batches) / VIDEO_FPS
    against: dict[bool, list[Score]] = {}
    rows = []
    for way in ways:
        lacks_head = (way.config.method == "joint" and model.decoder is None) or (
            way.config.method == "transducer" and model.transducer is None
        )
        if lacks_head or (way.with_texts and texts is None):
            continue
        print(f"== {network}, {way.name}", flush=True)
        scores, seconds = decoded(model, tokenizer, batches, way, texts)
        for noisy in (False, True):
            own = [score for score in scores if (score.snr_db is not None) == noisy]
            interval = clustered_bootstrap(own, seed=0, num_resamples=2000)
            row = {
                "network": network,
                "search": way.name,
                "decoding": asdict(way.config),
                "noisy": noisy,
                "wer": asdict(interval),
                "real_time_factor": seconds / seconds_heard,
                "against_ctc_beam": None,
            }
            if way.config == DecodingConfig("ctc", beam_size):
                against[noisy] = own
            elif noisy in against:
                test = paired_bootstrap(own, against[noisy], seed=0, num_resamples=2000)
                row["against_ctc_beam"] = asdict(test)
            rows.append(row)
    return rows


def decoded(
    model: Recognizer,
    tokenizer: Tokenizer,
    batches: Sequence[Batch],
    way: Search,
    texts: LanguageModel | None,
) -> tuple[list[Score], float]:
    """Scores of all mixtures, and the seconds that the search alone took."""
    scores: list[Score] = []
    seconds = 0.0
    for number, batch in enumerate(batches):
        if not number:  # warm-up
            decode_memory(model, batch.memory, batch.lengths, way.config, texts)
        started = time.perf_counter()
        found = decode_memory(model, batch.memory, batch.lengths, way.config, texts)
        seconds += time.perf_counter() - started
        for key, reference, speaker, tokens in zip(
            batch.keys, batch.references, batch.speakers, found, strict=True
        ):
            said = normalise(tokenizer.decode(tokens))
            name, noise_type, snr_db, seed = key
            errors = word_errors(reference=reference, hypothesis=said)
            scores.append(Score(name, speaker, noise_type, snr_db, seed, errors))
    return scores, seconds


def page(report: Mapping[str, Any]) -> str:
    """The Markdown page of a report."""
    machine = report["machine"]
    lines = [
        f"| network | search | WER, clean | WER, {report['noise']} | noisy, against CTC beam | "
        "search, x real time |",
        "|---|---|---:|---:|---:|---:|",
    ]
    pairs = zip(report["rows"][::2], report["rows"][1::2], strict=True)
    for clean, noisy in pairs:
        lines.append(
            f"| {clean['network']} | {clean['search']} | {_rate(clean['wer'])} | "
            f"{_rate(noisy['wer'])} | {_difference(noisy['against_ctc_beam'])} | "
            f"{clean['real_time_factor']:.4f} |"
        )
    parts = [
        "# Ways to decode, on trained networks",
        "GRID s1: **one speaker, 51 words, closed grammar, speaker-dependent**; `audio` by sound "
        "alone, `audio_visual` by sound and mouth crops. Every search reads the same mixtures, "
        "encoded once; 95 % intervals and p-values by utterance. The time is the search's alone, "
        f"in batches of {BATCH}, on one thread. The language model's weight is "
        f"{report['lm_weight']}, where there is one. {machine['cpu_count']} cores "
        f"{machine['processor']}, torch {machine['versions']['torch']}, commit "
        f"`{machine['commit']}`; load when started {report['load']:.2f}.",
        "\n".join(lines),
        f"```text\n{machine['command']}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _rate(interval: Mapping[str, Any]) -> str:
    value, low, high = (100 * interval[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}] %"


def _difference(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return "\u2013"
    return f"{100 * test['difference']['value']:+.1f} points, p = {test['p_value']:.3f}"


if __name__ == "__main__":
    run_command(main)
