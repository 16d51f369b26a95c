"""Records: round trips, refusals, counts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from avsr.schema import Batch, ErrorCounts, Hypothesis

ROW = Hypothesis("u", "s", "audio", "audio", "none", "white", 0.0, 0, "a b", "a")


@pytest.mark.parametrize("snr_db", [0.0, -5.0, None])
def test_hypothesis_survives_json_and_zero_stays_zero(snr_db: float | None) -> None:
    row = replace(ROW, snr_db=snr_db)
    assert Hypothesis.from_row(json.loads(json.dumps(row.to_row()))) == row


@pytest.mark.parametrize(
    ("change", "message"),
    [({"modality": "smell"}, "modality 'smell'"), ({"visual_source": "x"}, "visual source 'x'")],
)
def test_words_that_mean_nothing_are_refused(change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"utterance u: {message}"):
        replace(ROW, **change)  # type: ignore[arg-type]


def test_missing_and_unknown_fields_are_named() -> None:
    row = ROW.to_row()
    del row["seed"]
    with pytest.raises(ValueError, match=r"utterance u: missing fields \['seed'\].*\['extra'\]"):
        Hypothesis.from_row({**row, "extra": 1})


def test_counts_add_up_before_they_are_divided() -> None:
    total = ErrorCounts(1, 0, 0, 1) + ErrorCounts(0, 1, 2, 9)
    assert total == ErrorCounts(1, 1, 2, 10)
    assert total.errors == 4 and total.rate == 0.4
    assert ErrorCounts(0, 3, 0, 2).rate == 1.5  # insertions can exceed the reference
    with pytest.raises(ValueError, match="no error rate for 0 reference tokens"):
        _ = ErrorCounts(0, 1, 0, 0).rate


def batch() -> Batch:
    return Batch(
        utterance_ids=("a", "b"),
        lengths=torch.tensor([2, 3]),
        features=torch.zeros(2, 12, 4),
        mouth_crops=None,
        lips=torch.zeros(2, 3, 40, 3),
        audio_present=torch.tensor([True, False]),
        crops_present=torch.ones(2, 3, dtype=torch.bool),
        lips_present=torch.tensor([[True, False, True], [True, True, True]]),
    )


def test_streams_are_present_only_inside_the_utterance() -> None:
    valid = torch.tensor([[True, True, False], [True, True, True]])
    streams = batch().streams(valid)
    assert list(streams) == ["audio", "lips"]
    assert streams["audio"][1].tolist() == [[True, True, False], [False, False, False]]
    assert streams["lips"][1].tolist() == [[True, False, False], [True, True, True]]


def test_batch_moves_whole() -> None:
    moved = batch().to("meta")
    assert moved.lips is not None and moved.lips.is_meta and moved.crops_present.is_meta
    assert moved.mouth_crops is None and moved.utterance_ids == ("a", "b")
    assert moved.num_targets == 0


def test_batch_is_pinned_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data loader asks a batch for it; a batch that has no such method stays pageable."""
    pinned: list[int] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.data_ptr())
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    batch = Batch(
        utterance_ids=("a",),
        lengths=torch.tensor([2]),
        features=torch.zeros(1, 8, 80),
        mouth_crops=None,
        lips=None,
        audio_present=torch.tensor([True]),
        crops_present=torch.zeros(1, 2, dtype=torch.bool),
        lips_present=torch.zeros(1, 2, dtype=torch.bool),
        chunks=(4, None),
    )
    same = batch.pin_memory()
    assert len(pinned) == 5 and same.chunks == (4, None) and same.mouth_crops is None
    assert torch.utils.data._utils.pin_memory.pin_memory((0, batch))[1].utterance_ids == ("a",)
    assert len(pinned) == 10
