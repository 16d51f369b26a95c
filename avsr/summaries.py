"""A few numbers for each arm: N-WER, SNR gain, errors recovered, cost on clean audio.

:func:`summarise` returns one dict for each arm. Keys: the arm's ``system``, ``modality``,
``visual_source``; ``baseline`` (the audio arm it is held against, the strongest where there are
several; ``None`` for audio and video arms); and, over all noise and in ``by_noise`` for each type:

``n_wer``
    mean WER over noise types and levels, clean left out (audio and audio-visual arms).
``snr_gain_db``
    how much more noise the arm bears at equal WER, with ``at_wer``: the audio arm's WER at 0 dB,
    or the middle of the range of WER that both curves share where 0 dB is not crossed by both.
``errors_recovered``
    share of the audio arm's errors avoided at ``RECOVERED_AT_DB``.

and ``clean_difference``, the arm's clean WER minus the audio arm's. Each is
``{"value", "low", "high"}`` in fractions or dB, or ``{"value": None, "reason"}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from avsr.conditions import CLEAN, Arm, Bootstrap, Cell, Protocol
from avsr.metrics import (
    Interval,
    Score,
    corpus_errors,
    effective_snr_gain_db,
    errors_recovered,
    n_wer,
)

GAIN_AT_DB = 0.0
RECOVERED_AT_DB = -10.0


def summarise(
    cells: Sequence[Cell],
    comparisons: Sequence[Mapping[str, Any]],
    protocol: Protocol,
    settings: Bootstrap,
) -> list[dict[str, Any]]:
    """Summaries of every arm; the keys are in this module's docstring."""
    summaries = []
    for arm in dict.fromkeys(cell.arm for cell in cells):
        baseline = _audio_baseline(arm, comparisons)
        by_noise = {
            name: _noisy(arm, baseline, cells, types, protocol, settings)
            for name, types in {
                "all": tuple(protocol.test_noises),
                **{name: (name,) for name in protocol.test_noises},
            }.items()
        }
        summaries.append(
            {
                **asdict(arm),
                "baseline": asdict(baseline) if baseline else None,
                **by_noise.pop("all"),
                "by_noise": by_noise,
                "clean_difference": _clean_difference(arm, baseline, comparisons),
            }
        )
    return summaries


def _audio_baseline(arm: Arm, comparisons: Sequence[Mapping[str, Any]]) -> Arm | None:
    """The audio arm with the lowest mean WER over the shared conditions: it flatters least."""
    rates: dict[Arm, list[float]] = {}
    for row in comparisons:
        if row["kind"] == "audio_visual_vs_audio" and all(
            row[name] == value for name, value in asdict(arm).items()
        ):
            rates.setdefault(Arm(**row["baseline"]), []).append(row["baseline_wer"])
    return min(rates, key=lambda one: (sum(rates[one]) / len(rates[one]), one.order), default=None)


def _clean_difference(
    arm: Arm, baseline: Arm | None, comparisons: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    if baseline is None:
        return _absent("no audio arm to hold it against")
    for row in comparisons:
        if (
            row["noise_type"] == CLEAN
            and row["baseline"] == asdict(baseline)
            and all(row[name] == value for name, value in asdict(arm).items())
        ):
            return {
                "value": row["difference"],
                "low": row["difference_low"],
                "high": row["difference_high"],
                "p_value": row["p_value"],
            }
    return _absent("clean audio was not decoded with both arms")


def _noisy(
    arm: Arm,
    baseline: Arm | None,
    cells: Sequence[Cell],
    noise_types: Sequence[str],
    protocol: Protocol,
    settings: Bootstrap,
) -> dict[str, dict[str, Any]]:
    wanted = {(name, snr) for name in noise_types for snr in protocol.snrs_db}
    own, lacking = _scores(arm, cells, wanted)
    if lacking:
        reason = f"{len(lacking)} of {len(wanted)} noisy conditions were not decoded"
        return {
            name: _absent(reason, **extra)
            for name, extra in (
                ("n_wer", {}),
                ("snr_gain_db", {"at_wer": None}),
                ("errors_recovered", {"at_db": RECOVERED_AT_DB}),
            )
        }
    summary = {"n_wer": _present(n_wer(own, **asdict(settings)))}
    base, lacking = _scores(baseline, cells, wanted) if baseline else ([], wanted)
    if lacking:
        reason = "no audio arm decoded in the same conditions"
        gain = _absent(reason, at_wer=None)
        recovered = _absent(reason, at_db=RECOVERED_AT_DB)
    else:
        gain = _snr_gain(base, own, settings)
        recovered = _recovered(base, own, settings)
    return {**summary, "snr_gain_db": gain, "errors_recovered": recovered}


def _scores(
    arm: Arm, cells: Sequence[Cell], wanted: set[tuple[str, float]]
) -> tuple[list[Score], set[tuple[str, float]]]:
    """Word scores of the arm in the wanted conditions, and the conditions that it lacks."""
    scores: list[Score] = []
    lacking = set(wanted)
    for cell in cells:
        if cell.arm == arm and cell.snr_db is not None and (cell.noise_type, cell.snr_db) in wanted:
            scores.extend(cell.words)
            lacking.discard((cell.noise_type, cell.snr_db))
    return scores, lacking


def _rates(scores: Sequence[Score]) -> dict[float, float]:
    """Corpus WER by level in dB."""
    levels = sorted({one.snr_db for one in scores if one.snr_db is not None})
    return {
        level: corpus_errors(one.errors for one in scores if one.snr_db == level).rate
        for level in levels
    }


def _snr_gain(
    baseline: Sequence[Score], system: Sequence[Score], settings: Bootstrap
) -> dict[str, Any]:
    base, own = _rates(baseline), _rates(system)
    low = max(min(base.values()), min(own.values()))
    high = min(max(base.values()), max(own.values()))
    candidates = ([base[GAIN_AT_DB]] if GAIN_AT_DB in base else []) + [(low + high) / 2]
    reason = ""
    for at_wer in candidates:
        try:
            gain = effective_snr_gain_db(baseline, system, at_rate=at_wer, **asdict(settings))
        except ValueError as error:
            reason = str(error)
        else:
            return {**_present(gain), "at_wer": at_wer}
    return _absent(reason, at_wer=None)


def _recovered(
    baseline: Sequence[Score], system: Sequence[Score], settings: Bootstrap
) -> dict[str, Any]:
    lowest = [[one for one in side if one.snr_db == RECOVERED_AT_DB] for side in (baseline, system)]
    try:
        share = errors_recovered(*lowest, **asdict(settings))
    except ValueError as error:
        reason = f"{RECOVERED_AT_DB:g} dB was not decoded" if not lowest[0] else str(error)
        return _absent(reason, at_db=RECOVERED_AT_DB)
    return {**_present(share), "at_db": RECOVERED_AT_DB}


def _present(interval: Interval) -> dict[str, Any]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _absent(reason: str, **extra: float | None) -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "reason": reason, **extra}
