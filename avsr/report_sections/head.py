"""What stands above all sections: the words of warning and up to four numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from avsr.arm_labels import SOURCE_LABELS, arm_of, main_arms
from avsr.tables import level_label, p_text, percent, spread

HEADLINE_AT_DB = -5.0


def badges(results: Mapping[str, Any], notes: Sequence[str]) -> str:
    """What a reader must know before any number."""
    protocol = results["protocol"]
    items = []
    if protocol["synthetic"]:
        items.append(("", "Synthetic: speech and faces are made by a program, not recorded."))
    if protocol["speaker_dependent"]:
        items.append(("", "Speaker-dependent: the test speaker is in the training set."))
    items += [("", note) for note in (*protocol["notes"], *notes)]
    if not results["audit"]["passed"]:
        items.append(("error", "The self-audit found errors; see below before using a number."))
    if not items:
        return ""
    rows = "".join(f'<li class="{kind}">{escape(text)}</li>' for kind, text in items)
    return f'<ul class="badges">{rows}</ul>'


def headline(results: Mapping[str, Any]) -> str:
    """Up to four numbers: strongest audio arm against first AV arm, noisy and clean; SNR gain."""
    main = set(main_arms(results))
    comparisons = [
        one
        for one in results["comparisons"]
        if one["kind"] == "audio_visual_vs_audio" and arm_of(one) in main
    ]
    if not comparisons:
        return ""
    arm = arm_of(comparisons[0])
    summary = next(one for one in results["summaries"] if arm_of(one) == arm)
    mine = [
        one for one in comparisons if arm_of(one) == arm and one["baseline"] == summary["baseline"]
    ]
    noisy = [one for one in mine if one["snr_db"] is not None]
    near = min((abs(one["snr_db"] - HEADLINE_AT_DB) for one in noisy), default=None)
    shown = [one for one in noisy if abs(one["snr_db"] - HEADLINE_AT_DB) == near][:2]
    shown += [one for one in mine if one["snr_db"] is None][:1]
    source = SOURCE_LABELS[arm.visual_source]
    pair = f"audio only \u2192 with {source}"
    if len({one.system for one in main}) > 2:  # with so many the reader has to be told which
        pair = f"{summary['baseline']['system']}, audio only \u2192 {arm.system} with {source}"
    stats = []
    for one in shown:
        where = "on clean audio"
        if one["snr_db"] is not None:
            where = f"in {one['noise_type']} at {level_label(one['snr_db'])}"
        p_value = p_text(one["p_value"], results["interval"]["num_resamples"])
        p_value = p_value.replace("< ", "<\u00a0") if "<" in p_value else f"=\u00a0{p_value}"
        stats.append(
            (
                f"{percent(one['baseline_wer'])}&hairsp;<i>\u2192</i>&hairsp;"
                f"{percent(one['wer'])}&nbsp;%",
                f"WER {where}: {pair}, paired p\u00a0{p_value}",
            )
        )
    gain = summary["snr_gain_db"]
    if gain["value"] is not None:
        value, limits = spread(gain, 1, signed=True).split(" ", 1)
        text = (
            f"more noise borne at equal WER ({percent(gain['at_wer'])} %) with {source}, {limits}"
        )
        stats.append((f"{value}&nbsp;dB", text))
    items = "".join(
        f'<li class="stat"><b>{number}</b><span>{escape(text)}</span></li>'
        for number, text in stats
    )
    return f'<ul class="headline">{items}</ul>'
