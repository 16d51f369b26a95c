"""A mesh and its region file: a face in millimetres, or one line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learn2talk.region_files import (
    RegionFile,
    read_face,
    read_ids,
    read_named_arrays,
    read_regions,
    write_regions,
)
from tests.learn2talk.sheet_face import Sheet, write_obj

SHEET = Sheet(3000)


def described(**changes: Any) -> RegionFile:
    content: dict[str, Any] = {
        "topology": "sheet",
        "unit": "cm",
        "source": "a test",
        "regions": {"lower_face": SHEET.below(-30.0).astype(np.int32)},
        "mouth_landmarks": SHEET.landmarks,
        "num_vertices": 3000,
    }
    return RegionFile(**{**content, **changes})


def files(folder: Path, unit_mm: float = 10.0, **changes: Any) -> tuple[Path, Path]:
    write_obj(folder / "face.obj", SHEET.vertices / unit_mm, SHEET.triangles)
    write_regions(folder / "regions.json", described(**changes))
    return folder / "face.obj", folder / "regions.json"


def test_a_face_in_millimetres_with_what_a_report_needs(tmp_path: Path) -> None:
    face = read_face(*files(tmp_path))
    np.testing.assert_allclose(face.template.vertices, SHEET.vertices, atol=1e-3)
    np.testing.assert_array_equal(face.template.triangles, SHEET.triangles)
    assert face.template.topology == "sheet" and face.template.lips.shape == (40, 3)
    assert set(face.template.regions) == {"lips_outer", "lips_inner", "lips", "lower_face"}
    assert face.facts["mm_per_unit"] == 10.0 and face.facts["regions_source"] == "a test"
    assert len(face.facts["mesh_sha256"]) == len(face.facts["regions_sha256"]) == 64
    assert json.loads(json.dumps(face.facts)) == face.facts
    assert face.warnings and "belong to no triangle" in face.warnings[0]  # inside the mouth


def test_contours_that_are_given_are_taken_as_they_are(tmp_path: Path) -> None:
    made = read_face(*files(tmp_path)).template.regions
    face = read_face(*files(tmp_path, regions=made, mouth_landmarks=None))
    for name, ids in made.items():
        np.testing.assert_array_equal(face.template.region(name), ids)
    turned = dict(made) | {"lips_outer": made["lips_outer"][::-1]}
    with pytest.raises(ValueError, match="lips_outer"):
        read_face(*files(tmp_path, regions=turned, mouth_landmarks=None))


@pytest.mark.parametrize(
    ("unit_mm", "unit", "likely"),
    [
        (1000.0, "mm", "unit m?"),
        (1.0, "m", "unit mm?"),
        (10.0, "mm", "unit cm?"),
        (20.0, "mm", "unit inch?"),
    ],
)
def test_a_size_that_the_unit_does_not_allow_names_the_likely_one(
    tmp_path: Path, unit_mm: float, unit: str, likely: str
) -> None:
    with pytest.raises(ValueError, match=likely.replace("?", r"\?")):
        read_face(*files(tmp_path, unit_mm, unit=unit))


def test_what_a_face_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks the regions lips_outer, lips_inner, lower_face"):
        read_face(*files(tmp_path, regions={}, mouth_landmarks=None))
    with pytest.raises(ValueError, match="lacks the regions lower_face"):
        read_face(*files(tmp_path, regions={}))
    with pytest.raises(ValueError, match="has 3000 vertices, the topology 5023"):
        read_face(*files(tmp_path, num_vertices=5023))
    with pytest.raises(ValueError, match="'feet' is not one of mm, cm, m, inch"):
        read_face(*files(tmp_path, unit="feet"))
    outside = {"lower_face": np.array([3, 3000], dtype=np.int32)}
    with pytest.raises(ValueError, match="names vertices 3 to 3000"):
        read_face(*files(tmp_path, regions=outside))
    with pytest.raises(ValueError, match="no known unit fits"):
        read_face(*files(tmp_path, 60.0, unit="mm"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": None}, "unit missing"),
        ({"regions": []}, "regions missing"),
        ({"colour": 1}, "colour missing, unknown"),
        ({"num_vertices": "many"}, "num_vertices"),
        ({"regions": {"lips": [1.5]}}, "region 'lips': is not a list of whole numbers"),
        ({"regions": {"lips": [-1]}}, "vertex id -1"),
        ({"regions": {"lips": ["a"]}}, "not a list of vertex ids"),
        ({"mouth_landmarks": [[1, 2], [3, 4]]}, "landmarks: is not a list of whole numbers"),
    ],
)
def test_region_files_that_are_none(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    _, path = files(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=said):
        read_regions(path)


def test_region_files_round_trip_and_files_that_are_not_there(tmp_path: Path) -> None:
    found = read_regions(files(tmp_path)[1])
    assert (found.topology, found.unit, found.num_vertices) == ("sheet", "cm", 3000)
    assert found.mouth_landmarks is not None
    np.testing.assert_array_equal(found.mouth_landmarks, SHEET.landmarks)
    with pytest.raises(ValueError, match="no such region file"):
        read_regions(tmp_path / "other.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match="is a list, not a JSON object"):
        read_regions(tmp_path / "list.json")


def test_lists_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "lve.txt"
    for text in ("2, 6, 21", "2 6\n21\n", "[2, 6, 21]"):
        path.write_text(text)
        np.testing.assert_array_equal(read_ids(path), [2, 6, 21])
    for text, said in (("", "no vertex id"), ("2, six", "no vertex id"), ("2, -6", "id -6")):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            read_ids(path)
    with pytest.raises(ValueError, match="no such list"):
        read_ids(tmp_path / "fdd.txt")


def test_named_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", lips=[1, 2])
    (tmp_path / "a.json").write_text('{"lips": [1, 2]}')
    for name in ("a.npz", "a.json"):
        np.testing.assert_array_equal(read_named_arrays(tmp_path / name)["lips"], [1, 2])
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:60])
    with pytest.raises(ValueError, match="not a complete .npz"):
        read_named_arrays(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", lips=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not a complete .npz"):
        read_named_arrays(tmp_path / "c.npz")
    (tmp_path / "d.json").write_text("[1]")
    with pytest.raises(ValueError, match="not names with arrays"):
        read_named_arrays(tmp_path / "d.json")
    with pytest.raises(ValueError, match="no such file"):
        read_named_arrays(tmp_path / "e.npz")
