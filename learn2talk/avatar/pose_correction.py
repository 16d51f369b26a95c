"""Head poses of a landmarker put right by what the pictures show, as a linear map of the pose.

Landmarks say how far a head turns only roughly, and hair that stands away from them shows it. A
correction for each frame would be known only where a picture is; a map of the pose itself, learned
on some frames, holds for all. Axis letters: T frames, S shots.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsr.video import rotation_matrices, rotation_vectors
from learn2talk.avatar.films import TrackedPerson

_SIZES = (0.01, 0.01, 0.01, 1.0, 1.0, 1.0)  # rad and mm that one step of the optimiser is about


class PoseCorrection:
    """A linear map from a frame's pose, about the mean of all, to how much it is wrong.

    Args:
        person: tracked films; all frames with a face give the mean and the spread of the poses.
    """

    def __init__(self, person: TrackedPerson) -> None:
        raw = [_poses(person, number) for number in range(len(person.films))]
        known = np.concatenate(
            [pose[film.tracked] for pose, film in zip(raw, person.films, strict=True)]
        )
        spread = np.maximum(known.std(axis=0), np.array([1e-4] * 3 + [1e-2] * 3))
        self.poses = [
            torch.from_numpy(((pose - known.mean(axis=0)) / spread).astype(np.float32))
            for pose in raw
        ]
        self.weights = torch.zeros(6, 6, requires_grad=True)

    def of(self, film: int, frame: int) -> Tensor:
        """(6,): a turn as a rotation vector, rad, and a shift, mm, of the head in its own axes."""
        return torch.tensor(_SIZES) * (self.weights @ self.poses[film][frame])

    def moved(self, points: Tensor, film: int, frame: int) -> Tensor:
        """Points (N, 3) of the head as the corrected pose has them; the turn is a small one."""
        change = self.of(film, frame)
        return points + torch.linalg.cross(change[:3].expand_as(points), points) + change[3:]

    @torch.no_grad()
    def corrected(self, person: TrackedPerson) -> TrackedPerson:
        """The same person with every frame's camera where the correction puts it."""
        films = []
        for number, film in enumerate(person.films):
            changes = np.stack(
                [self.of(number, frame).numpy() for frame in range(len(film.pictures))]
            ).astype(np.float64)
            turns = rotation_matrices(changes[:, :3])
            shifts = np.einsum("tij,tj->ti", film.rotations, changes[:, 3:])
            films.append(
                replace(
                    film,
                    rotations=film.rotations @ turns,
                    translations=film.translations + shifts,
                )
            )
        return replace(person, films=tuple(films))


def _poses(person: TrackedPerson, number: int) -> NDArray[np.float64]:
    """(T, 6): turn from the mean camera's and place relative to it, in the head's axes, rad, mm."""
    film, mean = person.films[number], person.camera
    turns = rotation_vectors(np.swapaxes(film.rotations, 1, 2) @ mean.rotation)
    places = (film.translations - mean.translation) @ mean.rotation
    return np.concatenate([turns, places], axis=1)
