"""Phones to face motion: closures close, vowels open, neighbours blend, talkers differ."""

from __future__ import annotations

import numpy as np
import pytest

from avsr.schema import PhoneTime
from learn2talk.articulation import (
    CONTROLS,
    Style,
    animate_head,
    control_curves,
)
from learn2talk.head import build_head

HEAD = build_head()
AVERAGE = Style()
FPS = 25


def spoken(letters: str, step_s: float = 0.12) -> list[PhoneTime]:
    return [
        PhoneTime(letter, 0.4 + i * step_s, 0.4 + (i + 1) * step_s)
        for i, letter in enumerate(letters)
    ]


def lips_of(phones: list[PhoneTime], style: Style = AVERAGE, frames: int = 50) -> np.ndarray:
    moved = animate_head(HEAD, control_curves(phones, frames, style))
    return moved[:, HEAD.template.lip_ids]


def gap_mm(lips: np.ndarray) -> np.ndarray:
    return np.linalg.norm(lips[:, 35] - lips[:, 25], axis=1)


def within(phone: PhoneTime, around_s: float = 0.0) -> slice:
    return slice(
        int((phone.start_s - around_s) * FPS), int(np.ceil((phone.end_s + around_s) * FPS))
    )


@pytest.mark.parametrize("stop", ["p", "b", "m"])
@pytest.mark.parametrize("lead_s", [0.0, 0.06])
def test_bilabials_close_between_the_widest_vowels(stop: str, lead_s: float) -> None:
    phones = spoken("ɑ" + stop + "ɑ", 0.07)
    gap = gap_mm(lips_of(phones, Style(strength=1.2, speed=0.8, lead_s=lead_s)))
    assert gap[within(phones[1], 0.04)].min() < 1.0
    assert gap.max() > 8.0


@pytest.mark.parametrize(
    ("vowel", "least", "most"), [("ɑ", 15, 26), ("æ", 12, 24), ("i", 3, 9), ("u", 3, 9)]
)
def test_vowels_open_by_their_height(vowel: str, least: float, most: float) -> None:
    phones = spoken(vowel, 0.3)
    assert least < gap_mm(lips_of(phones))[within(phones[0])].max() < most


def test_rounding_narrows_and_spreading_widens_the_mouth() -> None:
    def width(vowel: str) -> float:
        phones = spoken(vowel, 0.3)
        lips = lips_of(phones)[within(phones[0])]
        widths = np.linalg.norm(lips[:, 10] - lips[:, 0], axis=1)
        return float(widths[len(widths) // 2])

    assert width("u") < 42 < 54 < width("i")


def test_the_lower_lip_goes_behind_the_upper_teeth_for_f() -> None:
    phones = spoken("f", 0.3)
    lips = lips_of(phones)
    middle = int(0.55 * FPS)
    assert lips[middle, 25, 2] < lips[0, 25, 2] - 3.0


def test_silence_rests_in_the_neutral_face() -> None:
    moved = animate_head(HEAD, control_curves([], 5))
    np.testing.assert_allclose(moved, np.repeat(HEAD.template.vertices[None], 5, 0), atol=0.1)


def test_neighbours_colour_a_consonant() -> None:
    spread = CONTROLS.index("round")
    rounded = control_curves(spoken("utu"), 50)[within(spoken("utu")[1]), spread].mean()
    neutral = control_curves(spoken("iti"), 50)[within(spoken("iti")[1]), spread].mean()
    assert rounded > neutral + 0.2


def test_lead_moves_the_mouth_ahead_of_the_sound() -> None:
    late = control_curves(spoken("ɑ"), 50, Style(lead_s=0.0))
    early = control_curves(spoken("ɑ"), 50, Style(lead_s=0.04))
    np.testing.assert_allclose(early[:-1], late[1:], atol=1e-12)


def test_strength_opens_wider() -> None:
    weak, strong = (gap_mm(lips_of(spoken("ɑ"), Style(strength=s))).max() for s in (0.8, 1.2))
    assert strong > 1.2 * weak


def test_lips_never_cross_unless_tucked() -> None:
    letters = "pisuwtɑmʃobzeɔbæp"
    lips = lips_of(spoken(letters, 0.06), Style(speed=1.3), frames=60)
    lower, upper = lips[:, 21:30, 1], lips[:, 39:30:-1, 1]
    assert (upper - lower).min() > 0.0


def test_upper_face_and_upper_teeth_stay() -> None:
    moved = animate_head(HEAD, control_curves(spoken("ɑ", 0.3), 30))
    still = HEAD.template.vertices
    for name, tolerance in (("teeth_upper", 1e-4), ("hair", 1e-4), ("upper_face", 2.0)):
        ids = HEAD.template.region(name)
        assert np.abs(moved[:, ids] - still[ids]).max() < tolerance


def test_wrong_curves_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        animate_head(HEAD, np.zeros((4, 2)))
