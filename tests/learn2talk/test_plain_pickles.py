"""Pickles as plain data: arrays and containers are read, nothing is run."""

from __future__ import annotations

import os
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learn2talk.plain_pickles import read_plain_pickle

CONTENT = {
    "FaceTalk": np.arange(12, dtype=np.float64).reshape(4, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "nested": OrderedDict(a=[1, 2.5, "x", None, True], b=(b"bytes", np.int64(7))),
    "sound": {"audio": np.array([1, -2], dtype=np.int16), "sample_rate": 22000},
}


def write(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_and_containers_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    found = read_plain_pickle(write(tmp_path / "a.pkl", CONTENT, protocol))
    for name in ("FaceTalk", "fortran"):
        np.testing.assert_array_equal(found[name], CONTENT[name])
        assert found[name].dtype == CONTENT[name].dtype  # type: ignore[attr-defined]
    assert found["nested"] == CONTENT["nested"]
    np.testing.assert_array_equal(found["sound"]["audio"], [1, -2])


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    array = np.arange(3, dtype="<f4")
    old = (
        b"(dp0\nS'F1'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n"
        b"(I0\ntp4\nS'b'\np5\ntp6\nRp7\n(I1\n(I3\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\n"
        b"tp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS'"
        + "".join(f"\\x{b:02x}" for b in array.tobytes()).encode()
        + b"'\np15\ntp16\nbs."
    )
    (tmp_path / "old.pkl").write_bytes(old)
    np.testing.assert_array_equal(read_plain_pickle(tmp_path / "old.pkl")["F1"], array)


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    path = write(tmp_path / "a.pkl", {"a": Runs(tmp_path / "made")}, protocol)
    with pytest.raises(ValueError, match="mkdir, which is not plain data; refused"):
        read_plain_pickle(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "call",
    [
        b"cnumpy\nndarray\n(I100000000000\ntR.",  # an array of any size
        b"cnumpy.core.multiarray\n_reconstruct\n(c__builtin__\ndict\n(I0\ntS'b'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n(S'1'\nS'upper'\ntR.",
        b"c_codecs\nencode\n(S'1'\nS'rot13'\ntR.",
    ],
)
def test_calls_by_hand_are_refused(tmp_path: Path, call: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(call)
    with pytest.raises(ValueError, match=r"a\.pkl: .*(refused|not a whole pickle)"):
        read_plain_pickle(tmp_path / "a.pkl")


def test_missing_empty_and_cut_off(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_plain_pickle(tmp_path / "a.pkl")
    path = write(tmp_path / "a.pkl", CONTENT)
    whole = path.read_bytes()
    assert list(pickletools.genops(whole))
    for end in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"a\.pkl"):
            read_plain_pickle(path)


def named(module: str, name: str, state: bytes) -> bytes:
    """A pickle of Python 2 of an object of a class, with its content."""
    start = f"ccopy_reg\n_reconstructor\n(c{module}\n{name}\nc__builtin__\nobject\nNtR"
    return start.encode() + state + b"b."


def state_of(**arrays: Any) -> bytes:
    """A dict as pickled text without its end."""
    return pickle.dumps(arrays, protocol=2)[2:-1]


def test_arrays_of_other_libraries_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(named("chumpy.ch", "Ch", state_of(x=np.arange(6.0).reshape(2, 3))))
    found = read_plain_pickle(path)
    np.testing.assert_array_equal(np.asarray(found), [[0, 1, 2], [3, 4, 5]])
    assert np.asarray(found, dtype=np.float32).dtype == np.float32
    parts = {
        "data": np.array([1.0, 2.0, 3.0]),
        "indices": np.array([0, 1, 1], np.int32),
        "indptr": np.array([0, 2, 2, 3], np.int32),
    }
    wanted = np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 3.0]])
    for module in ("scipy.sparse.csr", "scipy.sparse._csr"):
        path.write_bytes(named(module, "csr_matrix", state_of(_shape=(3, 2), **parts)))
        np.testing.assert_array_equal(np.asarray(read_plain_pickle(path)), wanted)
    path.write_bytes(named("scipy.sparse.csc", "csc_matrix", state_of(_shape=(2, 3), **parts)))
    np.testing.assert_array_equal(np.asarray(read_plain_pickle(path)), wanted.T)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("Ch", {"x": [1, 2]}, "ChumpyArray holds no array of numbers 'x'"),
        ("Ch", {"x": np.array(["a"])}, "holds no array of numbers"),
        ("csc_matrix", {"data": np.ones(2)}, "names places that it does not have"),
        ("csc_matrix", {"indices": np.array([0, -1, 1])}, "names places"),
        ("csc_matrix", {"indices": np.array([0, 1, 2])}, "names places"),
        ("csc_matrix", {"indptr": np.array([0, 2, 1, 3])}, "do not follow one another"),
        ("csc_matrix", {"indptr": np.array([0, 2, 3, 4])}, "do not follow one another"),
        ("csc_matrix", {"indptr": np.array([0.0, 2, 2, 3])}, "do not follow one another"),
        ("csc_matrix", {"_shape": (2, 2)}, "names places"),
        ("csc_matrix", {"_shape": (10**6, 10**6)}, "at most 100000000 values"),
        ("csc_matrix", {"_shape": (2,)}, "2 sizes"),
        ("csc_matrix", {"_shape": "ab"}, "2 sizes"),
    ],
)
def test_arrays_of_other_libraries_that_are_none(
    tmp_path: Path, name: str, changed: dict[str, Any], message: str
) -> None:
    state: dict[str, Any] = {
        "_shape": (2, 3),
        "data": np.array([1.0, 2.0, 3.0]),
        "indices": np.array([0, 1, 1]),
        "indptr": np.array([0, 2, 2, 3]),
    }
    module = "chumpy.ch" if name == "Ch" else "scipy.sparse.csc"
    (tmp_path / "a.pkl").write_bytes(named(module, name, state_of(**state | changed)))
    found = read_plain_pickle(tmp_path / "a.pkl")
    with pytest.raises(ValueError, match=message):
        np.asarray(found)


@pytest.mark.parametrize(
    "call",
    [
        b"ccopy_reg\n_reconstructor\n(c__builtin__\ndict\nc__builtin__\nobject\nNtR.",
        named("chumpy.ch", "Ch", b"(I1\nI2\nt"),  # its content is no dict
        b"cchumpy.ch\nCh\n}b.",  # content for the class itself
        b"cchumpy.ch\nCh\n(I1\ntR.",  # called with an argument
        b"cchumpy.ch\nChLambda\n.",
        b"cscipy.sparse\neye\n(I3\ntR.",
    ],
)
def test_calls_by_hand_of_other_libraries_are_refused(tmp_path: Path, call: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(call)
    with pytest.raises(ValueError, match=r"a\.pkl: .*(refused|not a whole pickle)"):
        read_plain_pickle(tmp_path / "a.pkl")
