"""Whisper: transformers' own logits for the same weights, exact padding, caches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from avsr.models.whisper import Whisper, WhisperConfig

SMALL = WhisperConfig(
    width=24,
    encoder_layers=2,
    encoder_heads=2,
    decoder_layers=2,
    decoder_heads=3,
    hidden=32,
    max_frames=1500,
    max_tokens=12,
    vocabulary_size=50,
)


@pytest.fixture(scope="module")
def model() -> Whisper:
    torch.manual_seed(0)
    return Whisper(SMALL).eval()


def sound(lengths: list[int], seed: int = 0) -> torch.Tensor:
    waveform = 0.3 * torch.randn(
        len(lengths), max(lengths), generator=torch.Generator().manual_seed(seed)
    )
    return waveform * (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None])


@pytest.fixture(scope="module")
def theirs(model: Whisper) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.WhisperConfig(
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=3,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_target_positions=12,
        vocab_size=50,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    network = transformers.WhisperForConditionalGeneration(config).eval()
    network.model.load_state_dict(model.state_dict())  # the names are the same, all of them
    return network


@torch.no_grad()
def test_30_s_give_the_logits_of_transformers(model: Whisper, theirs: Any) -> None:
    transformers = pytest.importorskip("transformers")
    waveform = sound([480_000])
    extractor = transformers.WhisperFeatureExtractor()
    mel = extractor(waveform[0].numpy(), sampling_rate=16000, return_tensors="pt").input_features
    tokens = torch.tensor([[1, 7, 8, 9, 20]])
    expected = theirs(input_features=mel, decoder_input_ids=tokens).logits
    logits, _ = model.decoder(tokens, model.start(waveform, torch.tensor([480_000])))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_alone_and_padded_agree(model: Whisper) -> None:
    lengths = torch.tensor([6400, 2560])
    waveform, tokens = sound([6400, 2560]), torch.tensor([[1, 5, 6]])
    together, _ = model.decoder(tokens.expand(2, -1), model.start(waveform, lengths))
    alone, _ = model.decoder(tokens, model.start(waveform[1:, :2560], lengths[1:]))
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_what_follows_the_end_is_not_heard(model: Whisper) -> None:
    """Only the mask tells: the sum of 30 s of silence would change the plain network."""
    lengths = torch.tensor([3200])
    short, long = sound([3200]), torch.nn.functional.pad(sound([3200]), (0, 6400))
    vectors, valid = model.encoder(long, lengths)
    assert valid.sum() == 10
    torch.testing.assert_close(vectors[:, :10], model.encoder(short, lengths)[0], atol=1e-5, rtol=0)
    unmasked, _ = model.encoder(long, torch.tensor([9600]))
    assert (unmasked[:, :10] - vectors[:, :10]).abs().max() > 1e-3


@torch.no_grad()
def test_steps_with_a_cache_equal_the_whole(model: Whisper) -> None:
    state = model.start(sound([6400, 2560]), torch.tensor([6400, 2560]))
    tokens = torch.tensor([[1, 5, 6, 7, 8], [1, 9, 10, 11, 12]])
    whole, _ = model.decoder(tokens, state)
    parts = []
    for first, last in ((0, 2), (2, 3), (3, 5)):
        logits, state = model.decoder(tokens[:, first:last], state)
        parts.append(logits)
    assert state.num_tokens == 5
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_rows_multiply_and_move(model: Whisper) -> None:
    start = model.start(sound([6400, 2560]), torch.tensor([6400, 2560]))
    histories = torch.tensor([[1, 5], [1, 6], [1, 7], [1, 8]])
    _, state = model.decoder(histories, start.expanded(2))
    logits, _ = model.decoder(torch.full((4, 1), 9), state.reordered(torch.tensor([1, 0, 2, 2])))
    for row, history in enumerate(([1, 6, 9], [1, 5, 9], [1, 7, 9], [1, 7, 9])):
        one = model.start(*((sound([6400]), torch.tensor([6400])) if row < 2 else _second()))
        expected, _ = model.decoder(torch.tensor([history]), one)
        torch.testing.assert_close(logits[row, 0], expected[0, -1], atol=1e-4, rtol=1e-4)


def _second() -> tuple[torch.Tensor, torch.Tensor]:
    return sound([6400, 2560])[1:, :2560], torch.tensor([2560])


def test_too_long_is_refused(model: Whisper) -> None:
    with pytest.raises(ValueError, match="more than Whisper's 1500"):
        model.start(torch.zeros(1, 480_320), torch.tensor([480_320]))
    state = model.start(torch.zeros(1, 640), torch.tensor([640]))
    with pytest.raises(ValueError, match="13 tokens are more than Whisper's 12"):
        model.decoder(torch.ones(1, 13, dtype=torch.long), state)
    with pytest.raises(ValueError, match="multiple of 5 heads"):
        WhisperConfig(encoder_heads=5)
