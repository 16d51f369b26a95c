"""A network that goes on from another one: what it shares it reads as before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from avsr.data.collate import collate
from avsr.models.recognizer import Recognizer
from avsr.training.loop import TrainConfig, make_accelerator
from avsr.training.recognizer import load_recognizer, plain_example, train_recognizer
from avsr.training.warm_start import start_from

ALL = ("audio", "crops", "lips")


def other(recognizer: Any, **changes: Any) -> Recognizer:
    torch.manual_seed(7)
    return Recognizer(replace(recognizer.config, **changes)).eval()


def logits(model: Any, rows: Any, streams: tuple[str, ...]) -> torch.Tensor:
    with torch.no_grad():
        return model(collate([plain_example(row, streams, num_mels=80) for row in rows]))


def test_the_same_shape_takes_everything(recognizer: Any, test_rows: Any) -> None:
    model = other(recognizer)
    assert not torch.equal(logits(model, test_rows, ALL), logits(recognizer, test_rows, ALL))
    assert str(start_from(model, recognizer, "old")) == "all of it"
    assert torch.equal(logits(model, test_rows, ALL), logits(recognizer, test_rows, ALL))


def test_new_heads_start_by_chance_and_old_ones_are_left_out(
    recognizer: Any, test_rows: Any
) -> None:
    model = other(recognizer, decoder_layers=1, transducer=True)
    chance = {name: tensor.clone() for name, tensor in model.decoder.state_dict().items()}
    taken = start_from(model, recognizer, "old")
    assert taken.added == ("attention decoder", "transducer") and not taken.left_out
    assert torch.equal(logits(model, test_rows, ALL), logits(recognizer, test_rows, ALL))
    for name, tensor in model.decoder.state_dict().items():
        assert torch.equal(tensor, chance[name])
    back = start_from(other(recognizer), model, "new")
    assert back.left_out == ("attention decoder", "transducer") and not back.added
    assert "not taken: attention decoder, transducer" in str(back)


@pytest.mark.parametrize("streams", [("audio",), ("crops",), ("lips", "audio")])
def test_fewer_streams_read_as_if_the_others_were_missing(
    recognizer: Any, test_rows: Any, streams: tuple[Any, ...]
) -> None:
    model = other(recognizer, streams=streams)
    taken = start_from(model, recognizer, "old")
    assert taken.left_out == tuple(sorted(f"stream {s}" for s in set(ALL) - set(streams)))
    expected = logits(recognizer, test_rows, streams)
    torch.testing.assert_close(logits(model, test_rows, streams), expected, atol=1e-5, rtol=1e-5)


def test_a_new_stream_counts_for_nothing_at_first(recognizer: Any, test_rows: Any) -> None:
    heard = other(recognizer, streams=("audio",))
    model = other(recognizer, streams=("crops", "audio"))
    assert start_from(model, heard, "ear").added == ("stream crops",)
    expected = logits(heard, test_rows, ("audio",))
    both = logits(model, test_rows, ("audio", "crops"))
    torch.testing.assert_close(both, expected, atol=1e-5, rtol=1e-5)
    loss = model(collate([plain_example(r, ("audio", "crops"), num_mels=80) for r in test_rows]))
    loss.square().sum().backward()
    assert model.fusion.join[0].weight.grad[:, : model.config.width].abs().sum() > 0  # it can learn


def test_convolutions_may_become_causal(recognizer: Any) -> None:
    model = other(recognizer, causal=True)
    assert "causal" in str(start_from(model, recognizer, "old"))
    assert all(torch.equal(t, recognizer.state_dict()[n]) for n, t in model.state_dict().items())


def test_what_does_not_fit_is_named_in_one_line(recognizer: Any) -> None:
    with pytest.raises(ValueError, match=r"old: .*another shape.*encoders.audio") as error:
        start_from(other(recognizer, width=32), recognizer, "old")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"old: .*another shape.*missing.*layers\.1\."):
        start_from(other(recognizer, fused_layers=2), recognizer, "old")
    with pytest.raises(ValueError, match=r"trained on crops, the network to train reads audio"):
        start_from(
            other(recognizer, streams=("audio",)), other(recognizer, streams=("crops",)), "eye"
        )


def test_training_goes_on_from_a_file(
    recognizer: Any, tokenizer: Any, recognizer_file: Path, test_rows: Any, tmp_path: Path
) -> None:
    rows = [test_rows[number] for number in range(len(test_rows))]

    class Examples:
        def __len__(self) -> int:
            return len(rows)

        @property
        def num_frames(self) -> list[int]:
            return [row["num_frames"] for row in rows]

        def example(self, place: int, epoch: int) -> Any:
            tokens = tuple(tokenizer.encode(rows[place]["text"]))
            return replace(plain_example(rows[place], ALL, num_mels=80), tokens=tokens)

    settings = TrainConfig(max_updates=1, validate_every=1, learning_rate=0.0, num_workers=0)
    best = train_recognizer(
        Examples(),  # type: ignore[arg-type]
        lambda _: {"wer": 0.5},
        tokenizer,
        model_config=replace(recognizer.config, decoder_layers=1),
        train_config=settings,
        run_folder=tmp_path / "run",
        accelerator=make_accelerator(settings),
        info={},
        attention_weight=0.5,
        initial=recognizer_file,
    )
    trained = load_recognizer(best)[0]
    assert trained.decoder is not None
    for name, tensor in recognizer.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor)
