"""A report's inputs, made up: shapes of a real benchmark, numbers of none.

``python -m tests.avsr.made_up_report FOLDER`` writes the page, to look at it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avsr.conditions import Arm
from avsr.files import write_json, write_video, write_wav
from avsr.report import ReportSample, ReportText, write_outputs
from avsr.schema import Hypothesis
from avsr.score import Bootstrap, ExpectedUtterance, Protocol, Provenance, score

EVIL = "<script>alert('x')</script>"
WORDS = "bin blue at f two now"

MANY_ARMS = (
    Arm("fusion", "audio", "none"),
    Arm("fusion", "video", "mouth_crops"),
    Arm("fusion", "audio_visual", "mouth_crops"),
    Arm("fusion", "audio_visual", "generated_from_noisy"),
    Arm("fusion", "audio_visual", "still"),
    Arm("ear", "audio", "none"),
    Arm("whisper_small.en", "audio", "none"),
    Arm("auto_avsr", "audio", "none"),
    Arm("auto_avsr", "video", "mouth_crops"),
    Arm("auto_avsr", "audio_visual", "mouth_crops"),
)
ROOM = "T60 0.6 s"
DISTURBED_ARMS = (
    *(
        Arm("fusion", "audio_visual", "mouth_crops", one)
        for one in ("occluded", "blurred", "sound 120 ms late")
    ),
    Arm("fusion", "video", "mouth_crops", "occluded"),
    Arm("auto_avsr", "audio_visual", "mouth_crops", "occluded"),
    Arm("fusion", "audio", "none", reverberation=ROOM),
    Arm("fusion", "audio_visual", "mouth_crops", reverberation=ROOM),
    Arm("ear", "audio", "none", reverberation=ROOM),
    Arm("fusion", "audio_visual", "mouth_crops", "occluded", ROOM),
)


@dataclass(frozen=True)
class Design:
    """What is made up: every arm in every noise at every level, but video arms hear none."""

    arms: tuple[Arm, ...]
    noises: tuple[str, ...]
    snrs_db: tuple[float, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    num_utterances: int = 8
    num_resamples: int = 100


MANY = Design(
    arms=MANY_ARMS + DISTURBED_ARMS,
    noises=("babble_4", "caf\u00e9 & street", "pink"),
    snrs_db=tuple(np.arange(-10.0, 10.1, 2.5).tolist()),
    seeds=(0, 1),
    num_utterances=10,
    num_resamples=50,
)
FEW = Design(
    arms=(
        Arm("tiny", "audio", "none"),
        Arm("tiny", "video", "mouth_crops"),
        Arm("tiny", "audio_visual", "mouth_crops"),
        Arm("tiny", "audio_visual", "generated_from_noisy"),
        Arm("tiny", "audio_visual", "still"),
    ),
    noises=("babble", EVIL),
    snrs_db=(-10.0, -5.0, 0.0, 10.0),
)


def made_up_results(
    folder: Path, design: Design = FEW, *, synthetic: bool = True, note: str = ""
) -> dict[str, Any]:
    """Results of made-up hypotheses, whose errors rise with the noise."""
    utterances = [ExpectedUtterance(f"u{i}", "s1", WORDS) for i in range(design.num_utterances)]
    rows = _hypotheses(design, utterances)
    path = folder / "hypotheses.jsonl"
    path.write_text("".join(json.dumps(row.to_row()) + "\n" for row in rows))
    return score(
        path,
        expected=utterances,
        protocol=Protocol(
            corpus="made-up",
            split="test",
            synthetic=synthetic,
            speaker_dependent=True,
            snrs_db=design.snrs_db,
            seeds=design.seeds,
            test_noises={name: (f"{name}.wav",) for name in design.noises},
            training_noises={design.noises[0]: ("a.wav",)},
            notes=(note,) if note else (),
            video_conditions=tuple(dict.fromkeys(arm.video_condition for arm in design.arms)),
            reverberations=tuple(dict.fromkeys(arm.reverberation for arm in design.arms)),
        ),
        provenance=Provenance(
            f"avsr score {EVIL}", "0" * 40, "2026-01-01T00:00:00Z", "CPU", 61.0, {"avsr": "0"}, None
        ),
        bootstrap=Bootstrap(num_resamples=design.num_resamples),
    )


def _hypotheses(design: Design, utterances: Iterable[ExpectedUtterance]) -> list[Hypothesis]:
    rng = np.random.default_rng(0)
    rows = []
    for number, arm in enumerate(design.arms):
        conditions: list[tuple[str, float | None, int | None]] = [("none", None, None)]
        if arm.modality != "video":
            conditions += [
                (noise, level, seed)
                for noise in design.noises
                for level in design.snrs_db
                for seed in design.seeds
            ]
        # An eye bears more noise; a disturbance costs.
        middle = -5.0 + number % 5 - 6.0 * (arm.visual_source == "mouth_crops")
        extra = 0.1 * (arm.video_condition != "clean") + 0.12 * (arm.reverberation != "none")
        for noise, level, seed in conditions:
            rate = 0.04 if level is None else 0.9 / (1 + np.exp((level - middle) / 2.5))
            rate += extra + 0.25 * (arm.modality == "video")
            for one in utterances:
                heard = [w if rng.random() > rate else "z" for w in one.reference.split()]
                rows.append(
                    Hypothesis(
                        one.utterance_id,
                        "s1",
                        arm.system,
                        arm.modality,  # type: ignore[arg-type]
                        arm.visual_source,  # type: ignore[arg-type]
                        noise,
                        level,
                        seed,
                        one.reference,
                        " ".join(heard),
                        arm.video_condition,
                        arm.reverberation,
                    )
                )
    return rows


def made_up_readability() -> dict[str, Any]:
    """Three systems and two controls; one system has no confusion, one no value for a figure."""
    symbols = [
        "p b m",
        "f v",
        "th",
        "t d n s z",
        "k g h",
        "sh ch j",
        "w r",
        "iy",
        "aa",
        "uw",
        "sil",
    ]
    rng = np.random.default_rng(1)
    systems: dict[str, Any] = {}
    kinds = {
        "student": ("system", 0.21),
        "codetalker & co": ("system", 0.34),
        "no_counts": ("system", 0.4),
        "truth": ("control", 0.18),
        "mean face": ("control", 0.83),
    }
    for name, (kind, rate) in kinds.items():
        one: dict[str, Any] = {
            "kind": kind,
            "rates": {
                key: {"value": value, "low": value - 0.03, "high": value + 0.04}
                for key, value in (("ver", rate), ("vwer", rate + 0.08), ("cer", rate + 0.1))
            },
            "figures": {
                "lip_vertex_error_mm": {"value": 4 * rate, "low": 0.6, "high": 4.2, "unit": "mm"},
                "offset_ms": {"value": None, "reason": "no peak within 15 frames"}
                if name == "mean face"
                else {"value": -12.5, "low": -20.0, "high": 0.0, "unit": "ms"},
            },
            "made_by": "a key that nobody asked for",
        }
        if name != "no_counts":
            one["confusion"] = {"symbols": symbols, "counts": _counts(rng, len(symbols), rate)}
        systems[name] = one
    return {
        "schema": "learn2talk.readability",
        "schema_version": 1,
        "systems": systems,
        "remarks": [f"The reader was trained on tracked faces {EVIL}."],
        "elsewhere": 1,
    }


def _counts(rng: np.random.Generator, size: int, rate: float) -> list[list[int]]:
    counts = np.zeros((size + 1, size + 1), int)
    for row in range(size):
        total = int(rng.integers(20, 400))
        shares = rng.dirichlet(np.full(size + 1, 0.25)) * rate
        shares[row] += 1 - rate
        counts[row] = rng.multinomial(total, shares / shares.sum())
    counts[size, :size] = rng.integers(0, 9, size)
    return counts.tolist()


def write_media(folder: Path) -> dict[str, Path]:
    """Two films and three sounds of a second."""
    rng = np.random.default_rng(2)
    tone = (0.1 * np.sin(np.arange(32000) / 20)).astype(np.float32)
    paths = {}
    for name, shift in (("generated", 0), ("real", 90)):
        frames = (np.full((96, 96, 3), shift + 3 * t, np.uint8) for t in range(50))
        paths[name] = folder / f"{name}.mp4"
        write_video(paths[name], frames, 25, tone)
    for name, loudness in (("clean", 0.0), ("quiet", 0.02), ("loud", 0.2)):
        paths[name] = folder / f"{name}.wav"
        noise = loudness * rng.standard_normal(32000).astype(np.float32)
        write_wav(paths[name], (tone + noise).clip(-1, 1))
    return paths


def made_up_samples(folder: Path) -> list[ReportSample]:
    """A sample with two faces and three sounds, one with a face, one with sounds alone."""
    media = write_media(folder)
    sounds = {
        "clean": media["clean"],
        "babble_4, 0 dB": media["quiet"],
        "babble_4, \u221210 dB": media["loud"],
    }
    heard = {
        "clean": {"A: audio only (fusion)": WORDS, "AV: real mouth crops (fusion)": WORDS},
        "babble_4, 0 dB": {
            "A: audio only (fusion)": "bin red at f now please",
            "AV: real mouth crops (fusion)": WORDS,
        },
        "babble_4, \u221210 dB": {
            "A: audio only (fusion)": "",
            "AV: real mouth crops (fusion)": "bin blue f <img src=x onerror=alert(1)> two now",
        },
    }
    both = {"Generated face": media["generated"], "Real face": media["real"].read_bytes()}
    few = {label: heard[label] for label in list(heard)[:1]}
    return [
        ReportSample("u0", WORDS, sounds, heard, both, "Noise seed 0"),
        ReportSample(
            "u1", WORDS, {"clean": media["clean"]}, few, {"Generated face": media["real"]}
        ),
        ReportSample("u2, outside recognisers", WORDS, sounds, few),
    ]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    results = made_up_results(folder, MANY, note="Made up: shapes of a benchmark, numbers of none.")
    write_json(folder / "results.json", results)
    write_json(folder / "readability.json", made_up_readability())
    shown = made_up_samples(folder)
    text = ReportText(title="Made-up recognisers under noise, and made-up faces read back")
    readability = made_up_readability()
    print(write_outputs(folder, results, shown, text=text, readability=readability)["report"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
