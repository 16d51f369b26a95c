"""What CTC cannot be trained on is named, counted and left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from avsr.data.augment import AugmentConfig
from avsr.data.dataset import AUDIO_ONLY_MIX, TrainingDataset
from avsr.data.trainable import frames_needed, summary, untrainable
from avsr.losses import ctc_loss_sum
from avsr.text import Tokenizer

GOOD = "bin blue at a one now"


@pytest.fixture
def rows(make_row: Callable[..., dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(
        [
            make_row("good/0", 20, GOOD),
            make_row("bad/empty", 20, " ?! "),
            make_row("bad/letters", 20, "bin quartz"),
            make_row("bad/short", 2, GOOD),
            make_row("good/1", 24, GOOD),
        ]
    )


def test_each_kind_is_named(rows: Any, tokenizer: Tokenizer) -> None:
    found = untrainable(rows, tokenizer)
    assert [(one.index, one.utterance_id) for one in found] == [
        (1, "bad/empty"),
        (2, "bad/letters"),
        (3, "bad/short"),
    ]
    assert "' ?! '" in found[0].reason
    assert found[1].reason.startswith("'qz'")
    needed = frames_needed(tokenizer.encode(GOOD))
    assert f"needs {needed} frames" in found[2].reason and "has 2" in found[2].reason
    assert found[2].to_row()["kind"] == "more tokens than frames"
    assert summary(found, 5) == (
        "3 of 5 utterances are not trained on: 1 characters outside the vocabulary, "
        "1 empty transcript, 1 more tokens than frames"
    )
    assert summary([], 5) == "0 of 5 utterances are not trained on: none"


def test_frames_needed_is_where_the_loss_begins_to_be_finite() -> None:
    import torch

    tokens = [3, 3, 5, 3, 3, 3]
    needed = frames_needed(tokens)
    assert needed == 9 and frames_needed([]) == 0
    ids, count = torch.tensor([tokens]), torch.tensor([len(tokens)])
    logits = torch.randn(1, needed, 8, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(ctc_loss_sum(logits, torch.tensor([needed]), ids, count).total)
    with pytest.raises(ValueError, match="no CTC path"):
        ctc_loss_sum(logits, torch.tensor([needed - 1]), ids, count)


def test_time_stretch_counts(make_row: Callable[..., dict[str, Any]], tokenizer: Tokenizer) -> None:
    from datasets import Dataset

    needed = frames_needed(tokenizer.encode(GOOD))
    rows = Dataset.from_list([make_row("tight", needed, GOOD)])
    assert not untrainable(rows, tokenizer)
    assert [one.utterance_id for one in untrainable(rows, tokenizer, 0.8)] == ["tight"]


def training_set(rows: Any, tokenizer: Tokenizer, augment: AugmentConfig | None) -> TrainingDataset:
    return TrainingDataset(
        rows,
        encode=tokenizer.encode,
        stream_mix=AUDIO_ONLY_MIX,
        mix_noise=None,
        augment=augment,
    )


def test_training_goes_on_with_the_others(rows: Any, tokenizer: Tokenizer) -> None:
    data = training_set(rows, tokenizer, None)
    whole = training_set(rows, tokenizer, None).example(4, 1)
    assert len(data) == 5
    assert len(data.leave_out_untrainable(tokenizer)) == 3
    assert len(data) == 2 and data.num_frames.tolist() == [20, 24]
    assert [data.example(i, 0).utterance_id for i in range(2)] == ["good/0", "good/1"]
    np.testing.assert_array_equal(data.example(1, 1).features, whole.features)
    assert len(data.leave_out_untrainable(tokenizer)) == 3  # a second call changes nothing
    assert len(data) == 2


def test_nothing_left_is_refused(rows: Any, tokenizer: Tokenizer) -> None:
    data = training_set(rows.select([1, 2]), tokenizer, AugmentConfig())
    with pytest.raises(ValueError, match="none of 2 utterances .*the first: bad/empty: nothing"):
        data.leave_out_untrainable(tokenizer)
