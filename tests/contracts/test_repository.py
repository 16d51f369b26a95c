"""What may be committed, and that the papers of the project agree with each other."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.contracts.checker import PACKAGES, expect_none, tracked_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_BYTES = 1_000_000
# The one page that README shows: its numbers are inside, so that it asks no network.
PAGES = {Path("docs/grid_report.html"): 1_500_000}
DATA_SUFFIXES = {
    *(".wav", ".flac", ".ogg", ".mp3", ".m4a", ".mp4", ".mpg", ".avi", ".mkv", ".webm"),
    *(
        ".npy",
        ".npz",
        ".arrow",
        ".parquet",
        ".pt",
        ".pth",
        ".ckpt",
        ".safetensors",
        ".bin",
        ".task",
    ),
    *(".model", ".onnx", ".pkl", ".obj", ".ply", ".glb", ".gltf", ".zip", ".gz", ".tar"),
}
# Put together here so that this file does not find itself.
NOTES_TO_SELF = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
SOMEBODYS_MACHINE = re.compile("|".join(("/ro" + "ot/", "/wo" + r"rk/\w", "/ho" + r"me/\w")))


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[Path]:
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout")
    return tracked_files(repository)


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(project: dict[str, Any]) -> list[Requirement]:
    extras = project["optional-dependencies"].values()
    return [Requirement(line) for group in (project["dependencies"], *extras) for line in group]


def locked(repository: Path) -> dict[str, list[Requirement]]:
    lock: dict[str, list[Requirement]] = {}
    for line in (repository / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            lock.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return lock


def lines_matching(repository: Path, paths: list[Path], pattern: re.Pattern[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        try:
            text = (repository / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path}:{number}: {line.strip()[:120]}")
    return found


BUNDLED = {  # their sizes are held by their own tests
    Path(f"learn2talk/default_{name}_files")
    for name in ("student", "lip_reader", "judge", "avatar")
}


def test_no_large_file_is_tracked(repository: Path, tracked: list[Path]) -> None:
    others = [path for path in tracked if path.parent not in BUNDLED]
    sizes = {path: (repository / path).stat().st_size for path in others}
    allowed = {path: PAGES.get(path, LARGEST_BYTES) for path in sizes}
    expect_none([f"{path}: {n} bytes" for path, n in sizes.items() if n > allowed[path]])


def test_no_data_is_tracked(tracked: list[Path]) -> None:
    others = [path for path in tracked if path.parent not in BUNDLED]
    expect_none([str(path) for path in others if path.suffix.lower() in DATA_SUFFIXES])


def test_no_notes_to_self(repository: Path, tracked: list[Path]) -> None:
    expect_none(lines_matching(repository, tracked, NOTES_TO_SELF))


def test_no_path_of_somebodys_machine(repository: Path, tracked: list[Path]) -> None:
    expect_none(lines_matching(repository, tracked, SOMEBODYS_MACHINE))


def test_what_is_forbidden_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1  # TO" + "DO later\nopen('/ro" + "ot/x')\n")
    assert lines_matching(tmp_path, [Path("a.py")], NOTES_TO_SELF)[0].startswith("a.py:1:")
    assert lines_matching(tmp_path, [Path("a.py")], SOMEBODYS_MACHINE)[0].startswith("a.py:2:")


def test_both_packages_are_typed(repository: Path) -> None:
    assert all((repository / package / "py.typed").is_file() for package in PACKAGES)


def test_the_version_stands_in_one_place(repository: Path, project: dict[str, Any]) -> None:
    import avsr

    assert project["dynamic"] == ["version"]
    sources = [p for package in PACKAGES for p in (repository / package).rglob("*.py")]
    places = lines_matching(
        repository,
        [p.relative_to(repository) for p in [*sources, repository / "pyproject.toml"]],
        re.compile(
            r"""^(__)?version(__)? *=.*\d|["']""" + re.escape(avsr.__version__) + r"""["']"""
        ),
    )
    assert len(places) == 1, places
    assert places[0].startswith("avsr/__init__.py")
    assert f"## {avsr.__version__}" in (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (repository / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {avsr.__version__}\n" in citation


def test_every_dependency_is_locked_within_its_bounds(
    repository: Path, project: dict[str, Any]
) -> None:
    lock = locked(repository)
    found: list[str] = []
    for requirement in requirements(project):
        pins = lock.get(canonicalize_name(requirement.name), [])
        if not pins:
            found.append(f"{requirement.name} is not in constraints.txt")
        for pin in pins:
            version = str(pin.specifier).removeprefix("==")
            # "We claim what we test": the minimum is the oldest locked version, perhaps shortened.
            floor = next(one.version for one in requirement.specifier if one.operator == ">=")
            if pin is pins[0] and not f"{version}.".startswith(f"{floor}."):
                found.append(f"{requirement}: the oldest version tested is {version}")
            if not requirement.specifier.contains(version):
                found.append(f"constraints.txt locks {pin}, pyproject.toml asks {requirement}")
    expect_none(found)


def test_the_lock_covers_every_python_once(repository: Path) -> None:
    for name, pins in locked(repository).items():
        for python in ("3.10", "3.11", "3.12", "3.13"):
            fitting = [
                pin
                for pin in pins
                if pin.marker is None or pin.marker.evaluate({"python_version": python})
            ]
            assert len(fitting) <= 1, f"{name} is locked {len(fitting)} times on Python {python}"


def test_the_lock_names_no_index(repository: Path) -> None:
    expect_none(
        lines_matching(repository, [Path("constraints.txt")], re.compile(r"://|^--|^-[a-z]| @ "))
    )


def test_every_dependency_has_its_licence_named(repository: Path, project: dict[str, Any]) -> None:
    rows: dict[str, str] = {}
    for line in (repository / "THIRD_PARTY.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) >= 3:
            rows[canonicalize_name(cells[0])] = cells[1]
    needed = {canonicalize_name(requirement.name) for requirement in requirements(project)}
    assert {name for name in needed if not rows.get(name)} == set()


def test_every_file_of_a_package_is_packed(repository: Path, tracked: list[Path]) -> None:
    whole = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    packed = whole["tool"]["setuptools"]["package-data"]
    found = [
        f"{path} is in no pattern of [tool.setuptools.package-data]"
        for path in tracked
        if path.parts[0] in PACKAGES
        and path.suffix != ".py"
        and not any(Path(*path.parts[1:]).match(pattern) for pattern in packed[path.parts[0]])
    ]
    expect_none(found)


def test_the_entry_points_exist(repository: Path, project: dict[str, Any]) -> None:
    assert project["scripts"] == {"avsr": "avsr.cli:main", "learn2talk": "learn2talk.cli:main"}
    for target in project["scripts"].values():
        source = repository.joinpath(*target.split(":")[0].split(".")).with_suffix(".py")
        assert "def main(" in source.read_text(encoding="utf-8")
