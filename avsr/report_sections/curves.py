"""The curves: one panel for each noise, and a legend that shows, hides and points out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from avsr.arm_labels import SOURCE_ROLES, arm_labels, disturbed_arms, main_arms
from avsr.conditions import Arm
from avsr.plot import BANDS_UP_TO, marker_svg, panel_svg, styles
from avsr.report_sections.html_parts import section
from avsr.tables import noise_types_of


def series_style(results: Mapping[str, Any]) -> str:
    """CSS that gives each series its colour on light and on dark ground."""
    chosen = list(styles(main_arms(results)).values())
    light = "".join(f".s{i}{{--c:{one.light}}}" for i, one in enumerate(chosen))
    dark = "".join(f".s{i}{{--c:{one.dark}}}" for i, one in enumerate(chosen))
    return f"{light}@media (prefers-color-scheme: dark){{{dark}}}"


def curves(results: Mapping[str, Any]) -> str:
    """One panel for each noise type and a legend that hides a curve, or all but one."""
    protocol, arms = results["protocol"], main_arms(results)
    panels = "".join(
        f"<figure><h3>{escape(noise_type)}{_matched(protocol, noise_type)}</h3>"
        f"{panel_svg(results, noise_type)}</figure>"
        for noise_type in noise_types_of(results)
    )
    many = " many" if len(arms) > BANDS_UP_TO else ""
    return section(
        "curves",
        "WER under noise",
        f'<div class="panels{many}">{panels}</div>{_legend(results, arms)}'
        f'<p class="caption">{escape(_caption(results, bool(many)))}</p>',
    )


def _legend(results: Mapping[str, Any], arms: Sequence[Arm]) -> str:
    labels, chosen = arm_labels(results), styles(arms)
    items = "".join(
        f'<li class="s{index}"><button type="button" class="toggle" aria-pressed="true" '
        f'data-series="{index}">'
        f'<svg viewBox="0 0 44 16" aria-hidden="true"><path class="curve" d="M2 8H42" '
        f'stroke-dasharray="{chosen[arm].dash}"/>{marker_svg(chosen[arm].marker, 22, 8)}</svg>'
        f"<span>{escape(labels[arm])}{_role(arm)}</span></button>"
        f'<button type="button" class="only" data-series="{index}" '
        f'aria-label="Only {escape(labels[arm])}">only</button></li>'
        for index, arm in enumerate(arms)
    )
    return (
        '<div class="legend-all"><button type="button" data-all="true">Show all</button>'
        '<button type="button" data-all="false">Hide all</button></div>'
        f'<ul class="legend">{items}</ul>'
    )


def _caption(results: Mapping[str, Any], many: bool) -> str:
    protocol, interval = results["protocol"], results["interval"]
    bands = "the band of a curve shows while its name in the legend is pointed at; " if many else ""
    tables = [one.title for one in disturbed_arms(results)]
    elsewhere = f" Arms with disturbances have their own tables: {', '.join(tables)}."
    return (
        f"Corpus WER against SNR; bands and bars are {interval['confidence']:.0%} bootstrap "
        f"intervals over {interval['num_clusters']} {interval['clustered_by']}s, noise seeds "
        f"pooled; {bands}SNR by {protocol['snr_definition'].replace('_', ' ')} power. Point at a "
        "curve, or focus a panel and use the arrow keys, for its numbers."
    ) + (elsewhere if tables else "")


def _matched(protocol: Mapping[str, Any], noise_type: str) -> str:
    matched = protocol["matched_noise"].get(noise_type)
    if matched is None:
        return ""
    return f"<small>{'type seen in training' if matched else 'unseen in training'}</small>"


def _role(arm: Arm) -> str:
    role = SOURCE_ROLES.get(arm.visual_source) if arm.modality == "audio_visual" else None
    return f"<small>{escape(role)}</small>" if role else ""
