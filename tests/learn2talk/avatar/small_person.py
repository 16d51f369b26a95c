"""The procedural head drawn small from a few sides: films that an avatar is quickly fitted to."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from learn2talk.avatar.backdrop import Backdrop
from learn2talk.avatar.drawn_person import drawn_person
from learn2talk.avatar.films import TrackedPerson
from learn2talk.drawing import Palette
from learn2talk.head import build_head

SIZE = 48


@lru_cache(maxsize=1)
def small_person() -> TrackedPerson:
    return drawn_person(build_head(), SIZE, Palette(), turns=(-20.0, 0.0, 20.0), nods=(0.0,))


def plain_backdrop() -> Backdrop:
    picture = np.full((SIZE, SIZE, 3), Palette().background, np.uint8)
    return Backdrop(picture, np.ones((SIZE, SIZE), bool))
