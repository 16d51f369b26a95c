"""Chunks drawn for training: when, which, and always the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from avsr.data.dataset import AUDIO_ONLY_MIX, TrainingDataset
from avsr.files import read_json
from avsr.models.layers import ChunkConfig
from avsr.models.recognizer import Recognizer
from avsr.training.chunks import (
    ChunkedExamples,
    ChunkTrainingConfig,
    collate_chunked,
    draw_chunks,
)
from avsr.training.loop import TrainConfig, make_accelerator
from avsr.training.recognizer import train_recognizer
from avsr.training.recognizer_loss import RecognizerLoss, TrainedForward

SOMETIMES = ChunkTrainingConfig(share=0.6, frames=(3, 5), max_left_chunks=2)


def test_draws_follow_the_shares_and_the_limits() -> None:
    drawn = [draw_chunks(SOMETIMES, 0, epoch, f"u{i}") for epoch in range(20) for i in range(100)]
    chunks = [one for one in drawn if one is not None]
    assert len(chunks) / len(drawn) == pytest.approx(0.6, abs=0.04)
    sizes = Counter(frames for frames, _ in chunks)
    assert sorted(sizes) == [3, 4, 5] and min(sizes.values()) > 0.28 * len(chunks)
    assert {left for _, left in chunks} == {None, 0, 1, 2}
    everything = sum(left is None for _, left in chunks) / len(chunks)
    assert everything == pytest.approx(0.5, abs=0.05)


def test_a_draw_depends_on_seed_epoch_and_utterance_alone() -> None:
    always = replace(SOMETIMES, share=1.0, frames=(1, 1000))
    torch.manual_seed(1)
    first = draw_chunks(always, 0, 3, "u7")
    torch.manual_seed(2)
    assert draw_chunks(always, 0, 3, "u7") == first == (first[0], first[1])  # type: ignore[index]
    others = [(1, 3, "u7"), (0, 4, "u7"), (0, 3, "u8")]
    assert all(draw_chunks(always, *one) != first for one in others)


def dataset(rows: Any, tokenizer: Any) -> TrainingDataset:
    return TrainingDataset(
        rows, encode=tokenizer.encode, stream_mix=AUDIO_ONLY_MIX, mix_noise=None, augment=None
    )


def test_the_batch_is_trained_with_its_chunks(
    recognizer: Any, tokenizer: Any, train_rows: Any
) -> None:
    config = ChunkTrainingConfig(share=1.0, frames=(3, 3), max_left_chunks=0)
    examples = ChunkedExamples(dataset(train_rows, tokenizer), config, seed=0)
    assert list(examples.num_frames) == list(train_rows["num_frames"])
    batch = collate_chunked([examples.example(index, 0) for index in range(2)])
    assert batch.chunks in ((3, 0), (3, None))
    model = Recognizer(replace(recognizer.config, causal=True)).eval()
    loss = RecognizerLoss(0.0)
    outputs = TrainedForward(model)(batch)
    expected = model(batch, chunks=ChunkConfig(*batch.chunks))  # type: ignore[misc]
    assert torch.equal(outputs.ctc_logits, expected)
    whole = loss(TrainedForward(model), replace(batch, chunks=None))
    assert not torch.allclose(loss(TrainedForward(model), batch).total, whole.total)


def test_a_causal_network_trains_in_chunks(
    recognizer: Any, tokenizer: Any, train_rows: Any, tmp_path: Path
) -> None:
    config = TrainConfig(max_updates=2, warmup_updates=1, validate_every=2, max_frames=60)
    seen: list[Any] = []
    calls = {
        "validate": lambda model: {"wer": float(model.config.causal)},
        "tokenizer": tokenizer,
        "train_config": config,
        "accelerator": make_accelerator(config, cpu=True),
        "info": {},
    }
    original = TrainedForward.forward

    def forward(self: TrainedForward, batch: Any) -> Any:
        seen.append(batch.chunks)
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainedForward, "forward", forward)
        train_recognizer(
            dataset(train_rows, tokenizer),
            model_config=replace(recognizer.config, causal=True),
            run_folder=tmp_path / "causal",
            chunk_training=replace(SOMETIMES, share=1.0),
            **calls,  # type: ignore[arg-type]
        )
    assert len(seen) == 4 and all(3 <= frames <= 5 for frames, _ in seen)
    assert read_json(tmp_path / "causal" / "run.json")["configs"]["chunks"]["share"] == 1.0
    with pytest.raises(ValueError, match=r"chunk share 0.6 needs a causal network"):
        train_recognizer(
            dataset(train_rows, tokenizer),
            model_config=recognizer.config,
            run_folder=tmp_path / "other",
            chunk_training=SOMETIMES,
            **calls,  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 1.5}, "chunk share 1.5"),
        ({"frames": (0, 3)}, r"chunk frames \(0, 3\)"),
        ({"frames": (5, 3)}, r"chunk frames \(5, 3\)"),
        ({"max_left_chunks": -1}, "max_left_chunks -1"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChunkTrainingConfig(**change)
