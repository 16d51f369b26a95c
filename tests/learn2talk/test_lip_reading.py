"""The lip-reading term: drawn mouths beside real ones, over random stretches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avsr.models.recognizer import Recognizer, RecognizerConfig
from learn2talk.data.motion import MotionClips, collate_motion
from learn2talk.lip_reading import LipReading, stretches
from learn2talk.models.lip_reader import LipReadNet
from learn2talk.models.renderer import MouthRenderer
from learn2talk.schema import MotionBatch

SHAPE = RecognizerConfig(
    vocabulary_size=7, width=16, num_heads=2, fused_layers=1, video_channels=(8, 8, 16)
)


def reader() -> LipReadNet:
    torch.manual_seed(0)
    return LipReadNet(Recognizer(SHAPE))


@pytest.fixture(scope="module")
def clips(tiny_corpus: Path) -> MotionClips:
    return MotionClips(tiny_corpus, "train")


def drawn_batch(clips: MotionClips) -> tuple[MotionBatch, Tensor]:
    """Two clips whose real mouths are drawings of their true motion; that motion (B, T, R, 3)."""
    batch = collate_motion(clips.clips[:2])
    template = clips.templates["s0"]
    vertices = torch.from_numpy(template.vertices).repeat(*batch.valid_mask.shape, 1, 1)
    ids = torch.from_numpy(clips.animated_ids.astype(np.int64))
    vertices[:, :, ids] += batch.displacement
    with torch.no_grad():
        crops = MouthRenderer(template)(vertices)
    return replace(batch, mouth_crops=(255 * crops).round().to(torch.uint8)), batch.displacement


def test_true_motion_reads_as_the_real_mouth_and_a_still_one_does_not(clips: MotionClips) -> None:
    batch, true = drawn_batch(clips)
    term = LipReading(clips.templates["s0"], clips.animated_ids, reader(), 8)
    read = term(true, batch)
    where, inside = stretches(batch.valid_mask, 8, batch.draw)
    tracked = batch.tracked_mask[torch.arange(2)[:, None], where] & inside
    assert read.count == int(tracked.sum()) > 8
    still = torch.zeros_like(true).requires_grad_()
    worse = term(still, batch)
    assert float(read.total) < 0.02 * float(worse.total.detach())
    worse.total.backward()
    assert still.grad is not None
    reached = still.grad.flatten(2).norm(dim=-1) > 0
    expected = torch.zeros_like(reached)
    expected[torch.arange(2)[:, None], where] = tracked
    assert torch.equal(reached, expected)


def test_untracked_frames_do_not_count(clips: MotionClips) -> None:
    batch, true = drawn_batch(clips)
    term = LipReading(clips.templates["s0"], clips.animated_ids, reader(), 99)
    assert term(true, batch).count == batch.num_targets  # a long stretch is the whole clip
    lost = replace(batch, tracked_mask=torch.zeros_like(batch.tracked_mask))
    nothing = term(true, lost)
    assert nothing.count == 0 and float(nothing.total) == 0.0


def test_stretches_are_inside_their_clips_and_change_with_the_draw() -> None:
    mask = torch.arange(40)[None] < torch.tensor([[40], [23], [5]])
    seen = []
    for draw in range(200):
        frames, inside = stretches(mask, 10, draw)
        assert frames.shape == inside.shape == (3, 10)
        assert inside[:2].all() and inside[2].sum() == 5
        assert mask.gather(1, frames)[inside].all() and (frames.diff(dim=1)[:2] == 1).all()
        seen.append(frames[:, 0])
    first = torch.stack(seen)
    assert first.amin(0).tolist() == [0, 0, 0] and first.amax(0).tolist() == [30, 13, 0]
    again, _ = stretches(mask, 10, 7)
    assert torch.equal(again[:, 0], seen[7])
    assert stretches(mask, 99, 0)[0].shape == (3, 40)


def test_a_batch_without_crops_says_so(clips: MotionClips) -> None:
    term = LipReading(clips.templates["s0"], clips.animated_ids, reader(), 4)
    batch = collate_motion(clips.clips[:2])
    with pytest.raises(ValueError, match="clips train0, train1 have no mouth crops"):
        term(batch.displacement, batch)
