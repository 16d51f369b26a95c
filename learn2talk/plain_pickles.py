"""Reads a pickle as plain data: containers, text, numbers, NumPy arrays, and nothing that runs.

VOCASET, BIWI and FLAME hand out pickles, and unpickling calls whatever a file names. Here only
the names by which containers and NumPy arrays are rebuilt mean anything, and each means a function
of this module or a plain type. Any other name is a refusal before it is looked up. For weights
`avsr.pretrained.checkpoint_reading` does the same.
"""

from __future__ import annotations

import pickle
from pathlib import Path
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


KNOWN: dict[tuple[str, str], Any] = {
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
        for kind in (dict, list, tuple, set, int, float, str, bool)
    },
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"names {module}.{name}, which is not plain data")
        return KNOWN[(module, name)]


def read_plain_pickle(path: Path | str) -> Any:
    """Content of a pickle of containers, text, numbers and NumPy arrays (Python 2's, too).

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
