from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import avsr.transcribe_imported
from avsr import cli
from avsr.decode.config import DecodingConfig
from avsr.files import write_video, write_wav
from avsr.pretrained.auto_avsr import auto_avsr_from_tensors
from avsr.pretrained.imported import Imported, load_imported
from avsr.pretrained.imported_decoding import recognise, text_of_ids
from avsr.pretrained.mouth_crops import LANDMARK_OF_POINT, MEAN_FACE
from avsr.tracking import TrackingError
from avsr.transcribe_imported import transcribe_imported
from tests.golden.seeded_weights import seeded_weights

GOLDEN = Path(__file__).parents[1] / "golden"
SYMBOLS = ("<blank>", "<unk>", *(f"\u2581W{i}" for i in range(2, 10)), "<eos>")
GREEDY = DecodingConfig("greedy")


def published(name: str) -> dict[str, torch.Tensor]:
    shapes = json.loads((GOLDEN / f"{name}.json").read_text())["shapes"]
    return {key: torch.from_numpy(values) for key, values in seeded_weights(shapes).items()}


@pytest.fixture(scope="module")
def networks() -> Callable[[str], Imported]:
    made: dict[str, Imported] = {}

    def network(name: str) -> Imported:
        if name not in made:
            model = auto_avsr_from_tensors(published(name), name)
            made[name] = Imported("auto_avsr", model, SYMBOLS)
        return made[name]

    return network


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    sound = np.random.default_rng(0).normal(0, 0.1, 6400).clip(-1, 1).astype(np.float32)
    write_wav(tmp_path / "clip.wav", sound, subtype="FLOAT")
    return tmp_path / "clip.wav"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (10, 16, 16, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    sound = rng.normal(0, 0.1, 6400).clip(-1, 1).astype(np.float32)
    write_video(tmp_path / "clip.mp4", frames, audio=sound)
    return tmp_path / "clip.mp4"


class FakeTracker:
    """Finds the mean face in every frame but the ``missing`` ones."""

    missing: tuple[int, ...] = (3,)

    def __init__(self, landmarker: Any) -> None:
        assert landmarker == "model.task"

    def __enter__(self) -> FakeTracker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def track(self, frames: np.ndarray) -> SimpleNamespace:
        points = np.full((478, 3), 128.0)
        for point, landmark in LANDMARK_OF_POINT.items():
            points[landmark, :2] = MEAN_FACE.get(point, (128.0, 157.0))
        tracked = np.ones(len(frames), bool)
        tracked[list(self.missing)] = False
        landmarks = np.where(tracked[:, None, None], points, np.nan)
        return SimpleNamespace(landmarks=landmarks, tracked=tracked)


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> type[FakeTracker]:
    monkeypatch.setattr(avsr.transcribe_imported, "FaceTracker", FakeTracker)
    return FakeTracker


def test_text_of_sound(networks: Callable[[str], Imported], wav: Path) -> None:
    network = networks("auto_avsr_audio")
    text = transcribe_imported(wav, network, modality="audio", decoding=GREEDY)
    assert text
    assert set(text.split()) <= {*(f"w{i}" for i in range(2, 10)), "\u2047"}
    numbers = replace(network, symbols=None)
    ids = transcribe_imported(wav, numbers, modality="audio", decoding=GREEDY).split()
    assert text == text_of_ids(network, [int(token) for token in ids])


@pytest.mark.parametrize(
    ("name", "modality"),
    [("auto_avsr_video", "video"), ("auto_avsr_audio_visual_v1", "audio_visual")],
)
def test_text_of_a_film(
    networks: Callable[[str], Imported],
    film: Path,
    tracker: type[FakeTracker],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    modality: Any,
) -> None:
    given: dict[str, Any] = {}

    def noted(imported: Imported, **streams: Any) -> list[int]:
        given.update(streams)
        return recognise(imported, **streams)

    monkeypatch.setattr(avsr.transcribe_imported, "recognise", noted)
    transcribe_imported(film, networks(name), modality=modality, landmarker_model="model.task")
    assert given["crops"].shape == (10, 96, 96)
    assert given["crops"].std() > 10
    assert (given["waveform"] is None) == (modality == "video")


def test_what_cannot_be_read_is_one_line(
    networks: Callable[[str], Imported],
    film: Path,
    wav: Path,
    tmp_path: Path,
    tracker: type[FakeTracker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video, audio = networks("auto_avsr_video"), networks("auto_avsr_audio")
    with pytest.raises(ValueError, match="take video, not audio"):
        transcribe_imported(wav, video, modality="audio")
    with pytest.raises(ValueError, match="--landmarker-model"):
        transcribe_imported(film, video, modality="video")
    monkeypatch.setattr(FakeTracker, "missing", tuple(range(6)))
    with pytest.raises(TrackingError, match="a face in 4 of 10 frames"):
        transcribe_imported(film, video, modality="video", landmarker_model="model.task")
    write_wav(tmp_path / "long.wav", np.zeros(16_000 * 61, np.float32))
    with pytest.raises(ValueError, match="61 s, more than 60 s"):
        transcribe_imported(tmp_path / "long.wav", audio, modality="audio")


@pytest.fixture
def run_avsr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command in this process: its exit code, output and errors."""

    def run(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["avsr", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(str(stop.code))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_the_command_imports_after_the_notice(
    tmp_path: Path, wav: Path, run_avsr: Callable[..., tuple[int, str, str]]
) -> None:
    torch.save(published("auto_avsr_audio"), tmp_path / "asr.pth")
    (tmp_path / "units.txt").write_text(
        "".join(f"{symbol} {i}\n" for i, symbol in enumerate(SYMBOLS[1:-1], 1))
    )
    words = ("import", "auto-avsr", tmp_path / "asr.pth", "--out", tmp_path / "asr")
    words = (*words, "--units", tmp_path / "units.txt")
    code, out, err = run_avsr(*words)
    assert code == 1
    assert "terms of its own" in out
    assert "--accept-licence" in err
    assert not (tmp_path / "asr").exists()
    code, out, err = run_avsr(*words, "--accept-licence")
    assert code == 0, err
    assert out.strip().endswith(str(tmp_path / "asr"))
    assert load_imported(tmp_path / "asr").symbols == SYMBOLS


def test_the_command_names_what_does_not_fit(
    tmp_path: Path, run_avsr: Callable[..., tuple[int, str, str]]
) -> None:
    path = tmp_path / "other.pt"
    torch.save({"model": {"layer.weight": torch.zeros(2)}, "cfg": {"model": {}}}, path)
    for network in ("auto-avsr", "av-hubert"):
        code, _, err = run_avsr(
            "import", network, path, "--out", tmp_path / "x", "--accept-licence"
        )
        assert code == 1
        assert len(err.strip().splitlines()) == 1
        assert "other.pt" in err
    assert not (tmp_path / "x").exists()


def test_the_transcribe_command_takes_an_imported_folder(
    tmp_path: Path, wav: Path, run_avsr: Callable[..., tuple[int, str, str]]
) -> None:
    torch.save(published("auto_avsr_audio"), tmp_path / "asr.pth")
    code, _, err = run_avsr(
        "import", "auto-avsr", tmp_path / "asr.pth", "--out", tmp_path / "a", "--accept-licence"
    )
    assert code == 0, err
    words = ("transcribe", wav, "--recognizer", tmp_path / "a")
    code, out, err = run_avsr(*words, "--modality", "audio", "--method", "greedy")
    assert code == 0, err
    name, ids = out.strip().split("\t")
    assert name == str(wav)
    assert all(0 < int(token) < 11 for token in ids.split())
    code, _, err = run_avsr(*words)
    assert code == 1
    assert "--modality audio, video or audio_visual" in err
