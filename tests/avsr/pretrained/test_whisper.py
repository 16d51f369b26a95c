"""Whisper's checkpoint and tokenizer: the real tiny.en, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avsr.pretrained.whisper import config_of, load_whisper, read_settings
from tests.avsr.pretrained.conftest import save_checkpoint


@pytest.mark.real_data
@torch.no_grad()
def test_tiny_en_writes_what_transformers_writes(avsr_data: Path) -> None:
    import transformers

    from avsr.files import read_audio

    folder = avsr_data / "models" / "whisper-tiny.en"
    model, tokenizer = load_whisper(folder)
    assert tokenizer.prompt == (50257, 50362) and tokenizer.end == 50256
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32
    ).eval()
    waveform = read_audio(avsr_data / "grid" / "s1" / "video" / "bbaf3s.mp4")
    mel = transformers.WhisperFeatureExtractor()(
        waveform, sampling_rate=16000, return_tensors="pt"
    ).input_features
    tokens = torch.tensor([[*tokenizer.prompt, *tokenizer.encode("bin blue at f three soon")]])
    expected = theirs(input_features=mel, decoder_input_ids=tokens).logits
    padded = torch.zeros(1, 480_000)
    padded[0, : len(waveform)] = torch.from_numpy(waveform)
    logits, _ = model.decoder(tokens, model.start(padded, torch.tensor([480_000])))
    torch.testing.assert_close(logits, expected, atol=2e-3, rtol=1e-3)
    assert (logits.argmax(-1) == expected.argmax(-1)).all()


@pytest.mark.real_data
def test_the_tokenizer_goes_there_and_back(avsr_data: Path) -> None:
    _, tokenizer = load_whisper(avsr_data / "models" / "whisper-tiny.en")
    ids = tokenizer.encode("Bin Blue, at F three: soon!")
    assert ids[-1] == tokenizer.end and ids.count(tokenizer.end) == 1
    assert tokenizer.decode([*tokenizer.prompt, *ids]) == "bin blue at f three soon"


def test_what_is_no_whisper_is_refused(tmp_path: Path) -> None:
    save_checkpoint("wav2vec2", "group", tmp_path)
    with pytest.raises(ValueError, match="'wav2vec2' checkpoint is not a Whisper"):
        load_whisper(tmp_path)


def test_a_checkpoint_without_tokenizer_says_so(tmp_path: Path) -> None:
    save_checkpoint("whisper", "", tmp_path)
    assert config_of(read_settings(tmp_path)).width == 24
    with pytest.raises(ValueError, match=r"tokenizer.json: no such file"):
        load_whisper(tmp_path)
