"""Training examples: a function of seed, epoch and utterance; noise, lips and streams as asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from avsr.data.augment import MIRROR_ORDER, AugmentConfig, mirror_lips
from avsr.data.collate import collate
from avsr.data.dataset import (
    AUDIO_VISUAL_MIX,
    Example,
    TrainingDataset,
    features_of,
    generator_of,
    middle_crop,
    tokens_of_frames,
)
from avsr.data.manifest import decode_array

ALL = ((("audio", "crops", "lips"), 1.0),)
ARRAYS = ("features", "mouth_crops", "lips", "crops_valid", "lips_valid")


def dataset(rows: Any, **changes: Any) -> TrainingDataset:
    options: dict[str, Any] = {
        "encode": lambda text: [len(text), 1],
        "stream_mix": ALL,
        "mix_noise": None,
        "augment": AugmentConfig(),
        "seed": 0,
    }
    return TrainingDataset(rows, **{**options, **changes})


def add_noise(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (waveform + rng.standard_normal(len(waveform))).astype(np.float32)


def same(a: Example, b: Example) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ARRAYS)


def test_function_of_seed_epoch_and_utterance(train_rows: Any) -> None:
    data = dataset(train_rows, mix_noise=add_noise)
    first = data.example(2, 3)
    data.example(0, 0)  # what came before does not matter
    assert same(first, data.example(2, 3))
    assert same(first, dataset(train_rows, mix_noise=add_noise).example(2, 3))
    # nor does the place in the split, or the rows around it
    assert same(first, dataset(train_rows.select([2]), mix_noise=add_noise).example(0, 3))
    assert not same(first, data.example(2, 4))
    assert not same(first, dataset(train_rows, mix_noise=add_noise, seed=1).example(2, 3))


def test_random_streams_of_utterances_differ() -> None:
    draws = {generator_of(*key).integers(2**60) for key in [(0, 0, "a"), (0, 0, "b"), (0, 1, "a")]}
    assert len(draws) == 3


def test_without_changes_an_example_is_the_row(train_rows: Any) -> None:
    row = train_rows[1]
    plain = dataset(train_rows, augment=None).example(1, 0)
    assert plain.utterance_id == row["utterance_id"] and plain.num_frames == row["num_frames"]
    assert plain.tokens == (len(row["text"]), 1)
    assert plain.features is not None and plain.mouth_crops is not None and plain.lips is not None
    np.testing.assert_array_equal(plain.features, features_of(decode_array(row["audio"]), 80))
    np.testing.assert_array_equal(plain.mouth_crops, middle_crop(decode_array(row["mouth_crops"])))
    np.testing.assert_allclose(plain.lips, decode_array(row["lips"]), atol=1e-5)
    assert not plain.crops_valid[0] and plain.crops_valid[1:].all() and plain.lips_valid[1:].all()


def test_the_waveform_itself_for_a_speech_encoder(train_rows: Any) -> None:
    row = train_rows[1]
    plain = dataset(train_rows, augment=None, num_mels=None).example(1, 0)
    assert plain.features is not None and plain.features.shape == (4 * row["num_frames"], 160)
    np.testing.assert_array_equal(plain.features.reshape(-1), decode_array(row["audio"]))
    filled = features_of(np.ones(641, np.float32), None)
    assert filled.shape == (8, 160) and filled.sum() == 641
    data = dataset(train_rows, mix_noise=add_noise, num_mels=None)
    examples = [data.example(i, epoch) for epoch in range(3) for i in range(len(data))]
    collate(examples)  # refuses streams of different lengths
    assert len({e.num_frames for e in examples}) > 3
    assert {e.features.dtype for e in examples if e.features is not None} == {np.dtype("f4")}


def test_augmented_examples_fit_together(train_rows: Any) -> None:
    data = dataset(train_rows, mix_noise=add_noise)
    lengths = set()
    for epoch in range(6):
        examples = [data.example(i, epoch) for i in range(len(data))]
        collate(examples)  # refuses streams of different lengths
        lengths |= {e.num_frames for e in examples}
        assert {e.features.dtype for e in examples if e.features is not None} == {np.dtype("f4")}
    assert len(lengths) > 3


def test_features_hear_the_noise_and_the_gain(train_rows: Any) -> None:
    quiet = dataset(train_rows, augment=None).example(0, 0).features
    noisy = dataset(train_rows, augment=None, mix_noise=add_noise).example(0, 0).features
    assert quiet is not None and noisy is not None
    assert noisy.mean() > quiet.mean() + 1.0  # the noise is 14 dB above the speech
    off = AugmentConfig(stretch=0, time_masks=0, frequency_masks=0, gain_db=20.0)
    levels = [dataset(train_rows, augment=off).example(0, e).features for e in range(8)]
    shifts = [float(np.median(level - quiet)) for level in levels if level is not None]
    assert max(map(abs, shifts)) < 20 / 10 * np.log(10) + 1e-3 and np.ptp(shifts) > 1.0


def test_mirrored_clips_turn_crops_and_lips_together(
    make_row: Callable[..., dict[str, Any]],
) -> None:
    row = make_row(num_frames=2)
    import datasets

    rows = datasets.Dataset.from_list([row])
    still = AugmentConfig(
        stretch=0,
        brightness=0,
        contrast=0,
        time_masks=0,
        frequency_masks=0,
        lip_noise_mm=0,
    )
    flipped, lips = Counter[bool](), decode_array(row["lips"])
    stored = decode_array(row["mouth_crops"]).astype(int)
    for epoch in range(30):
        one = dataset(rows, augment=still).example(0, epoch)
        assert one.lips is not None and one.mouth_crops is not None
        mirrored = np.allclose(one.lips, mirror_lips(lips, MIRROR_ORDER), atol=1e-4)
        assert mirrored or np.allclose(one.lips, lips, atol=1e-4)
        crops = one.mouth_crops[:, :, ::-1] if mirrored else one.mouth_crops
        windows = np.lib.stride_tricks.sliding_window_view(stored, (88, 88), axis=(1, 2))
        assert (windows == crops[:, None, None]).all(axis=(0, 3, 4)).any()
        flipped[mirrored] += 1
    assert min(flipped[True], flipped[False]) > 5


def test_streams_come_as_often_as_their_weights(train_rows: Any) -> None:
    data = dataset(train_rows, stream_mix=AUDIO_VISUAL_MIX, augment=None)
    counts: Counter[tuple[bool, ...]] = Counter()
    for epoch in range(60):
        for index in range(len(data)):
            rng = generator_of(0, epoch, train_rows[index]["utterance_id"])
            kept = data.stream_choices[rng.choice(6, p=data.stream_weights)]
            counts[tuple(name in kept for name in ("audio", "crops", "lips"))] += 1
    assert abs(counts[(True, False, False)] / 240 - 0.2) < 0.08
    assert abs(counts[(False, True, False)] / 240 - 0.3) < 0.08
    for epoch in range(3):  # and the example has those and no others
        rng = generator_of(0, epoch, train_rows[0]["utterance_id"])
        kept = data.stream_choices[rng.choice(6, p=data.stream_weights)]
        one = data.example(0, epoch)
        there = {"audio": one.features, "crops": one.mouth_crops, "lips": one.lips}
        assert {name for name, value in there.items() if value is not None} == kept


def test_replaced_lips_of_another_length_are_fitted(train_rows: Any) -> None:
    def generated(tracked: np.ndarray, clean: Any, heard: Any, rng: Any) -> np.ndarray:
        np.testing.assert_array_equal(clean, decode_array(train_rows[0]["audio"]))
        assert heard is not None and len(heard) == 640 * len(tracked)  # the sound beside the lips
        return np.full((len(tracked) - 1, 40, 3), 7.0, np.float32)

    one = dataset(train_rows, augment=None, choose_lips=generated).example(0, 0)
    assert one.lips is not None and len(one.lips) == one.num_frames and (one.lips == 7).all()
    assert collate([replace(one, features=None)]).lips is not None


@pytest.mark.parametrize("weights", [(-1.0, 2.0), (0.0, 0.0)])
def test_impossible_stream_weights_are_refused(
    train_rows: Any, weights: tuple[float, float]
) -> None:
    mix = ((("audio",), weights[0]), (("lips",), weights[1]))
    with pytest.raises(ValueError, match="stream weights"):
        dataset(train_rows, stream_mix=mix)


def test_frames_say_the_tokens_of_their_words() -> None:
    """25 fps: frame t is heard at (t + 0.5) / 25 s; a word of two tokens is halved."""
    words = [
        {"word": "ab", "start_s": 0.04, "end_s": 0.2},
        {"word": "c", "start_s": 0.2, "end_s": 0.28},
    ]
    tokens = {"ab": [5, 6], "c": [7]}.__getitem__
    found = tokens_of_frames(words, np.arange(9.0), tokens)
    assert found is not None and found.tolist() == [0, 5, 5, 6, 6, 7, 7, 0, 0]
    slow = tokens_of_frames(words, np.linspace(0, 8, 17), tokens)  # stretched twofold
    assert slow is not None and slow[::2].tolist() == found.tolist()
    assert tokens_of_frames([], np.arange(9.0), tokens) is None
