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
