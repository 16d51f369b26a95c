"""`flame_param.npz`: GaussianAvatars' layout there and back, and everything that is none."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learn2talk.avatar.flame_params import (
    ADDED_TEETH,
    FlameParams,
    flame_vertices,
    neutral_of,
    read_flame_params,
    write_flame_params,
)
from tests.learn2talk.avatar.made_up_flame import made_up_flame, random_params


def test_there_and_back(tmp_path: Path) -> None:
    params = random_params()
    write_flame_params(tmp_path / "flame_param.npz", params, 401)
    found = read_flame_params(tmp_path / "flame_param.npz")
    for field in fields(params):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(params, field.name))


def test_the_file_is_of_gaussian_avatars_layout(tmp_path: Path) -> None:
    write_flame_params(tmp_path / "a.npz", FlameParams.at_rest(3), 5143)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        shapes = {name: stored[name].shape for name in stored.files}
        assert {stored[name].dtype.name for name in stored.files} == {"float32"}
    assert shapes == {
        "shape": (300,),
        "expr": (3, 100),
        "rotation": (3, 3),
        "neck_pose": (3, 3),
        "jaw_pose": (3, 3),
        "eyes_pose": (3, 6),
        "translation": (3, 3),
        "static_offset": (1, 5143, 3),
        "dynamic_offset": (3, 5143, 3),
    }
    with pytest.raises(ValueError, match=r"a\.npz: static_offset has 401 vertices, asked for"):
        write_flame_params(tmp_path / "a.npz", random_params(), 5143)
    with pytest.raises(ValueError, match=r"a\.txt: FLAME parameters are an \.npz"):
        write_flame_params(tmp_path / "a.txt", random_params(), 401)


def stored(params: FlameParams) -> dict[str, Any]:
    return {field.name: getattr(params, field.name) for field in fields(params)}


def test_other_forms_that_are_told_of(tmp_path: Path) -> None:
    params = random_params()
    arrays = stored(params)
    arrays |= {"shape": params.shape[None].astype(np.float64), "timestep": np.array("x")}
    arrays["static_offset"] = params.static_offset[None]
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_flame_params(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.shape, params.shape)
    np.testing.assert_array_equal(found.static_offset, params.static_offset)
    del arrays["static_offset"]
    np.savez(tmp_path / "b.npz", **arrays)
    assert read_flame_params(tmp_path / "b.npz").static_offset is None


def test_teeth_that_gaussian_avatars_adds_are_not_read_by_a_model_without_them() -> None:
    model, params = made_up_flame(), random_params()
    more = np.concatenate([params.static_offset, np.ones((ADDED_TEETH, 3), np.float32)])
    longer = FlameParams(**stored(params) | {"static_offset": more})
    np.testing.assert_array_equal(flame_vertices(model, longer), flame_vertices(model, params))
    wrong = FlameParams(**stored(params) | {"static_offset": more[:-1]})
    with pytest.raises(ValueError, match="static_offset has 520 vertices, the model 401; give"):
        neutral_of(model, wrong)


def broken(array: np.ndarray) -> np.ndarray:
    changed = np.array(array, dtype=np.float32)
    changed.flat[4] = np.inf
    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("jaw_pose", None, "has no jaw_pose; is it the flame_param.npz"),
        ("shape", None, "has no shape"),
        ("shape", lambda a: a[:100], r"shape has shape \(100,\); give \(300,\)"),
        ("shape", lambda a: np.stack([a, a]), r"shape has shape \(2, 300\)"),
        ("expr", lambda a: a[:, :50], r"expr has shape \(6, 50\); give \(6, 100\)"),
        ("expr", lambda a: a[:0], "expr has no frame"),
        ("expr", lambda a: a[:5], r"of 5 frames: rotation has shape \(6, 3\); give \(5, 3\)"),
        ("translation", lambda a: a[:4], r"of 6 frames: translation has shape \(4, 3\)"),
        ("eyes_pose", lambda a: a[:, :3], r"eyes_pose has shape \(6, 3\); give \(6, 6\)"),
        ("static_offset", lambda a: a[:, :2], r"static_offset has shape \(401, 2\)"),
        ("static_offset", lambda a: np.stack([a, a]), r"static_offset has shape \(2, 401, 3\)"),
        ("expr", broken, r"expr is not finite at \(0, 4\)"),
        ("rotation", broken, r"rotation is not finite at \(1, 1\)"),
        ("neck_pose", lambda a: a.astype(str), "neck_pose hold no numbers"),
        ("dynamic_offset", lambda _: np.full((6, 401, 3), 0.01), r"dynamic_offset is not zero"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, change: Any, message: str) -> None:
    arrays = stored(random_params())
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays.get(name))
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
        read_flame_params(tmp_path / "a.npz")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_flame_params(tmp_path / "a.npz")
    write_flame_params(tmp_path / "a.npz", random_params(), 401)
    whole = (tmp_path / "a.npz").read_bytes()
    for end in (0, 10, len(whole) // 2):
        (tmp_path / "a.npz").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"a\.npz: not a complete \.npz file"):
            read_flame_params(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", expr=np.array([None, 1], dtype=object))
    with pytest.raises(ValueError, match=r"b\.npz: not a complete \.npz file"):
        read_flame_params(tmp_path / "b.npz")
