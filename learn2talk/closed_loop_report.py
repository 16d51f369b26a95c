"""Scores, tables, plot and page of a decoded closed-loop run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from avsr.data.manifest import decode_array, load_prepared
from avsr.data.mixtures import MixtureRow, render_mixture
from avsr.data.noise_bank import NoiseBank, NoiseConfig
from avsr.evaluate import merge_hypotheses
from avsr.files import (
    read_json,
    read_jsonl,
    read_video,
    sha256_file,
    write_json,
    write_video,
    write_wav,
)
from avsr.report import ReportSample, ReportText, write_outputs
from avsr.score import ExpectedUtterance, Protocol, Provenance, score
from avsr.training.run_folder import provenance
from learn2talk.animate import animate
from learn2talk.closed_loop import ClosedLoopConfig, mixture_manifest
from learn2talk.files import load_student
from learn2talk.render import write_face_video
from learn2talk.schema import Motion


def score_run(
    prepared: Path,
    run: Path,
    noise: NoiseConfig,
    config: ClosedLoopConfig,
    *,
    corpus: str,
    synthetic: bool,
    speaker_dependent: bool,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """``hypotheses.jsonl`` and ``results.json`` of a decoded run."""
    rows = load_prepared(prepared, "test")
    merged = run / "hypotheses.jsonl"
    merge_hypotheses(run / "hypotheses", rows, merged)
    test = NoiseBank(noise, "test")
    manifest = mixture_manifest(rows, test, run, config)
    origin = provenance()
    durations = [read_json(path)["seconds"] for path in run.glob("*.seconds.json")]
    protocol = Protocol(
        corpus=corpus,
        split="test",
        synthetic=synthetic,
        speaker_dependent=speaker_dependent,
        snrs_db=config.snrs_db,
        seeds=config.noise_seeds,
        test_noises=_noise_files(manifest.rows, config.noise_types),
        training_noises=_files_of(noise),
        selection=f"lowest mean WER on the validation split, clean and {config.valid_snr_db} dB",
        notes=tuple(notes),
    )
    results = score(
        merged,
        expected=[
            ExpectedUtterance(row["utterance_id"], row["speaker_id"], row["text"])
            for row in rows.select_columns(["utterance_id", "speaker_id", "text"])
        ],
        protocol=protocol,
        provenance=Provenance(
            command=origin["command"],
            commit=origin["commit"] or "unknown",
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            hardware=f"{origin['cpu_count']} cores {origin['processor']} {origin['machine']}",
            duration_s=sum(durations) or None,
            versions={k: v for k, v in origin["versions"].items() if v},
            manifest_sha256=manifest.sha256,
            data_sha256={"corpus.json": sha256_file(prepared / "corpus.json")},
            checkpoint_sha256={
                name: sha256_file(run / name / "best.safetensors") for name in config.systems
            },
        ),
    )
    write_json(run / "results.json", results)
    return results


def _noise_files(
    rows: Sequence[MixtureRow], noise_types: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    used: dict[str, set[str]] = {name: set() for name in noise_types}
    for row in rows:
        if row.noise_type in used:
            used[row.noise_type] |= {use.path for use in row.noise_files}
    return {name: tuple(sorted(files)) for name, files in used.items()}


def _files_of(noise: NoiseConfig) -> dict[str, tuple[str, ...]]:
    """Noise types of training and the files that each may draw on."""
    part = noise.train
    talkers = tuple(sorted(talker.path for talker in part.talkers))
    recorded = {Path(path).stem: (path,) for path in part.recorded}
    made = {name: talkers if name.startswith(("babble", "one_")) else () for name in part.types}
    return {name: recorded.get(name, made[name]) for name in part.types}


def write_run_report(
    prepared: Path,
    run: Path,
    noise: NoiseConfig,
    results: Mapping[str, Any],
    text: ReportText,
    *,
    num_samples: int = 3,
    snr_db: float = -5.0,
    media_root: Path | None = None,
) -> dict[str, Path]:
    """``report.html``, ``results.md``, ``rows.csv`` and the plot, with faces to see and hear.

    The utterances shown lie at equal steps through the test split: a fixed rule, not a choice.

    Args:
        prepared: prepared corpus.
        run: a scored run.
        noise: noise of the run.
        results: of :func:`score_run`.
        text: title and notes of the page.
        num_samples: utterances shown.
        snr_db: level of the mixtures that are played; must be one of the run's.
        media_root: folder under which the corpus's ``source`` names are films, to show the real
            clip beside the generated face; ``None`` where there is no film.

    Raises:
        ValueError: the level was not decoded.
    """
    rows = load_prepared(prepared, "test")
    steps = np.linspace(0, len(rows) - 1, min(num_samples, len(rows))).round()
    noise_type = next(iter(results["protocol"]["test_noises"]))
    seed = results["protocol"]["seeds"][0]
    chosen = {rows[int(step)]["utterance_id"]: rows[int(step)] for step in steps}
    bank = NoiseBank(noise, "test")
    mixtures = {
        mixture.utterance_id: mixture
        for mixture in map(MixtureRow.from_row, read_jsonl(run / "mixtures.jsonl"))
        if (mixture.noise_type, mixture.snr_db, mixture.seed) == (noise_type, snr_db, seed)
    }
    missing = sorted(chosen.keys() - mixtures.keys())
    if missing:
        raise ValueError(
            f"{run}: no mixture of {noise_type} at {snr_db} dB, seed {seed}, for {missing}; "
            f"show one of the levels {results['protocol']['snrs_db']}"
        )
    said: dict[str, dict[str, str]] = {name: {} for name in chosen}
    for row in read_jsonl(run / "hypotheses.jsonl"):
        here = (row["noise_type"], row["snr_db"], row["seed"]) == (noise_type, snr_db, seed)
        if row["utterance_id"] in chosen and (here or row["modality"] == "video"):
            said[row["utterance_id"]][_label(row)] = row["hypothesis"]
    if not (run / "student").is_dir():  # nothing was generated: no face to show
        return write_outputs(run, results, (), text=text)
    student = load_student(run / "student")
    samples = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, row in chosen.items():
            speech = decode_array(row["audio"])
            mixture = render_mixture(mixtures[name], speech, bank)
            real = None if media_root is None else media_root / row["source"]
            films = _films(real, animate(speech, student), speech, Path(scratch))
            write_wav(Path(scratch) / "heard.wav", mixture / max(1.0, np.abs(mixture).max()))
            samples.append(
                ReportSample(
                    title=name,
                    reference=row["text"],
                    transcripts=said[name],
                    generated_video=films["generated"],
                    real_video=films.get("real"),
                    audio=(Path(scratch) / "heard.wav").read_bytes(),
                    condition=f"{noise_type}, {snr_db:g} dB, seed {seed}",
                    generated_label="Generated from the clean audio",
                )
            )
    return write_outputs(run, results, samples, text=text)


def _films(
    clip: Path | None, motion: Motion, speech: np.ndarray, scratch: Path
) -> dict[str, bytes]:
    """The generated face and, where there is a film, the real one, each with its sound."""
    peak = max(1.0, float(np.abs(speech).max()))
    generated = scratch / "generated.mp4"
    write_face_video(generated, motion, speech / peak)
    films = {"generated": generated.read_bytes()}
    if clip is not None:
        real = scratch / "real.mp4"
        write_video(real, read_video(clip), audio=speech / peak)
        films["real"] = real.read_bytes()
    return films


def _label(row: Mapping[str, Any]) -> str:
    """A short name of an arm for the transcripts."""
    if row["modality"] == "audio":
        return "A" if row["system"] == "audio" else "A (audio-visual network)"
    kind = "V" if row["modality"] == "video" else "AV"
    return f"{kind}, {row['visual_source'].replace('_', ' ')}"
