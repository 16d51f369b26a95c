"""Whether each metric ranks truth, student and controls as their names promise, in words."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from learn2talk.evaluate.faces import SHIFTS
from learn2talk.evaluate.measures import Better

CONTROLS = ("mean_face", "still_face", "other_utterance", "student_of_other")
SHIFTED = tuple(f"truth_shifted_{shift:+d}" for shift in SHIFTS)
_EQUAL = 1e-9  # relative


def rank(
    values: Mapping[str, float | None],
    better: Better,
    *,
    like_truth: Collection[str] = (),
    like_student: Collection[str] = (),
) -> dict[str, Any]:
    """Order of the faces by one metric, and whether it makes sense.

    A metric ranks the controls where the truth is surely better than each that has a value, and
    where a longer shift of the truth is never better than a shorter one. Whether the student
    stands between the truth and a control is told apart: a student can be bad and its metric good.

    Args:
        values: face to figure, None where it has none: "truth", "student", the controls.
        better: which way is better.
        like_truth, like_student: controls whose paired difference to the truth, to the student,
            has an interval that holds 0.
    """
    found = rank_controls(values, better, like_first=like_truth)
    truth = values.get("truth")
    if truth is None:
        return found
    worse = {name: _badness(value, better, truth) for name, value in values.items()}
    known = {name: bad for name, bad in worse.items() if bad is not None}
    said = _student_sentence(known, like_student)
    return {**found, "words": f"{found['words']} {said}"}


def rank_controls(
    values: Mapping[str, float | None],
    better: Better,
    *,
    like_first: Collection[str] = (),
    first: str = "truth",
    controls: Collection[str] = CONTROLS,
    shifted: str = "truth_shifted_",
) -> dict[str, Any]:
    """Order of the faces by one metric, and whether ``first`` is surely better than its controls.

    Args:
        values: face to figure, None where it has none.
        better: which way is better.
        like_first: controls whose paired difference to ``first`` has an interval that holds 0.
        first: the face that the controls were made from.
        controls: names of those that are not shifts.
        shifted: what the names of its shifts in time begin with; "" leaves shifts out, for a
            metric that sees no sound.
    """
    label = "the truth" if first == "truth" else f"system {first!r}"
    best = values.get(first)
    if best is None:
        said = f"{label[0].upper()}{label[1:]} has no value here."
        return {"ranks_controls": None, "order": [], "words": said}
    worse = {name: _badness(value, better, best) for name, value in values.items()}
    known = {name: bad for name, bad in worse.items() if bad is not None}
    shifts = [f"{shifted}{shift:+d}" for shift in SHIFTS] if shifted else []
    told = [name for name in (*controls, *shifts) if name in known]
    blind = [name for name in told if not _less(known[first], known[name])]
    unsure = [name for name in told if name in like_first and name not in blind]
    turned = _turned_shifts(known, shifted) if shifted else []
    sentences = [_controls_sentence(told, blind, unsure, turned, better, label, bool(shifted))]
    unknown = [name for name in values if worse[name] is None]
    if unknown:
        sentences.append(f"No value for {_and(unknown)}.")
    return {
        "ranks_controls": None if not told else not (blind or unsure or turned),
        "order": sorted(known, key=lambda name: known[name]),
        "words": " ".join(sentences),
    }


def _badness(value: float | None, better: Better, truth: float) -> float | None:
    if value is None or math.isnan(value):
        return None
    return {
        "lower": value,
        "higher": -value,
        "near zero": abs(value),
        "near the truth": abs(value - truth),
    }[better]


def _less(a: float, b: float) -> bool:
    return b - a > _EQUAL * max(abs(a), abs(b), 1e-9)


def _turned_shifts(known: Mapping[str, float], shifted: str) -> list[str]:
    """Shifts that look better than shorter ones of the same direction."""
    turned = []
    for sign in ("-", "+"):
        steps = [f"{shifted}{sign}{size}" for size in (1, 3, 6)]
        steps = [name for name in steps if name in known]
        turned += [
            f"{far} before {near}"
            for near, far in zip(steps, steps[1:], strict=False)
            if _less(known[far], known[near])
        ]
    return turned


def _controls_sentence(
    told: list[str],
    blind: list[str],
    unsure: list[str],
    turned: list[str],
    better: Better,
    label: str,
    shifts: bool,
) -> str:
    if not told:
        return "No control has a value."
    parts = []
    if blind:
        parts.append(f"{label} is not better than {_and(blind)}")
    if unsure:
        parts.append(f"{label} is not surely better than {_and(unsure)}")
    if turned:
        parts.append(f"it puts {_and(turned)}")
    if parts:
        return f"Does not rank the controls: {'; '.join(parts)}."
    note = " (by definition)" if better == "near the truth" else ""
    longer = ", and a longer shift is worse" if shifts else ""
    return f"Ranks the controls: {label} is first{note}{longer}."


def _student_sentence(known: Mapping[str, float], like_student: Collection[str]) -> str:
    if "student" not in known:
        return "The student has no value."
    mine = known["student"]
    place = "behind the truth" if _less(known["truth"], mine) else "not behind the truth"
    there = [name for name in CONTROLS if name in known]
    alike = [name for name in there if name in like_student or mine == known[name]]
    before = [name for name in there if name not in alike and _less(mine, known[name])]
    behind = [name for name in there if name not in alike and name not in before]
    parts = [f"The student is {place}"]
    parts += [f"better than {_and(before)}"] if before else []
    parts += [f"not surely different from {_and(alike)}"] if alike else []
    parts += [f"worse than {_and(behind)}"] if behind else []
    return ", ".join(parts) + "."


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
