from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.files import read_json
from avsr.pretrained.imported import (
    CONFIG_FILE,
    NOTICE_FILE,
    NOTICES,
    WEIGHTS_FILE,
    import_weights,
    is_imported,
    load_imported,
)
from avsr.pretrained.mouth_crops import MEAN_FACE
from tests.golden.seeded_weights import seeded_weights

GOLDEN = Path(__file__).parents[2] / "golden"


def published(name: str) -> dict[str, torch.Tensor]:
    shapes = json.loads((GOLDEN / f"{name}.json").read_text())["shapes"]
    return {key: torch.from_numpy(values) for key, values in seeded_weights(shapes).items()}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "vsr.pth"
    torch.save(published("auto_avsr_video"), path)
    return path


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("units") / "units.txt"
    path.write_text("<unk> 1\n" + "".join(f"\u2581W{i} {i}\n" for i in range(2, 10)))
    return path


def test_a_folder_comes_back_as_it_was(weights: Path, units: Path, tmp_path: Path) -> None:
    out = import_weights("auto_avsr", weights, tmp_path / "vsr", units=units, accept_licence=True)
    assert is_imported(out)
    assert (out / NOTICE_FILE).read_text() == NOTICES["auto_avsr"]
    described = read_json(out / CONFIG_FILE)
    assert described["imported_from"] == "vsr.pth"
    assert len(described["sha256"]) == 64
    imported = load_imported(out)
    assert imported.symbols is not None
    assert imported.symbols[2] == "\u2581W2"
    assert imported.mean_face == MEAN_FACE
    assert not imported.model.training
    direct = published("auto_avsr_video")["ctc.ctc_lo.weight"]
    assert torch.equal(imported.model.state_dict()["to_logits.weight"], direct)


def test_a_folder_of_the_hugging_face_layout_is_imported(tmp_path: Path) -> None:
    source = tmp_path / "hub"
    source.mkdir()
    config = json.loads((GOLDEN / "av_hubert_hugging_face.json").read_text())["config"]
    (source / "config.json").write_text(json.dumps(config))
    torch.save(published("av_hubert_hugging_face"), source / "pytorch_model.bin")
    out = import_weights("av_hubert", source, tmp_path / "out", units=None, accept_licence=True)
    imported = load_imported(out)
    assert imported.network == "av_hubert"
    assert imported.symbols is None
    assert imported.model.config.head == "decoder"  # type: ignore[union-attr]
    assert "License Agreement" in (out / NOTICE_FILE).read_text()


def test_a_mean_face_travels_with_the_weights(weights: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "face.npy", np.arange(136.0).reshape(68, 2))
    out = import_weights(
        "auto_avsr",
        weights,
        tmp_path / "vsr",
        units=None,
        mean_face=tmp_path / "face.npy",
        accept_licence=True,
    )
    assert load_imported(out).mean_face[67] == (134.0, 135.0)


def test_the_licence_comes_first(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--accept-licence"):
        import_weights("auto_avsr", weights, tmp_path, units=None, accept_licence=False)
    assert list(tmp_path.iterdir()) == []


def test_units_of_other_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("<unk> 1\n")
    with pytest.raises(ValueError, match="3 symbols.*11 outputs"):
        import_weights("auto_avsr", weights, tmp_path / "x", units=short, accept_licence=True)


def test_damaged_folders_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="avsr import"):
        load_imported(tmp_path)
    out = import_weights("auto_avsr", weights, tmp_path, units=None, accept_licence=True)
    good = read_json(out / CONFIG_FILE)
    for change, said in (
        ({"format": "other"}, "is not of the format"),
        ({"network": "other"}, "is not one of auto_avsr, av_hubert"),
        ({"config": {"surprise": 1}}, "config does not fit"),
        ({"config": {**good["config"], "width": 16}}, "does not fit"),
    ):
        (out / CONFIG_FILE).write_text(json.dumps(good | change))
        with pytest.raises(ValueError, match=said) as caught:
            load_imported(out)
        assert "\n" not in str(caught.value)
    (out / CONFIG_FILE).write_text(json.dumps(good))
    whole = (out / WEIGHTS_FILE).read_bytes()
    (out / WEIGHTS_FILE).write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="not a complete safetensors"):
        load_imported(out)
