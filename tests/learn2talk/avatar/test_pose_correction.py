"""A correction of head poses: what it moves, and that it is the same baked into the cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from avsr.video import rotation_matrices
from learn2talk.avatar.films import Shot, TrackedPerson
from learn2talk.avatar.pose_correction import PoseCorrection
from learn2talk.avatar.seeding import SeedConfig, in_picture, seed_splats
from learn2talk.avatar.splat_training import SplatTrainingConfig, train_splats
from tests.learn2talk.avatar.small_person import plain_backdrop, small_person


def nodding() -> TrackedPerson:
    """One film whose head turns about all axes and moves."""
    person = small_person()
    film = person.films[1]
    count = len(film.pictures)
    generator = np.random.default_rng(0)
    turns = rotation_matrices(generator.normal(0, 0.05, (count, 3)))
    moved = replace(
        film,
        rotations=film.rotations @ turns,
        translations=film.translations + generator.normal(0, 3.0, (count, 3)),
    )
    return replace(person, films=(moved,), camera=person.camera_of(1, 0))


def test_at_first_nothing_is_corrected() -> None:
    person = nodding()
    correction = PoseCorrection(person)
    points = torch.randn(5, 3)
    assert torch.equal(correction.moved(points, 0, 3), points)
    same = correction.corrected(person)
    np.testing.assert_allclose(same.films[0].rotations, person.films[0].rotations, atol=1e-12)
    np.testing.assert_allclose(same.films[0].translations, person.films[0].translations)


def test_moved_points_are_where_the_corrected_camera_sees_them() -> None:
    person = nodding()
    correction = PoseCorrection(person)
    with torch.no_grad():
        correction.weights += 0.3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    points = 60.0 * torch.randn(7, 3, generator=torch.Generator().manual_seed(2))
    baked = correction.corrected(person)
    for frame in (0, 4, 9):
        moved = correction.moved(points, 0, frame).detach().numpy()
        x, y, z = in_picture(moved, person.camera_of(0, frame))
        there = in_picture(points.numpy(), baked.camera_of(0, frame))
        # The turn is taken as a small one: 1 degree off is 0.01 mm at the ear.
        np.testing.assert_allclose(np.stack([x, y]), np.stack(there[:2]), atol=0.01)
        assert np.abs(correction.of(0, frame).detach().numpy()).max() > 1e-3


def test_poses_are_taken_about_their_mean_by_their_spread() -> None:
    poses = PoseCorrection(nodding()).poses[0]
    torch.testing.assert_close(poses.mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(poses.std(dim=0, correction=0), torch.ones(6), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_turn_that_was_tracked_too_small_is_found() -> None:
    """Films from three sides, said to be from sides a tenth nearer to the front."""
    person = small_person()
    films = []
    for film, degrees in zip(person.films, (-20.0, 0.0, 20.0), strict=True):
        back = np.radians(-0.1 * degrees)
        cosine, sine = np.cos(back), np.sin(back)
        turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
        films.append(replace(film, rotations=film.rotations @ turn))
    wrong = replace(person, films=tuple(films))
    shots = [Shot(film, frame) for film in range(3) for frame in range(0, 20, 2)]
    start = seed_splats(person, SeedConfig(count=700, shell_share=0.0, body=True), shots)
    config = SplatTrainingConfig(steps=250, pose_rate=0.05)
    _, found = train_splats(wrong, plain_backdrop(), start, shots, config)
    for film in (0, 2):
        true = person.films[film].rotations[0]

        def away(of: TrackedPerson, film: int = film, true: np.ndarray = true) -> float:
            trace = np.trace(of.films[film].rotations[0] @ true.T)
            return float(np.degrees(np.arccos(min(1.0, (trace - 1) / 2))))

        assert away(wrong) == pytest.approx(2.0, abs=0.01)
        assert away(found) < 1.6  # part of it goes into the places of the splats
