"""Where a recogniser's weights are: files, folders, repositories, and mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from avsr.training.hub import PUBLISHED, WEIGHTS, recognizer_file


def test_files_and_folders(tmp_path: Path) -> None:
    weights = tmp_path / WEIGHTS
    weights.write_bytes(b"x")
    assert recognizer_file(weights) == weights
    assert recognizer_file(tmp_path) == weights
    missing = tmp_path / "best.safetensors"
    assert recognizer_file(missing) == missing  # its reader names it
    deep = tmp_path / "runs" / "grid" / "best"
    assert recognizer_file(deep) == deep  # no name of a repository: nothing is downloaded


def test_a_run_folder_says_which_file_to_give(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"has no {WEIGHTS}; give .*best.safetensors"):
        recognizer_file(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="give a folder of 'avsr publish'"):
        recognizer_file(empty)


def test_a_repository_is_downloaded_without_its_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def download(repository: str, **arguments: Any) -> str:
        asked.update(arguments, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ValueError, match=f"owner/name: this repository has no {WEIGHTS}"):
        recognizer_file("owner/name")
    (tmp_path / WEIGHTS).write_bytes(b"x")
    assert recognizer_file(Path("owner/name"), revision="v1") == tmp_path / WEIGHTS
    assert asked == {
        "repository": "owner/name",
        "allow_patterns": list(PUBLISHED),
        "revision": "v1",
    }


def test_a_name_that_is_nowhere_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> str:
        raise huggingface_hub.errors.OfflineModeIsEnabled("no\nnetwork")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ValueError, match=r"owner/name: .* did not give it \(no network\)") as error:
        recognizer_file("owner/name")
    assert "\n" not in str(error.value)
