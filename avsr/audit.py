"""Self-audit of a scored test: what a careful reviewer would look for first.

Each finding is ``{"check", "level", "where", "message"}``; ``level`` is ``"error"`` (the numbers
are not to be trusted), ``"warning"`` (explain it) or ``"note"`` (say it beside the numbers).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from avsr.conditions import CLEAN, Arm, Cell, Protocol
from avsr.data.rooms import DRY
from avsr.metrics import Score, corpus_errors, paired_bootstrap
from avsr.video_conditions import CLEAN_VIDEO

MIN_SEEDS = 3
MIN_CLUSTERS = 10  # below this a percentile bootstrap interval is known to be too narrow
MIN_UTTERANCES = 20  # fewer say nothing about dispersion
SPIKE_RATIO = 2.0
RISE_P_VALUE = 0.01


def audit(
    cells: Sequence[Cell],
    rows: Sequence[Mapping[str, Any]],
    protocol: Protocol,
    num_clusters: int,
) -> dict[str, Any]:
    """Coverage, protocol, monotone curves, error dispersion; ``passed`` is False on any error."""
    findings = [*_coverage(rows), *_missing(cells, protocol), *_protocol(protocol, num_clusters)]
    noisy = [cell for cell in cells if cell.snr_db is not None]
    for (arm, noise_type), curve in groupby(noisy, key=lambda cell: (cell.arm, cell.noise_type)):
        where = f"{_name(arm)} in {noise_type}"
        levels = list(curve)
        findings += _rises(levels, where) + _spikes(levels, where) + _flat(levels, where)
    return {"passed": all(one["level"] != "error" for one in findings), "findings": findings}


def finding(check: str, level: str, where: str, message: str) -> dict[str, str]:
    """One thing found, as the module's docstring says."""
    return {"check": check, "level": level, "where": where, "message": message}


def _name(arm: Arm) -> str:
    disturbed = "" if arm.video_condition == CLEAN_VIDEO else f", {arm.video_condition}"
    room = "" if arm.reverberation == DRY else f", room {arm.reverberation}"
    return f"{arm.system} ({arm.modality}, {arm.visual_source}{disturbed}{room})"


def _coverage(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        finding(
            "coverage",
            "error",
            f"{_name(Arm(**{one.name: row[one.name] for one in fields(Arm)}))}, "
            + ("clean" if row["snr_db"] is None else f"{row['noise_type']} {row['snr_db']:g} dB"),
            f"{row['num_expected'] - row['num_scored']} of {row['num_expected']} hypotheses are "
            "missing and count as all deletions",
        )
        for row in rows
        if row["scope"] == "pooled" and row["num_scored"] < row["num_expected"]
    ]


def _missing(cells: Sequence[Cell], protocol: Protocol) -> list[dict[str, str]]:
    """Conditions without a single hypothesis. Video arms need the clean condition only."""
    wanted = {(name, snr) for name in protocol.test_noises for snr in protocol.snrs_db}
    done: dict[Arm, set[tuple[str, float | None]]] = defaultdict(set)
    for cell in cells:
        done[cell.arm].add((cell.noise_type, cell.snr_db))
    findings = []
    for arm, conditions in done.items():
        lacking: set[tuple[str, float | None]] = set()
        if (CLEAN, None) not in conditions:
            lacking.add((CLEAN, None))
        if arm.modality != "video" or len(conditions) > 1:
            lacking |= wanted - conditions
        if lacking:
            named = ", ".join(
                "clean" if snr is None else f"{name} {snr:g} dB"
                for name, snr in sorted(lacking, key=lambda one: (one[0], one[1] or 0.0))[:4]
            )
            findings.append(
                finding(
                    "missing_conditions",
                    "warning",
                    _name(arm),
                    f"{len(lacking)} conditions of the protocol were not decoded and have no row: "
                    f"{named}{' ...' if len(lacking) > 4 else ''}",
                )
            )
    return findings


def _protocol(protocol: Protocol, num_clusters: int) -> list[dict[str, str]]:
    findings = []
    for noise_type, files in protocol.test_noises.items():
        shared = set(files) & {
            file for trained in protocol.training_noises.values() for file in trained
        }
        if shared:
            findings.append(
                finding(
                    "shared_noise_files",
                    "error",
                    noise_type,
                    f"test noise was also trained on: {', '.join(sorted(shared))}",
                )
            )
        if noise_type in protocol.training_noises:
            findings.append(
                finding(
                    "matched_noise",
                    "note",
                    noise_type,
                    "this type of noise was in training too: matched",
                )
            )
    if protocol.test_noises and len(protocol.seeds) < MIN_SEEDS:
        findings.append(
            finding(
                "noise_seeds",
                "warning",
                "protocol",
                f"{len(protocol.seeds)} noise seed(s); the protocol asks for {MIN_SEEDS} or more",
            )
        )
    if num_clusters < MIN_CLUSTERS:
        findings.append(
            finding(
                "few_clusters",
                "warning",
                "intervals",
                f"only {num_clusters} clusters to resample: the intervals are too narrow",
            )
        )
    return findings


def _rate(scores: Sequence[Score]) -> float:
    return corpus_errors(one.errors for one in scores).rate


def _rises(levels: Sequence[Cell], where: str) -> list[dict[str, str]]:
    """Less noise and more errors, beyond chance: the level is not what it says."""
    findings = []
    for lower, upper in pairwise(levels):
        if _rate(upper.words) <= _rate(lower.words):
            continue
        # The two levels hold the same utterances and noise; without the level the keys agree.
        sides = [[replace(one, snr_db=None) for one in cell.words] for cell in (upper, lower)]
        test = paired_bootstrap(*sides, seed=0, num_resamples=1000)
        if test.p_value < RISE_P_VALUE:
            findings.append(
                finding(
                    "monotone",
                    "error",
                    where,
                    f"WER rises from {test.rate_b:.1%} at {lower.snr_db:g} dB to {test.rate_a:.1%} "
                    f"at {upper.snr_db:g} dB (p = {test.p_value:.3f}); check that level's mixtures",
                )
            )
    return findings


def _scatter(scores: Sequence[Score]) -> tuple[float, float] | None:
    """How errors scatter between seeds: (over the binomial expectation, as jitter of the level).

    With n words and a true error rate that jitters with variance v, the variance of an
    utterance's errors is n p (1 - p) + n (n - 1) v. On a logistic curve v is (p (1 - p))^2 times
    the variance of the level, so the second number does not depend on where on the curve a level
    stands. ``None`` where there is too little to tell.
    """
    by_utterance: dict[str, list[Score]] = defaultdict(list)
    for one in scores:
        by_utterance[one.utterance_id].append(one)
    rate = _rate(scores)
    seeds = len(next(iter(by_utterance.values())))
    if seeds < MIN_SEEDS or len(by_utterance) < MIN_UTTERANCES or not 0.02 < rate < 0.98:
        return None
    errors = np.array([[one.errors.errors for one in group] for group in by_utterance.values()])
    words = np.array([group[0].errors.reference_length for group in by_utterance.values()])
    binomial = float(words.sum()) * rate * (1 - rate)
    observed = float(errors.var(axis=1, ddof=1).sum())
    pairs = float((words * (words - 1)).sum()) * (rate * (1 - rate)) ** 2
    return observed / binomial, max(0.0, (observed - binomial) / pairs) if pairs else 0.0


def _spikes(levels: Sequence[Cell], where: str) -> list[dict[str, str]]:
    """A level whose errors scatter between seeds far more than at both neighbours.

    The habit ``snr if snr else random`` makes 0 dB a random level: even where the mean stays
    between its neighbours, the scatter gives it away.
    """
    scatter = [_scatter(cell.words) for cell in levels]
    findings = []
    for before, here, after, cell in zip(
        scatter, scatter[1:], scatter[2:], levels[1:], strict=False
    ):
        if before is None or here is None or after is None:
            continue
        beside = [max(pair) for pair in zip(before, after, strict=True)]
        if all(mine > SPIKE_RATIO * most for mine, most in zip(here, beside, strict=True)):
            findings.append(
                finding(
                    "dispersion",
                    "error",
                    where,
                    f"at {cell.snr_db:g} dB errors scatter {here[0] / beside[0]:.1f} times as much "
                    "between seeds as at the levels beside it; is that level fixed?",
                )
            )
    return findings


def _flat(levels: Sequence[Cell], where: str) -> list[dict[str, str]]:
    """The same hypotheses at every level: the noise never reached the recogniser."""
    if len(levels) < 2 or levels[0].arm.modality == "video":
        return []
    if any(cell.hypotheses != levels[0].hypotheses for cell in levels[1:]):
        return []
    if _rate(levels[0].words) == 0:
        return []  # nothing but correct at every level
    return [
        finding(
            "flat",
            "error" if levels[0].arm.modality == "audio" else "warning",
            where,
            f"all {len(levels)} levels have identical hypotheses; did the noise reach the audio?",
        )
    ]
