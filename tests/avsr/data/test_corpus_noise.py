"""Noise from a corpus's own training speakers and the user's recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.data.corpus_noise import copy_recordings, noise_of_corpus, write_talkers
from avsr.data.manifest import FaceTemplates, save_prepared
from avsr.data.noise_bank import NoiseBank, check_disjoint
from avsr.files import write_wav


def corpus(out: Path, make_row: Callable[..., dict[str, Any]], speakers: int) -> Path:
    rows = []
    for number in range(3 * speakers):
        row = make_row(f"train/{number}", 30, seed=number)
        rows.append({**row, "speaker_id": f"talk/{number % speakers}"})
    test = [{**make_row("test/0", 30, seed=99), "speaker_id": "unseen"}]
    faces = FaceTemplates("tests", np.zeros((1, 3), np.int32), {}, {})
    return save_prepared(out, {"train": rows, "valid": [], "test": test}, faces, {"name": "t"})


def recordings(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        write_wav(folder / f"room{number}" / "ch01.wav", rng.uniform(-0.5, 0.5, 20_000))
    (folder / "LICENCE").write_text("free")
    return folder


def test_no_voice_and_no_recording_serves_two_splits(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    prepared = corpus(tmp_path / "prepared", make_row, 6)
    folder = write_talkers(prepared, tmp_path / "noise")
    copy_recordings(recordings(tmp_path / "sounds", 6), folder)
    config = noise_of_corpus(folder)
    check_disjoint(config)
    assert [len(config.of(split).recorded) for split in ("train", "valid", "test")] == [4, 1, 1]
    assert {t.speaker for s in ("train", "valid", "test") for t in config.of(s).talkers} == {
        f"talk__{number}" for number in range(6)
    }  # of the training split alone
    assert config.train.types[:2] == ("white", "pink") and "babble_8" in config.train.types
    stem = Path(config.test.recorded[0]).stem
    assert config.test.types == ("pink", "babble_2", stem) and stem.startswith("room")
    noise, uses = NoiseBank(config, "test").segment("babble_2", "test/0", 0, 8000)
    assert len(noise) == 8000 and len(uses) >= 2
    assert noise_of_corpus(copy_recordings(tmp_path / "sounds", folder)) == config


def test_without_recordings_there_is_babble_and_computed_noise(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    folder = write_talkers(corpus(tmp_path / "prepared", make_row, 3), tmp_path / "noise")
    config = noise_of_corpus(folder)
    assert config.valid.types == ("white", "babble_2") and config.valid.recorded == ()


def test_too_few_sources_say_how_many_are_needed(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(ValueError, match="2 training speakers; babble needs 3"):
        write_talkers(corpus(tmp_path / "prepared", make_row, 2), tmp_path / "noise")
    with pytest.raises(ValueError, match="2 sound files .* noise needs 3"):
        copy_recordings(recordings(tmp_path / "sounds", 2), tmp_path / "noise")
