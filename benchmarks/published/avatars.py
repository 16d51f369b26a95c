"""The page of `talking_avatar.py`, from its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DRAWS = 10_000
NAMES = {
    "avatar": "the avatar",
    "still": "control: median of the fitted frames",
    "nearest": "a real frame of the film with the nearest lips",
    "tracked": "avatar, driven by the tracked face",
    "speech": "avatar, driven by the sound",
    "other_speech": "control: by the sound of another film",
    "still_face": "control: avatar with a still face",
    "median_of_the_film": "control: median of this very film",
    "real": "the real film",
}


def mean_with_interval(values: Sequence[float], seed: int = 0) -> dict[str, float | int]:
    """Mean of some films' values with a 95 % percentile bootstrap interval over films."""
    known = np.asarray(values, dtype=np.float64)
    chosen = np.random.default_rng(seed).integers(0, len(known), (DRAWS, len(known)))
    low, high = np.quantile(known[chosen].mean(axis=1), [0.025, 0.975])
    return {"value": float(known.mean()), "low": float(low), "high": float(high), "n": len(known)}


def text_of(found: Mapping[str, Any]) -> str:
    """Markdown of the report."""
    lines = [
        "# Avatars of GRID's speakers",
        "",
        "Real films, 360 x 288; **three speakers, nearly all of it one**. Splats on the built-in "
        "head, fitted by `learn2talk avatar build`; SSIM is the mean of the three colours. "
        f"Command `{found['provenance']['command']}`, commit "
        f"`{str(found['provenance']['commit'])[:12]}`, {found['provenance']['processor']}.",
        "",
        "## The held-out end of the films that an avatar was made of",
        "",
        "PSNR in dB and SSIM, means over the last tenth of each film, which was not fitted. A head "
        "of GRID hardly moves within a film, so that a still picture is near in all but the mouth.",
        "",
        "| avatar | frames fitted, held out | system | picture | head | mouth |",
        "|---|---|---|---|---|---|",
    ]
    for name, avatar in found["avatars"].items():
        frames = f"{avatar['frames_fitted']}, {avatar['frames_held_out']}"
        for system, areas in avatar["quality"].items():
            cells = " | ".join(_pair(areas[area]) for area in ("picture", "head", "mouth"))
            lines.append(f"| {name} | {frames} | {NAMES[system]} | {cells} |")
            name, frames = "", ""
    lines += [
        "",
        f"## {len(found['clips'])} test films, by the avatar of eight other films",
        "",
        "Films of the same sitting (the speaker sat several times; the nearest first pictures). "
        "The head is where the test film has it; the face moves as named. Means over films with "
        "95 % intervals over films.",
        "",
        "| system | picture | head | mouth |",
        "|---|---|---|---|",
    ]
    for system, areas in found["films"].items():
        cells = " | ".join(
            f"{_interval(areas[area]['psnr_db'], 1)}, {_interval(areas[area]['ssim'], 3)}"
            for area in ("picture", "head", "mouth")
        )
        lines.append(f"| {NAMES[system]} | {cells} |")
    lines += [
        "",
        "## Sound and lips of the written films",
        "",
        "Each film was read back, its face tracked, its sound decoded, and both given to the "
        "bundled judge (offset positive = sound late).",
        "",
        "| film | offset, ms | absolute, ms | LSE-D | LSE-C | films |",
        "|---|---|---|---|---|---|",
    ]
    for system, one in found["sync"].items():
        lines.append(
            f"| {NAMES[system]} | {_interval(one['offset_ms'], 0)} | "
            f"{_interval(one['offset_absolute_ms'], 0)} | {_interval(one['lse_d'], 3)} | "
            f"{_interval(one['lse_c'], 3)} | {one['films']} of {one['of']} |"
        )
    if found["reading"] is not None:
        lines += ["", *_reading(found["reading"])]
    return "\n".join(lines) + "\n"


def _reading(readings: Mapping[str, Any]) -> list[str]:
    lines = [
        "## What a lip reader reads in them",
        "",
        "`learn2talk readability` with the bundled lip reader, which learned from other films of "
        "this speaker: word and viseme error rates in %. `@film` are the pictures of the film, the "
        "others the face tracked in it and drawn.",
        "",
        "| face | WER | VER |",
        "|---|---|---|",
    ]
    for reader in readings.values():
        for face, one in reader.items():
            cells = " | ".join(_interval(one[rate], 1, 100.0) for rate in ("wer", "ver"))
            lines.append(f"| {face} | {cells} |")
    return lines


def _pair(figures: Mapping[str, Any]) -> str:
    psnr = figures["psnr_db"]
    return f"{'the same' if psnr is None else f'{psnr:.1f}'}, {figures['ssim']:.3f}"


def _interval(figure: Mapping[str, Any], decimals: int, factor: float = 1.0) -> str:
    if figure.get("value") is None:
        return "-"
    value, low, high = (f"{factor * figure[key]:.{decimals}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
