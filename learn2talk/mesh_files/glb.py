"""Binary glTF 2.0 (GLB): the triangles of a static mesh, placed as its nodes say.

A GLB is in metres by its specification; what an exporter wrote is what is read.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learn2talk.mesh_files.parsed import ParsedMesh

MAGIC = b"glTF"
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
TRIANGLES = 4  # the primitive mode of plain triangles


def read_glb(path: Path) -> ParsedMesh:
    """All primitives of the scene joined, in the order of its nodes.

    Primitives that share an array of positions (a mesh with several materials) share its vertices.
    Skins and morph targets are left at rest.

    Raises:
        ValueError: not GLB 2.0, truncated, compressed (Draco, meshopt), sparse, or with lines,
            points or strips where triangles must be.
    """
    document, binary = glb_document(path)
    blocks: list[NDArray[np.float64]] = []
    triangles: list[NDArray[np.int64]] = []
    placed: dict[tuple[int, bytes], int] = {}
    count = 0
    try:
        needed = document.get("extensionsRequired", [])
        if needed:
            raise ValueError(f"needs the extensions {', '.join(needed)}; export it uncompressed")
        for mesh, matrix in placed_meshes(document):
            for primitive in document["meshes"][mesh]["primitives"]:
                if primitive.get("mode", TRIANGLES) != TRIANGLES:
                    raise ValueError(
                        f"a primitive has mode {primitive['mode']}, not {TRIANGLES}; export plain "
                        "triangles"
                    )
                position = primitive["attributes"]["POSITION"]
                key = (position, matrix.tobytes())
                if key not in placed:
                    points = glb_accessor(document, binary, position, "VEC3").astype(np.float64)
                    blocks.append(points @ matrix[:3, :3].T + matrix[:3, 3])
                    placed[key] = count
                    count += len(points)
                if "indices" in primitive:
                    ids = glb_accessor(document, binary, primitive["indices"], "SCALAR")[:, 0]
                else:
                    ids = np.arange(document["accessors"][position]["count"])
                if len(ids) % 3:
                    raise ValueError(f"a primitive has {len(ids)} indices, not a multiple of 3")
                triangles.append(ids.astype(np.int64).reshape(-1, 3) + placed[key])
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path}: its parts do not fit together ({type(error).__name__}: {error}); export it "
            "again"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not blocks:
        raise ValueError(f"{path}: its scene shows no mesh; export one that does")
    return ParsedMesh(np.concatenate(blocks), np.concatenate(triangles))


def glb_document(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON document and the binary chunk. Raises ValueError for what is no whole GLB 2.0."""
    data = path.read_bytes()
    if data[:4] != MAGIC or len(data) < 20:
        raise ValueError(f"{path}: is no GLB file (it does not begin with glTF); export as .glb")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise ValueError(f"{path}: is GLB version {version}; export it as glTF 2.0")
    if length > len(data):
        raise ValueError(
            f"{path}: is truncated, {len(data)} of {length} bytes; copy or export it again"
        )
    parts: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<I4s", data, at)
        if at + 8 + size > length:
            raise ValueError(f"{path}: a chunk ends behind the file; copy or export it again")
        parts.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    try:
        document = json.loads(parts[b"JSON"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: its JSON part cannot be read; export it again") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: its JSON part is no object; export it again")
    return document, parts.get(b"BIN\0", b"")


def placed_meshes(document: dict[str, Any]) -> list[tuple[int, NDArray[np.float64]]]:
    """Mesh number and world matrix (4, 4) of each node that shows one, parents before children."""
    nodes = document.get("nodes", [])
    if not nodes:
        return [(index, np.eye(4)) for index in range(len(document.get("meshes", [])))]
    scenes = document.get("scenes", [])
    if scenes:
        roots = scenes[document.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in children]
    found: list[tuple[int, NDArray[np.float64]]] = []
    waiting = [(index, np.eye(4)) for index in reversed(roots)]
    seen: set[int] = set()
    while waiting:
        index, above = waiting.pop()
        if index in seen:
            raise ValueError(f"node {index} has two parents; export it again")
        seen.add(index)
        world = above @ node_matrix(nodes[index])
        if "mesh" in nodes[index]:
            # A skinned mesh stands where its joints are, whatever its node says.
            skinned = "skin" in nodes[index]
            found.append((nodes[index]["mesh"], np.eye(4) if skinned else world))
        waiting += [(child, world) for child in reversed(nodes[index].get("children", []))]
    return found


def node_matrix(node: dict[str, Any]) -> NDArray[np.float64]:
    """Where a node puts what is in it, (4, 4), by its matrix or its three parts."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T  # stored by columns
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1.0, 1.0, 1.0)))
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix


def glb_accessor(
    document: dict[str, Any],
    binary: bytes,
    index: int,
    kind: str,
    *,
    sparse: bool = False,
    normalised: bool = False,
) -> NDArray[Any]:
    """The values (N, width) of an accessor.

    Args:
        document, binary: of `glb_document`.
        index: of the accessor. kind: the type that it must have, SCALAR to VEC4.
        sparse: whether it may be sparse or all zeros (morph targets).
        normalised: whether integers may stand for 0 to 1 (colours); such are float64.

    Raises:
        ValueError: another type, data elsewhere, or bytes that are not there.
    """
    accessor = document["accessors"][index]
    if not sparse and ("sparse" in accessor or "bufferView" not in accessor):
        raise ValueError(f"accessor {index} is sparse or empty; export it with plain arrays")
    is_normalised = accessor.get("normalized", False)
    if accessor["type"] != kind or (is_normalised and not normalised):
        raise ValueError(f"accessor {index} is {accessor['type']}, expected plain {kind}")
    width, count = WIDTHS[kind], int(accessor["count"])
    what, component = f"accessor {index}", accessor["componentType"]
    if "bufferView" in accessor:
        values = _viewed(document, binary, what, accessor, component, (count, width))
    else:  # an accessor without a view is zeros, which a sparse one then replaces in part
        values = np.zeros((max(count, 0), width), COMPONENTS[component])
    if "sparse" in accessor:
        places = accessor["sparse"]
        size = int(places["count"])
        ids = _viewed(
            document, binary, what, places["indices"], places["indices"]["componentType"], (size, 1)
        )
        if size and int(ids.max()) >= count:
            raise ValueError(f"accessor {index} names row {int(ids.max())} of {count}")
        values[ids[:, 0].astype(np.int64)] = _viewed(
            document, binary, what, places["values"], component, (size, width)
        )
    if is_normalised:
        return values.astype(np.float64) / np.iinfo(values.dtype).max
    return values


def _viewed(
    document: dict[str, Any],
    binary: bytes,
    what: str,
    place: dict[str, Any],
    component: int,
    shape: tuple[int, int],
) -> NDArray[Any]:
    """Values (N, width) at a place (bufferView and byteOffset) of the binary chunk."""
    view = document["bufferViews"][place["bufferView"]]
    buffer = document["buffers"][view["buffer"]]
    if view["buffer"] != 0 or "uri" in buffer:
        raise ValueError("its data lies in another file; export one self-contained .glb")
    if component not in COMPONENTS:
        raise ValueError(f"{what} has the component type {component}")
    dtype = np.dtype(COMPONENTS[component])
    count, width = shape
    packed = dtype.itemsize * width
    stride = view.get("byteStride", packed)
    start = view.get("byteOffset", 0) + place.get("byteOffset", 0)
    end = start + stride * (count - 1) + packed if count > 0 else start
    limit = min(len(binary), view.get("byteOffset", 0) + view["byteLength"])
    if min(start, count) < 0 or stride < packed or end > limit:
        raise ValueError(
            f"{what} needs bytes {start} to {end} of {limit}; the file is truncated or "
            "damaged, export it again"
        )
    if count == 0:
        return np.zeros((0, width), dtype)
    return np.ndarray((count, width), dtype, binary, start, (stride, dtype.itemsize)).copy()
