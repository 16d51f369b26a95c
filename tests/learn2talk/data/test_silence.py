"""Silence behind a clip: nothing is heard, and the mouth is at rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from learn2talk.data.motion import MotionClips, collate_motion
from learn2talk.data.silence import CLOSING_FRAMES, LENGTH_FRAMES, with_silence
from learn2talk.training import StudentTrainConfig


def test_the_mouth_comes_to_rest_and_little_is_heard(tiny_corpus: Path) -> None:
    clip = MotionClips(tiny_corpus, "train").clips[0]
    made = with_silence(clip, np.random.default_rng(1), 80)
    added = made.num_frames - clip.num_frames
    assert LENGTH_FRAMES[0] <= added <= LENGTH_FRAMES[1]
    assert len(made.features) == 4 * made.num_frames == 4 * len(made.displacement)
    np.testing.assert_array_equal(made.displacement[: clip.num_frames], clip.displacement)
    quiet = made.displacement[clip.num_frames + CLOSING_FRAMES - 1 :]
    assert np.abs(quiet).max() == 0.0 and made.tracked[clip.num_frames :].all()
    lips = made.lips[clip.num_frames + CLOSING_FRAMES :]
    np.testing.assert_allclose(lips, np.broadcast_to(clip.neutral_lips, lips.shape), atol=1e-5)
    steps = np.abs(np.diff(made.displacement[clip.num_frames - 1 :], axis=0)).max()
    assert steps <= np.abs(clip.displacement[-1]).max() / CLOSING_FRAMES + 1e-5  # no jump
    assert made.features[4 * clip.num_frames :].mean() < clip.features.mean() - 1.0


def test_what_else_an_example_has_goes_on_too(tiny_corpus: Path) -> None:
    clips = MotionClips(tiny_corpus, "train", mouth_crops=True, waveforms=True, silence_share=1.0)
    example = clips.example(0, 0)
    assert example.mouth_crops is not None and example.heard is not None
    assert len(example.mouth_crops) == example.num_frames
    assert len(example.heard) == 4 * example.num_frames
    last = example.mouth_crops[-1]
    assert (example.mouth_crops[-LENGTH_FRAMES[0] :] == last).all()
    batch = collate_motion([example, clips.example(1, 0)])
    assert batch.num_targets == int(batch.tracked_mask.sum())


def test_the_share_is_kept_and_a_share_of_0_changes_nothing(tiny_corpus: Path) -> None:
    plain = MotionClips(tiny_corpus, "train", seed=3)
    some = MotionClips(tiny_corpus, "train", seed=3, silence_share=0.5)
    longer = [
        some.example(i, epoch).num_frames > plain.example(i, epoch).num_frames
        for i in range(len(plain))
        for epoch in range(40)
    ]
    assert 0.35 < np.mean(longer) < 0.65
    first = plain.example(0, 0)
    same = replace(first, draw=0)
    np.testing.assert_array_equal(same.features, plain.clips[0].features)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="silence_share"):
        StudentTrainConfig(silence_share=share)
