"""A face model fitted to landmarks of itself gives back what they were made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avsr.tracking import HEAD, LIPS_INNER
from learn2talk.fitting.clip import fit_landmarks, fit_vertices, neutral_landmarks
from learn2talk.fitting.ict import read_ict
from learn2talk.fitting.identity import FitConfig, fit_identity
from learn2talk.fitting.procedural import head_model
from tests.learn2talk.landmarks import person_vertices, rotations, seen_vertices, smooth_weights

MODEL = head_model()
SEEN = seen_vertices(MODEL)
FRAMES = 60
# Priors so weak that what is found is what was put in.
EXACT = FitConfig(
    landmark_noise_mm=1e-5,
    bend_mm=None,
    smoothness=0.0,
    rounds=12,
    tolerance=1e-7,
    max_steps=20000,
)
ALL = np.ones(FRAMES, dtype=bool)


def known_clip(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identity (I,), weights (T, E) and the moving face (T, V, 3) mm."""
    rng = np.random.default_rng(seed)
    coefficients = rng.uniform(-1.0, 1.0, len(MODEL.identities))
    weights = smooth_weights(rng, FRAMES, len(MODEL.names))
    return coefficients, weights, person_vertices(MODEL, coefficients, weights)


def noisy(clean: np.ndarray, sigma_mm: float, seed: int = 5) -> np.ndarray:
    return clean + np.random.default_rng(seed).normal(0.0, sigma_mm, clean.shape)


def lip_error(fit_lips: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    return np.linalg.norm(fit_lips - vertices[:, MODEL.template.lip_ids], axis=-1)


def test_identity_weights_and_pose_are_recovered_exactly() -> None:
    coefficients, weights, vertices = known_clip()
    rng = np.random.default_rng(1)
    turns, shifts = rotations(rng, FRAMES, 6.0), rng.uniform(-4.0, 4.0, (FRAMES, 3))
    landmarks = vertices[:, SEEN] @ np.swapaxes(turns, 1, 2) + shifts[:, None]
    face = fit_identity(MODEL, vertices[0, SEEN], EXACT)
    np.testing.assert_allclose(face.coefficients, coefficients, atol=1e-3)
    np.testing.assert_allclose(face.template.vertices, vertices[0], atol=1e-3)
    assert face.size == pytest.approx(1.0, abs=1e-5)
    fit = fit_vertices(MODEL, landmarks, ALL, face=face, config=EXACT)
    np.testing.assert_allclose(fit.weights, weights, atol=1e-3)
    np.testing.assert_allclose(fit.rotation, turns, atol=1e-4)
    np.testing.assert_allclose(fit.translation, shifts, atol=1e-2)
    np.testing.assert_allclose(fit.motion.vertices, vertices, atol=1e-2)
    assert fit.errors.mean_mm < 1e-3
    assert fit.errors.lip_gap_pcc == pytest.approx(1.0, abs=1e-4)


def test_size_and_orientation_of_the_neutral_face_are_recovered() -> None:
    coefficients, weights, vertices = known_clip(3)
    turn = rotations(np.random.default_rng(2), 1, 8.0)[0]
    landmarks = 1.07 * vertices[:, SEEN] @ turn.T + np.array([3.0, -8.0, 20.0])
    fit = fit_vertices(
        MODEL,
        landmarks,
        ALL,
        face=fit_identity(MODEL, landmarks[0], EXACT),
        config=EXACT,
    )
    assert fit.face.size == pytest.approx(1.07, abs=1e-4)
    np.testing.assert_allclose(fit.face.coefficients, coefficients, atol=2e-3)
    np.testing.assert_allclose(fit.weights, weights, atol=2e-3)
    moved = 1.07 * vertices @ turn.T + np.array([3.0, -8.0, 20.0])
    np.testing.assert_allclose(fit.motion.vertices, moved, atol=0.02)


def test_pixels_of_a_moving_head_give_the_same_face_in_millimetres() -> None:
    _, weights, vertices = known_clip(4)
    rng = np.random.default_rng(6)
    # A head that sways slowly; remove_head_pose smooths over a frame.
    time = np.arange(FRAMES) / FRAMES
    turn = rotations(rng, 1, 9.0)[0]
    sway = 2.0 * np.sin(2 * np.pi * time)[:, None] * np.array([[1.0, 0.4, 0.0]])
    upright = 1.9 * (vertices @ turn.T + sway[:, None])
    pixels = upright * np.array([1.0, -1.0, -1.0]) + np.array([180.0, 140.0, 0.0])
    fit = fit_landmarks(MODEL, pixels[:, SEEN], ALL)
    back = fit.motion.vertices @ np.swapaxes(fit.rotation, 1, 2) + fit.translation[:, None]
    observed = fit.scale[:, None, None] * back
    apart = np.linalg.norm(observed - pixels, axis=-1)[:, MODEL.anchor_ids] / fit.scale[:, None]
    assert float(apart.mean()) == pytest.approx(fit.errors.mean_mm, abs=1e-4)
    assert fit.errors.mean_mm < 0.5
    assert fit.errors.lip_gap_pcc is not None
    assert fit.errors.lip_gap_pcc > 0.995
    neutral = fit.face.template.vertices[SEEN]
    pupils = np.linalg.norm(neutral[HEAD.pupils[1]] - neutral[HEAD.pupils[0]])
    assert pupils == pytest.approx(63.0, abs=1.0)
    np.testing.assert_allclose(fit.weights[:, 0], weights[:, 0], atol=0.2)
    assert np.abs(np.linalg.det(fit.rotation) - 1.0).max() < 1e-9


def test_noise_gives_an_error_of_its_own_size_and_less_in_the_face() -> None:
    _, _, vertices = known_clip(7)
    face = fit_identity(MODEL, vertices[0, SEEN])
    fit = fit_vertices(MODEL, noisy(vertices[:, SEEN], 0.5), ALL, face=face)
    # The mean length of a vector of three Gaussians is 1.6 of their standard deviation.
    assert 0.6 < fit.errors.mean_mm < 0.95
    assert float(lip_error(fit.motion.lips, vertices).mean()) < 0.45
    assert fit.errors.p95_mm > fit.errors.mean_mm
    assert fit.errors.lips_p95_mm > fit.errors.lips_mm


def test_without_a_neutral_face_the_closed_frames_say_whose_it_is() -> None:
    _, _, vertices = known_clip(8)
    fit = fit_vertices(MODEL, vertices[:, SEEN], ALL)
    assert fit.errors.lips_mm < 0.3
    assert np.abs(fit.face.template.vertices[SEEN] - vertices[0, SEEN]).mean() < 0.8


def test_neutral_landmarks_are_those_of_the_closed_mouth() -> None:
    _, _, vertices = known_clip(9)
    landmarks = vertices[:, SEEN].copy()
    landmarks[:, LIPS_INNER[5], 1] -= 20.0
    landmarks[20:28, LIPS_INNER[5]] = landmarks[20:28, LIPS_INNER[15]]
    neutral = neutral_landmarks(landmarks, ALL)
    assert np.linalg.norm(neutral[LIPS_INNER[5]] - neutral[LIPS_INNER[15]]) < 1.0
    some = ALL.copy()
    some[20:28] = False
    neutral = neutral_landmarks(landmarks, some)
    assert np.linalg.norm(neutral[LIPS_INNER[5]] - neutral[LIPS_INNER[15]]) > 15.0


def test_missing_frames_are_not_read_and_follow_their_neighbours() -> None:
    _, weights, vertices = known_clip(10)
    landmarks = vertices[:, SEEN].copy()
    tracked = ALL.copy()
    tracked[[20, 21, 33]] = False
    tracked[-12:] = False
    landmarks[~tracked] = np.nan
    face = fit_identity(MODEL, vertices[0, SEEN])
    fit = fit_vertices(MODEL, landmarks, tracked, face=face)
    assert fit.errors.tracked_frames == FRAMES - 15
    assert fit.errors.frames == FRAMES
    assert np.isfinite(fit.motion.vertices).all()
    assert np.abs(fit.weights[[20, 21, 33]] - weights[[20, 21, 33]]).max() < 0.35
    assert fit.weights[-1].max() < 0.2  # nothing is known there: it comes to rest
    whole = fit_vertices(MODEL, vertices[:, SEEN], ALL, face=face)
    near = np.abs(fit.weights - whole.weights)[tracked]
    assert near.mean() < 0.01


def test_a_smile_that_never_ends_is_bent_into_the_face_only_where_allowed() -> None:
    _, _, vertices = known_clip(11)
    bump = vertices[0, SEEN].copy()
    high = MODEL.landmark_ids[~MODEL.is_lip]
    bump[high, 2] += 3.0 * np.sin(np.arange(len(high)))
    bent, stiff = (fit_identity(MODEL, bump, FitConfig(bend_mm=mm)) for mm in (3.0, None))
    assert np.abs(bent.offset).mean() < 0.6 * np.abs(stiff.offset).mean()
    lips = bent.template.lips
    assert np.linalg.norm(lips[35] - lips[25]) < 0.5  # no bending opens the mouth


@pytest.mark.parametrize(
    ("name", "weak", "strong"), [("smoothness", 0.0, 1.0), ("weight_spread", 1.0, 0.05)]
)
def test_priors_calm_noisy_weights(name: str, weak: float, strong: float) -> None:
    _, _, vertices = known_clip(12)
    face = fit_identity(MODEL, vertices[0, SEEN])
    seen = noisy(vertices[:, SEEN], 1.0)
    restless = {}
    for value in (weak, strong):
        config = replace(FitConfig(), **{name: value})
        weights = fit_vertices(MODEL, seen, ALL, face=face, config=config).weights
        restless[value] = np.abs(np.diff(weights, n=2, axis=0)).mean()
    assert restless[strong] < 0.8 * restless[weak]


def test_depth_can_be_left_out_where_it_is_a_guess() -> None:
    _, _, vertices = known_clip(13)
    face = fit_identity(MODEL, vertices[0, SEEN])
    seen = vertices[:, SEEN].copy()
    seen[..., 2] += np.random.default_rng(0).normal(0.0, 4.0, seen.shape[:2])
    errors = []
    for weight in (0.0, 1.0):
        fit = fit_vertices(
            MODEL, seen, ALL, face=face, config=FitConfig(depth_weight=weight, smoothness=0.0)
        )
        errors.append(np.abs(fit.motion.lips - vertices[:, MODEL.template.lip_ids])[..., :2].mean())
    assert errors[0] < errors[1]


def test_the_gap_of_the_lips_is_kept_closer_than_their_place() -> None:
    _, _, vertices = known_clip(14)
    face = fit_identity(MODEL, vertices[0, SEEN])
    seen = vertices[:, SEEN].copy()
    # Landmarks that slide together along the face: the lips' place is off, their gap is right.
    seen[:, MODEL.landmark_ids[MODEL.is_lip], 1] += np.random.default_rng(1).normal(
        0.0, 2.0, (FRAMES, 1)
    )
    ids = MODEL.template.lip_ids
    truth = np.linalg.norm(vertices[:, ids[35]] - vertices[:, ids[25]], axis=-1)
    errors = []
    for weight in (0.0, 10.0):
        fit = fit_vertices(MODEL, seen, ALL, face=face, config=FitConfig(gap_weight=weight))
        gap = np.linalg.norm(fit.motion.lips[:, 35] - fit.motion.lips[:, 25], axis=-1)
        errors.append(np.abs(gap - truth).mean())
    assert errors[1] < 0.6 * errors[0]


def test_more_rounds_and_steps_come_closer() -> None:
    _, _, vertices = known_clip(15)
    turns = rotations(np.random.default_rng(3), FRAMES, 8.0)
    seen = vertices[:, SEEN] @ np.swapaxes(turns, 1, 2)
    face = fit_identity(MODEL, vertices[0, SEEN])
    few, one, coarse, full = (
        fit_vertices(MODEL, seen, ALL, face=face, config=replace(FitConfig(), **change))
        for change in ({"max_steps": 2}, {"rounds": 1}, {"tolerance": 0.3}, {})
    )
    for poor in (few, one, coarse):
        assert poor.errors.mean_mm > full.errors.mean_mm


def test_a_clip_without_a_face_is_refused() -> None:
    empty = np.full((5, 478, 3), np.nan)
    with pytest.raises(ValueError, match="no face in any of 5 frames"):
        fit_vertices(MODEL, empty, np.zeros(5, dtype=bool))
    with pytest.raises(ValueError, match="no face in any of 5 frames"):
        fit_landmarks(MODEL, empty, np.zeros(5, dtype=bool))


@pytest.mark.parametrize(("factor", "value"), [(0.001, "0.06"), (0.1, "6."), (4.0, "25")])
def test_other_units_than_millimetres_are_refused(factor: float, value: str) -> None:
    _, _, vertices = known_clip()
    with pytest.raises(ValueError, match=rf"pupils {value}.*convert the unit"):
        fit_vertices(MODEL, factor * vertices[:, SEEN], ALL)


def test_landmarks_as_shares_of_the_picture_are_refused() -> None:
    _, _, vertices = known_clip()
    shares = 0.002 * vertices[:, SEEN] * np.array([1.0, -1.0, -1.0]) + 0.5
    with pytest.raises(ValueError, match="give landmarks in pixels"):
        fit_landmarks(MODEL, shares, ALL)


def test_a_mirrored_face_is_refused() -> None:
    _, _, vertices = known_clip()
    with pytest.raises(ValueError, match="x to the image's right"):
        fit_vertices(MODEL, vertices[:, SEEN] * np.array([-1.0, 1.0, 1.0]), ALL)


def test_arrays_that_do_not_fit_are_refused() -> None:
    _, _, vertices = known_clip()
    seen = vertices[:, SEEN]
    with pytest.raises(ValueError, match=r"\(60, 468, 3\)"):
        fit_vertices(MODEL, seen[:, :468], ALL)
    with pytest.raises(ValueError, match=r"tracked \(59,\)"):
        fit_vertices(MODEL, seen, ALL[:-1])
    with pytest.raises(ValueError, match="tracked is float64"):
        fit_vertices(MODEL, seen, ALL.astype(np.float64))
    broken = seen.copy()
    broken[17, 300] = np.nan
    with pytest.raises(ValueError, match="frame 17 is marked as tracked"):
        fit_vertices(MODEL, broken, ALL)
    with pytest.raises(ValueError, match=r"neutral face has shape \(468, 3\)"):
        fit_identity(MODEL, seen[0, :468])
    with pytest.raises(ValueError, match="NaN"):
        fit_identity(MODEL, broken[17])
    other = replace(MODEL)
    with pytest.raises(ValueError, match="another face model"):
        fit_vertices(MODEL, seen, ALL, face=fit_identity(other, seen[0]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"landmark_noise_mm": 0.0},
        {"weight_spread": -1.0},
        {"tolerance": 0.0},
        {"bend_mm": 0.0},
        {"depth_weight": 1.5},
        {"smoothness": -0.1},
        {"gap_weight": -1.0},
        {"rounds": 0},
        {"max_steps": 0},
    ],
)
def test_impossible_configurations_are_refused(wrong: dict[str, float]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        FitConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.real_data
@pytest.mark.slow
def test_a_grid_clip_is_fitted_within_a_millimetre_and_a_half(avsr_data: Path) -> None:
    from avsr.files import read_video
    from avsr.tracking import FaceTracker

    model = read_ict(avsr_data / "ict_facekit")
    with FaceTracker(avsr_data / "mediapipe_face" / "face_landmarker.task") as tracker:
        track = tracker.track(read_video(avsr_data / "grid/s1/video/bbaszn.mp4", 25))
    fit = fit_landmarks(model, track.landmarks, track.tracked)
    assert fit.errors.tracked_frames == 75
    assert fit.errors.lips_mm < 1.2
    assert fit.errors.mean_mm < 1.5
    assert fit.errors.lip_gap_pcc is not None
    assert fit.errors.lip_gap_pcc > 0.98
    gap = np.linalg.norm(fit.motion.lips[:, 35] - fit.motion.lips[:, 25], axis=-1)
    rest = np.linalg.norm(fit.face.template.lips[35] - fit.face.template.lips[25])
    assert gap[8:14].min() < rest + 0.6  # "bin" begins there with closed lips
    assert gap.max() > 10.0
    assert fit.weights.min() >= 0.0
    assert fit.weights.max() <= 1.0
