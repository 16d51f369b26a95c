"""Meshes of others: their vertices in order, or one line that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learn2talk.mesh_files import read_mesh
from tests.learn2talk.sheet_face import write_glb, write_ply

POINTS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0.5), (2, 0, 0)], dtype=float)
TRIANGLES = np.array([(0, 1, 2), (0, 2, 3), (1, 4, 2)])
OBJ = "# a face\nmtllib x.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0.5\nvt 0 0\nv 2 0 0\n"
OBJ += "f 1/1 2/1 \\\n3/1 4/1\nf 2//1 -1 3\n"


def as_obj(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_obj_keeps_the_order_and_splits_a_quad(tmp_path: Path) -> None:
    mesh = read_mesh(as_obj(tmp_path / "face.obj", OBJ))
    np.testing.assert_array_equal(mesh.vertices, POINTS)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)
    assert (mesh.polygons_split, mesh.warnings) == (1, ())


@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_ply_of_both_byte_orders(tmp_path: Path, order: str) -> None:
    write_ply(tmp_path / "face.ply", POINTS, TRIANGLES, order)
    mesh = read_mesh(tmp_path / "face.ply")
    np.testing.assert_array_equal(mesh.vertices, POINTS)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)


PLY = """ply
format ascii 1.0
comment by hand
element vertex 5
property uchar red
property double x
property double y
property double z
element camera 1
property list uchar float place
element face 2
property list uchar int vertex_index
property uchar flag
end_header
9 0 0 0
9 1 0 0
9 1 1 0
9 0 1 0.5
9 2 0 0
2 1.5 2.5
4 0 1 2 3 7
3 1 4 2 7
"""


def test_ascii_ply_with_other_elements_and_faces_of_two_sizes(tmp_path: Path) -> None:
    mesh = read_mesh(as_obj(tmp_path / "face.ply", PLY))
    np.testing.assert_array_equal(mesh.vertices, POINTS)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)
    assert mesh.polygons_split == 1


def test_binary_ply_with_faces_of_two_sizes(tmp_path: Path) -> None:
    header = (
        "ply\nformat binary_little_endian 1.0\nelement vertex 5\nproperty float x\n"
        "property float y\nproperty float z\nelement face 2\n"
        "property list uchar ushort vertex_indices\nend_header\n"
    )
    faces = b"\x04" + np.array([0, 1, 2, 3], "<u2").tobytes()
    faces += b"\x03" + np.array([1, 4, 2], "<u2").tobytes()
    (tmp_path / "face.ply").write_bytes(header.encode() + POINTS.astype("<f4").tobytes() + faces)
    np.testing.assert_array_equal(read_mesh(tmp_path / "face.ply").triangles, TRIANGLES)


def glb_parts() -> tuple[dict[str, Any], bytes]:
    """Two primitives that share positions, moved by a node in a turned and scaled parent."""
    positions = POINTS.astype("<f4").tobytes()
    first, second = TRIANGLES[:2].astype("<u2").tobytes(), TRIANGLES[2:].astype("<u4").tobytes()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [1]}],
        "nodes": [
            {"mesh": 0, "translation": [1, 2, 3]},
            {"children": [0], "scale": [2, 2, 2], "rotation": [0, 0, 0.5**0.5, 0.5**0.5]},
        ],
        "meshes": [
            {
                "primitives": [
                    {"attributes": {"POSITION": 0}, "indices": 1},
                    {"attributes": {"POSITION": 0}, "indices": 2, "mode": 4},
                ]
            }
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 5, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 6, "type": "SCALAR"},
            {"bufferView": 2, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 60},
            {"buffer": 0, "byteOffset": 60, "byteLength": 12},
            {"buffer": 0, "byteOffset": 72, "byteLength": 12},
        ],
        "buffers": [{"byteLength": 84}],
    }
    return document, positions + first + second


def test_glb_joins_primitives_and_places_them(tmp_path: Path) -> None:
    write_glb(tmp_path / "face.glb", *glb_parts())
    mesh = read_mesh(tmp_path / "face.glb")
    moved = POINTS + (1, 2, 3)
    expected = 2 * np.stack([-moved[:, 1], moved[:, 0], moved[:, 2]], axis=1)  # a quarter turn
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-6)
    np.testing.assert_array_equal(mesh.triangles, TRIANGLES)


def test_two_meshes_of_a_glb_stand_one_after_the_other(tmp_path: Path) -> None:
    document, binary = glb_parts()
    document["nodes"] = [{"mesh": 0}, {"mesh": 0, "translation": [0, 0, 5]}]
    document["scenes"] = [{"nodes": [0, 1]}]
    write_glb(tmp_path / "face.glb", document, binary)
    mesh = read_mesh(tmp_path / "face.glb")
    np.testing.assert_allclose(mesh.vertices, np.concatenate([POINTS, POINTS + (0, 0, 5)]))
    np.testing.assert_array_equal(mesh.triangles, np.concatenate([TRIANGLES, TRIANGLES + 5]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(extensionsRequired=["KHR_draco_mesh_compression"]), "draco"),
        (lambda d: d["accessors"][0].update(sparse={}), "sparse"),
        (lambda d: d["accessors"][1].update(count=9), "truncated or damaged"),
        (lambda d: d["accessors"][1].update(count=5), "not a multiple of 3"),
        (lambda d: d["meshes"][0]["primitives"][0].update(mode=1), "mode 1"),
        (lambda d: d["buffers"][0].update(uri="data.bin"), "another file"),
        (lambda d: d["nodes"][0].update(mesh=7), "do not fit together"),
        (lambda d: d["nodes"][0].update(children=[1]), "two parents"),
        (lambda d: d["scenes"][0].update(nodes=[]), "shows no mesh"),
    ],
)
def test_glb_that_cannot_be_read(tmp_path: Path, change: Any, said: str) -> None:
    document, binary = glb_parts()
    change(document)
    write_glb(tmp_path / "face.glb", document, binary)
    with pytest.raises(ValueError, match=said):
        read_mesh(tmp_path / "face.glb")


def written(tmp_path: Path, suffix: str) -> Path:
    path = tmp_path / f"face{suffix}"
    if suffix == ".obj":
        path.write_text(OBJ)
    elif suffix == ".glb":
        write_glb(path, *glb_parts())
    else:
        write_ply(path, POINTS, TRIANGLES)
    return path


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, suffix)
    whole = path.read_bytes()
    for end in (len(whole) - 4, len(whole) // 2, 30):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=path.name):
            read_mesh(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="0 bytes"):
        read_mesh(path)


def test_truncated_ascii_ply_and_foreign_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 elements 'face' cannot be read"):
        read_mesh(as_obj(tmp_path / "face.ply", PLY[:-12]))
    with pytest.raises(ValueError, match="does not begin with 'ply'"):
        read_mesh(as_obj(tmp_path / "face.ply", OBJ))
    with pytest.raises(ValueError, match="cannot be read"):
        read_mesh(as_obj(tmp_path / "face.ply", PLY.replace("format ascii", "format utf8")))
    (tmp_path / "face.obj").write_bytes(b"\xff\xfe\x00v 0 0")
    with pytest.raises(ValueError, match="not a text file"):
        read_mesh(tmp_path / "face.obj")
    (tmp_path / "face.glb").write_bytes(b"PK\x03\x04" + b"0" * 30)
    with pytest.raises(ValueError, match="no GLB file"):
        read_mesh(tmp_path / "face.glb")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v 0 0\n", "1: 'v 0 0' cannot be read"),
        ("v 0 0 0\nv 1 0 zero\n", ":2: "),
        ("v 0 0 0\nf 1 0 1\n", "counts from 1"),
        ("v 0 0 0\nf 1 1\n", "fewer than 3 corners"),
        ("v 0 0 0\nf -1 -2 -1\n", "index -2 with 1 vertices"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", r"\[0, 1, 8\] of 3"),
        ("v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n", "1 vertices are not numbers, the first is 1"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 2\n", "names? a vertex twice"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\n", "0 triangles"),
    ],
)
def test_obj_that_no_face_can_be_made_of(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_mesh(as_obj(tmp_path / "face.obj", text))


def test_what_is_odd_is_counted_and_named(tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 -1 0\nv 0 0 1\nv 9 9 9\nv 2 0 0\n"
    text += "f 1 2 3\nf 2 1 4\nf 1 2 5\nf 1 2 7\n"
    warnings = read_mesh(as_obj(tmp_path / "face.obj", text)).warnings
    assert len(warnings) == 3
    assert "1 non-manifold edges" in warnings[0] and "0-1" in warnings[0]
    assert warnings[1] == "1 vertices belong to no triangle: 5"
    assert warnings[2] == "1 triangles have no area: [0, 1, 6]"


def test_missing_unknown_and_another_count(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such mesh file"):
        read_mesh(tmp_path / "face.obj")
    with pytest.raises(ValueError, match="not one of .obj, .ply, .glb"):
        read_mesh(tmp_path / "face.fbx")
    path = as_obj(tmp_path / "face.obj", OBJ)
    assert len(read_mesh(path, num_vertices=5).vertices) == 5
    with pytest.raises(ValueError, match="has 5 vertices, the topology 5023"):
        read_mesh(path, num_vertices=5023)


@pytest.mark.real_data
def test_published_meshes(avsr_data: Path) -> None:
    face = read_mesh(avsr_data / "ict_facekit" / "generic_neutral_mesh.obj", num_vertices=26719)
    light = np.load(avsr_data / "ict_facekit" / "ict_light_21451v.npz")
    np.testing.assert_allclose(face.vertices[:21451], light["neutral"], atol=1e-4)
    assert face.polygons_split + len(light["lmk68"]) > 20_000 and face.warnings == ()
    face = read_mesh(avsr_data / "mediapipe_face" / "canonical_face_model.obj", num_vertices=468)
    assert (len(face.triangles), face.polygons_split, face.warnings) == (898, 0, ())
