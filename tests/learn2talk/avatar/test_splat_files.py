"""`.ply` of splats: what other programs write and read, and every way in which a file is broken."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from learn2talk.avatar.splat_files import read_splats, write_splats
from learn2talk.avatar.splats import BoundSplats, Splats
from learn2talk.mesh_files import read_mesh
from tests.learn2talk.avatar.made_up_splats import made_up_splats

FIELDS = ("positions", "log_scales", "rotations", "opacity_logits", "sh")


def names_of(degree: int) -> list[str]:
    rest = 3 * ((degree + 1) ** 2 - 1)
    return [
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
        *(f"f_rest_{i}" for i in range(rest)),
        *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    ]


def written_by_hand(
    path: Path, rows: np.ndarray, names: list[str], order: str = "binary_little_endian"
) -> Path:
    kind = {"binary_little_endian": "<f4", "binary_big_endian": ">f4", "ascii": None}[order]
    header = ["ply", f"format {order} 1.0", f"element vertex {len(rows)}"]
    header += [*(f"property float {name}" for name in names), "end_header", ""]
    if kind is None:
        body = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in rows).encode() + b"\n"
    else:
        body = rows.astype(kind).tobytes()
    path.write_bytes("\n".join(header).encode() + body)
    return path


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_what_is_written_is_read(tmp_path: Path, degree: int) -> None:
    splats = made_up_splats(70_000 if degree == 0 else 40, degree)  # more than a block, once
    write_splats(tmp_path / "a.ply", splats)
    found = read_splats(tmp_path / "a.ply")
    assert isinstance(found, Splats)
    assert found.sh_degree == degree
    for name in FIELDS:
        assert torch.equal(getattr(found, name), getattr(splats, name)), name


def test_bound_splats_keep_their_triangles(tmp_path: Path) -> None:
    bound = BoundSplats(made_up_splats(30), torch.arange(30) * 7)
    write_splats(tmp_path / "a.ply", bound)
    found = read_splats(tmp_path / "a.ply")
    assert isinstance(found, BoundSplats)
    assert torch.equal(found.triangle_ids, bound.triangle_ids)
    assert torch.equal(found.local.sh, bound.local.sh)


@pytest.mark.parametrize("order", ["binary_little_endian", "binary_big_endian", "ascii"])
def test_each_byte_order_and_place_of_a_value(tmp_path: Path, order: str) -> None:
    names = names_of(1)
    rows = np.arange(2 * len(names), dtype=np.float32).reshape(2, -1)
    found = read_splats(written_by_hand(tmp_path / "a.ply", rows, names, order))
    at = names.index
    assert isinstance(found, Splats)
    assert found.positions[1].tolist() == rows[1, :3].tolist()
    assert found.opacity_logits.tolist() == rows[:, at("opacity")].tolist()
    assert found.rotations[0].tolist() == rows[0, at("rot_0") :].tolist()
    assert found.sh[0, 0].tolist() == rows[0, at("f_dc_0") : at("f_dc_0") + 3].tolist()
    # Red's three, then green's, then blue's: coefficient 2 of green is f_rest_4.
    assert found.sh[0, 2, 1] == rows[0, at("f_rest_4")]


def test_normals_may_be_left_out(tmp_path: Path) -> None:
    names = [name for name in names_of(0) if name not in ("nx", "ny", "nz")]
    rows = np.ones((3, len(names)), np.float32)
    assert len(read_splats(written_by_hand(tmp_path / "a.ply", rows, names))) == 3


def test_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    names = names_of(1)[::-1]
    rows = np.arange(len(names), dtype=np.float32)[None]
    found = read_splats(written_by_hand(tmp_path / "a.ply", rows, names))
    assert isinstance(found, Splats)
    assert found.positions[0].tolist() == [rows[0, names.index(axis)] for axis in "xyz"]
    assert found.sh[0, 3, 2] == rows[0, names.index("f_rest_8")]


def test_no_splats_are_splats(tmp_path: Path) -> None:
    write_splats(tmp_path / "a.ply", made_up_splats(0))
    assert len(read_splats(tmp_path / "a.ply")) == 0


def broken(names: list[str], change: str) -> list[str]:
    return [name for name in names if name != change]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (broken(names_of(1), "opacity"), "lacks opacity, so it is a mesh or another dialect"),
        ([*broken(names_of(0), "f_dc_0"), "red"], "lacks f_dc_0, so it is a cloud of coloured"),
        (["packed_position", "x"], "is compressed \\(SuperSplat\\)"),
        (broken(names_of(1), "f_rest_3"), "has 8 f_rest values"),
        ([*broken(names_of(1), "f_rest_3"), "f_rest_9"], "numbered from 0"),
        ([*names_of(0), "binding_0", "binding_1"], "one column binding_0"),
    ],
)
def test_another_dialect_is_named(tmp_path: Path, names: list[str], message: str) -> None:
    rows = np.ones((2, len(names)), np.float32)
    with pytest.raises(ValueError, match=message):
        read_splats(written_by_hand(tmp_path / "a.ply", rows, names))


def test_a_compressed_file_with_chunks_is_named(tmp_path: Path) -> None:
    head = "ply\nformat binary_little_endian 1.0\nelement chunk 1\nproperty float min_x\n"
    head += "element vertex 1\nproperty list uchar int what\nend_header\n"
    (tmp_path / "a.ply").write_bytes(head.encode() + bytes(9))
    with pytest.raises(ValueError, match="compressed \\(SuperSplat\\)"):
        read_splats(tmp_path / "a.ply")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_is_named_with_its_splat(tmp_path: Path, value: float) -> None:
    splats = made_up_splats(66_000, 0)
    splats.log_scales[65_990, 1] = value
    write_splats(tmp_path / "a.ply", splats)
    with pytest.raises(ValueError, match="splat 65990 has log_scales"):
        read_splats(tmp_path / "a.ply")


def test_a_rotation_of_length_0_is_named(tmp_path: Path) -> None:
    splats = made_up_splats(4, 0)
    splats.rotations[2] = 0
    write_splats(tmp_path / "a.ply", splats)
    with pytest.raises(ValueError, match="splat 2 has the rotation 0 0 0 0"):
        read_splats(tmp_path / "a.ply")


@pytest.mark.parametrize("value", [-1.0, 2.5, np.nan])
def test_a_binding_that_is_no_triangle_is_named(tmp_path: Path, value: float) -> None:
    names = [*names_of(0), "binding_0"]
    rows = np.ones((3, len(names)), np.float32)
    rows[1, -1] = value
    with pytest.raises(ValueError, match="splat 1 is bound to triangle"):
        read_splats(written_by_hand(tmp_path / "a.ply", rows, names))


def test_truncated_empty_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    write_splats(path, made_up_splats(10))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="ends before its 10 elements 'vertex'"):
        read_splats(path)
    path.write_bytes(whole[:40])
    with pytest.raises(ValueError, match="header does not end"):
        read_splats(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        read_splats(path)
    path.write_bytes(b"solid stl")
    with pytest.raises(ValueError, match="no PLY file"):
        read_splats(path)
    with pytest.raises(ValueError, match="no such file"):
        read_splats(tmp_path / "none.ply")
    names = names_of(0)
    text = written_by_hand(path, np.ones((3, len(names))), names, "ascii").read_bytes()
    path.write_bytes(text[:-20])
    with pytest.raises(ValueError, match="rows 0 to 2 of 'vertex' cannot be read"):
        read_splats(path)


def test_a_triangle_that_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    bound = BoundSplats(made_up_splats(1, 0), torch.tensor([(1 << 24) + 1]))
    with pytest.raises(ValueError, match="16777217 is above 16777216"):
        write_splats(tmp_path / "a.ply", bound)
    assert not list(tmp_path.iterdir())


def test_a_mesh_reader_finds_the_centres(tmp_path: Path) -> None:
    """The file is PLY as any reader knows it."""
    splats = made_up_splats(12)
    write_splats(tmp_path / "a.ply", splats)
    with pytest.raises(ValueError, match="triangle"):  # it is a mesh without triangles
        read_mesh(tmp_path / "a.ply")


@pytest.mark.slow
def test_a_million_splats_take_their_own_memory_and_a_block(tmp_path: Path) -> None:
    count, degree = 1_000_000, 3
    splats = made_up_splats(count, degree)
    write_splats(tmp_path / "a.ply", splats)
    size = sum(getattr(splats, name).numel() * 4 for name in FIELDS)
    del splats
    tracemalloc.start()  # numpy tells it what it allocates
    found = read_splats(tmp_path / "a.ply")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == count
    assert peak < 1.25 * size
