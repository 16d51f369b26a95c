"""How like the film an avatar is, on frames that it was not fitted to, beside what costs nothing.

Axis letters: T frames, H W picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learn2talk.avatar.backdrop import Backdrop, median_picture
from learn2talk.avatar.films import Shot, TrackedPerson
from learn2talk.avatar.seeding import in_picture
from learn2talk.metrics.pictures import (
    WINDOW,
    peak_signal_to_noise_db,
    structural_similarity,
)

Area = tuple[slice, slice]
_MOUTH = (1.6, 1.2)  # width and height of the mouth's box, by the lips' width


@dataclass(frozen=True)
class PictureQuality:
    """Means over frames of colour PSNR (dB) and of SSIM (mean of the three colours)."""

    psnr_db: float
    ssim: float
    frames: int

    def to_json(self) -> dict[str, Any]:
        """The fields by name; a PSNR that is infinite (the same pictures) is None."""
        psnr = self.psnr_db if np.isfinite(self.psnr_db) else None
        return {"psnr_db": psnr, "ssim": self.ssim, "frames": self.frames}


def areas_of(person: TrackedPerson, backdrop: Backdrop, shot: Shot) -> dict[str, Area]:
    """The parts of a picture that are measured: all of it, the head's box, and the mouth's.

    The head's box is the same in all frames; the mouth's follows the tracked lips.
    """
    film = person.films[shot.film]
    height, width = film.pictures.shape[1:3]
    lips = film.vertices[shot.frame][person.template.lip_ids]
    x, y, _ = in_picture(lips, person.camera_of(shot.film, shot.frame))
    wide = float(np.ptp(x))
    return {
        "picture": (slice(0, height), slice(0, width)),
        "head": backdrop.box,
        "mouth": (
            _around(float(y.mean()), _MOUTH[1] * wide, height),
            _around(float(x.mean()), _MOUTH[0] * wide, width),
        ),
    }


def _around(middle: float, length: float, limit: int) -> slice:
    """A stretch of pixels about a middle, whole windows of SSIM wide, inside the picture."""
    count = min(max(round(length), WINDOW), limit)
    start = min(max(round(middle - count / 2), 0), limit - count)
    return slice(start, start + count)


def picture_quality(
    person: TrackedPerson,
    backdrop: Backdrop,
    shots: Sequence[Shot],
    draw: Callable[[Shot], NDArray[np.uint8]],
) -> dict[str, PictureQuality]:
    """Quality of drawn pictures of some frames, by area.

    Args:
        shots: the frames, 1 or more.
        draw: gives the picture uint8 (H, W, 3) of a frame.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for shot in shots:
        truth, made = person.films[shot.film].pictures[shot.frame], draw(shot)
        for name, area in areas_of(person, backdrop, shot).items():
            found.setdefault(name, []).append(compare(truth[area], made[area]))
    return {
        name: PictureQuality(
            float(np.mean([psnr for psnr, _ in rows])),
            float(np.mean([ssim for _, ssim in rows])),
            len(rows),
        )
        for name, rows in found.items()
    }


def compare(truth: NDArray[np.uint8], made: NDArray[np.uint8]) -> tuple[float, float]:
    """PSNR in dB and SSIM of two pictures (H, W, 3)."""
    wide = (1, truth.shape[0], -1)
    psnr = peak_signal_to_noise_db(reference=truth.reshape(wide), prediction=made.reshape(wide))
    colours = [np.ascontiguousarray(picture.transpose(2, 0, 1)) for picture in (truth, made)]
    ssim = structural_similarity(reference=colours[0], prediction=colours[1])
    return float(psnr[0]), float(ssim.mean())


def still_picture(person: TrackedPerson, shots: Sequence[Shot]) -> Callable[[Shot], NDArray]:
    """A control that costs nothing: the median of the fitted frames, whatever is asked for."""
    median = median_picture([person.films[s.film].pictures[s.frame] for s in shots])
    return lambda _: median


def nearest_frame(person: TrackedPerson, shots: Sequence[Shot]) -> Callable[[Shot], NDArray]:
    """A control that costs nothing: the fitted frame whose lips on the picture are nearest."""

    def lips(shot: Shot) -> NDArray:
        vertices = person.films[shot.film].vertices[shot.frame][person.template.lip_ids]
        x, y, _ = in_picture(vertices, person.camera_of(shot.film, shot.frame))
        return np.stack([x, y])

    known = np.stack([lips(shot) for shot in shots])

    def nearest(shot: Shot) -> NDArray:
        away = np.square(known - lips(shot)).sum(axis=(1, 2))
        best = shots[int(away.argmin())]
        return person.films[best.film].pictures[best.frame]

    return nearest


def quality_facts(
    quality: Mapping[str, Mapping[str, PictureQuality]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """System -> area -> figures, JSON-ready."""
    return {
        system: {area: figures.to_json() for area, figures in areas.items()}
        for system, areas in quality.items()
    }
