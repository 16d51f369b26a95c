"""Lip readers: the toolkit's own, imported weights, and what is no lip reader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.files import sha256_file
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.pretrained.imported import import_weights
from avsr.pretrained.mouth_crops import MEAN_FACE
from avsr.text import Tokenizer, normalise, train_tokenizer
from avsr.training.recognizer import save_recognizer
from learn2talk.face_benchmark.films import OURS
from learn2talk.face_benchmark.recognisers import load_lip_reader
from tests.golden.seeded_weights import seeded_weights

GOLDEN = Path(__file__).parents[2] / "golden"


def save_tiny(path: Path, streams: tuple[str, ...] = ("crops",), seed: int = 0) -> Path:
    """A recogniser with random weights."""
    torch.manual_seed(seed)
    tokenizer = Tokenizer(train_tokenizer(["bin lay set now"], 30))
    config = RecognizerConfig(
        vocabulary_size=tokenizer.size,
        streams=streams,  # type: ignore[arg-type]
        width=16,
        num_heads=2,
        fused_layers=1,
        video_channels=(8, 8),
    )
    save_recognizer(path, Recognizer(config), tokenizer, {})
    return path


def published(name: str, path: Path) -> Path:
    shapes = json.loads((GOLDEN / f"{name}.json").read_text())["shapes"]
    weights = {key: torch.from_numpy(values) for key, values in seeded_weights(shapes).items()}
    torch.save(weights, path)
    return path


@pytest.fixture
def units(tmp_path: Path) -> Path:
    path = tmp_path / "units.txt"
    path.write_text("<unk> 1\n" + "".join(f"\u2581W{i} {i}\n" for i in range(2, 10)))
    return path


def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 96, 96)).astype(np.uint8)


def test_our_own(tmp_path: Path) -> None:
    path = save_tiny(tmp_path / "reader_a" / "best.safetensors")
    reader = load_lip_reader(path)
    assert (reader.name, reader.kind, reader.crops) == ("reader_a", "avsr", OURS)
    assert reader.sha256 == sha256_file(path) and reader.alignment is None
    seen = np.ones(12, bool)
    said = reader.read([crops()] * 20, [seen] * 19 + [~seen])
    assert len(said) == 20 and said[19] == "" and len(set(said[:19])) == 1
    assert load_lip_reader(path, "bundled").name == "bundled"


def test_a_recogniser_of_sound_is_refused(tmp_path: Path) -> None:
    path = save_tiny(tmp_path / "ear.safetensors", ("audio",))
    with pytest.raises(ValueError, match="takes audio, not mouth crops"):
        load_lip_reader(path)


def test_auto_avsr_reads_crops_of_its_own_scale(tmp_path: Path, units: Path) -> None:
    weights = published("auto_avsr_video", tmp_path / "vsr.pth")
    out = import_weights("auto_avsr", weights, tmp_path / "vsr", units=units, accept_licence=True)
    reader = load_lip_reader(out)
    assert (reader.name, reader.kind) == ("vsr", "auto_avsr")
    wide = np.hypot(*(np.array(MEAN_FACE[54]) - MEAN_FACE[48])) / 96
    assert reader.mouth_share == pytest.approx(wide) and 0.44 < wide < 0.48
    assert reader.alignment is not None and reader.alignment.network == "auto_avsr"
    assert dict(reader.alignment.mean_face) == MEAN_FACE
    said = reader.read([crops(), crops()], [np.ones(12, bool), np.zeros(12, bool)])
    assert said[1] == "" and said[0] == normalise(said[0])
    with pytest.raises(ValueError, match="sentences of up to 60 s, an utterance has 61"):
        reader.read([np.zeros((1525, 96, 96), np.uint8)], [np.ones(1525, bool)])


def test_a_mean_face_without_a_mouth_is_drawn_at_our_scale(tmp_path: Path, units: Path) -> None:
    weights = published("auto_avsr_video", tmp_path / "vsr.pth")
    out = import_weights("auto_avsr", weights, tmp_path / "vsr", units=units, accept_licence=True)
    described = json.loads((out / "imported.json").read_text())
    described["mean_face"].pop("54")
    (out / "imported.json").write_text(json.dumps(described))
    assert load_lip_reader(out).mouth_share == 0.475


def test_imported_weights_without_text_or_without_video_are_refused(
    tmp_path: Path, units: Path
) -> None:
    weights = published("auto_avsr_video", tmp_path / "vsr.pth")
    out = import_weights("auto_avsr", weights, tmp_path / "vsr", units=None, accept_licence=True)
    with pytest.raises(ValueError, match="gives token ids and no text"):
        load_lip_reader(out)
    weights = published("auto_avsr_audio", tmp_path / "asr.pth")
    out = import_weights("auto_avsr", weights, tmp_path / "asr", units=units, accept_licence=True)
    with pytest.raises(ValueError, match="reads no mouth without sound"):
        load_lip_reader(out)
