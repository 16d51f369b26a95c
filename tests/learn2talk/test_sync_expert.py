from __future__ import annotations

import pytest
import torch

from learn2talk.models.sync_expert import SyncExpertConfig, SyncNet3D

SMALL = SyncExpertConfig(width=16, embedding=8)


@pytest.fixture
def expert() -> SyncNet3D:
    torch.manual_seed(0)
    return SyncNet3D(SMALL).eval()


def test_each_window_sees_itself_and_nothing_else(expert: SyncNet3D) -> None:
    features, lips, neutral = (
        torch.randn(1, 80, 80),
        torch.randn(1, 20, 40, 3),
        torch.randn(1, 40, 3),
    )
    out = expert(features, lips, neutral)
    assert out.audio.shape == out.motion.shape == (1, 16, 8)
    torch.testing.assert_close(out.audio.norm(dim=-1), torch.ones(1, 16))
    part = expert(features[:, 28:48], lips[:, 7:12], neutral)
    torch.testing.assert_close(part.audio[0, 0], out.audio[0, 7])
    torch.testing.assert_close(part.motion[0, 0], out.motion[0, 7])


def test_longer_windows(expert: SyncNet3D) -> None:
    long = SyncNet3D(SyncExpertConfig(width=16, embedding=8, window_frames=9)).eval()
    out = long(torch.randn(2, 80, 80), torch.randn(2, 20, 40, 3), torch.randn(2, 40, 3))
    assert out.audio.shape == out.motion.shape == (2, long.num_windows(20), 8)
    assert long.num_windows(20) == 12 and long.num_windows(8) == 0


def test_rigid_movement_of_the_head_does_not_matter(expert: SyncNet3D) -> None:
    lips, neutral = torch.randn(1, 9, 40, 3), torch.randn(1, 40, 3)
    shaken = lips + torch.randn(1, 9, 1, 3)
    torch.testing.assert_close(
        expert.embed_motion(lips, neutral), expert.embed_motion(shaken, neutral), atol=1e-4, rtol=0
    )


def test_window_mask_needs_every_frame(expert: SyncNet3D) -> None:
    valid = torch.ones(1, 10, dtype=torch.bool)
    valid[0, 6] = False
    assert expert.window_mask(valid).tolist() == [[True, True, False, False, False, False]]


def test_bad_clips_are_refused(expert: SyncNet3D) -> None:
    with pytest.raises(ValueError, match="4 video frames"):
        expert(torch.zeros(1, 16, 80), torch.zeros(1, 4, 40, 3), torch.randn(1, 40, 3))
    with pytest.raises(ValueError, match="30 log-mel frames for 9 video frames"):
        expert(torch.zeros(1, 30, 80), torch.zeros(1, 9, 40, 3), torch.randn(1, 40, 3))
    with pytest.raises(ValueError, match="role 'both'"):
        SyncExpertConfig(role="both")  # type: ignore[arg-type]
