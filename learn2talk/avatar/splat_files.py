"""Reads and writes splats as `.ply`: plain 3D Gaussian Splatting, and GaussianAvatars' bound ones.

Both are one element ``vertex`` of float32: x y z, (nx ny nz,) f_dc_0..2, f_rest_* (all of red,
then green, then blue), opacity (logit), scale_0..2 (logarithms), rot_0..3 (w x y z). A bound file
has ``binding_0`` besides, the splat's triangle, and its numbers are in the triangle's frame.
Numbers are read in blocks, so that memory is that of the splats and a block.
Axis letters: N splats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.files import write_atomically
from learn2talk.avatar.splats import SH_COEFFICIENTS, BoundSplats, Splats
from learn2talk.mesh_files.ply import PlyElement, ply_header

BINDING = "binding_0"
BLOCK_ROWS = 65_536
_HEADER_BYTES = 1 << 20
_POSITION, _SCALE = ("x", "y", "z"), ("scale_0", "scale_1", "scale_2")
_ROTATION, _CONSTANT = ("rot_0", "rot_1", "rot_2", "rot_3"), ("f_dc_0", "f_dc_1", "f_dc_2")
_NEEDED = (*_POSITION, *_CONSTANT, "opacity", *_SCALE, *_ROTATION)
_LARGEST_EXACT = 1 << 24  # whole numbers that a float32 holds exactly


@dataclass(frozen=True)
class PlyTables:
    """Where the tables of a PLY file lie: element, offset in bytes, and the comments."""

    path: Path
    order: str  # "<", ">" or "" for ascii
    elements: Mapping[str, tuple[PlyElement, int]]
    comments: tuple[str, ...]


def ply_tables(path: Path | str) -> PlyTables:
    """The tables of a PLY file whose rows are plain numbers, from its header and its size.

    Raises:
        ValueError: no such file, no PLY, a list in front of a table of numbers, or fewer bytes than
            the header promises.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path")
    with open(path, "rb") as stream:
        head = stream.read(_HEADER_BYTES)
    if not head:
        raise ValueError(f"{path}: is empty (0 bytes); copy or export it again")
    order, elements, at = ply_header(path, head)
    size, places = path.stat().st_size, {}
    for element in elements:
        if any(p.count_kind is not None for p in element.properties):
            break  # faces: nothing behind them can be found without reading them
        places[element.name] = (element, at)
        if order:
            at += element.count * _row_type(element, order).itemsize
            if at > size:
                raise ValueError(
                    f"{path}: ends before its {element.count} elements '{element.name}' ({size} of "
                    f"{at} bytes); the file is truncated, copy it again"
                )
        elif element.count:
            break  # ascii rows have no length of their own
    lines = head[: head.find(b"end_header")].decode("utf-8", errors="replace").splitlines()
    comments = tuple(line[8:].strip() for line in lines if line.startswith("comment "))
    return PlyTables(path, order, places, comments)


def _row_type(element: PlyElement, order: str) -> np.dtype:
    return np.dtype([(p.name, order + p.kind) for p in element.properties])


def ply_blocks(tables: PlyTables, name: str) -> Iterator[NDArray]:
    """The rows of an element as structured arrays of up to `BLOCK_ROWS`, in order."""
    element, at = tables.elements[name]
    if tables.order == "":
        with open(tables.path, "rb") as stream:
            stream.seek(at)
            dtype = _row_type(element, "<")
            for start in range(0, element.count, BLOCK_ROWS):
                rows = min(BLOCK_ROWS, element.count - start)
                words = [stream.readline().split() for _ in range(rows)]
                try:
                    yield np.array([tuple(map(float, row)) for row in words], dtype=dtype)
                except (ValueError, TypeError) as error:
                    raise ValueError(
                        f"{tables.path}: its rows {start} to {start + rows - 1} of '{name}' cannot "
                        f"be read ({error}); the file is truncated or damaged, copy it again"
                    ) from error
        return
    dtype = _row_type(element, tables.order)
    with open(tables.path, "rb") as stream:
        stream.seek(at)
        for start in range(0, element.count, BLOCK_ROWS):
            yield np.fromfile(stream, dtype, min(BLOCK_ROWS, element.count - start))


def read_splats(path: Path | str) -> Splats | BoundSplats:
    """Splats of a file: bound ones where it says which triangles they ride on.

    Args:
        path: `.ply`, binary of either byte order or ascii.

    Returns:
        float32 tensors on the CPU. Memory is that of the splats and one block of 65 536 rows.

    Raises:
        ValueError: no such file, truncated, another dialect (a mesh, a cloud of coloured points,
            SuperSplat's compressed form), a number that is not finite, a rotation of length 0, or a
            binding that is no whole number from 0 on.
    """
    return splats_of(ply_tables(path))


def splats_of(tables: PlyTables) -> Splats | BoundSplats:
    """As :func:`read_splats`, where the header was read already."""
    path = tables.path
    element, rest = _checked_layout(tables)
    count, names = element.count, [p.name for p in element.properties]
    coefficients = 1 + len(rest) // 3
    columns: dict[str, NDArray] = {
        "positions": np.empty((count, 3), np.float32),
        "log_scales": np.empty((count, 3), np.float32),
        "rotations": np.empty((count, 4), np.float32),
        "opacity_logits": np.empty(count, np.float32),
        "sh": np.empty((count, coefficients, 3), np.float32),
    }
    ids = np.empty(count, np.int64) if BINDING in names else None
    start = 0
    for block in ply_blocks(tables, "vertex"):
        part = slice(start, start + len(block))
        _take(block, _POSITION, columns["positions"][part])
        _take(block, _SCALE, columns["log_scales"][part])
        _take(block, _ROTATION, columns["rotations"][part])
        columns["opacity_logits"][part] = block["opacity"]
        _take(block, _CONSTANT, columns["sh"][part, 0])
        for place, name in enumerate(rest):
            columns["sh"][part, 1 + place % (coefficients - 1), place // (coefficients - 1)] = (
                block[name]
            )
        _check_numbers(path, {name: values[part] for name, values in columns.items()}, start)
        if ids is not None:
            ids[part] = _binding(path, block[BINDING], start)
        start += len(block)
    splats = Splats(**{name: torch.from_numpy(values) for name, values in columns.items()})
    return splats if ids is None else BoundSplats(splats, torch.from_numpy(ids))


def _take(block: NDArray, names: Sequence[str], out: NDArray) -> None:
    for place, name in enumerate(names):
        out[:, place] = block[name]


def _checked_layout(tables: PlyTables) -> tuple[PlyElement, list[str]]:
    """The element of the splats and the names of its harmonics above the constant."""
    path = tables.path
    if "vertex" not in tables.elements:
        packed = "chunk" in tables.elements
        raise ValueError(
            f"{path}: has no table 'vertex' of plain numbers at its beginning"
            + ("; it is compressed (SuperSplat), export it as plain PLY" if packed else "")
        )
    element = tables.elements["vertex"][0]
    names = [p.name for p in element.properties]
    if "packed_position" in names:
        raise ValueError(f"{path}: is compressed (SuperSplat); export it as plain PLY")
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        kind = "a cloud of coloured points" if "red" in names else "a mesh or another dialect"
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}, so it is {kind}, not splats; give a PLY as 3D "
            "Gaussian Splatting writes it"
        )
    rest = [name for name in names if name.startswith("f_rest_")]
    if sorted(rest) != sorted(f"f_rest_{i}" for i in range(len(rest))) or (
        len(rest) // 3 + 1 not in SH_COEFFICIENTS.values() or len(rest) % 3
    ):
        raise ValueError(
            f"{path}: has {len(rest)} f_rest values; spherical harmonics of degree 0 to 3 have "
            "0, 9, 24 or 45, numbered from 0"
        )
    bindings = [name for name in names if name.startswith("binding")]
    if bindings not in ([], [BINDING]):
        raise ValueError(f"{path}: has {', '.join(bindings)}; one column {BINDING} is understood")
    return element, [f"f_rest_{i}" for i in range(len(rest))]


def _check_numbers(path: Path, columns: Mapping[str, NDArray], start: int) -> None:
    for name, values in columns.items():
        wrong = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{path}: splat {start + row} has {name} {values[row].tolist()}, and "
                f"{wrong.sum() - 1} more of its block are not finite; repair or export the file "
                "again"
            )
    flat = (columns["rotations"] == 0).all(axis=1)
    if flat.any():
        raise ValueError(
            f"{path}: splat {start + int(np.flatnonzero(flat)[0])} has the rotation 0 0 0 0, which "
            "is none; export the file again"
        )


def _binding(path: Path, values: NDArray, start: int) -> NDArray[np.int64]:
    ids = np.asarray(values, np.float64)
    wrong = ~np.isfinite(ids) | (ids < 0) | (ids != np.floor(ids))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{path}: splat {start + row} is bound to triangle {values[row]}; give whole numbers "
            "from 0 on"
        )
    return ids.astype(np.int64)


def write_splats(
    path: Path | str,
    splats: Splats | BoundSplats,
    *,
    comments: Sequence[str] = (),
    further: Mapping[str, NDArray] | None = None,
) -> None:
    """Write splats as binary little-endian `.ply`, atomically and in blocks.

    Args:
        path: file to write.
        splats: bound ones get the column ``binding_0``.
        comments: lines of the header, without line breaks.
        further: tables behind the splats: element name -> structured array of numbers. Readers of
            splats take the first table and do not see them.

    Raises:
        ValueError: a triangle id beyond 16 777 216, which the format's float32 cannot hold.
    """
    path = Path(path)
    local = splats.local if isinstance(splats, BoundSplats) else splats
    bound = splats.triangle_ids if isinstance(splats, BoundSplats) else None
    if bound is not None and len(bound) and int(bound.max()) > _LARGEST_EXACT:
        raise ValueError(
            f"{path}: triangle {int(bound.max())} is above {_LARGEST_EXACT}, the largest that the "
            "format holds exactly; bind to a coarser mesh"
        )
    rest = 3 * (local.sh.shape[1] - 1)
    names = [
        *_POSITION,
        *("nx", "ny", "nz"),
        *_CONSTANT,
        *(f"f_rest_{i}" for i in range(rest)),
        "opacity",
        *_SCALE,
        *_ROTATION,
        *([] if bound is None else [BINDING]),
    ]
    tables = dict(further or {})
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {line}" for line in comments)]
    if any("\n" in line or "\r" in line for line in lines):
        raise ValueError(f"{path}: a comment has a line break; write it on one line")
    lines += [f"element vertex {len(local)}", *(f"property float {name}" for name in names)]
    for name, table in tables.items():
        lines.append(f"element {name} {len(table)}")
        lines += [
            f"property {_WORDS[table.dtype[field].str[1:]]} {field}"
            for field in table.dtype.names or ()
        ]
    lines.append("end_header")
    with write_atomically(path) as temporary, open(temporary, "wb") as stream:
        stream.write(("\n".join(lines) + "\n").encode())
        for start in range(0, len(local), BLOCK_ROWS):
            part = _rows(local, bound, slice(start, start + BLOCK_ROWS), len(names))
            stream.write(part.astype("<f4", copy=False).tobytes())
        for table in tables.values():
            stream.write(np.ascontiguousarray(table).tobytes())


_WORDS = {"u1": "uchar", "i4": "int", "f4": "float"}


def _rows(
    local: Splats, bound: torch.Tensor | None, part: slice, width: int
) -> NDArray[np.float32]:
    """Rows of the file, (rows of the part, width)."""
    take: Callable[[torch.Tensor], NDArray] = lambda values: (  # noqa: E731 (five uses in a row)
        values[part].detach().float().cpu().numpy()
    )
    sh, count = take(local.sh), len(take(local.opacity_logits))
    columns = [
        take(local.positions),
        np.zeros((count, 3), np.float32),
        sh[:, 0],
        sh[:, 1:].transpose(0, 2, 1).reshape(count, -1),
        take(local.opacity_logits)[:, None],
        take(local.log_scales),
        take(local.rotations),
    ]
    if bound is not None:
        columns.append(bound[part].cpu().numpy().astype(np.float32)[:, None])
    rows: NDArray[np.float32] = np.concatenate(columns, axis=1)
    assert rows.shape[1] == width
    return rows
