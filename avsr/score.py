"""hypotheses.jsonl -> one results dict: counts, rates, intervals, comparisons, summaries, audit.

Needs neither a GPU nor audio. The result is JSON-ready; its schema, version 2 (rates, differences
and intervals are fractions, 0.05 is 5 %; ``None`` is absent, 0.0 dB is a level):

``schema``, ``schema_version``
    ``"avsr.results"``, 2.
``provenance``
    The fields of :class:`Provenance` plus ``hypotheses_sha256`` and ``normaliser_version``.
``protocol``
    The fields of :class:`Protocol` plus ``num_utterances``, ``num_speakers``, ``num_words``,
    ``matched_noise`` {noise type: seen in training, None where nobody knows},
    ``shared_noise_files`` (must be empty), and ``utterances``: [id, speaker, words] of each, in the
    order of ``errors``.
``interval``
    ``confidence``, ``method``, ``clustered_by`` ("speaker" | "utterance"), ``num_clusters``,
    ``num_resamples``, ``seed``.
``rows``
    One for each arm (``system``, ``modality``, ``visual_source``, ``video_condition``,
    ``reverberation``), ``noise_type`` and ``snr_db``,
    with ``scope`` "pooled" (over seeds) or "seed" (``seed`` tells which): ``substitutions``,
    ``insertions``, ``deletions``, ``words``, ``wer``, ``wer_low``, ``wer_high``, ``cer``, ``ser``
    (these two with their interval in pooled rows), ``num_expected``, ``num_scored``, ``coverage``.
    Pooled rows also have ``errors``, the word errors of each mixture as numbers between spaces,
    utterance by utterance and in each seed by seed: what :mod:`avsr.compare` pairs.
``comparisons``
    Arm against ``baseline`` arm on the same mixtures at one level: ``kind``
    ("audio_visual_vs_audio" | "generated_vs_control" | "disturbed_vs_undisturbed" |
    "system_vs_system"), ``wer``, ``baseline_wer``, ``difference``
    (arm minus baseline, negative: the arm is better), ``difference_low``, ``difference_high``,
    ``p_value`` (two-sided, not corrected for the number of comparisons), ``num_mixtures``.
``summaries``
    One for each arm: see :mod:`avsr.summaries`.
``audit``
    ``findings`` of :mod:`avsr.audit` and whether none is an ``error`` (``passed``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from avsr.audit import audit
from avsr.conditions import (
    Arm,
    Bootstrap,
    Cell,
    ExpectedUtterance,
    Protocol,
    Provenance,
    ScoringError,
    expected_by_id,
    read_cells,
    scored_text,
)
from avsr.data.rooms import DRY
from avsr.files import sha256_file
from avsr.metrics import clustered_bootstrap, corpus_errors, paired_bootstrap
from avsr.summaries import summarise
from avsr.text import NORMALISER_VERSION
from avsr.video_conditions import CLEAN_VIDEO

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "Bootstrap",
    "ExpectedUtterance",
    "Protocol",
    "Provenance",
    "ScoringError",
    "baselines",
    "score",
]

SCHEMA = "avsr.results"
SCHEMA_VERSION = 2
GENERATED = ("generated_from_clean", "generated_from_noisy")
CONTROLS = ("generated_from_other", "still")


def score(
    hypotheses: Path | str,
    *,
    expected: Iterable[ExpectedUtterance],
    protocol: Protocol,
    provenance: Provenance,
    bootstrap: Bootstrap | None = None,
) -> dict[str, Any]:
    """Score a hypotheses file; the result's schema is this module's docstring.

    A missing hypothesis counts as all deletions in every condition that has at least one
    hypothesis; a condition without any has no row and stands in the audit.

    Args:
        hypotheses: JSONL of :class:`avsr.schema.Hypothesis`, in any order.
        expected: the whole test list.
        protocol: conditions that were to be decoded.
        provenance: written into the result as it is.
        bootstrap: resampling; the same inputs give the same result.

    Raises:
        ScoringError: no hypothesis, an utterance, noise type, level or seed outside the protocol, a
            repeated hypothesis, or one whose speaker or reference is not the test list's.
    """
    settings = bootstrap or Bootstrap()
    utterances = expected_by_id(expected)
    cells = read_cells(hypotheses, utterances, protocol)
    progress = tqdm(cells, desc="intervals", unit="condition", disable=None)
    rows = [row for cell in progress for row in _rows(cell, settings)]
    comparisons = _comparisons(cells, settings)
    first = clustered_bootstrap(cells[0].words, seed=settings.seed, num_resamples=1)
    noises = protocol.test_noises
    listed = [
        [name, one.speaker_id, len(scored_text(one.reference, protocol).split())]
        for name, one in sorted(utterances.items())
    ]
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "provenance": {
            **asdict(provenance),
            "hypotheses_sha256": sha256_file(hypotheses),
            "normaliser_version": NORMALISER_VERSION,
        },
        "protocol": {
            **asdict(protocol),
            "num_utterances": len(utterances),
            "num_speakers": len({one.speaker_id for one in utterances.values()}),
            "num_words": sum(count for *_, count in listed),
            "matched_noise": {
                name: name in protocol.training_noises if protocol.training_noise_known else None
                for name in noises
            },
            "shared_noise_files": sorted(
                {file for files in noises.values() for file in files}
                & {file for files in protocol.training_noises.values() for file in files}
            ),
            "utterances": listed,
        },
        "interval": {
            "method": "percentile bootstrap over clusters, all seeds of a cluster together",
            "clustered_by": first.clustered_by,
            "num_clusters": first.num_clusters,
            **asdict(settings),
        },
        "rows": rows,
        "comparisons": comparisons,
        "summaries": summarise(cells, comparisons, protocol, settings),
        "audit": audit(cells, rows, protocol, first.num_clusters),
    }


def _rows(cell: Cell, settings: Bootstrap) -> list[dict[str, Any]]:
    pooled = {
        **_row(cell, range(len(cell.words)), settings, intervals=("wer", "cer", "ser")),
        "scope": "pooled",
        "seed": None,
        "errors": " ".join(str(one.errors.errors) for one in cell.words),
    }
    seeds = sorted({one.seed for one in cell.words if one.seed is not None})
    rows = [pooled]
    for seed in seeds:
        of_seed = [index for index, one in enumerate(cell.words) if one.seed == seed]
        rows.append({**_row(cell, of_seed, settings, ("wer",)), "scope": "seed", "seed": seed})
    return rows


def _row(
    cell: Cell, mixtures: Sequence[int], settings: Bootstrap, intervals: Sequence[str]
) -> dict[str, Any]:
    words = corpus_errors(cell.words[index].errors for index in mixtures)
    scored = sum(cell.hypotheses[index] is not None for index in mixtures)
    row: dict[str, Any] = {
        **asdict(cell.arm),
        "noise_type": cell.noise_type,
        "snr_db": cell.snr_db,
        "substitutions": words.substitutions,
        "insertions": words.insertions,
        "deletions": words.deletions,
        "words": words.reference_length,
        "num_expected": len(mixtures),
        "num_scored": scored,
        "coverage": scored / len(mixtures),
    }
    for name, scores in (("wer", cell.words), ("cer", cell.characters), ("ser", cell.sentences)):
        chosen = [scores[index] for index in mixtures]
        row[name] = corpus_errors(one.errors for one in chosen).rate
        if name in intervals:
            interval = clustered_bootstrap(chosen, **asdict(settings))
            row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row


def baselines(arm: Arm, arms: Sequence[Arm]) -> list[tuple[str, Arm]]:
    """What an arm is compared with: (kind, arm).

    An audio-visual arm with every audio arm in the same room, a separately trained one and the same
    network without its video alike. Faces generated from this utterance's audio also with the same
    system's controls, the mismatched and the still face. Disturbed pictures or a room with the
    same arm undisturbed. And every system with those named after it that were given the same.
    """
    found: list[tuple[str, Arm]] = []
    given = _given(arm)
    generated = given[:2] in {("audio_visual", source) for source in GENERATED}
    for other in arms:
        also = _given(other)
        if arm.modality == "audio_visual" and also[0] == "audio" and also[3] == given[3]:
            found.append(("audio_visual_vs_audio", other))
        if also == given and other.system > arm.system:
            found.append(("system_vs_system", other))
        if other == arm or other.system != arm.system:
            continue
        if also == (*given[:2], CLEAN_VIDEO, DRY):
            found.append(("disturbed_vs_undisturbed", other))
        if generated and also in {(given[0], control, *given[2:]) for control in CONTROLS}:
            found.append(("generated_vs_control", other))
    return found


def _given(arm: Arm) -> tuple[str, str, str, str]:
    """Everything about an arm but its system."""
    return arm.modality, arm.visual_source, arm.video_condition, arm.reverberation


def _comparisons(cells: Sequence[Cell], settings: Bootstrap) -> list[dict[str, Any]]:
    by_key = {(cell.arm, cell.noise_type, cell.snr_db): cell for cell in cells}
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    comparisons = []
    for cell in tqdm(cells, desc="paired tests", unit="condition", disable=None):
        for kind, other in baselines(cell.arm, arms):
            against = by_key.get((other, cell.noise_type, cell.snr_db))
            if against is None:
                continue  # the audit lists conditions that were not decoded
            test = paired_bootstrap(cell.words, against.words, **asdict(settings))
            comparisons.append(
                {
                    **asdict(cell.arm),
                    "baseline": asdict(other),
                    "kind": kind,
                    "noise_type": cell.noise_type,
                    "snr_db": cell.snr_db,
                    "wer": test.rate_a,
                    "baseline_wer": test.rate_b,
                    "difference": test.difference.value,
                    "difference_low": test.difference.low,
                    "difference_high": test.difference.high,
                    "p_value": test.p_value,
                    "num_mixtures": test.num_mixtures,
                }
            )
    return comparisons
