"""Other people's `.glb`: what is read of their animations, and what is refused or said."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learn2talk.export.gltf import write_glb
from learn2talk.mesh_files.glb import glb_document
from learn2talk.viewer.glb_motion import read_glb_motion
from tests.learn2talk.viewer.small_scene import moving


def changed(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A file of ours whose JSON was changed, as somebody else might have written it."""
    write_glb(path, moving(), tolerance_mm=1e-4)
    document, binary = glb_document(path)
    change(document)
    words = json.dumps(document).encode()
    words += b" " * (-len(words) % 4)
    chunks = struct.pack("<I4s", len(words), b"JSON") + words
    chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks)
    return path


def of_somebody_else(document: dict[str, Any]) -> None:
    document["asset"] = {"version": "2.0", "generator": "another"}


def test_the_rate_of_even_keys_is_taken_where_nothing_states_it(tmp_path: Path) -> None:
    found = read_glb_motion(changed(tmp_path / "a.glb", of_somebody_else))
    assert found.motion.fps == 25.0 and len(found.motion.vertices) == 10
    assert found.motion.template.topology == "a"  # nobody says: the file's name
    np.testing.assert_allclose(found.motion.vertices, moving().vertices, atol=2e-3)


def test_a_node_places_the_mesh(tmp_path: Path) -> None:
    def place(document: dict[str, Any]) -> None:
        document["nodes"][0] |= {"translation": [0.001, 0, 0], "scale": [2, 2, 2]}

    found = read_glb_motion(changed(tmp_path / "a.glb", place))
    wanted = 2.0 * moving().vertices + np.float32([1.0, 0.0, 0.0])
    np.testing.assert_allclose(found.motion.vertices, wanted, atol=5e-3)


@pytest.mark.parametrize(("way", "between"), [("STEP", 0.0), ("LINEAR", 0.5)])
def test_between_keys_steps_hold_and_lines_go_on(tmp_path: Path, way: str, between: float) -> None:
    def twice_the_rate(document: dict[str, Any]) -> None:
        document["asset"]["extras"]["fps"] = 50.0
        document["animations"][0]["samplers"][0]["interpolation"] = way

    found = read_glb_motion(changed(tmp_path / "a.glb", twice_the_rate)).motion
    assert len(found.vertices) == 19
    depth = found.vertices[:, 0, 2]
    np.testing.assert_allclose(depth[::2], np.arange(10), atol=2e-3)
    np.testing.assert_allclose(depth[1::2], np.arange(9) + between, atol=2e-3)


def test_what_is_not_shown_is_said(tmp_path: Path) -> None:
    def twice(document: dict[str, Any]) -> None:
        document["animations"] *= 2
        document["skins"] = [{"joints": [0]}]

    notes = read_glb_motion(changed(tmp_path / "a.glb", twice)).notes
    assert any("skin" in note for note in notes) and any("first of 2" in note for note in notes)

    def two_meshes(document: dict[str, Any]) -> None:
        document["nodes"].append({"mesh": 0})
        document["scenes"][0]["nodes"].append(1)

    found = read_glb_motion(changed(tmp_path / "b.glb", two_meshes))
    assert len(found.motion.vertices) == 1 and "at rest" in found.notes[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda d: d["animations"][0]["samplers"][0].update(interpolation="CUBICSPLINE"),
            "CUBICSPLINE.*LINEAR",
        ),
        (lambda d: d["animations"][0]["samplers"][0].update(input=0), "accessor 0 is VEC3"),
        (lambda d: d["animations"][0]["samplers"][0].update(output=999), "does not fit together"),
        (lambda d: d["animations"][0].pop("samplers"), "does not fit together"),
    ],
)
def test_an_animation_that_cannot_be_read_is_one_line(tmp_path: Path, change, said) -> None:
    with pytest.raises(ValueError, match=said) as error:
        read_glb_motion(changed(tmp_path / "a.glb", change))
    assert str(error.value).startswith(str(tmp_path / "a.glb"))
