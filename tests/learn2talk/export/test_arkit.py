"""ARKit weights: known ones are found again, on the built-in shapes and on ICT-FaceKit's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learn2talk.articulation import CONTROLS, animate_head
from learn2talk.export.arkit import OPPOSITES, ArkitCurves, solve_arkit
from learn2talk.export.box_least_squares import smooth_box_weights
from learn2talk.export.shapes import ARKIT_NAMES, ShapeSet, built_in_shapes, shapes_on
from learn2talk.head import build_head
from learn2talk.schema import FaceTemplate, Motion

from .faces import changed, coarse_face, moved, spoken

LOWER_FACE = {name for name in ARKIT_NAMES if name.startswith(("jaw", "mouth"))}


def posed(shapes: ShapeSet, weights: dict[str, np.ndarray]) -> Motion:
    curves = np.stack([weights[name] for name in weights], axis=1)
    moves = shapes.displacement[[shapes.names.index(name) for name in weights]]
    vertices = shapes.template.vertices + np.einsum("tk,kvx->tvx", curves, moves)
    return Motion(vertices, 25.0, shapes.template)


def curve(curves: ArkitCurves, name: str) -> np.ndarray:
    return curves.weights[:, ARKIT_NAMES.index(name)]


def wave(frames: int, phase: float) -> np.ndarray:
    return 0.4 + 0.4 * np.sin(np.arange(frames) / 4 + phase)


def test_the_52_names_are_apples() -> None:
    assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == 52
    sides = [name.removesuffix("Left") for name in ARKIT_NAMES if name.endswith("Left")]
    assert {s + "Right" for s in sides} == {n for n in ARKIT_NAMES if n.endswith("Right")}
    blinks = {"eyeBlinkLeft", "eyeBlinkRight"}
    assert set(built_in_shapes().names) == LOWER_FACE | blinks and len(LOWER_FACE) == 27


@pytest.mark.parametrize(
    "mixed",
    [
        ("jawOpen",),
        ("jawOpen", "mouthPucker", "mouthUpperUpLeft"),
        ("jawLeft", "mouthFunnel", "mouthSmileRight", "mouthRollLower"),
        ("mouthFrownLeft", "mouthStretchRight", "jawForward"),
        ("jawOpen", "mouthClose"),
    ],
)
def test_known_weights_of_the_built_in_shapes_are_found(mixed: tuple[str, ...]) -> None:
    wanted = {name: wave(20, i) for i, name in enumerate(mixed)}
    found = solve_arkit(posed(built_in_shapes(), wanted), smoothness=0.0, ridge=5e-4)
    for name in found.driven:
        np.testing.assert_allclose(curve(found, name), wanted.get(name, 0.0), atol=0.02)
    assert found.lip_residual_max_mm < 0.05 and found.explained > 0.999
    assert found.source == "procedural head" and found.weights.dtype == np.float32


def test_the_heads_own_controls_become_the_curves_of_that_name() -> None:
    head = build_head()
    for control, expected in {
        "jaw": {"jawOpen"},
        "spread": {"mouthStretchLeft", "mouthStretchRight"},
        "round": {"mouthPucker", "mouthFunnel"},
        "upper": {"mouthUpperUpLeft", "mouthUpperUpRight"},
        "lower": {"mouthLowerDownLeft", "mouthLowerDownRight"},
        "tuck": {"mouthRollLower"},
        "press": {"mouthPressLeft", "mouthPressRight"},
    }.items():
        controls = np.zeros((5, len(CONTROLS)))
        controls[:, CONTROLS.index(control)] = np.linspace(0, 1, 5)
        found = solve_arkit(Motion(animate_head(head, controls), 25.0, head.template))
        largest = sorted(found.driven, key=lambda name: -curve(found, name).max())
        assert set(largest[: len(expected)]) == expected, (control, largest[:4])
        assert all(curve(found, name).max() > 0.25 for name in expected), control
        assert found.lip_residual_mm < 0.5, control


def test_closed_lips_over_an_open_jaw_are_mouth_close() -> None:
    head = build_head()
    controls = np.zeros((3, len(CONTROLS)))
    controls[:, CONTROLS.index("jaw")] = 0.6
    controls[:, CONTROLS.index("seal")] = 1.0
    found = solve_arkit(Motion(animate_head(head, controls), 25.0, head.template))
    assert curve(found, "jawOpen").mean() == pytest.approx(0.36, abs=0.05)
    assert curve(found, "mouthClose").mean() == pytest.approx(0.36, abs=0.08)


def test_speech_is_explained_and_bounded() -> None:
    found = solve_arkit(spoken())
    assert found.weights.shape == (40, 52) and found.fps == 25
    assert found.weights.min() >= 0 and found.weights.max() <= 1
    assert found.lip_residual_mm < 0.3 and found.explained > 0.99
    still = [i for i, name in enumerate(ARKIT_NAMES) if name not in found.driven]
    assert (found.weights[:, still] == 0).all() and len(still) == 25
    np.testing.assert_allclose(
        curve(found, "mouthSmileLeft"), curve(found, "mouthSmileRight"), atol=0.02
    )


def test_smoothness_takes_the_jumps_out_of_noise() -> None:
    motion = spoken()
    rng = np.random.default_rng(0)
    noisy = Motion(
        motion.vertices + rng.normal(0, 0.5, motion.vertices.shape), 25.0, motion.template
    )
    rough, smooth = (solve_arkit(noisy, smoothness=s).weights for s in (0.0, 5.0))
    jumps = [np.abs(np.diff(weights, 2, axis=0)).mean() for weights in (rough, smooth)]
    assert jumps[1] < 0.6 * jumps[0]


@pytest.mark.parametrize(("scale", "shift"), [(2.0, (0, 0, 0)), (0.5, (10.0, -300.0, 5.0))])
def test_size_and_place_do_not_change_the_curves(
    scale: float, shift: tuple[float, float, float]
) -> None:
    motion = spoken()
    found = solve_arkit(
        moved(motion, scale, shift), smoothness=0.05 * scale**2, ridge=2e-3 * scale**2
    )
    np.testing.assert_allclose(found.weights, solve_arkit(motion).weights, atol=5e-3)


def test_another_topology_gets_curves_without_any_data() -> None:
    from learn2talk.export.retarget import retarget

    motion = spoken()
    there, _ = retarget(motion, coarse_face())
    found, own = solve_arkit(there), solve_arkit(motion)
    assert set(found.driven) <= LOWER_FACE and len(found.driven) >= 25
    assert found.source == "procedural head, carried over to coarse"
    for name in ("jawOpen", "mouthPucker", "mouthRollLower"):
        assert np.corrcoef(curve(found, name), curve(own, name))[0, 1] > 0.95
    assert found.lip_residual_mm < 0.6


def test_opposite_shapes_are_never_at_work_together() -> None:
    motion = spoken()
    rng = np.random.default_rng(0)
    noisy = Motion(
        motion.vertices + rng.normal(0, 2.0, motion.vertices.shape), 25.0, motion.template
    )
    found = solve_arkit(noisy)
    for pair in OPPOSITES:
        assert (np.minimum(*(curve(found, name) for name in pair)) == 0).all()
    assert max(curve(found, "jawLeft").max(), curve(found, "jawRight").max()) > 0


def test_a_still_face_has_zero_curves() -> None:
    face = build_head().template
    found = solve_arkit(Motion(np.repeat(face.vertices[None], 4, axis=0), 25.0, face))
    assert (found.weights == 0).all() and found.driven == () and found.explained == 1.0


def test_bad_motions_shapes_and_options_are_refused() -> None:
    motion = spoken()
    broken = motion.vertices.copy()
    broken[2, 0, 0] = np.inf
    with pytest.raises(ValueError, match="not finite at frame 2, vertex 0"):
        solve_arkit(Motion(broken, 25.0, motion.template))
    with pytest.raises(ValueError, match="has 0 frames"):
        solve_arkit(Motion(motion.vertices[:0], 25.0, motion.template))
    face = motion.template
    bare = FaceTemplate("bare", face.vertices, face.triangles)
    with pytest.raises(ValueError, match="'bare' has no region 'lips_outer'"):
        solve_arkit(Motion(motion.vertices, 25.0, bare))
    with pytest.raises(ValueError, match="smoothness is -1"):
        solve_arkit(motion, smoothness=-1)
    with pytest.raises(ValueError, match="ridge 0"):
        solve_arkit(motion, ridge=0)
    shape = np.zeros((1, len(face.vertices), 3), np.float32)
    with pytest.raises(ValueError, match=r"\['smile'\] are unknown or repeated"):
        ShapeSet(face, ("smile",), shape, "tests")
    with pytest.raises(ValueError, match="1 names and 2500 vertices need"):
        ShapeSet(face, ("jawOpen",), shape[:, 1:], "tests")
    with pytest.raises(ValueError, match="shapes of tests are not finite"):
        ShapeSet(face, ("jawOpen",), shape * np.float32(np.nan), "tests")
    facts = {"driven": (), "source": "", "lip_residual_mm": 0, "lip_residual_max_mm": 0}
    with pytest.raises(ValueError, match=r"shape \(0, 52\)"):
        ArkitCurves(np.zeros((0, 52)), 25.0, **facts, face_residual_mm=0, explained=1)
    with pytest.raises(ValueError, match="not all between 0 and 1"):
        ArkitCurves(np.full((1, 52), 1.1), 25.0, **facts, face_residual_mm=0, explained=1)


def test_bounded_least_squares_meets_the_conditions_of_its_minimum() -> None:
    rng = np.random.default_rng(3)
    shapes = rng.normal(size=(6, 30))
    products, moments = shapes @ shapes.T, shapes @ rng.normal(size=(30, 9)) * 2
    ceiling = np.ones((6, 9))
    ceiling[2] = 0.3
    found = smooth_box_weights(products, moments, ceiling, smoothness=1.5, ridge=0.1)
    slope = (products + 0.1 * np.eye(6)) @ found - moments
    step = np.diff(found, axis=1)
    slope[:, 1:] += 1.5 * step
    slope[:, :-1] -= 1.5 * step
    low, high = found == 0, found == ceiling
    assert low.any() and high.any() and (~low & ~high).any()
    assert (slope[low] > -1e-4).all() and (slope[high] < 1e-4).all()
    np.testing.assert_allclose(slope[~low & ~high], 0.0, atol=1e-4)


@pytest.mark.real_data
@pytest.mark.slow
def test_known_weights_of_ict_facekit_are_found(avsr_data: Path) -> None:
    from learn2talk.export.ict import load_ict_shapes

    shapes = load_ict_shapes(avsr_data / "ict_facekit")
    assert set(ARKIT_NAMES) - set(shapes.names) == {"tongueOut"}
    mixed = (
        *("jawOpen", "mouthSmileLeft", "mouthRollUpper", "mouthPucker", "jawRight"),
        *("browInnerUp", "cheekPuff", "eyeBlinkLeft", "noseSneerRight"),
    )
    wanted = {name: wave(12, i) for i, name in enumerate(mixed)}
    motion = posed(shapes, wanted)
    found = solve_arkit(motion, shapes, smoothness=0.0)
    for name in found.driven:
        np.testing.assert_allclose(curve(found, name), wanted.get(name, 0.0), atol=0.03)
    assert set(mixed) <= set(found.driven) and found.lip_residual_max_mm < 0.1
    # ARKit's left is the face's own: the image's right
    smile = shapes.displacement[shapes.names.index("mouthSmileLeft")]
    corner = shapes.template.region("lips_outer")[[0, 10]]
    assert np.linalg.norm(smile[corner[1]]) > 5 * np.linalg.norm(smile[corner[0]])
    own = built_in_shapes()
    mine = own.displacement[own.names.index("mouthSmileLeft")][own.template.region("lips_outer")]
    assert np.linalg.norm(mine[10]) > 5 * np.linalg.norm(mine[0])
    # the built-in shapes, carried over to ICT's face, read its own jawOpen as jawOpen
    opened = solve_arkit(posed(shapes, {"jawOpen": np.linspace(0, 0.8, 5)}))
    assert curve(opened, "jawOpen")[-1] == pytest.approx(0.8, abs=0.35)


@pytest.mark.real_data
def test_ict_files_that_do_not_fit_are_named(avsr_data: Path, tmp_path: Path) -> None:
    from learn2talk.export.ict import ICT_FILE, load_ict_shapes

    with pytest.raises(ValueError, match="no such file; give the folder"):
        load_ict_shapes(tmp_path)
    with np.load(avsr_data / "ict_facekit" / ICT_FILE) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(tmp_path / ICT_FILE, **{k: v for k, v in arrays.items() if k != "quads"})
    with pytest.raises(ValueError, match="has no quads; copy the file again"):
        load_ict_shapes(tmp_path)
    arrays["expr_names"][0] = "smirk_L"
    np.savez(tmp_path / ICT_FILE, **arrays)
    with pytest.raises(ValueError, match="'smirk_L' is none of ARKit's 52"):
        load_ict_shapes(tmp_path)


def test_shapes_scale_with_the_face() -> None:
    own = built_in_shapes()
    there = shapes_on(own, changed(own.template, 2.0 * own.template.vertices))
    np.testing.assert_allclose(there.displacement, 2.0 * own.displacement, atol=1e-3)
