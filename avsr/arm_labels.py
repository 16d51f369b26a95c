"""What the arms of a result are called, which of them were disturbed, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avsr.conditions import Arm
from avsr.data.rooms import DRY
from avsr.video_conditions import CLEAN_VIDEO

SOURCE_LABELS = {
    "none": "no face",
    "mouth_crops": "real mouth crops",
    "tracked_lips": "tracked 3D lips",
    "generated_from_clean": "face generated from clean audio",
    "generated_from_noisy": "face generated from the same noisy audio",
    "generated_from_other": "face generated from another utterance",
    "still": "still face",
}
SOURCE_ROLES = {
    "generated_from_clean": "upper bound: a listener does not have the clean audio",
    "generated_from_noisy": "what a listener really has",
    "generated_from_other": "control: must not help",
    "still": "control: must not help",
}
_MODALITY_LABELS = {"audio": "A", "video": "V", "audio_visual": "AV"}


def arm_of(row: Mapping[str, Any]) -> Arm:
    """The arm that a row, comparison, summary or baseline of the results is about."""
    return Arm(
        row["system"],
        row["modality"],
        row["visual_source"],
        row["video_condition"],
        row["reverberation"],
    )


def arm_labels(results: Mapping[str, Any]) -> dict[Arm, str]:
    """A short reader's label for every arm; the system's name is added where it tells two apart."""
    arms = list(dict.fromkeys(arm_of(row) for row in results["rows"]))
    plain = {arm: given_label(arm) for arm in arms}
    return {
        arm: label if list(plain.values()).count(label) == 1 else f"{label} ({arm.system})"
        for arm, label in plain.items()
    }


def given_label(arm: Arm) -> str:
    """What any system in this arm's place is given: the label without a name."""
    source = "audio only" if arm.modality == "audio" else SOURCE_LABELS[arm.visual_source]
    return f"{_MODALITY_LABELS[arm.modality]}: {source}{_condition_label(arm)}"


def _condition_label(arm: Arm) -> str:
    pictures = "" if arm.video_condition == CLEAN_VIDEO else f", {arm.video_condition}"
    return pictures + ("" if arm.reverberation == DRY else f", room {arm.reverberation}")


def main_arms(results: Mapping[str, Any]) -> list[Arm]:
    """The arms of the curves and main tables: undisturbed ones, or all where all are disturbed."""
    arms = list(arm_labels(results))
    return [arm for arm in arms if not _disturbances(arm)] or arms


@dataclass(frozen=True)
class DisturbedArms:
    """Arms with the same kind of disturbance; rows are grouped by the arm that was disturbed.

    ``groups`` holds for each such arm its label and its rows, (arm, label of its condition), the
    undisturbed arm first where it was decoded.
    """

    title: str
    groups: tuple[tuple[str, tuple[tuple[Arm, str], ...]], ...]


DISTURBANCES = {
    ("picture",): "What happens to the picture",
    ("room",): "Rooms",
    ("picture", "room"): "Picture and room together",
}


def disturbed_arms(results: Mapping[str, Any]) -> list[DisturbedArms]:
    """Every arm with a disturbed picture or a room, sorted into the titles of ``DISTURBANCES``."""
    labels = arm_labels(results)
    found = []
    for kinds, title in DISTURBANCES.items():
        groups: dict[Arm, list[tuple[Arm, str]]] = {}
        for arm in labels:
            if _disturbances(arm) == kinds:
                plain = Arm(arm.system, arm.modality, arm.visual_source)
                condition = _condition_label(arm).removeprefix(", ")
                groups.setdefault(plain, []).append((arm, condition))
        if groups:
            named = tuple(
                (
                    labels.get(plain, f"{given_label(plain)} ({plain.system})"),
                    (*([(plain, "undisturbed")] if plain in labels else []), *rows),
                )
                for plain, rows in groups.items()
            )
            found.append(DisturbedArms(title, named))
    return found


def _disturbances(arm: Arm) -> tuple[str, ...]:
    picture = ("picture",) if arm.video_condition != CLEAN_VIDEO else ()
    return picture + (("room",) if arm.reverberation != DRY else ())
