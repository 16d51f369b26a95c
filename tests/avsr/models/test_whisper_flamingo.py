"""Whisper with a view of the mouth: Whisper itself at first, exact padding, what learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.models.whisper import WhisperConfig
from avsr.models.whisper_flamingo import WhisperFlamingo, WhisperFlamingoConfig
from avsr.schema import Batch

WHISPER = WhisperConfig(
    width=24,
    encoder_layers=1,
    encoder_heads=2,
    decoder_layers=2,
    decoder_heads=2,
    hidden=32,
    max_frames=100,
    max_tokens=12,
    vocabulary_size=50,
)
SMALL = WhisperFlamingoConfig(
    whisper=WHISPER, visual_width=16, visual_heads=2, video_channels=(8, 8, 8)
)
TOKENS = torch.tensor([[1, 5, 6, 7]])


def make_batch(lengths: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    size, frames = len(lengths), max(lengths)
    valid = torch.arange(frames)[None] < torch.tensor(lengths)[:, None]
    sound = 0.3 * torch.randn(size, 4 * frames, 160, generator=generator)
    return Batch(
        utterance_ids=tuple(f"u{i}" for i in range(size)),
        lengths=torch.tensor(lengths),
        features=sound * valid.repeat_interleave(4, 1)[..., None],
        mouth_crops=torch.randint(
            0, 255, (size, frames, 88, 88), dtype=torch.uint8, generator=generator
        ),
        lips=torch.randn(size, frames, 40, 3, generator=generator),
        audio_present=torch.ones(size, dtype=torch.bool),
        crops_present=valid.clone(),
        lips_present=valid.clone(),
    )


def row_of(batch: Batch, row: int) -> Batch:
    length, one = int(batch.lengths[row]), slice(row, row + 1)
    tensors: dict[str, Any] = {
        "lengths": batch.lengths[one],
        "features": batch.features[one, : 4 * length],  # type: ignore[index]
        "mouth_crops": batch.mouth_crops[one, :length],  # type: ignore[index]
        "lips": batch.lips[one, :length],  # type: ignore[index]
        "audio_present": batch.audio_present[one],
        "crops_present": batch.crops_present[one, :length],
        "lips_present": batch.lips_present[one, :length],
    }
    return replace(batch, utterance_ids=batch.utterance_ids[one], **tensors)


def build(visual: Any, opened: float = 0.0) -> WhisperFlamingo:
    torch.manual_seed(0)
    model = WhisperFlamingo(replace(SMALL, visual=visual)).eval()
    if visual is not None:
        for gate in model.gates:
            gate.attention_gate.data.fill_(opened)  # type: ignore[union-attr, operator]
            gate.feed_forward_gate.data.fill_(opened)  # type: ignore[union-attr, operator]
    return model


@pytest.mark.parametrize("visual", ["crops", "lips"])
@torch.no_grad()
def test_at_first_it_is_whisper(visual: str) -> None:
    model, batch = build(visual), make_batch([9, 6])
    alone = build(None)
    alone.whisper.load_state_dict(model.whisper.state_dict())
    tokens = TOKENS.expand(2, -1)
    assert torch.equal(model(batch, tokens), alone(batch, tokens))
    opened = build(visual, opened=0.5)
    assert (opened(batch, tokens) - alone(batch, tokens)).abs().max() > 1e-2


@pytest.mark.parametrize("visual", ["crops", "lips"])
@torch.no_grad()
def test_padding_changes_nothing(visual: str) -> None:
    model, batch = build(visual, opened=0.5), make_batch([9, 6])
    together = model(batch, TOKENS.expand(2, -1))
    for row in range(2):
        alone = model(row_of(batch, row), TOKENS)
        torch.testing.assert_close(together[row], alone[0], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_without_a_visible_mouth_it_is_whisper() -> None:
    model, batch = build("crops", opened=0.5), make_batch([9, 6])
    batch.crops_present[0] = False
    tokens = TOKENS.expand(2, -1)
    blind = model(replace(batch, mouth_crops=None), tokens)
    seen = model(batch, tokens)
    assert torch.equal(seen[0], blind[0]) and (seen[1] - blind[1]).abs().max() > 1e-2
    state = model.whisper.start(batch.features.flatten(1), batch.lengths * 640)  # type: ignore[union-attr]
    torch.testing.assert_close(blind, model.whisper.decoder(tokens, state)[0])
    batch.mouth_crops[0] = 255  # type: ignore[index]
    assert torch.equal(model(batch, tokens)[0], seen[0])


@torch.no_grad()
def test_steps_with_a_cache_equal_the_whole() -> None:
    model, batch = build("crops", opened=0.5), make_batch([9, 6])
    tokens = torch.tensor([[1, 5, 6, 7], [1, 8, 9, 10]])
    whole = model(batch, tokens)
    _, state = model.step(tokens[:, :2], model.start(batch))
    moved = state.expanded(2).reordered(torch.tensor([1, 0, 2, 3]))
    third, moved = model.step(tokens[:, 2:3].repeat_interleave(2, 0), moved)
    fourth, _ = model.step(tokens[:, 3:].repeat_interleave(2, 0), moved)
    for row in range(4):
        torch.testing.assert_close(third[row, 0], whole[row // 2, 2], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(fourth[row, 0], whole[row // 2, 3], atol=1e-5, rtol=1e-4)


def test_the_second_step_leaves_whisper_alone() -> None:
    model, batch = build("crops", opened=0.1).train(), make_batch([9, 6])
    model.freeze_whisper()
    model(batch, TOKENS.expand(2, -1)).square().sum().backward()
    learned = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    expected = {"visual_encoder", "visual_layers", "to_whisper", "visual_norm", "gates"}
    assert learned == expected
    without = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert without == []


@torch.no_grad()
def test_the_new_attention_starts_as_whispers() -> None:
    """Fed the sound's own vectors, an open gate gives what Whisper's cross-attention gives."""
    model = build("crops")
    model.take_whispers_attention()
    gate: Any = model.gates[0]
    layer: Any = model.whisper.decoder.layers[0]
    x, memory = torch.randn(1, 3, SMALL.whisper.width), torch.randn(1, 5, SMALL.whisper.width)
    mask = torch.ones(1, 1, 1, 5, dtype=torch.bool)
    gate.attention_gate.fill_(10.0)  # tanh of it is 1
    seen = gate(x, gate.attention.keys_values(memory), mask)
    heard = layer.encoder_attn(
        layer.encoder_attn_layer_norm(x), layer.encoder_attn.keys_values(memory), mask
    )
    torch.testing.assert_close(seen, x + heard)


def test_closed_gates_can_open() -> None:
    """At 0 the layers behind the gates get no gradient, but the gates do."""
    model, batch = build("lips"), make_batch([6])
    model(batch, TOKENS).square().sum().backward()
    gate: Any = model.gates[0]
    assert gate.attention_gate.grad.abs() > 0 and gate.feed_forward_gate.grad.abs() > 0


@torch.no_grad()
def test_the_encoder_of_a_recogniser_is_taken_over() -> None:
    torch.manual_seed(3)
    recognizer = Recognizer(
        RecognizerConfig(
            vocabulary_size=5, width=16, num_heads=2, fused_layers=1, video_channels=(8, 8, 8)
        )
    ).eval()
    model, batch = build("crops"), make_batch([9])
    model.take_visual_encoder(recognizer.state_dict())
    x = model.visual_encoder(batch.mouth_crops, batch.crops_present)
    for layer in model.visual_layers:
        x = layer(x, batch.crops_present)
    expected = recognizer.encode("crops", batch.mouth_crops, batch.crops_present)  # type: ignore[arg-type]
    assert torch.equal(x, expected)
    with pytest.raises(ValueError, match="does not fit the visual encoder"):
        model.take_visual_encoder({})


def test_sound_is_not_a_view() -> None:
    with pytest.raises(ValueError, match="'audio' must be 'crops', 'lips' or None"):
        WhisperFlamingoConfig(visual="audio")
