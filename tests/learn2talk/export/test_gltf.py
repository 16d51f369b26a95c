"""glTF files: valid by the specification, and weights x targets + base = motion."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learn2talk.export.gltf import write_glb
from learn2talk.export.morph_targets import factorise
from learn2talk.schema import FaceTemplate, Motion

from ..conftest import tiny_template
from .faces import spoken

COMPONENTS = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTH = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def parse(path: Path) -> tuple[dict[str, Any], bytes]:
    """JSON and binary chunk of a `.glb`; every length and padding is checked."""
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    chunks, at = [], 12
    while at < length:
        size, kind = struct.unpack_from("<I4s", data, at)
        assert size % 4 == 0 and at % 4 == 0
        chunks.append((kind, data[at + 8 : at + 8 + size]))
        at += 8 + size
    assert at == length and [kind for kind, _ in chunks] == [b"JSON", b"BIN\0"]
    document = json.loads(chunks[0][1])
    spare = len(chunks[1][1]) - document["buffers"][0]["byteLength"]
    assert 0 <= spare < 4 and len(document["buffers"]) == 1
    return document, chunks[1][1]


def view_of(document: dict[str, Any], binary: bytes, index: int, kind: int, width: int) -> Any:
    view = document["bufferViews"][index]
    start, length = view["byteOffset"], view["byteLength"]
    assert start % 4 == 0 and start + length <= document["buffers"][0]["byteLength"]
    dtype = np.dtype(COMPONENTS[kind])
    assert length % (dtype.itemsize * width) == 0
    return np.frombuffer(binary, dtype, length // dtype.itemsize, start).reshape(-1, width)


def read(document: dict[str, Any], binary: bytes, index: int) -> np.ndarray:
    """An accessor's values (N, width), sparse ones filled in; its min and max must be right."""
    accessor = document["accessors"][index]
    kind, width, count = accessor["componentType"], WIDTH[accessor["type"]], accessor["count"]
    values = np.zeros((count, width), COMPONENTS[kind])
    if "bufferView" in accessor:
        values = view_of(document, binary, accessor["bufferView"], kind, width).copy()
    if "sparse" in accessor:
        sparse = accessor["sparse"]
        of = sparse["indices"]
        places = view_of(document, binary, of["bufferView"], of["componentType"], 1)[:, 0]
        assert len(places) == sparse["count"] <= count
        assert (np.diff(places.astype(int)) > 0).all() and places[-1] < count
        # views of sparse indices and values must have neither target nor stride
        assert document["bufferViews"][of["bufferView"]].keys() == {
            "buffer",
            "byteOffset",
            "byteLength",
        }
        filled = view_of(document, binary, sparse["values"]["bufferView"], kind, width)
        values[places] = filled
    assert len(values) == count and (values.dtype.kind != "f" or np.isfinite(values).all())
    if "min" in accessor:
        np.testing.assert_array_equal(np.float32(accessor["min"]), values.min(axis=0))
        np.testing.assert_array_equal(np.float32(accessor["max"]), values.max(axis=0))
    return values


def rebuilt(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Vertices (T, V, 3) in mm and times (T,) that a player shows, and the document."""
    document, binary = parse(path)
    (mesh,) = document["meshes"]
    (primitive,) = mesh["primitives"]
    base = read(document, binary, primitive["attributes"]["POSITION"]).astype(float)
    normals = read(document, binary, primitive["attributes"]["NORMAL"])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
    colours = read(document, binary, primitive["attributes"]["COLOR_0"])
    assert len(base) == len(normals) == len(colours) and (colours[:, 3] == 255).all()
    indices = read(document, binary, primitive["indices"])
    assert len(indices) % 3 == 0 and indices.max() < len(base)
    for target in primitive["targets"]:
        assert "min" in document["accessors"][target["POSITION"]]
    shapes = np.stack([read(document, binary, t["POSITION"]) for t in primitive["targets"]])
    assert len(mesh["weights"]) == len(mesh["extras"]["targetNames"]) == len(shapes)
    (animation,) = document["animations"]
    (sampler,), (channel,) = animation["samplers"], animation["channels"]
    assert channel == {"sampler": 0, "target": {"node": 0, "path": "weights"}}
    assert sampler["interpolation"] == "LINEAR" and document["nodes"][0]["mesh"] == 0
    times = read(document, binary, sampler["input"])[:, 0]
    assert "min" in document["accessors"][sampler["input"]]
    assert (np.diff(times) > 0).all() and times[0] == 0
    weights = read(document, binary, sampler["output"]).reshape(len(times), len(shapes))
    assert weights.min() >= 0 and weights.max() <= 1
    return (
        1000.0 * (base + np.einsum("tk,kvx->tvx", weights.astype(float), shapes)),
        times,
        document,
    )


@pytest.mark.parametrize("max_targets", [2, 5, 48])
def test_the_file_is_the_motion_within_its_reported_error(tmp_path: Path, max_targets: int) -> None:
    motion = spoken()
    report = write_glb(tmp_path / "a.glb", motion, {"audio": "ä.wav"}, max_targets=max_targets)
    shown, times, document = rebuilt(tmp_path / "a.glb")
    away = np.linalg.norm(shown - motion.vertices, axis=2)
    assert away.max() <= report.error_max_mm + 1e-4  # metres as float32: a tenth of a micrometre
    assert away.mean() == pytest.approx(report.error_mean_mm, abs=1e-5)
    lips = away[:, motion.template.lip_ids].max()
    assert lips == pytest.approx(report.lip_error_max_mm, abs=1e-4)
    np.testing.assert_allclose(times, np.arange(40) / 25, atol=1e-6)
    extras = document["asset"]["extras"]
    assert extras["reconstruction_error"]["error_max_mm"] == report.error_max_mm
    assert extras["provenance"] == {"audio": "ä.wav"} and "no sound" in extras["sound"]
    assert document["asset"]["version"] == "2.0" and extras["fps"] == 25
    assert report.num_targets <= max_targets
    if max_targets == 48:
        assert report.error_max_mm <= 0.02 and report.num_targets < 40


def test_few_moving_vertices_are_sparse_and_many_dense(tmp_path: Path) -> None:
    write_glb(tmp_path / "sparse.glb", spoken())
    document, _ = parse(tmp_path / "sparse.glb")
    target = document["meshes"][0]["primitives"][0]["targets"][0]
    assert {"sparse"} <= document["accessors"][target["POSITION"]].keys()
    template = tiny_template()
    motion = np.random.default_rng(0).normal(size=(6, 46, 3)) + template.vertices
    everything = Motion(motion, 30.0, template)
    report = write_glb(tmp_path / "dense.glb", everything, tolerance_mm=0.0)
    shown, times, document = rebuilt(tmp_path / "dense.glb")
    target = document["meshes"][0]["primitives"][0]["targets"][0]
    assert "sparse" not in document["accessors"][target["POSITION"]]
    np.testing.assert_allclose(shown, everything.vertices, atol=1e-3)
    assert report.num_targets == 6  # an offset and the five directions that six frames span
    assert times[-1] == pytest.approx(5 / 30)


def test_normals_follow_the_motion(tmp_path: Path) -> None:
    from learn2talk.drawing import wound_to_viewer
    from learn2talk.mesh import vertex_normals

    motion = spoken()
    write_glb(tmp_path / "a.glb", motion)
    document, binary = parse(tmp_path / "a.glb")
    primitive = document["meshes"][0]["primitives"][0]
    base = read(document, binary, primitive["attributes"]["NORMAL"])
    turns = np.stack([read(document, binary, t["NORMAL"]) for t in primitive["targets"]])
    output = document["animations"][0]["samplers"][0]["output"]
    weights = read(document, binary, output).reshape(40, -1)
    shown = base + np.einsum("tk,kvx->tvx", weights, turns)
    true = vertex_normals(motion.vertices, wound_to_viewer(motion.template))
    skin = motion.template.region("lower_face")
    still = np.linalg.norm(true - base, axis=2)[:, skin].mean()
    assert np.linalg.norm(shown - true, axis=2)[:, skin].mean() < 0.2 * still


def test_a_still_face_and_a_single_frame(tmp_path: Path) -> None:
    template = tiny_template()
    still = Motion(np.repeat(template.vertices[None], 3, axis=0), 25.0, template)
    report = write_glb(tmp_path / "still.glb", still)
    document, binary = parse(tmp_path / "still.glb")
    assert report.num_targets == 0 and "animations" not in document
    position = document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]
    np.testing.assert_allclose(
        1000 * read(document, binary, position), template.vertices, rtol=1e-6
    )
    single = Motion(template.vertices[None] + np.float32(1.0), 25.0, template)
    assert write_glb(tmp_path / "one.glb", single).num_targets == 1
    shown, times, _ = rebuilt(tmp_path / "one.glb")
    np.testing.assert_allclose(shown, single.vertices, atol=1e-4)
    assert times.tolist() == [0.0]


def test_a_template_without_lips_is_written_without_a_lip_error(tmp_path: Path) -> None:
    face = FaceTemplate("box", np.eye(3), np.array([[0, 1, 2]]))
    motion = Motion(np.stack([np.eye(3), 2 * np.eye(3)]), 25.0, face)
    assert write_glb(tmp_path / "a.glb", motion).lip_error_max_mm is None
    np.testing.assert_allclose(rebuilt(tmp_path / "a.glb")[0], motion.vertices, atol=1e-5)


def test_components_are_found_again_and_ordered() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(50, 3)) * np.array([9.0, 3.0, 1.0])
    displacement = (scores @ rng.normal(size=(3, 60))).reshape(50, 20, 3)
    found = factorise(displacement, max_targets=10, tolerance_mm=1e-3)
    assert len(found.targets) == 4 and found.error_max_mm < 1e-4
    np.testing.assert_array_equal(found.weights[:, 0], 1.0)
    coarse = factorise(displacement, max_targets=2, tolerance_mm=1e-3)
    _, _, axes = np.linalg.svd(
        (displacement - displacement.mean(axis=0)).reshape(50, -1), full_matrices=False
    )
    cosine = coarse.targets[1].reshape(-1) @ axes[0] / np.linalg.norm(coarse.targets[1])
    assert abs(cosine) == pytest.approx(1.0, abs=1e-6)


def test_bad_motions_are_refused_in_one_line(tmp_path: Path) -> None:
    template = tiny_template()
    good = np.repeat(template.vertices[None], 3, axis=0)
    broken = good.copy()
    broken[1, 7, 2] = np.nan
    out = tmp_path / "a.glb"
    with pytest.raises(ValueError, match=r"not finite at frame 1, vertex 7 \(1 places"):
        write_glb(out, Motion(broken, 25.0, template))
    with pytest.raises(ValueError, match="has 0 frames of 46 vertices; a glTF file needs"):
        write_glb(out, Motion(good[:0], 25.0, template))
    points = FaceTemplate("points", template.vertices, np.zeros((0, 3)), template.regions)
    with pytest.raises(ValueError, match="'points' has no triangles"):
        write_glb(out, Motion(good, 25.0, points))
    rest = template.vertices.copy()
    rest[3] = np.inf
    holed = FaceTemplate("holed", rest, template.triangles, template.regions)
    with pytest.raises(ValueError, match="template 'holed' is not finite at vertex 3"):
        write_glb(out, Motion(good, 25.0, holed))
    with pytest.raises(ValueError, match="max_targets is 1 and tolerance_mm 0.02"):
        write_glb(out, Motion(good, 25.0, template), max_targets=1)
    assert not out.exists()
