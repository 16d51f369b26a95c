"""FLAME's forward pass against numbers on paper and a slow reference; its file, good and bad.

We hold no FLAME: the model here is a stand-in made by code (`made_up_flame`).
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from avsr.video import rotation_matrices
from learn2talk.avatar.flame_model import PARENTS, FlameModel, flame_posed, load_flame
from learn2talk.avatar.flame_params import FlameParams, flame_vertices, neutral_of
from tests.learn2talk.avatar.made_up_flame import flame_arrays, made_up_flame, random_params

QUARTER = np.float32(np.pi / 2)


def four_points(**changed: np.ndarray) -> FlameModel:
    """Vertex 0 hangs on the root, 1 on the neck, 2 on the jaw, 3 on the left eye; the joints of
    neck, jaw and eyes lie at vertex 1, the root at vertex 0."""
    regressor = np.zeros((5, 4))
    regressor[0, 0] = regressor[1:, 1] = 1.0
    weights = np.zeros((4, 5))
    weights[range(4), [0, 1, 2, 3]] = 1.0
    arrays = {
        "vertices": np.array([[0, 0, 0], [0, 0.1, 0], [0, 0.1, 0.1], [0, 0.2, 0]]),
        "shapes": np.zeros((4, 3, 300)),
        "expressions": np.zeros((4, 3, 100)),
        "correctives": np.zeros((4, 3, 36)),
        "joint_regressor": regressor,
        "weights": weights,
        "triangles": np.array([[0, 1, 2]]),
    }
    return FlameModel(**(arrays | changed))


def turned(**vectors: tuple[float, ...]) -> FlameParams:
    still = FlameParams.at_rest()
    return replace(still, **{name: np.float32([vector]) for name, vector in vectors.items()})


def test_at_rest_it_is_the_mean_head() -> None:
    model = made_up_flame()
    found = flame_vertices(model, FlameParams.at_rest(2))
    np.testing.assert_allclose(found, np.stack([model.vertices] * 2), atol=1e-7)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        # Jaw, a quarter about x: (0, 0, 0.1) from the joint becomes (0, -0.1, 0).
        (turned(jaw_pose=(QUARTER, 0, 0)), {2: (0, 0, 0)}),
        # Neck, a quarter about z: (0, 0.1, 0) from the joint becomes (-0.1, 0, 0).
        (turned(neck_pose=(0, 0, QUARTER)), {3: (-0.1, 0.1, 0)}),
        # Both: the jaw's turn first, (0, -0.1, 0), then the neck's, (0.1, 0, 0).
        (
            turned(jaw_pose=(QUARTER, 0, 0), neck_pose=(0, 0, QUARTER)),
            {2: (0.1, 0.1, 0), 3: (-0.1, 0.1, 0)},
        ),
        # The left eye is the first of the two.
        (turned(eyes_pose=(QUARTER, 0, 0, 0, 0, 0)), {3: (0, 0.1, 0.1)}),
        (turned(eyes_pose=(0, 0, 0, QUARTER, 0, 0)), {}),
        # Root, half a turn about y, then 1 m to the right.
        (
            turned(rotation=(0, 2 * QUARTER, 0), translation=(1, 0, 0)),
            {0: (1, 0, 0), 1: (1, 0.1, 0), 2: (1, 0.1, -0.1), 3: (1, 0.2, 0)},
        ),
    ],
)
def test_joints_turned_by_hand(
    params: FlameParams, expected: dict[int, tuple[float, float, float]]
) -> None:
    model = four_points()
    wanted = model.vertices.copy()
    for vertex, place in expected.items():
        wanted[vertex] = place
    np.testing.assert_allclose(flame_vertices(model, params)[0], wanted, atol=1e-7)


def test_weights_blend_linearly() -> None:
    weights = four_points().weights.copy()
    weights[2] = (0, 0.5, 0.5, 0, 0)
    found = flame_vertices(four_points(weights=weights), turned(jaw_pose=(QUARTER, 0, 0)))
    np.testing.assert_allclose(found[0, 2], (0, 0.05, 0.05), atol=1e-7)


def test_correctives_follow_the_rotation_matrix_and_vanish_at_rest() -> None:
    correctives = np.zeros((4, 3, 36))
    correctives[1, 0, 9 + 3 * 1 + 2] = 0.01  # jaw, row 1, column 2: -sin, here -1
    model = four_points(correctives=correctives)
    np.testing.assert_allclose(flame_vertices(model, FlameParams.at_rest())[0], model.vertices)
    found = flame_vertices(model, turned(jaw_pose=(QUARTER, 0, 0)))
    np.testing.assert_allclose(found[0, 1], (-0.01, 0.1, 0), atol=1e-7)
    np.testing.assert_allclose(
        flame_vertices(model, turned(neck_pose=(QUARTER, 0, 0)))[0, 1], (0, 0.1, 0), atol=1e-7
    )


def test_shape_expression_and_offset_add_up_and_move_the_joints() -> None:
    shapes, expressions = np.zeros((4, 3, 300)), np.zeros((4, 3, 100))
    shapes[1, 1, 2] = expressions[1, 1, 5] = 0.01
    model = four_points(shapes=shapes, expressions=expressions)
    offset = np.zeros((4, 3), np.float32)
    offset[1, 1] = 0.03
    params = replace(turned(jaw_pose=(QUARTER, 0, 0)), static_offset=offset)
    params.shape[2], params.expr[0, 5] = 2.0, 3.0
    # The jaw's joint is now at y = 0.1 + 0.02 + 0.03 + 0.03 = 0.18: (0, -0.08, 0.1) from it
    # becomes (0, -0.1, -0.08).
    found = flame_vertices(model, params)[0]
    np.testing.assert_allclose(found[1], (0, 0.18, 0), atol=1e-7)
    np.testing.assert_allclose(found[2], (0, 0.08, -0.08), atol=1e-7)


def slow_reference(model: FlameModel, params: FlameParams, frame: int) -> np.ndarray:
    """One frame, vertex by vertex, with matrices of 4 x 4 and double precision."""
    shaped = model.vertices.astype(float) + params.static_offset
    for number, weight in enumerate(params.shape):
        shaped = shaped + float(weight) * model.shapes[:, :, number]
    for number, weight in enumerate(params.expr[frame]):
        shaped = shaped + float(weight) * model.expressions[:, :, number]
    joints = [sum(w * v for w, v in zip(row, shaped, strict=True)) for row in model.joint_regressor]
    matrices = [rotation_matrices(vector.astype(float)) for vector in params.rotations[frame]]
    features = np.concatenate([(matrix - np.eye(3)).reshape(9) for matrix in matrices[1:]])
    rest = shaped + sum(f * model.correctives[:, :, i] for i, f in enumerate(features))

    def about(joint: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        there, turn, back = np.eye(4), np.eye(4), np.eye(4)
        there[:3, 3], turn[:3, :3], back[:3, 3] = joint, matrix, -joint
        return np.asarray(there @ turn @ back)

    chain = [about(joints[0], matrices[0])]
    for joint, parent in enumerate(PARENTS, start=1):
        chain.append(chain[parent] @ about(joints[joint], matrices[joint]))
    found = []
    for vertex, weights in zip(rest, model.weights, strict=True):
        blended = sum(w * matrix for w, matrix in zip(weights, chain, strict=True))
        found.append((blended @ np.append(vertex, 1.0))[:3] + params.translation[frame])
    return np.array(found)


def test_everything_at_once_equals_a_slow_reference() -> None:
    model, params = made_up_flame(), random_params(2)
    found = flame_vertices(model, params)
    for frame in range(2):
        np.testing.assert_allclose(found[frame], slow_reference(model, params, frame), atol=2e-7)


def test_many_frames_are_posed_as_one_by_one() -> None:
    model, params = made_up_flame(), random_params(70)
    found = flame_vertices(model, params)
    alone = {name: getattr(params, name)[68:69] for name in ("expr", "rotation", "neck_pose")}
    alone |= {name: getattr(params, name)[68:69] for name in ("jaw_pose", "eyes_pose")}
    one = replace(params, translation=params.translation[68:69], **alone)
    np.testing.assert_allclose(found[68], flame_vertices(model, one)[0], atol=1e-7)


def test_gradients_at_rest_are_those_of_differences() -> None:
    model = made_up_flame()
    neutral = torch.from_numpy(neutral_of(model, FlameParams.at_rest())).double()
    seen = torch.linspace(-1, 1, neutral.numel(), dtype=torch.float64).reshape(neutral.shape)

    def total(vector: torch.Tensor) -> torch.Tensor:
        turns = vector[None, :15].reshape(1, 5, 3)
        expression = vector[None, 15:115]
        return (flame_posed(model, neutral, expression, turns, vector[None, 115:]) * seen).sum()

    at = torch.zeros(118, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(total(at), at)
    steps = 1e-5 * torch.eye(118, dtype=torch.float64)
    differences = torch.stack([(total(s) - total(-s)) / 2e-5 for s in steps]).detach()
    torch.testing.assert_close(slope, differences, rtol=1e-6, atol=1e-8)


def foreign(module: str, name: str, state: dict[str, Any]) -> Any:
    """An object that pickles as one of a library that is not here."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), ModuleType(parts[end - 1]))
    home = sys.modules[module]
    if not hasattr(home, name):
        setattr(home, name, type(name, (), {"__module__": module}))
    made = getattr(home, name)()
    made.__dict__.update(state)
    return made


def chumpy_array(values: np.ndarray) -> Any:
    return foreign("chumpy.ch", "Ch", {"x": values, "_dirty_vars": {"x"}, "_itr": None})


def columns(dense: np.ndarray) -> Any:
    """As SciPy's csc_matrix pickles."""
    column, row = np.nonzero(dense.T)
    ends = np.searchsorted(column, np.arange(dense.shape[1] + 1)).astype(np.int32)
    state = {"data": dense[row, column], "indices": row.astype(np.int32), "indptr": ends}
    return foreign("scipy.sparse.csc", "csc_matrix", state | {"_shape": dense.shape})


@pytest.fixture()
def foreign_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets the libraries that `foreign` made up."""
    for name in ("chumpy", "chumpy.ch", "scipy", "scipy.sparse", "scipy.sparse.csc"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))


def flame_pickle(path: Path, **changed: Any) -> Path:
    """The stand-in as FLAME's authors pickle theirs: of Python 2, with chumpy and SciPy."""
    arrays = flame_arrays()
    content = {
        **arrays,
        "v_template": chumpy_array(arrays["v_template"]),
        "shapedirs": chumpy_array(arrays["shapedirs"]),
        "J_regressor": columns(arrays["J_regressor"]),
        "bs_style": "lbs",
        "vert_sym_idxs": None,
        **changed,
    }
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


@pytest.mark.usefixtures("foreign_modules")
def test_a_pickle_with_chumpy_and_scipy_arrays(tmp_path: Path) -> None:
    found = load_flame(flame_pickle(tmp_path / "generic_model.pkl"))
    wanted = made_up_flame()
    for name in ("vertices", "shapes", "expressions", "correctives", "joint_regressor", "weights"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    np.testing.assert_array_equal(found.triangles, wanted.triangles)
    assert found.topology == "flame_401"


def test_an_npz_with_either_names(tmp_path: Path) -> None:
    arrays = flame_arrays()
    np.savez(tmp_path / "a.npz", extra=np.array([None, "x"], dtype=object), **arrays)
    other = {
        "v_template": arrays["v_template"],
        "shapedirs": arrays["shapedirs"],
        "posedirs": arrays["posedirs"].reshape(-1, 36).T,
        "J_regressor": arrays["J_regressor"],
        "parents": np.array([-1, 0, 1, 1, 1]),
        "lbs_weights": arrays["weights"],
        "faces": arrays["f"].astype(np.int64),
    }
    np.savez(tmp_path / "b.npz", **other)
    one, two = load_flame(tmp_path / "a.npz"), load_flame(tmp_path / "b.npz")
    params = random_params(1)
    np.testing.assert_array_equal(flame_vertices(one, params), flame_vertices(two, params))
    np.testing.assert_array_equal(one.triangles, two.triangles)


def nan_at(array: np.ndarray) -> np.ndarray:
    broken = np.array(array)
    broken.flat[5] = np.nan
    return broken


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"posedirs": None}, "has no posedirs; give FLAME's own"),
        ({"shapedirs": lambda a: a[:, :, :150]}, r"shapedirs has shape \(401, 3, 150\); FLAME has"),
        ({"shapedirs": lambda a: a[:, 0]}, r"shapedirs has shape \(401, 400\)"),
        ({"shapedirs": nan_at}, r"shapes is not finite at \(0, 0, 5\); copy"),
        ({"weights": lambda a: a[:, :4]}, r"weights has shape \(401, 4\); give \(401, 5\)"),
        ({"weights": lambda a: 0.5 * a}, "the weights of vertex 0 sum to 0.5, not 1"),
        ({"J_regressor": lambda a: a[:, :-1]}, r"joint_regressor has shape \(5, 400\)"),
        ({"posedirs": lambda a: a[:-1]}, r"correctives has shape \(400, 3, 36\)"),
        ({"v_template": lambda a: 1000.0 * a}, "1.5e.05 mm wide .* is its unit mm"),
        ({"v_template": lambda a: a[:, :2]}, r"vertices has shape \(401, 2\); give \(401, 3\)"),
        ({"f": lambda a: a + 400}, "triangles name vertices 400 to"),
        ({"f": lambda a: a[:, :2]}, r"triangles have shape"),
        ({"kintree_table": lambda a: a[:, :4]}, r"parents \[4294967295, 0, 1, 1\]; FLAME's joints"),
        ({"kintree_table": lambda _: np.array([-1, 0, 0, 1, 1])}, r"parents \[-1, 0, 0, 1, 1\]"),
        ({"weights": lambda a: a.astype(str)}, "weights holds <U32, not numbers"),
    ],
)
def test_bad_models(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    arrays = dict(flame_arrays())
    for name, change in changed.items():
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays[name])
    np.savez(tmp_path / "flame.npz", **arrays)
    with pytest.raises(ValueError, match=rf"flame\.npz: .*{message}"):
        load_flame(tmp_path / "flame.npz")


@pytest.mark.usefixtures("foreign_modules")
def test_bad_files(tmp_path: Path) -> None:
    for name in ("none.npz", "none.pkl"):
        with pytest.raises(ValueError, match="no such file"):
            load_flame(tmp_path / name)
    path = flame_pickle(tmp_path / "a.pkl")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"a\.pkl: .*truncated"):
        load_flame(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"a\.pkl: is a list; give FLAME's own"):
        load_flame(path)
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"a\.npz: not a complete \.npz"):
        load_flame(tmp_path / "a.npz")
    broken = columns(flame_arrays()["J_regressor"])
    broken.indices = broken.indices + 5
    path = flame_pickle(tmp_path / "b.pkl", J_regressor=broken)
    with pytest.raises(ValueError, match=r"b\.pkl: J_regressor: .*places that it does not have"):
        load_flame(path)
