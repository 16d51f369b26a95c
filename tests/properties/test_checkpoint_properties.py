"""A checkpoint that something has damaged is refused in one line, whatever the damage."""

from __future__ import annotations

import argparse
import io
import tempfile
import warnings
import zipfile
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avsr.pretrained.checkpoint_reading import read_checkpoint


@lru_cache
def checkpoint(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    content = {
        "args": {"heads": 4, "names": ["a", "b"], "rate": 0.5},
        "model": {"a.weight": torch.ones(4, 3), "a.bias": torch.zeros(4, dtype=torch.float16)},
    }
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def read(data: bytes, as_settings: bool) -> None:
    """Read it; anything but success and a ValueError of one line is a failure."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about odd protocols
            try:
                read_checkpoint(path, settings=as_settings)
            except ValueError as error:
                assert str(error).startswith(str(path))
                assert "\n" not in str(error)


@settings(max_examples=150, deadline=None)
@given(
    zipped=st.booleans(),
    as_settings=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    kept=st.floats(0, 1),
)
@example(zipped=False, as_settings=False, changes=[], kept=0.25)
@example(zipped=True, as_settings=True, changes=[(7802, 2)], kept=1.0)  # "spans several disks"
def test_changed_and_cut_files(
    zipped: bool, as_settings: bool, changes: list[tuple[int, int]], kept: float
) -> None:
    data = bytearray(checkpoint(zipped))
    for place, value in changes:
        data[place % len(data)] = value
    read(bytes(data[: max(1, round(kept * len(data)))]) if kept < 0.5 else bytes(data), as_settings)


@settings(max_examples=200, deadline=None)
@given(
    as_settings=st.booleans(),
    changes=st.lists(
        st.tuples(st.integers(0, 1000), st.sampled_from([*range(0, 256, 3), *b"cR\x81b(.}]hq"])),
        min_size=1,
        max_size=4,
    ),
)
def test_changed_pickles_in_a_whole_archive(
    as_settings: bool, changes: list[tuple[int, int]]
) -> None:
    """Damage that a checksum does not see: the pickle itself says other things."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(checkpoint(True))) as source,
        zipfile.ZipFile(target, "w") as written,
    ):
        for name in source.namelist():
            part = bytearray(source.read(name))
            if name.endswith("data.pkl"):
                for place, value in changes:
                    part[place % len(part)] = value
            written.writestr(name, bytes(part))
    read(target.getvalue(), as_settings)


@pytest.mark.parametrize("zipped", [True, False])
def test_the_untouched_file_is_read(tmp_path: Path, zipped: bool) -> None:
    (tmp_path / "weights.pt").write_bytes(checkpoint(zipped))
    found = read_checkpoint(tmp_path / "weights.pt")
    assert torch.equal(found["model"]["a.weight"], torch.ones(4, 3))
    torch.save({"args": argparse.Namespace(a=1)}, tmp_path / "settings.pt")
    read_checkpoint(tmp_path / "settings.pt", settings=True)
