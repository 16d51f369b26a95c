"""PLY, ascii and binary in both byte orders: the elements ``vertex`` and ``face``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learn2talk.mesh_files.parsed import ParsedMesh, corners_split

KINDS = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CORNERS = ("vertex_indices", "vertex_index")


@dataclass(frozen=True)
class PlyProperty:
    """A named value of an element's rows, or a list of them."""

    name: str
    kind: str  # of a value, as numpy names it
    count_kind: str | None = None  # of a list's length


@dataclass(frozen=True)
class PlyElement:
    """A table of the file."""

    name: str
    count: int
    properties: tuple[PlyProperty, ...]


def read_ply(path: Path) -> ParsedMesh:
    """Vertices and triangles of a PLY file; other elements are passed over.

    Raises:
        ValueError: no PLY header, an unknown format or type, no coordinates, or too few bytes.
    """
    data = path.read_bytes()
    order, elements, start = ply_header(path, data)
    source: _Words | _Bytes
    source = _Words(path, data[start:]) if order == "" else _Bytes(path, data, start, order)
    vertices = np.zeros((0, 3))
    polygons: list[list[float]] = []
    for element in elements:
        names = [p.name for p in element.properties]
        if element.name == "vertex":
            if not {"x", "y", "z"} <= set(names) or any(p.count_kind for p in element.properties):
                raise ValueError(f"{path}: its vertices have no plain x, y, z; export it again")
            table = source.table(element)
            vertices = np.stack([table[names.index(axis)] for axis in "xyz"], axis=1)
        elif element.name == "face":
            corners = next((n for n in CORNERS if n in names), None)
            if corners is None:
                raise ValueError(f"{path}: its faces have no {' or '.join(CORNERS)}; export again")
            rows = source.rows(element)
            polygons = [row[names.index(corners)].tolist() for row in rows]
        elif element.name == "tristrips":
            raise ValueError(f"{path}: holds triangle strips; export it with plain faces")
        else:
            source.rows(element)
    short = next((i for i, corners in enumerate(polygons) if len(corners) < 3), None)
    if short is not None:
        raise ValueError(f"{path}: face {short} has fewer than 3 corners; export it again")
    triangles, split = corners_split(polygons)
    return ParsedMesh(vertices.astype(np.float64), triangles, split)


def ply_header(path: Path, data: bytes) -> tuple[str, list[PlyElement], int]:
    """Byte order ("" is ascii), elements, and where the data begins, from a file's first bytes.

    Raises:
        ValueError: no PLY, a header that does not end in ``data``, or a line that is unknown.
    """
    if not data.startswith((b"ply\n", b"ply\r")):
        raise ValueError(f"{path}: does not begin with 'ply', so it is no PLY file")
    end = data.find(b"end_header")
    newline = data.find(b"\n", end)
    if end < 0 or newline < 0:
        raise ValueError(f"{path}: its header does not end; the file is truncated, copy it again")
    order: str | None = None
    elements: list[PlyElement] = []
    for line in data[:end].decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        try:
            match words:
                case ["format", name, _]:
                    order = BYTE_ORDERS[name]
                case ["element", name, count]:
                    elements.append(PlyElement(name, int(count), ()))
                case ["property", "list", count_kind, kind, name]:
                    _add(elements, PlyProperty(name, KINDS[kind], KINDS[count_kind]))
                case ["property", kind, name]:
                    _add(elements, PlyProperty(name, KINDS[kind]))
                case ["comment" | "obj_info", *_] | []:
                    pass
                case _:
                    raise ValueError("unknown line")
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(f"{path}: header line '{line}' cannot be read ({error})") from error
    if order is None:
        raise ValueError(f"{path}: its header names no format; export it again")
    return order, elements, newline + 1


def _add(elements: list[PlyElement], new: PlyProperty) -> None:
    last = elements[-1]
    elements[-1] = PlyElement(last.name, last.count, (*last.properties, new))


class _Words:
    """The values of an ascii file, one after the other."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.words, self.at = path, data.split(), 0

    def take(self, count: int, element: PlyElement) -> NDArray[np.float64]:
        found = self.words[self.at : self.at + count]
        self.at += count
        try:
            if len(found) < count:
                raise ValueError("the file ends")
            return np.array(found, dtype=np.float64)
        except ValueError as error:
            raise ValueError(
                f"{self.path}: its {element.count} elements '{element.name}' cannot be read "
                f"({error}); the file is truncated or damaged, copy it again"
            ) from error

    def table(self, element: PlyElement) -> list[NDArray[Any]]:
        """Columns of an element whose properties are all plain values."""
        width = len(element.properties)
        return list(self.take(element.count * width, element).reshape(-1, width).T)

    def rows(self, element: PlyElement) -> list[list[NDArray[Any]]]:
        """For each row its properties; a plain value is a list of one."""
        return [
            [
                self.take(1 if p.count_kind is None else int(self.take(1, element)[0]), element)
                for p in element.properties
            ]
            for _ in range(element.count)
        ]


class _Bytes:
    """The values of a binary file, one after the other."""

    def __init__(self, path: Path, data: bytes, start: int, order: str) -> None:
        self.path, self.data, self.at, self.order = path, data, start, order

    def take(self, kind: Any, count: int, element: PlyElement) -> NDArray[Any]:
        dtype = np.dtype(kind)
        size = dtype.itemsize * count
        if count < 0 or self.at + size > len(self.data):
            raise ValueError(
                f"{self.path}: ends before its {element.count} elements '{element.name}'; the file "
                "is truncated or damaged, copy it again"
            )
        found = np.frombuffer(self.data, dtype, count, self.at)
        self.at += size
        return found

    def table(self, element: PlyElement) -> list[NDArray[Any]]:
        """Columns of an element whose properties are all plain values."""
        fields = [(f"p{i}", self.order + p.kind) for i, p in enumerate(element.properties)]
        table = self.take(fields, element.count, element)
        return [table[name] for name, _ in fields]

    def rows(self, element: PlyElement) -> list[list[NDArray[Any]]]:
        """For each row its properties; a plain value is a list of one."""
        start, first = self.at, self._row(element) if element.count else []
        self.at = start
        # Nearly every file has faces of one size only: a table then, which is read at once.
        fields: list[tuple[Any, ...]] = []
        for i, (p, values) in enumerate(zip(element.properties, first, strict=False)):
            if p.count_kind is not None:
                fields.append((f"n{i}", self.order + p.count_kind))
            fields.append((f"p{i}", self.order + p.kind, (len(values),)))
        size = np.dtype(fields).itemsize * element.count
        if size and self.at + size <= len(self.data):
            table = self.take(fields, element.count, element)
            lists = [
                (i, len(v)) for i, v in enumerate(first) if f"n{i}" in (table.dtype.names or ())
            ]
            if all((table[f"n{i}"] == length).all() for i, length in lists):
                columns = [table[f"p{i}"] for i in range(len(first))]
                return [list(row) for row in zip(*columns, strict=True)]
            self.at = start
        return [self._row(element) for _ in range(element.count)]

    def _row(self, element: PlyElement) -> list[NDArray[Any]]:
        row = []
        for p in element.properties:
            count = 1
            if p.count_kind is not None:
                count = int(self.take(self.order + p.count_kind, 1, element)[0])
            row.append(self.take(self.order + p.kind, count, element))
        return row
