"""A made-up run folder: every figure in it is invented for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avsr.files import write_json, write_jsonl
from avsr.score import Bootstrap, ExpectedUtterance, Protocol, Provenance, score

WORDS = "bin blue at f two now lay red by a six again"
TEXTS = {f"utt{number}": WORDS for number in range(8)}
PRIVATE = "/" + "srv/somebody/data"
# Errors in the 12 words of every sentence, by (system, modality, visual source).
CLEAN_ERRORS = {
    ("audio", "audio", "none"): 0,
    ("audio_visual", "audio", "none"): 1,
    ("audio_visual", "video", "mouth_crops"): 3,
    ("audio_visual", "audio_visual", "mouth_crops"): 0,
}
NOISY_ERRORS = {
    ("audio", "audio", "none"): 8,
    ("audio_visual", "audio", "none"): 6,
    ("audio_visual", "audio_visual", "mouth_crops"): 4,
}


def spoil(text: str, errors: int) -> str:
    words = text.split()
    return " ".join(["wrong"] * errors + words[errors:])


def hypotheses() -> list[dict[str, Any]]:
    rows = []
    for noise_type, snr_db, seeds, errors in (
        ("none", None, (None,), CLEAN_ERRORS),
        ("babble_4", -5.0, (0, 1, 2), NOISY_ERRORS),
    ):
        for (system, modality, source), count in errors.items():
            rows += [
                {
                    "utterance_id": name,
                    "speaker_id": "s1",
                    "system": system,
                    "modality": modality,
                    "visual_source": source,
                    "noise_type": noise_type,
                    "snr_db": snr_db,
                    "seed": seed,
                    "reference": text,
                    "hypothesis": spoil(text, count),
                }
                for name, text in TEXTS.items()
                for seed in seeds
            ]
    return rows


def motion(student_minus_mean_face: tuple[float, float, float]) -> dict[str, Any]:
    def interval(value: float, low: float, high: float) -> dict[str, float]:
        return {"value": value, "low": low, "high": high}

    sure = interval(1.0, 0.9, 1.1)
    expert = {
        "clips": 8,
        "auc_by_length_of_speech": {
            "1.00_s": windows(0.99, 0.995),
            "0.20_s": windows(0.88, 0.93),
        },
        "auc_clips": 1.0,
        "offset": {
            "sign": "positive = audio late",
            "mean_ms": -5.0,
            "median_ms": 0.0,
            "share_within_1_frame": 0.75,
        },
    }
    faces = ("truth", "student", "mean_face", "still_face", "other_utterance", "student_of_other")
    return {
        "sync_judge": expert,
        "sync_loss": expert,
        "student": {
            "clips": 8,
            "excluded": [],
            "clustered_by": "utterance",
            "measures": {"lip_error_mm": "mean error"},
            "systems": {name: {"lip_error_mm": sure} for name in faces},
            "student_minus_control": {
                "mean_face": {"lip_error_mm": interval(*student_minus_mean_face)},
                "other_utterance": {"lip_error_mm": interval(-0.5, -0.6, -0.4)},
            },
            "student_sha256": "1" * 64,
            "judge_sha256": "2" * 64,
        },
    }


def windows(everywhere: float, in_speech: float) -> dict[str, float]:
    return {
        "all_windows": everywhere,
        "num_true": 500,
        "speech_windows": in_speech,
        "num_true_in_speech": 300,
    }


def make_run(folder: Path, *, synthetic: bool = False, cores: int = 2) -> Path:
    write_jsonl(folder / "hypotheses.jsonl", hypotheses())
    results = score(
        folder / "hypotheses.jsonl",
        expected=[ExpectedUtterance(name, "s1", text) for name, text in TEXTS.items()],
        protocol=Protocol(
            corpus="made up",
            split="test",
            synthetic=synthetic,
            speaker_dependent=True,
            snrs_db=(-5.0,),
            seeds=(0, 1, 2),
            test_noises={"babble_4": [f"talkers/{number}.wav" for number in range(9)]},
            training_noises={"rain": ["noise/rain.flac"]},
        ),
        provenance=Provenance(
            command=f"python {PRIVATE}/recipes/grid/recipe.py report --out {PRIVATE}/runs/one",
            commit="0" * 40,
            created_utc="2000-01-01T00:00:00+00:00",
            hardware="made up",
            duration_s=1.0,
            versions={"torch": "0"},
            manifest_sha256="3" * 64,
        ),
        bootstrap=Bootstrap(num_resamples=400),
    )
    write_json(folder / "results.json", results)
    write_json(folder / "motion.json", motion((-0.1, -0.2, 0.05)))
    for stage in ("prepare", "motion", "pretrain", "audio_visual", "audio", "decode"):
        write_json(folder / f"{stage}.seconds.json", {"seconds": 600.0})
    for name in ("loss", "audio"):
        info = {"cpu_count": cores, "commit": "0" * 40, "prepared": f"{PRIVATE}/prepared"}
        write_json(folder / name / "run.json", {"configs": {}, **info})
        write_json(folder / name / "best.json", {"update": 20, "wer": 0.5})
    counts = {"train": {"utterances": 9, "frames": 90, "valid_frames": 88}}
    write_json(folder / "prepared" / "corpus.json", {"counts": {"utterances": counts}})
    reason = f"{PRIVATE}/video/a b.mp4: no face found"
    skipped = {"utterance_id": "lost", "path": f"{PRIVATE}/video/lost.mp4", "reason": reason}
    write_jsonl(folder / "prepared" / "skipped.jsonl", [skipped])
    return folder


@pytest.fixture
def made_up_run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")
