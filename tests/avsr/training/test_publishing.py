"""Publishing: the folder, its model card, and what is asked of the Hub (nothing is sent)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from avsr.files import sha256_file
from avsr.text import Tokenizer
from avsr.training.hub import CARD, CONFIG, PUBLISHED, TOKENIZER, WEIGHTS
from avsr.training.publishing import PublishedRecognizer, card_text, publish
from avsr.training.recognizer import load_recognizer


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@pytest.fixture
def run(recognizer_file: Path, tmp_path: Path) -> Path:
    """A run folder with what training leaves in it."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "best.safetensors").write_bytes(recognizer_file.read_bytes())
    facts = {
        "configs": {},
        "command": "python recipe.py",
        "commit": "abc123",
        "versions": {"torch": "2.11.0", "datasets": None},
        "prepared": "grid",
    }
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "best.json").write_text(json.dumps({"update": 400, "wer": 0.125, "wer_clean": 0.1}))
    return folder / "best.safetensors"


def test_a_published_folder_is_the_same_recogniser(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "published"
    assert publish(run, out) is None
    assert sorted(path.name for path in out.iterdir()) == sorted(PUBLISHED)
    trained, words = load_recognizer(run)
    loaded, same_words = load_recognizer(out)
    assert same(loaded, trained) and not loaded.training and loaded.config == trained.config
    assert same_words.model == words.model
    by_mixin = PublishedRecognizer.from_pretrained(out)
    assert same(by_mixin, trained) and by_mixin.config == trained.config
    assert by_mixin.tokenizer.model == words.model and not by_mixin.training
    assert Tokenizer((out / TOKENIZER).read_bytes()).size == words.size
    assert json.loads((out / CONFIG).read_text())["width"] == trained.config.width


def test_the_card_says_where_its_figures_come_from(run: Path, tmp_path: Path) -> None:
    publish(run, tmp_path / "out", licence="cc-by-4.0", note="One speaker.")
    card = (tmp_path / "out" / CARD).read_text()
    for part in ("license: cc-by-4.0", "One speaker.", "update 400", "| wer | 0.1250 |", "abc123"):
        assert part in card
    assert sha256_file(run) in card and '"prepared": "grid"' in card and "torch 2.11.0" in card


def test_without_a_run_the_card_claims_nothing(recognizer: Any) -> None:
    card = card_text(recognizer)
    assert "None came with the weights" in card and "Not stated" in card
    assert "license:" not in card and "no `run.json`" in card


def test_publishing_again_replaces_and_foreign_files_are_kept(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(run, out, note="first")
    publish(run, out, note="second")
    card = (out / CARD).read_text()
    assert "second" in card and "first" not in card
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other files \(thesis.txt\)"):
        publish(run, out)
    assert (out / "thesis.txt").read_text() == "mine"


def test_a_config_that_was_changed_by_hand_is_refused(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(run, out)
    told = json.loads((out / CONFIG).read_text())
    (out / CONFIG).write_text(json.dumps({**told, "width": 999}))
    with pytest.raises(ValueError, match="tells another network than model.safetensors in width"):
        load_recognizer(out)


def test_pushing_makes_the_repository_and_uploads_the_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def __init__(self, **_: Any) -> None:
            pass

        def create_repo(self, **arguments: Any) -> Any:
            calls.append(("create_repo", arguments))
            return type("Url", (), {"repo_id": arguments["repo_id"]})

        def upload_folder(self, **arguments: Any) -> str:
            names = {path.name for path in Path(arguments["folder_path"]).iterdir()}
            card = (Path(arguments["folder_path"]) / CARD).read_text()
            calls.append(("upload_folder", {**arguments, "names": names, "card": card}))
            return "https://hub/commit"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    address = publish(run, tmp_path / "out", push_to="owner/lips", note="Mine.")
    assert address == "https://hub/commit"
    (first, made), (second, sent) = calls
    assert first == "create_repo" and made["repo_id"] == "owner/lips" and made["private"] is True
    assert second == "upload_folder" and sent["repo_id"] == "owner/lips"
    assert sent["names"] == set(PUBLISHED) and sent["repo_type"] == "model"
    assert "Mine." in sent["card"] and "abc123" in sent["card"]


def test_a_foreign_tokenizer_is_refused(recognizer: Any, tokenizer: Any) -> None:
    other = type("Other", (), {"size": 3, "model": b""})()
    with pytest.raises(ValueError, match="not the tokenizer's 3"):
        PublishedRecognizer(recognizer.config, other)


def test_no_half_written_weights_are_left(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up leaves nothing under a published name that could be loaded."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="disk full"):
        publish(run, tmp_path / "out")
    assert not (tmp_path / "out" / WEIGHTS).exists()
