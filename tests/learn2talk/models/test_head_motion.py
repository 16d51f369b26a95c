"""PoseVAE: shapes, masks, seeds, and motions of any length without a seam."""

from __future__ import annotations

import pytest
import torch

from learn2talk.models.head_motion import HeadMotionConfig, PoseVAE

SMALL = HeadMotionConfig(
    num_mels=8,
    width=16,
    layers=2,
    heads=2,
    feedforward=16,
    look_back_frames=9,
    look_ahead_frames=4,
    latent=3,
    latent_frames=5,
    start_frames=12,
)
START = torch.tensor([0.1, -0.2, 0.05, 3.0, -2.0, 0.0])


@pytest.fixture
def model() -> PoseVAE:
    torch.manual_seed(0)
    made = PoseVAE(SMALL).eval()
    made.pose_spread = torch.tensor([0.02, 0.03, 0.01, 1.5, 2.0])
    return made


def sound(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(4 * frames, 8, generator=torch.Generator().manual_seed(seed))


def drawn(model: PoseVAE, frames: int, seed: int, piece_frames: int = 400) -> torch.Tensor:
    return model.sample(
        sound(frames), START, torch.Generator().manual_seed(seed), piece_frames=piece_frames
    )


def test_the_first_pose_is_the_given_one_and_depth_is_never_predicted(model: PoseVAE) -> None:
    for frames in (1, 2, 5, 6, 40):
        pose = drawn(model, frames, 0)
        assert pose.shape == (frames, 6)
        torch.testing.assert_close(pose[0], START)
        assert (pose[:, 5] == 0).all()
    deep = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 7.0])
    made = model.sample(sound(3), deep, torch.Generator().manual_seed(0))
    assert (made[:, 5] == 0).all()


def test_a_seed_gives_one_motion_and_another_another(model: PoseVAE) -> None:
    assert torch.equal(drawn(model, 60, 3), drawn(model, 60, 3))
    away = (drawn(model, 60, 3) - drawn(model, 60, 4))[20:, :5].abs() / model.pose_spread
    assert away.mean() > 0.05


def test_the_sound_matters(model: PoseVAE) -> None:
    one, other = (
        model.sample(sound(60, k), START, torch.Generator().manual_seed(0)) for k in (0, 1)
    )
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("piece_frames", [1, 2, 7, 16, 61])
def test_pieces_are_the_whole(model: PoseVAE, piece_frames: int) -> None:
    whole = drawn(model, 61, 0)
    torch.testing.assert_close(drawn(model, 61, 0, piece_frames), whole, atol=1e-5, rtol=0)


def test_no_joint_is_a_jump(model: PoseVAE) -> None:
    pose = drawn(model, 400, 0, piece_frames=50)[:, :5] / model.pose_spread
    speed = pose.diff(dim=0).norm(dim=1)
    at_pieces = speed[torch.arange(49, 399, 50)]
    at_latents = speed[torch.arange(4, 399, 5)]
    assert at_pieces.max() <= speed.max() and at_pieces.mean() < 2 * speed.mean()
    assert at_latents.mean() < 2 * speed.mean()


def test_what_comes_later_does_not_change_what_is_past(model: PoseVAE) -> None:
    latents = torch.randn(1, model.num_latents(40), 3, generator=torch.Generator().manual_seed(1))
    features = sound(40)[None]
    pose = model.decode(features, START[None], latents)
    changed = features.clone()
    changed[:, 4 * 30 :] += 5.0
    after = model.decode(changed, START[None], latents)
    seen = 30 - (SMALL.look_ahead_frames - 1)  # the mel window itself is the other frame
    torch.testing.assert_close(after[:, :seen], pose[:, :seen], atol=1e-6, rtol=0)
    assert (after[:, seen:] - pose[:, seen:]).abs().max() > 1e-4


def padded_batch(frames: int, longer: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    features, pose = torch.zeros(2, 4 * longer, 8), torch.zeros(2, longer, 6)
    features[0, : 4 * frames], features[1] = sound(frames), sound(longer, 1)
    pose[..., :5] = torch.randn(2, longer, 5, generator=generator) * 0.05
    pose[0, frames:] = 9.0  # whatever stands in padding
    features[0, 4 * frames :] = -3.0
    valid = torch.ones(2, longer, dtype=torch.bool)
    valid[0, frames:] = False
    tracked = valid.clone()
    tracked[:, 7:9] = False
    return features, pose, valid, tracked


@pytest.mark.parametrize("frames", [10, 11, 14, 23])
def test_padding_changes_nothing(model: PoseVAE, frames: int) -> None:
    features, pose, valid, tracked = padded_batch(frames, 31)
    noise = torch.randn(2, model.num_latents(31), 3, generator=torch.Generator().manual_seed(2))
    count = model.num_latents(frames)
    both = model(features, pose, valid, tracked, noise)
    alone = model(
        features[:1, : 4 * frames],
        pose[:1, :frames],
        valid[:1, :frames],
        tracked[:1, :frames],
        noise[:1, :count],
    )
    torch.testing.assert_close(both.pose[:1, :frames], alone.pose, atol=1e-5, rtol=0)
    torch.testing.assert_close(both.mean[:1, :count], alone.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(both.log_variance[:1, :count], alone.log_variance, atol=1e-5, rtol=0)
    assert both.latent_mask[0].sum() == count and alone.latent_mask.all()
    assert (both.pose[0, frames:] == 0).all()
    given = model.decode(features, pose[:, 0], both.mean, valid)
    single = model.decode(features[:1, : 4 * frames], pose[:1, 0], both.mean[:1, :count])
    torch.testing.assert_close(given[:1, :frames], single, atol=1e-5, rtol=0)


def test_untracked_poses_are_not_looked_at(model: PoseVAE) -> None:
    features, pose, valid, tracked = padded_batch(31, 31)
    noise = torch.zeros(2, model.num_latents(31), 3)
    first = model(features, pose, valid, tracked, noise)
    wrong = torch.where(tracked[..., None], pose, torch.full_like(pose, 50.0))
    second = model(features, wrong, valid, tracked, noise)
    torch.testing.assert_close(first.pose, second.pose)
    torch.testing.assert_close(first.mean, second.mean)


def test_wrong_sizes_are_refused(model: PoseVAE) -> None:
    with pytest.raises(ValueError, match="look_ahead_frames is 0; the log-mel window alone needs"):
        HeadMotionConfig(look_ahead_frames=0)
    with pytest.raises(ValueError, match="width 64 is not divisible by 5 heads"):
        HeadMotionConfig(heads=5)
    with pytest.raises(ValueError, match="sizes of a PoseVAE must be positive"):
        HeadMotionConfig(latent=0)
    with pytest.raises(ValueError, match="3 log-mel frames are not whole video frames"):
        model.sample(torch.zeros(3, 8), START, torch.Generator())
    with pytest.raises(ValueError, match="0 frames; give at least one"):
        model.sample(torch.zeros(0, 8), START, torch.Generator())
    with pytest.raises(ValueError, match="takes 8 mel bands"):
        model.sample(torch.zeros(4, 9), START, torch.Generator())
