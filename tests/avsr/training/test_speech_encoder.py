"""A recogniser on a pretrained speech encoder: trained, saved, loaded, padding-exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from avsr.data.collate import collate
from avsr.data.dataset import AUDIO_VISUAL_MIX, TrainingDataset
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.models.speech_encoder import SpeechEncoder
from avsr.pretrained.speech_encoders import load_speech_encoder
from avsr.training.loop import TrainConfig, make_accelerator
from avsr.training.recognizer import (
    ValidationCondition,
    load_recognizer,
    plain_example,
    train_recognizer,
    validator,
)
from tests.avsr.pretrained.conftest import save_checkpoint


@pytest.mark.parametrize(("kind", "trained"), [("wav2vec2", False), ("whisper", True)])
def test_trained_saved_and_loaded(
    kind: str, trained: bool, train_rows: Any, test_rows: Any, tokenizer: Any, tmp_path: Path
) -> None:
    save_checkpoint(kind, "group", tmp_path)
    encoder, weights = load_speech_encoder(tmp_path, trained=trained, weighted_layers=True)
    config = RecognizerConfig(
        vocabulary_size=tokenizer.size,
        num_mels=None,
        width=16,
        num_heads=2,
        fused_layers=1,
        video_channels=(8, 8, 8),
        speech_encoder=encoder.to_json(),
    )
    training = TrainConfig(max_updates=2, validate_every=2, max_frames=100)
    accelerator = make_accelerator(training, cpu=True)
    examples = TrainingDataset(
        train_rows,
        encode=tokenizer.encode,
        stream_mix=AUDIO_VISUAL_MIX,
        mix_noise=None,
        augment=None,
        num_mels=config.num_mels,
    )
    conditions = [ValidationCondition("audio", ("audio",), None)]
    path = train_recognizer(
        examples,
        validator(test_rows, conditions, tokenizer, accelerator, config.num_mels),
        tokenizer,
        model_config=config,
        train_config=training,
        run_folder=tmp_path / "run",
        accelerator=accelerator,
        info={},
        speech_weights=weights,
    )
    model, _ = load_recognizer(path)  # without the checkpoint's folder: the file tells it all
    kept = model.encoders["audio"].backbone.state_dict()  # type: ignore[union-attr, operator]
    same = [torch.equal(kept[name], value) for name, value in weights.items()]
    assert all(same) != trained
    batch = collate([plain_example(row, ("audio", "lips"), num_mels=None) for row in test_rows])
    alone = collate([plain_example(test_rows[0], ("audio", "lips"), num_mels=None)])
    with torch.no_grad():
        together = model(batch)[0, : test_rows[0]["num_frames"]]
        torch.testing.assert_close(together, model(alone)[0], atol=5e-5, rtol=1e-4)


def test_the_encoder_and_the_waveform_belong_together() -> None:
    with pytest.raises(ValueError, match="num_mels 80 must be None with a speech_encoder"):
        RecognizerConfig(vocabulary_size=5, speech_encoder="{}")
    with pytest.raises(ValueError, match="num_mels None must be None with a speech_encoder"):
        RecognizerConfig(vocabulary_size=5, num_mels=None)
    with pytest.raises(ValueError, match="looks at the whole utterance"):
        RecognizerConfig(vocabulary_size=5, num_mels=None, speech_encoder="{}", causal=True)
    plain = Recognizer(RecognizerConfig(vocabulary_size=5))
    assert not isinstance(plain.encoders["audio"], SpeechEncoder)
