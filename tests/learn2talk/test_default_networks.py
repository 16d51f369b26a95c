"""What comes with the package, lip reader, sync judge and avatar: there, small, and described."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from avsr.files import sha256_file
from avsr.training.recognizer import load_recognizer
from learn2talk import default_avatar, default_judge, default_lip_reader
from learn2talk.avatar.avatar_files import load_avatar
from learn2talk.files import load_sync_expert
from learn2talk.head import build_head

MOST_BYTES = 12_000_000


@pytest.mark.parametrize(
    ("module", "weights"),
    [
        (default_lip_reader, "best.safetensors"),
        (default_judge, "sync_expert.safetensors"),
        (default_avatar, "head.ply"),
    ],
)
def test_they_are_small_and_described(module: ModuleType, weights: str) -> None:
    folder: Path = module.FOLDER
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("## Data", "## Licence", "## Figures", "## Limits"):
        assert part in card
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    assert sha256_file(folder / weights) in card  # the card is of these very weights


def test_they_are_what_they_are_used_as() -> None:
    model, _ = load_recognizer(default_lip_reader.default_lip_reader())
    assert "crops" in model.config.streams
    assert load_sync_expert(default_judge.default_judge(), "judge")[0].config.role == "judge"
    avatar = load_avatar(default_avatar.avatar_path("built-in"))
    assert default_avatar.avatar_path("head.ply") == Path("head.ply")
    own = build_head().template
    assert avatar.template.topology == own.topology
    assert np.array_equal(avatar.template.triangles, own.triangles)
    assert np.array_equal(avatar.template.vertices, own.vertices)
    assert avatar.provenance["made_by"] == "learn2talk avatar procedural"


def test_missing_files_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(default_lip_reader, "FOLDER", tmp_path)
    monkeypatch.setattr(default_judge, "FOLDER", tmp_path)
    monkeypatch.setattr(default_avatar, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="the bundled avatar is missing; install"):
        default_avatar.default_avatar()
    with pytest.raises(ValueError, match="the bundled lip reader is missing; install"):
        default_lip_reader.default_lip_reader()
    with pytest.raises(ValueError, match="the bundled sync judge is missing; install"):
        default_judge.default_judge()
    (tmp_path / "best.safetensors").write_text("")
    (tmp_path / "sync_expert.json").write_text("")
    assert default_lip_reader.default_lip_reader() == tmp_path / "best.safetensors"
    assert default_judge.default_judge() == tmp_path
