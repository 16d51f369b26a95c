from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.models.auto_avsr import AutoAvsr, AutoAvsrConfig
from avsr.pretrained.auto_avsr import auto_avsr_from_tensors, read_auto_avsr
from tests.golden.seeded_weights import seeded_audio, seeded_video, seeded_weights

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = ("auto_avsr_video", "auto_avsr_audio", "auto_avsr_video_v1", "auto_avsr_audio_visual_v1")
TOLERANCE = 1e-4  # what the issue asks; 8e-7 is what we measure


def golden(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def published(name: str) -> dict[str, torch.Tensor]:
    shapes = golden(name)["shapes"]
    return {key: torch.from_numpy(values) for key, values in seeded_weights(shapes).items()}


def inputs(model: AutoAvsr, num_frames: int) -> dict[str, torch.Tensor]:
    made = {"video": seeded_video(num_frames), "audio": seeded_audio(num_frames)}
    return {name: torch.from_numpy(made[name])[None] for name in model.config.streams}


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], AutoAvsr]:
    return golden(request.param), auto_avsr_from_tensors(published(request.param), request.param)


def test_logits_are_those_of_the_published_implementation(
    case: tuple[dict[str, Any], AutoAvsr],
) -> None:
    expected, model = case
    valid = torch.ones(1, expected["num_frames"], dtype=torch.bool)
    with torch.no_grad():
        memory = model.encode(valid, **inputs(model, expected["num_frames"]))
        ctc = model.ctc_logits(memory)[0]
        decoder = model.decode_logits(torch.tensor([expected["tokens_in"]]), memory, valid)[0]
    np.testing.assert_allclose(ctc, expected["ctc_logits"], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(decoder, expected["decoder_logits"], atol=TOLERANCE, rtol=0)
    # A constant answer could not be told from a right one.
    assert np.std(expected["ctc_logits"], axis=0).min() > 100 * TOLERANCE


def test_steps_give_the_logits_of_the_whole_sequence(
    case: tuple[dict[str, Any], AutoAvsr],
) -> None:
    expected, model = case
    valid = torch.ones(1, expected["num_frames"], dtype=torch.bool)
    with torch.no_grad():
        memory = model.encode(valid, **inputs(model, expected["num_frames"]))
        state = model.decoder.start(memory, valid, 2)
        steps = []
        for token in expected["tokens_in"]:
            logits, state = model.decoder.step(state, torch.tensor([[1, token]]))
            state = model.decoder.reorder(state, torch.tensor([[1, 1]]))
            steps.append(logits[0, 1])
    np.testing.assert_allclose(
        torch.stack(steps), expected["decoder_logits"], atol=TOLERANCE, rtol=0
    )


def test_padding_changes_nothing(case: tuple[dict[str, Any], AutoAvsr]) -> None:
    expected, model = case
    frames = expected["num_frames"]
    alone = inputs(model, frames)
    valid = torch.ones(1, frames, dtype=torch.bool)
    padded = {
        name: torch.cat(
            [values, 5 + torch.zeros_like(values[:, : values.shape[1] // frames * 3])], 1
        )
        for name, values in alone.items()
    }
    padded_valid = torch.cat([valid, torch.zeros(1, 3, dtype=torch.bool)], 1)
    with torch.no_grad():
        once = model.ctc_logits(model.encode(valid, **alone))
        again = model.ctc_logits(model.encode(padded_valid, **padded))[:, :frames]
    torch.testing.assert_close(again, once, atol=1e-5, rtol=1e-5)


def test_the_shape_is_read_from_the_tensors(case: tuple[dict[str, Any], AutoAvsr]) -> None:
    expected, model = case
    told = dict(expected["config"])
    if model.config.modality != "audio_visual":
        del told["fusion_width"]
    assert {name: getattr(model.config, name) for name in told} == told


def test_the_default_shape_is_the_published_one() -> None:
    with torch.device("meta"):
        model = AutoAvsr(AutoAvsrConfig("video"))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == pytest.approx(250e6, rel=0.01)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return published("auto_avsr_video")


def test_a_lightning_checkpoint_and_prelu_are_read(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    slopes = {"frontend.frontend3D.2.weight": torch.full((64,), 0.25)}
    for layer, channels in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            for number in (1, 2):
                name = f"frontend.trunk.layer{layer}.{block}.relu{number}.weight"
                slopes[name] = torch.full((channels,), 0.25)
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in (weights | slopes).items()}}, path)
    assert read_auto_avsr(path).config.activation == "prelu"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"surplus.weight": torch.zeros(2)}, "1 unknown keys: surplus.weight"),
        ({"frontend.surplus": torch.zeros(2)}, "1 unknown keys: frontend.surplus"),
        ({"encoder.embed.0.bias": torch.zeros(32)}, "1 unknown keys: encoder.embed.0.bias"),
        ({"ctc.ctc_lo.bias": None}, "1 parameters without a key: to_logits.bias"),
        ({"ctc.ctc_lo.bias": torch.zeros(4)}, r"ctc.ctc_lo.bias \(4,\) for \(11,\)"),
        ({"encoder.encoders.0.self_attn.pos_bias_u": None}, "has no .*pos_bias_u among"),
    ],
)
def test_keys_that_do_not_fit_are_named(
    weights: dict[str, torch.Tensor],
    tmp_path: Path,
    change: dict[str, torch.Tensor | None],
    said: str,
) -> None:
    changed = {name: value for name, value in (weights | change).items() if value is not None}
    path = tmp_path / "weights.pth"
    torch.save(changed, path)
    with pytest.raises(ValueError, match=said) as caught:
        read_auto_avsr(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_streams_and_lengths_are_checked() -> None:
    model = auto_avsr_from_tensors(published("auto_avsr_audio"), "x")
    valid = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="takes audio, got nothing"):
        model.encode(valid)
    with pytest.raises(ValueError, match="2 frames need 1280"):
        model.encode(valid, audio=torch.zeros(1, 1300))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"vocabulary_size": 2}, "at least 3"),
        ({"width": 30}, "multiple of 12 heads"),
    ],
)
def test_impossible_shapes_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AutoAvsrConfig("video", **fields)
