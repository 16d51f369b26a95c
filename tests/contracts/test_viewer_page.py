"""The committed page of the viewer is what its sources build, small and self-contained."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.contracts.checker import expect_none, tracked_files

PAGE, SOURCE = Path("learn2talk/viewer/page"), Path("viewer_page")
LARGEST_BYTES = 1_000_000
REBUILD = "run scripts/build_viewer.sh and commit learn2talk/viewer/page"


def differences(folder: Path, wanted: dict[str, str], there: set[str]) -> list[str]:
    """What was added, taken away or changed in a folder since its hashes were written."""
    found = [f"{folder / name}: is new; {REBUILD}" for name in sorted(there - set(wanted))]
    for name, sha256 in sorted(wanted.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"{path}: is gone; {REBUILD}")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            found.append(f"{path}: has changed; {REBUILD}")
    return found


def names_below(repository: Path, folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in tracked_files(repository) if folder in p.parents}


@pytest.fixture(scope="module")
def manifest(repository: Path) -> dict[str, object]:
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout")
    return json.loads((repository / PAGE / "manifest.json").read_text(encoding="utf-8"))


def test_the_page_was_built_from_the_present_sources(repository: Path, manifest) -> None:
    there = names_below(repository, SOURCE)
    assert {"package-lock.json", "build.mjs", "index.html", "src/main.js"} <= there
    expect_none(differences(repository / SOURCE, manifest["sources"], there))


def test_nobody_changed_the_built_page_by_hand(repository: Path, manifest) -> None:
    there = names_below(repository, PAGE) - {"manifest.json"}
    assert set(manifest["files"]) == there
    expect_none(differences(repository / PAGE, manifest["built"], there))


def test_the_page_is_small_and_names_what_it_contains(repository: Path, manifest) -> None:
    sizes = [(repository / PAGE / name).stat().st_size for name in manifest["files"]]
    assert sum(sizes) < LARGEST_BYTES
    script = (repository / PAGE / "viewer.js").read_text(encoding="utf-8")
    assert script.startswith("/*! learn2talk viewer") and "The MIT License" in script[:400]
    papers = (repository / "THIRD_PARTY.md").read_text(encoding="utf-8")
    for name, version in manifest["packages"].items():
        assert f"| {name} {version} | MIT" in papers


def test_the_page_names_no_other_site(repository: Path, manifest) -> None:
    """A link in a comment or a namespace is no request; nothing else may name a server."""
    page = (repository / PAGE / "index.html").read_text(encoding="utf-8")
    style = (repository / PAGE / "viewer.css").read_text(encoding="utf-8")
    assert re.findall(r"(?:https?:)?//[a-z0-9]", page + style, flags=re.I) == []
    assert re.findall(r"<script(?![^>]* src=)|style=|\son[a-z]+=", page) == []


def test_a_changed_source_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1\n")
    (tmp_path / "b.js").write_text("1\n")
    wanted = {name: hashlib.sha256(b"1\n").hexdigest() for name in ("a.js", "b.js", "c.js")}
    assert differences(tmp_path, wanted, {"a.js", "b.js", "c.js"})[0].endswith(
        f"c.js: is gone; {REBUILD}"
    )
    (tmp_path / "b.js").write_text("2\n")
    (tmp_path / "d.js").write_text("1\n")
    found = differences(tmp_path, wanted, {"a.js", "b.js", "d.js"})
    assert [one.split(": ")[1].split(";")[0] for one in found] == [
        *("is new", "has changed", "is gone"),
    ]
