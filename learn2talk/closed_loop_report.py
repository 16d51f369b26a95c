"""Scores, tables, plot and page of a decoded closed-loop run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from avsr.arm_labels import arm_labels
from avsr.conditions import CLEAN, Arm
from avsr.data.manifest import decode_array, load_prepared
from avsr.data.mixtures import MixtureRow, render_mixture
from avsr.data.noise_bank import NoiseBank, NoiseConfig
from avsr.data.rooms import DRY
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
from avsr.report import ReportText, write_outputs
from avsr.report_samples import ReportSample
from avsr.schema import Hypothesis
from avsr.score import ExpectedUtterance, Protocol, Provenance, score
from avsr.training.run_folder import provenance
from avsr.video_conditions import CLEAN_VIDEO
from learn2talk.animate import animate
from learn2talk.closed_loop import ClosedLoopConfig, mixture_manifest
from learn2talk.files import load_student
from learn2talk.render import write_face_video
from learn2talk.schema import Motion

Condition = tuple[str, float | None, int | None]  # noise type, level in dB, seed of the noise


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
        snr_db: level of the mixtures that are played beside the clean audio, one of each noise;
            must be one of the run's.
        media_root: folder under which the corpus's ``source`` names are films, to show the real
            clip beside the generated face; ``None`` where there is no film.

    Raises:
        ValueError: the level was not decoded.
    """
    rows = load_prepared(prepared, "test")
    steps = np.linspace(0, len(rows) - 1, min(num_samples, len(rows))).round()
    chosen = {rows[int(step)]["utterance_id"]: rows[int(step)] for step in steps}
    if not (run / "student").is_dir():  # nothing was generated: no face to show
        return write_outputs(run, results, (), text=text)
    bank = NoiseBank(noise, "test")
    samples = shown_samples(
        chosen,
        results,
        [MixtureRow.from_row(row) for row in read_jsonl(run / "mixtures.jsonl")],
        run / "hypotheses.jsonl",
        lambda row, speech: render_mixture(row, speech, bank),
        run / "student",
        snr_db=snr_db,
        media_root=media_root,
    )
    return write_outputs(run, results, samples, text=text)


def shown_samples(
    chosen: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, Any],
    rows: Sequence[MixtureRow],
    hypotheses: Path,
    render: Callable[[MixtureRow, np.ndarray], np.ndarray],
    student: Path,
    *,
    snr_db: float | None = None,
    media_root: Path | None = None,
) -> list[ReportSample]:
    """Utterances to see and hear: clean and in each noise, what every arm read, two faces.

    Args:
        chosen: utterance id to its row of the prepared split.
        results: of the scored test.
        rows: its mixtures, among them those that are played.
        hypotheses: JSONL file of what was read.
        render: a mixture's row and the speech (S,) to the mixture (S,).
        student: makes the generated face from the clean sound.
        snr_db: of the noisy sounds; ``None``: the lowest level of -5 dB or more, else the highest.
        media_root: folder of the films that the rows' ``source`` names; ``None``: no real face.

    Raises:
        ValueError: the level was not decoded.
    """
    levels = sorted(results["protocol"]["snrs_db"])
    if snr_db is None:
        snr_db = next((level for level in levels if level >= -5.0), levels[-1])
    seed = results["protocol"]["seeds"][0]
    conditions: dict[str, Condition] = {"clean": (CLEAN, None, None)}
    for noise_type in results["protocol"]["test_noises"]:
        conditions[f"{noise_type}, {snr_db:g} dB"] = (noise_type, snr_db, seed)
    mixtures = _mixtures(rows, hypotheses, results, list(chosen), list(conditions.values()))
    said = _transcripts(hypotheses, results, set(chosen), conditions)
    trained = load_student(student)
    samples = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, row in chosen.items():
            speech = decode_array(row["audio"])
            real = None if media_root is None else media_root / row["source"]
            heard = {
                label: speech if condition[1] is None else render(mixtures[name, condition], speech)
                for label, condition in conditions.items()
            }
            samples.append(
                ReportSample(
                    title=name,
                    reference=row["text"],
                    sounds={label: _wav(sound, Path(scratch)) for label, sound in heard.items()},
                    transcripts=said[name],
                    faces=_films(real, animate(speech, trained), speech, Path(scratch)),
                    condition=f"Noise seed {seed}",
                )
            )
    return samples


def _mixtures(
    rows: Sequence[MixtureRow],
    hypotheses: Path,
    results: Mapping[str, Any],
    names: Sequence[str],
    conditions: Sequence[Condition],
) -> dict[tuple[str, Condition], MixtureRow]:
    """The mixtures of these utterances in the noisy ones of these conditions."""
    noisy = [condition for condition in conditions if condition[1] is not None]
    found = {}
    for mixture in rows:
        if mixture.reverberation != DRY:
            continue
        condition = mixture.noise_type, mixture.snr_db, mixture.seed
        if mixture.utterance_id in names and condition in noisy:
            found[mixture.utterance_id, condition] = mixture
    missing = [(name, one) for one in noisy for name in names if (name, one) not in found]
    if missing:
        name, (noise_type, snr_db, seed) = missing[0]
        raise ValueError(
            f"{hypotheses}: no mixture of {noise_type} at {snr_db} dB, seed {seed}, for {name} "
            f"({len(missing)} missing); show one of the levels {results['protocol']['snrs_db']}"
        )
    return found


def _transcripts(
    hypotheses: Path,
    results: Mapping[str, Any],
    names: Collection[str],
    conditions: Mapping[str, Condition],
) -> dict[str, dict[str, dict[str, str]]]:
    """Utterance to sound to arm to hypothesis; what hears nothing stands under every sound."""
    labels = arm_labels(results)
    said: dict[str, dict[str, dict[str, str]]] = {
        name: {label: {} for label in conditions} for name in names
    }
    for row in map(Hypothesis.from_row, read_jsonl(hypotheses)):
        # Rooms and disturbed pictures have tables of their own.
        undisturbed = (row.video_condition, row.reverberation) == (CLEAN_VIDEO, DRY)
        if row.utterance_id not in said or not undisturbed:
            continue
        arm = Arm(
            row.system,
            row.modality,
            row.visual_source,
            row.video_condition,
            row.reverberation,
        )
        here = row.noise_type, row.snr_db, row.seed
        for label, condition in conditions.items():
            if condition == here or row.modality == "video":
                said[row.utterance_id][label][labels[arm]] = row.hypothesis
    return said


def _wav(sound: np.ndarray, scratch: Path) -> bytes:
    """A WAV of one sound (S,), made quieter where it is over full scale."""
    path = scratch / "heard.wav"
    write_wav(path, sound / max(1.0, float(np.abs(sound).max())))
    return path.read_bytes()


def _films(
    clip: Path | None, motion: Motion, speech: np.ndarray, scratch: Path
) -> dict[str, bytes]:
    """The generated face and, where there is a film, the real one, each with its sound."""
    peak = max(1.0, float(np.abs(speech).max()))
    generated = scratch / "generated.mp4"
    write_face_video(generated, motion, speech / peak)
    films = {"Generated from the clean audio": generated.read_bytes()}
    if clip is not None:
        real = scratch / "real.mp4"
        write_video(real, read_video(clip), audio=speech / peak)
        films["Real face"] = real.read_bytes()
    return films
