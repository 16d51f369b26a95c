"""The binary container of glTF 2.0 (GLB) and its accessors; the specification's section numbers
stand beside what they ask for (Khronos, "glTF 2.0 Specification", 2.0.1)."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT, UNSIGNED_BYTE, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5121, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
_MAGIC, _VERSION, _JSON_CHUNK, _BINARY_CHUNK = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_COMPONENTS = {
    np.dtype(np.float32): FLOAT,
    np.dtype(np.uint8): UNSIGNED_BYTE,
    np.dtype(np.uint16): UNSIGNED_SHORT,
    np.dtype(np.uint32): UNSIGNED_INT,
}
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


class GlbBuffer:
    """Collects arrays into one buffer with its bufferViews and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, array: NDArray, target: int | None = None) -> int:
        """Append an array and return its bufferView's index.

        Little-endian, tightly packed, on a 4-byte boundary (3.6.2.4).
        """
        self.data.extend(b"\0" * (-len(self.data) % 4))
        packed = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(packed)}
        self.data.extend(packed)
        self.views.append(view | ({} if target is None else {"target": target}))
        return len(self.views) - 1

    def accessor(
        self,
        array: NDArray,
        *,
        target: int | None = None,
        bounds: bool = False,
        normalized: bool = False,
    ) -> int:
        """Append an array (N,) or (N, 3 or 4) and return its accessor's index.

        `bounds` writes min and max, which positions, times and some readers need (3.6.2.5).
        """
        found = {"bufferView": self.view(array, target)} | _described(array, bounds)
        self.accessors.append(found | ({"normalized": True} if normalized else {}))
        return len(self.accessors) - 1

    def sparse_accessor(
        self, values: NDArray[np.float32], indices_view: int, indices: NDArray, count: int
    ) -> int:
        """Append `count` rows that are 0 but for `values` (R, 3) at `indices` (R,), ascending.

        An accessor without a bufferView starts as zeros (3.6.2.3). The view of indices may be
        shared. min and max are those after the substitution.
        """
        dense = np.zeros((count, values.shape[1]), np.float32)
        dense[indices] = values
        sparse = {
            "count": len(indices),
            "indices": {
                "bufferView": indices_view,
                "componentType": _COMPONENTS[indices.dtype],
            },
            "values": {"bufferView": self.view(values)},
        }
        self.accessors.append(_described(dense, True) | {"sparse": sparse})
        return len(self.accessors) - 1


def _described(array: NDArray, bounds: bool) -> dict[str, Any]:
    rows = array.reshape(len(array), -1)
    found: dict[str, Any] = {
        "componentType": _COMPONENTS[array.dtype],
        "count": len(rows),
        "type": _TYPES[rows.shape[1]],
    }
    if bounds:
        # float32 written as the double that equals it, so that the bounds compare as equal
        found |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
    return found


def pack_glb(document: dict[str, Any], buffer: GlbBuffer) -> bytes:
    """The bytes of a `.glb`: header, JSON chunk, binary chunk, each padded to 4 bytes (4.4).

    Raises:
        ValueError: 4 GiB or more, which the header cannot say.
    """
    binary = bytes(buffer.data) + b"\0" * (-len(buffer.data) % 4)
    document = document | {
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    words = text.encode("utf-8")
    words += b" " * (-len(words) % 4)
    total = 12 + 8 + len(words) + 8 + len(binary)
    if total >= 2**32:
        raise ValueError(
            f"glTF file would have {total} bytes; the format ends at 4294967295: export a shorter "
            "motion or fewer morph targets"
        )
    return b"".join(
        [
            struct.pack("<III", _MAGIC, _VERSION, total),
            struct.pack("<II", len(words), _JSON_CHUNK),
            words,
            struct.pack("<II", len(binary), _BINARY_CHUNK),
            binary,
        ]
    )
