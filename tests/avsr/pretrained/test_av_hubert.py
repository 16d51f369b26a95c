from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.files import save_weights
from avsr.models.av_hubert import AvHubert, AvHubertConfig
from avsr.pretrained.av_hubert import (
    av_hubert_from_folder,
    av_hubert_from_tensors,
    read_av_hubert,
)
from tests.golden.seeded_weights import seeded_features, seeded_video, seeded_weights

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = (
    "av_hubert_base",
    "av_hubert_large",
    "av_hubert_base_seq2seq",
    "av_hubert_large_seq2seq",
    "av_hubert_base_ctc",
    "av_hubert_hugging_face",
)
TOLERANCE = 1e-4


def golden(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def published(name: str) -> dict[str, torch.Tensor]:
    shapes = golden(name)["shapes"]
    return {key: torch.from_numpy(values) for key, values in seeded_weights(shapes).items()}


def built(name: str) -> AvHubert:
    expected = golden(name)
    if "config" in expected:
        return av_hubert_from_folder(published(name), expected["config"], name)
    decoder = expected["decoder_settings"] or {}
    return av_hubert_from_tensors(published(name), expected["settings"], decoder, name)


def inputs(streams: str, num_frames: int) -> dict[str, torch.Tensor]:
    made = {"video": seeded_video(num_frames), "audio": seeded_features(num_frames, 104)}
    wanted = ("video", "audio") if streams == "audio_visual" else (streams,)
    return {name: torch.from_numpy(made[name])[None] for name in wanted}


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], AvHubert]:
    return golden(request.param), built(request.param)


def output(
    model: AvHubert, expected: dict[str, Any], streams: dict[str, torch.Tensor], valid: torch.Tensor
) -> torch.Tensor:
    with torch.no_grad():
        memory = model.encode(valid, **streams)
        if model.config.head == "none":
            return memory[0]
        if model.config.head == "ctc":
            return model.ctc_logits(memory)[0]
        return model.decode_logits(torch.tensor([expected["tokens_in"]]), memory, valid)[0]


def test_outputs_are_those_of_the_published_implementation(
    case: tuple[dict[str, Any], AvHubert],
) -> None:
    expected, model = case
    frames = expected["num_frames"]
    valid = torch.ones(1, frames, dtype=torch.bool)
    for streams, values in expected["values"].items():
        found = output(model, expected, inputs(streams, frames), valid)
        np.testing.assert_allclose(found, values, atol=TOLERANCE, rtol=0, err_msg=streams)
        assert np.std(values, axis=0).min() > 10 * TOLERANCE
    ways = list(expected["values"].values())
    assert all(np.abs(np.subtract(ways[0], other)).max() > 100 * TOLERANCE for other in ways[1:])


def test_padding_changes_nothing(case: tuple[dict[str, Any], AvHubert]) -> None:
    expected, model = case
    frames = expected["num_frames"]
    alone = inputs("audio_visual", frames)
    padded = {
        name: torch.cat([values, 3 + torch.zeros_like(values[:, :2])], 1)
        for name, values in alone.items()
    }
    valid = torch.arange(frames + 2)[None] < frames
    with torch.no_grad():
        once = model.encode(valid[:, :frames], **alone)
        again = model.encode(valid, **padded)
    torch.testing.assert_close(again[:, :frames], once, atol=1e-5, rtol=1e-5)
    assert again[:, frames:].abs().max() == 0.0


def fairseq_file(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint with the objects that fairseq pickles, under the names of their classes."""
    expected = golden(name)
    modules = {}
    for full in (
        *("omegaconf", "omegaconf.dictconfig", "omegaconf.nodes"),
        *("fairseq", "fairseq.data", "fairseq.data.dictionary"),
    ):
        modules[full] = types.ModuleType(full)
        monkeypatch.setitem(sys.modules, full, modules[full])

    def made(module: str, class_name: str, **state: Any) -> Any:
        kind = type(class_name, (), {"__module__": module, "__qualname__": class_name})
        setattr(modules[module], class_name, getattr(modules[module], class_name, kind))
        thing = getattr(modules[module], class_name)()
        thing.__dict__.update(state)
        return thing

    def configured(values: dict[str, Any]) -> Any:
        content = {
            key: configured(value)
            if isinstance(value, dict)
            else made("omegaconf.nodes", "AnyNode", _val=value, _parent=None)
            for key, value in values.items()
        }
        return made("omegaconf.dictconfig", "DictConfig", _content=content, _parent=None)

    fine_tuned = {
        **(expected["decoder_settings"] or {}),
        "w2v_args": {"model": expected["settings"]},
    }
    symbols = ["<s>", "<pad>", "</s>", "<unk>", *(f"\u2581w{i}" for i in range(9))]
    content = {
        "cfg": {"model": configured(fine_tuned)},
        "args": argparse.Namespace(arch="av_hubert_seq2seq"),
        "model": published(name),
        "task_state": {
            "target_dictionary": made("fairseq.data.dictionary", "Dictionary", symbols=symbols)
        },
    }
    torch.save(content, path)
    for full in modules:
        monkeypatch.delitem(sys.modules, full)
    return path


def test_a_fairseq_checkpoint_is_read_without_fairseq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "av_hubert_large_seq2seq"
    path = fairseq_file(tmp_path / "tuned.pt", name, monkeypatch)
    model, symbols = read_av_hubert(path)
    expected = built(name)
    assert model.config == expected.config
    assert symbols is not None
    assert symbols[2:5] == ["</s>", "<unk>", "\u2581w0"]
    for mine, other in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_hugging_face_folder_is_read(tmp_path: Path) -> None:
    name = "av_hubert_hugging_face"
    save_weights(tmp_path / "model.safetensors", published(name))
    (tmp_path / "config.json").write_text(json.dumps(golden(name)["config"]))
    model, symbols = read_av_hubert(tmp_path)
    assert symbols is None
    assert model.config == built(name).config


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({"surplus": torch.zeros(1)}, {}, "1 unknown keys: surplus"),
        ({"encoder.layer_norm.bias": None}, {}, "without a key: norm.bias"),
        ({"encoder.layer_norm.bias": torch.zeros(3)}, {}, r"\(3,\) for \(32,\)"),
        ({"encoder.pos_conv.0.weight_g": torch.zeros(1, 1, 3)}, {}, "do not fit together"),
        ({"encoder.pos_conv.0.weight_v": None}, {}, "has no encoder.pos_conv.0.weight_v"),
        ({}, {"encoder_attention_heads": None}, "do not say encoder_attention_heads"),
        ({}, {"layer_norm_first": None}, "do not say layer_norm_first"),
        ({}, {"activation_fn": "tanh"}, "activation 'tanh' is not supported"),
    ],
)
def test_what_does_not_fit_is_named(
    changes: dict[str, torch.Tensor | None], settings: dict[str, Any], said: str
) -> None:
    name = "av_hubert_base"
    tensors = {k: v for k, v in (published(name) | changes).items() if v is not None}
    with pytest.raises(ValueError, match=said) as caught:
        av_hubert_from_tensors(tensors, golden(name)["settings"] | settings, {}, "file.pt")
    assert str(caught.value).startswith("file.pt")
    assert "\n" not in str(caught.value)


def test_plain_weights_without_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"model": published("av_hubert_base")}, path)
    with pytest.raises(ValueError, match="neither 'cfg' nor 'args'"):
        read_av_hubert(path)
    torch.save({"x": 1}, path)
    with pytest.raises(ValueError, match="no fairseq checkpoint"):
        read_av_hubert(path)


def test_streams_and_heads_are_checked() -> None:
    model = built("av_hubert_base")
    valid = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="needs at least one"):
        model.encode(valid)
    with pytest.raises(ValueError, match="video has 3 frames, the mask 2"):
        model.encode(valid, video=torch.zeros(1, 3, 88, 88))
    with pytest.raises(ValueError, match="have the head 'none', not 'ctc'"):
        model.ctc_logits(torch.zeros(1, 2, 32))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_heads": 5}, "multiple of 5 heads"),
        ({"head": "decoder", "vocabulary_size": 4}, "do not fit together"),
        ({"head": "ctc"}, "do not fit together"),
    ],
)
def test_impossible_shapes_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AvHubertConfig(**fields)
