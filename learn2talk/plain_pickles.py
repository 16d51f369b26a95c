"""Reads a pickle as plain data: containers, text, numbers, NumPy arrays, and nothing that runs.

VOCASET, BIWI and FLAME hand out pickles, and unpickling calls whatever a file names. Here only
the names by which containers and NumPy arrays are rebuilt mean anything, and each means a function
of this module or a plain type. Any other name is a refusal before it is looked up. For weights
`avsr.pretrained.checkpoint_reading` does the same.

FLAME's own files hold arrays of chumpy and sparse matrices of SciPy. Neither library is imported:
a `StoredArray` keeps what the file says of one, and NumPy reads it (`numpy.asarray`).
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np


class _Array:
    """Stands for ``numpy.ndarray``, which a pickle names but must not call."""

    def __new__(cls, *_: Any) -> _Array:
        raise pickle.UnpicklingError("calls numpy.ndarray")


def _empty_array(kind: Any, *_: Any) -> np.ndarray:
    """What NumPy's pickles begin an array with; its content comes after it."""
    if kind is not _Array:
        raise pickle.UnpicklingError("rebuilds an array of a class of its own")
    return np.empty(0)


def _array_of_bytes(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(dtype: Any, data: Any) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype)[0]


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes into a pickle of protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encodes text as {encoding}")
    return text.encode("latin1")


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


class StoredArray:
    """An array that another library pickled, as the numbers in its file.

    ``numpy.asarray`` gives the array, a sparse matrix as a dense one; it raises ValueError where
    the numbers do not belong together, or a matrix would be larger than `LARGEST_DENSE`.
    """

    state: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"stores a {type(state).__name__} as an array's content")
        self.state = state

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self._numbers()
        return array.astype(dtype) if dtype is not None and array.dtype != dtype else array

    def _numbers(self) -> np.ndarray:
        raise NotImplementedError

    def _part(self, name: str) -> np.ndarray:
        found = self.state.get(name)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "iufb":
            raise ValueError(f"{type(self).__name__} holds no array of numbers {name!r}")
        return found


class ChumpyArray(StoredArray):
    """An array of chumpy (``chumpy.ch.Ch``): its values stand under ``x``."""

    def _numbers(self) -> np.ndarray:
        return self._part("x")


class SparseRows(StoredArray):
    """A sparse matrix of SciPy whose rows stand one after the other (``csr``)."""

    def _numbers(self) -> np.ndarray:
        lines, ids = self._places()
        return self._dense(lines, ids)

    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Line and place in its line of every value."""
        ends, ids = self._part("indptr"), self._part("indices")
        whole = ends.ndim == ids.ndim == 1 and ends.dtype.kind == ids.dtype.kind == "i"
        if (
            not whole
            or not len(ends)
            or ends[0]
            or (np.diff(ends) < 0).any()
            or (ends[-1] != len(ids))
        ):
            raise ValueError("a sparse matrix has lines that do not follow one another")
        return np.repeat(np.arange(len(ends) - 1), np.diff(ends)), ids

    def _dense(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        values = self._part("data")
        shape = self.state.get("_shape", self.state.get("shape"))
        whole = isinstance(shape, tuple) and all(isinstance(n, (int, np.integer)) for n in shape)
        if not whole or len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] > LARGEST_DENSE:
            raise ValueError(
                f"a sparse matrix of shape {shape}; 2 sizes of at most {LARGEST_DENSE} values in "
                "all are read"
            )
        outside = any(
            len(ids) and (ids.min() < 0 or ids.max() >= size)
            for ids, size in zip((rows, columns), shape, strict=True)
        )
        if values.shape != rows.shape or outside:
            raise ValueError(f"a sparse matrix of shape {shape} names places that it does not have")
        dense = np.zeros(shape, values.dtype)
        np.add.at(dense, (rows, columns), values)
        return dense


class SparseColumns(SparseRows):
    """A sparse matrix of SciPy whose columns stand one after the other (``csc``)."""

    def _numbers(self) -> np.ndarray:
        lines, ids = self._places()
        return self._dense(ids, lines)


def _rebuilt(kind: Any, *_: Any) -> StoredArray:
    """How Python 2 begins an object; its content comes after it."""
    if not (isinstance(kind, type) and issubclass(kind, StoredArray)):
        raise pickle.UnpicklingError("rebuilds an object of a class of its own")
    return kind()


LARGEST_DENSE = 100_000_000  # values; FLAME's joint regressor has 25 115
SPARSE: dict[str, type[StoredArray]] = {"csc": SparseColumns, "csr": SparseRows}
KNOWN: dict[tuple[str, str], Any] = {
    ("chumpy", "Ch"): ChumpyArray,
    ("chumpy.ch", "Ch"): ChumpyArray,
    ("copy_reg", "_reconstructor"): _rebuilt,
    ("copyreg", "_reconstructor"): _rebuilt,
    **{
        (f"scipy.sparse.{before}{word}", f"{word}_{kind}"): made
        for before in ("", "_")
        for word, made in SPARSE.items()
        for kind in ("matrix", "array")
    },
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encoded,
    ("collections", "OrderedDict"): _plain_dict,
    ("collections", "defaultdict"): _plain_dict,
    **{
        (f"numpy.{core}.multiarray", name): function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", _empty_array), ("scalar", _scalar))
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array_of_bytes for core in ("core", "_core")},
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (dict, list, tuple, set, int, float, str, bool, object)
    },
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"names {module}.{name}, which is not plain data")
        return KNOWN[(module, name)]


def read_plain_pickle(path: Path | str) -> Any:
    """Content of a pickle of containers, text, numbers and NumPy arrays (Python 2's, too).

    Arrays of chumpy and sparse matrices of SciPy come as `StoredArray`.

    Raises:
        ValueError: missing, empty, truncated, or a name that is not plain data; nothing from the
            file has been called then.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: file is empty (0 bytes); copy it again")
    try:
        with open(path, "rb") as stream:
            return _Reader(stream, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: {error}; refused, nothing of it was run; give the file that the corpus's "
            "authors published"
        ) from error
    except Exception as error:  # a damaged pickle fails anywhere in its reader, in any way
        raise ValueError(
            f"{path}: not a whole pickle ({type(error).__name__}); copy or download it again"
        ) from error
