"""The aims of the project's first step, held against what a run measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from avsr.arm_labels import arm_labels, arm_of
from avsr.conditions import CLEAN, Arm
from avsr.tables import level_label, percent, pooled

STAGES = ("prepare", "motion", "pretrain", "audio_visual", "audio", "decode")
A = Arm("audio", "audio", "none")
V = Arm("audio_visual", "video", "mouth_crops")
AV = Arm("audio_visual", "audio_visual", "mouth_crops")

# The aims of the project's first step, for GRID.
CLEAN_A_MAX = 0.05
V_MAX = 0.20
NOISY_DB, NOISY_RATIO_MAX, NOISY_P_BELOW = -5.0, 0.5, 0.01
SYNC_AUC_MIN = 0.9
HOURS_MAX, HOURS_CORES = 2.0, 2


@dataclass(frozen=True)
class Aim:
    """A figure and the bound that it was to keep.

    ``value`` with ``low`` and ``high`` are in ``unit``; ``judged`` says which of the three is held
    against ``limit``. ``None`` is not measured, and ``note`` then says why.
    """

    aim: str
    of: str
    unit: Literal["%", "points", "ratio", "AUC", "mm", "h"]
    limit: float
    value: float | None
    low: float | None = None
    high: float | None = None
    judged: Literal["value", "low", "high"] = "value"
    at_least: bool = False
    p_value: float | None = None
    p_below: float | None = None
    note: str = ""

    @property
    def off(self) -> float | None:
        """By how much the judged figure misses its limit, in ``unit``; 0 or less is within."""
        judged: float | None = getattr(self, self.judged)
        if judged is None:
            return None
        return self.limit - judged if self.at_least else judged - self.limit

    @property
    def met(self) -> bool | None:
        """Whether the aim is kept, or ``None`` where it was not measured."""
        if self.off is None or (self.p_below is not None and self.p_value is None):
            return None
        # "Better than a control" needs an interval that stays clear of 0.
        within = self.off < 0 if self.judged == "high" else self.off <= 0
        return within and (
            self.p_below is None or (self.p_value is not None and self.p_value < self.p_below)
        )


def aims_of(document: Mapping[str, Any]) -> list[Aim]:
    """The aims with what was measured; those that are GRID's only are left out elsewhere."""
    if document["protocol"]["synthetic"]:
        return _lip_aims(document)
    return [
        *_clean_aims(document),
        *_noisy_aims(document),
        *_sync_aims(document),
        *_lip_aims(document),
        _time_aim(document),
    ]


def _audio_arms(document: Mapping[str, Any]) -> list[Arm]:
    return [arm for arm in arm_labels(document) if arm.modality == "audio"]


def _clean_aims(document: Mapping[str, Any]) -> list[Aim]:
    by_key, labels = pooled(document), arm_labels(document)
    aims = []
    for arm, text, limit in ((A, "clean A", CLEAN_A_MAX), (V, "V", V_MAX)):
        row = by_key.get((arm, CLEAN, None))
        value, low, high = _percents(row, "wer")
        aims.append(
            Aim(
                f"{text} at most {100 * limit:g} % WER",
                labels.get(arm, text),
                "%",
                100 * limit,
                value,
                low,
                high,
                note="" if row else "not decoded",
            )
        )
    for base in _audio_arms(document):
        found = _comparison(document, AV, base, CLEAN, None)
        value, low, high = _percents(found, "difference")
        aims.append(
            Aim(
                "clean AV not worse than clean A within its interval",
                f"{labels.get(AV, 'AV')} minus {labels[base]}",
                "points",
                0.0,
                value,
                low,
                high,
                judged="low",
                p_value=None if found is None else found["p_value"],
                note="" if found else "not decoded",
            )
        )
    return aims


def _percents(
    row: Mapping[str, Any] | None, key: str
) -> tuple[float | None, float | None, float | None]:
    """A rate of a row with the ends of its interval, in per cent."""
    if row is None:
        return None, None, None
    return 100 * row[key], 100 * row[f"{key}_low"], 100 * row[f"{key}_high"]


def _noisy_aims(document: Mapping[str, Any]) -> list[Aim]:
    labels, aims = arm_labels(document), []
    for noise_type in document["protocol"]["test_noises"]:
        for base in _audio_arms(document):
            found = _comparison(document, AV, base, noise_type, NOISY_DB)
            ratio, note = None, "not decoded"
            if found is not None:
                rates = f"WER {percent(found['wer'])} % against {percent(found['baseline_wer'])} %"
                ratio = found["wer"] / found["baseline_wer"] if found["baseline_wer"] else None
                note = rates if ratio is not None else f"{rates}: no ratio"
            aims.append(
                Aim(
                    f"at {level_label(NOISY_DB)} AV has at most half of A's WER, "
                    f"paired p < {NOISY_P_BELOW}",
                    f"{noise_type}: {labels.get(AV, 'AV')} over {labels[base]}",
                    "ratio",
                    NOISY_RATIO_MAX,
                    ratio,
                    p_value=None if found is None else found["p_value"],
                    p_below=NOISY_P_BELOW,
                    note=note,
                )
            )
    return aims


def _comparison(
    document: Mapping[str, Any], arm: Arm, base: Arm, noise_type: str, snr_db: float | None
) -> Mapping[str, Any] | None:
    for row in document["comparisons"]:
        if (arm_of(row), arm_of(row["baseline"])) == (arm, base) and (
            row["noise_type"],
            row["snr_db"],
        ) == (noise_type, snr_db):
            return dict(row)
    return None


def _sync_aims(document: Mapping[str, Any]) -> list[Aim]:
    text = f"SyncNet3D tells true from shifted by 3 frames or more, AUC at least {SYNC_AUC_MIN:g}"
    judge = (document["motion"] or {}).get("sync_judge")
    if judge is None:
        return [Aim(text, "judge", "AUC", SYNC_AUC_MIN, None, at_least=True, note="not measured")]
    lengths = judge["auc_by_length_of_speech"]
    shortest = min(lengths, key=seconds_of)
    windows, span = lengths[shortest], f"{seconds_of(shortest):.2f} s"
    figures = (
        (f"single windows of {span}, all", windows["all_windows"], windows["num_true"]),
        (
            f"single windows of {span}, inside speech",
            windows["speech_windows"],
            windows["num_true_in_speech"],
        ),
        ("whole clips", judge["auc_clips"], judge["clips"]),
    )
    return [
        Aim(
            text,
            f"judge, unseen clips: {of}",
            "AUC",
            SYNC_AUC_MIN,
            value,
            at_least=True,
            note=f"{count} true; {offset_text(judge['offset'])}",
        )
        for of, value, count in figures
    ]


def seconds_of(key: str) -> float:
    """``"0.20_s"`` in seconds."""
    return float(key.removesuffix("_s"))


def offset_text(offset: Mapping[str, Any]) -> str:
    if offset.get("mean_ms") is None:
        return f"offset: none ({offset.get('reason', 'not measured')})"
    text = (
        f"offset: median {offset['median_ms']:+.0f} ms, mean {offset['mean_ms']:+.1f} ms "
        f"({offset['sign']}), {offset['share_within_1_frame']:.0%} of clips within 1 frame"
    )
    return text.replace("-", "\u2212")


def _lip_aims(document: Mapping[str, Any]) -> list[Aim]:
    student = (document["motion"] or {}).get("student")
    aims = []
    for control, name in (
        ("mean_face", "the mean face"),
        ("other_utterance", "another utterance's motion"),
    ):
        found = student["student_minus_control"][control]["lip_error_mm"] if student else {}
        aims.append(
            Aim(
                f"student beats {name} in lip error on unseen clips",
                f"student minus {name}, paired",
                "mm",
                0.0,
                found.get("value"),
                found.get("low"),
                found.get("high"),
                judged="high",
                note="" if found else "not measured",
            )
        )
    return aims


def _time_aim(document: Mapping[str, Any]) -> Aim:
    seconds, cores = document["durations_s"], document["cores"]
    missing = [name for name in STAGES if name not in seconds]
    note = f"{cores} cores; prepare, training and decoding, without the report page"
    if missing:
        note = f"no duration of: {', '.join(missing)}"
    elif cores is None or cores > HOURS_CORES:
        note = f"ran on {cores} cores: {sum(seconds.values()) / 3600:.2f} h, not comparable"
    comparable = not missing and cores is not None and cores <= HOURS_CORES
    return Aim(
        f"whole recipe at most {HOURS_MAX:g} hours on {HOURS_CORES} cores",
        "sum of its stages",
        "h",
        HOURS_MAX,
        sum(seconds.values()) / 3600 if comparable else None,
        note=note,
    )
