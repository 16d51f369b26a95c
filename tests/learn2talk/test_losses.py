from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from learn2talk.losses import (
    calibrated_sync_loss,
    contrastive_sync_loss,
    gaussian_kl,
    lip_reading_loss,
    margin_sync_loss,
    pose_loss,
    pose_velocity_loss,
    shifted_negatives,
    sync_loss,
    velocity_loss,
    vertex_loss,
)


def test_vertex_loss_by_hand() -> None:
    target = torch.zeros(1, 3, 2, 3)
    prediction = torch.zeros(1, 3, 2, 3)
    prediction[0, 0, 0] = torch.tensor([3.0, 4.0, 0.0])  # 25 mm^2 on one of two vertices
    prediction[0, 2] = 100.0  # not tracked
    loss = vertex_loss(prediction, target, torch.tensor([[True, True, False]]))
    assert float(loss.total) == 12.5 and loss.count == 2


def test_velocity_loss_by_hand_and_blind_to_a_constant_offset() -> None:
    target = torch.randn(1, 4, 2, 3)
    valid = torch.tensor([[True, True, False, True]])
    assert float(velocity_loss(target + 5.0, target, valid).total) < 1e-8
    prediction = target.clone()
    prediction[0, 1, :, 0] += 2.0
    loss = velocity_loss(prediction, target, valid)  # only the pair 0-1 has two real frames
    assert loss.count == 1 and float(loss.total) == pytest.approx(4.0, rel=1e-5)


def test_pose_losses_by_hand() -> None:
    spread = torch.tensor([0.1, 0.1, 0.1, 2.0, 2.0])
    target, valid = torch.zeros(1, 4, 6), torch.tensor([[True, True, False, True]])
    prediction = target.clone()
    prediction[0, 1] = torch.tensor([0.1, 0.0, 0.0, 4.0, 0.0, 50.0])  # 1 and 4; depth is not there
    prediction[0, 2] = 9.0  # not tracked
    loss = pose_loss(prediction, target, spread, valid)
    assert float(loss.total) == pytest.approx(1.0) and loss.count == 3
    velocity = pose_velocity_loss(prediction, target, spread, valid)
    assert float(velocity.total) == pytest.approx(1.0) and velocity.count == 1


def test_divergence_from_the_prior_by_hand() -> None:
    mean = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [7.0, 7.0]]])
    log_variance = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [3.0, 3.0]]])
    loss = gaussian_kl(mean, log_variance, torch.tensor([[True, True, False]]))
    assert float(loss.total) == pytest.approx(2.0 + (math.e - 2.0) / 2) and loss.count == 2


def _units(*shape: int) -> Tensor:
    return functional.normalize(torch.randn(*shape), dim=-1)


def test_sync_loss_is_zero_for_agreement_and_two_for_opposites() -> None:
    audio = _units(2, 5, 8)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1, 3:] = False
    assert float(sync_loss(audio, audio, mask).total) == pytest.approx(0.0, abs=1e-5)
    opposite = sync_loss(audio, -audio, mask)
    assert opposite.count == 8 and float(opposite.total) == pytest.approx(16.0, rel=1e-5)


def test_lip_reading_loss_by_hand() -> None:
    student = torch.tensor([[[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [0.0, 0.0]]])
    teacher = torch.tensor([[[6.0, 8.0], [-5.0, 0.0], [-9.0, 0.0], [1.0, 1.0]]])
    one_by_one = [0.0, 1.0, 2.0, 1.0]  # same direction, right angle, opposite, nothing seen
    for frame, expected in enumerate(one_by_one):
        mask = torch.zeros(1, 4, dtype=torch.bool)
        mask[0, frame] = True
        loss = lip_reading_loss(student, teacher, mask)
        assert loss.count == 1 and float(loss.total) == pytest.approx(expected, abs=1e-6)
    whole = lip_reading_loss(student, teacher, torch.ones(1, 4, dtype=torch.bool))
    assert whole.count == 4 and float(whole.total) == pytest.approx(4.0, abs=1e-6)


def test_negatives_leave_out_the_window_and_its_neighbours() -> None:
    allowed = shifted_negatives(5, 2, torch.device("cpu"))
    assert allowed.tolist()[0] == [False, False, True, True, True]
    assert allowed.tolist()[2] == [True, False, False, False, True]
    assert torch.equal(allowed, allowed.T)


def test_contrastive_loss_by_hand_for_one_clip() -> None:
    torch.manual_seed(0)
    audio, motion = _units(1, 4, 6), _units(1, 4, 6)
    mask = torch.tensor([[True, True, True, False]])
    scale = torch.tensor(3.0)
    loss = contrastive_sync_loss(audio, motion, mask, scale, min_shift=2, bank_size=2)
    cosine = 3.0 * audio[0] @ motion[0].T  # rows audio, columns motion
    total = 0.0
    for i in range(3):
        negatives = [j for j in range(3) if abs(i - j) >= 2]  # window 3 is not tracked
        own = float(cosine[i, i])
        by_audio = math.log(sum(math.exp(float(cosine[i, j])) for j in [i, *negatives])) - own
        by_motion = math.log(sum(math.exp(float(cosine[j, i])) for j in [i, *negatives])) - own
        total += 0.5 * (by_audio + by_motion)
    assert loss.count == 3 and float(loss.total) == pytest.approx(total, rel=1e-5)


def test_contrastive_loss_falls_when_pairs_agree_and_uses_other_clips() -> None:
    torch.manual_seed(0)
    audio = _units(3, 9, 16)
    mask = torch.ones(3, 9, dtype=torch.bool)
    scale = torch.tensor(20.0)

    def mean(motion: Tensor, bank_size: int = 4) -> float:
        generator = torch.Generator().manual_seed(0)
        loss = contrastive_sync_loss(
            audio, motion, mask, scale, bank_size=bank_size, generator=generator
        )
        return float(loss.total) / loss.count

    assert mean(audio) < 0.1 < mean(audio.roll(3, dims=1))
    # Every clip says the same: in-clip negatives cannot tell, the other clips' windows can.
    same = audio[:1].expand(3, 9, 16)
    generator = torch.Generator().manual_seed(0)
    confused = contrastive_sync_loss(same, same, mask, scale, generator=generator)
    assert float(confused.total) / confused.count > mean(audio) + 0.1


def test_calibrated_loss_has_the_sign_of_its_name() -> None:
    torch.manual_seed(0)
    audio = _units(2, 8, 16)
    mask = torch.ones(2, 8, dtype=torch.bool)
    scale, bias = torch.tensor(20.0), torch.tensor(-10.0)
    good = calibrated_sync_loss(audio, audio, mask, scale, bias)
    bad = calibrated_sync_loss(audio, -audio, mask, scale, bias)
    assert good.count == bad.count == 16
    assert float(good.total) < 0.1 * float(bad.total)


def test_a_window_is_no_negative_of_itself() -> None:
    audio = _units(1, 4, 6)
    with pytest.raises(ValueError, match="min_shift is 0"):
        contrastive_sync_loss(
            audio, audio, torch.ones(1, 4, dtype=torch.bool), torch.tensor(1.0), min_shift=0
        )


def test_margin_loss_by_hand() -> None:
    """Two windows of one clip, far enough apart to be negatives of each other."""
    east, north = [1.0, 0.0], [0.0, 1.0]
    audio = torch.tensor([[east, north]])
    motion = torch.tensor([[east, east]])
    loss = margin_sync_loss(
        audio, motion, torch.ones(1, 2, dtype=torch.bool), margin=1.5, min_shift=1, bank_size=1
    )
    # Distances: own 0 and sqrt 2; motion 0 to audio 1 sqrt 2, motion 1 to audio 0 0, and so on.
    short = (1.5 - 2**0.5) ** 2
    by_motion = 0.5 * (0 + short) + 0.5 * (2 + 1.5**2)
    by_audio = 0.5 * (0 + 1.5**2) + 0.5 * (2 + short)
    assert loss.count == 2
    assert float(loss.total) == pytest.approx(0.5 * (by_motion + by_audio), abs=1e-3)


def test_margin_loss_is_zero_where_all_is_well_and_masks_windows() -> None:
    audio = torch.eye(4)[None].repeat(2, 1, 1)
    mask = torch.ones(2, 4, dtype=torch.bool)
    other = torch.stack([torch.eye(8)[:4], torch.eye(8)[4:]])
    settings = {"margin": 1.4, "min_shift": 1, "bank_size": 3}
    generator = torch.Generator().manual_seed(0)
    perfect = margin_sync_loss(other, other, mask, generator=generator, **settings)  # type: ignore[arg-type]
    assert float(perfect.total) == pytest.approx(0.0, abs=1e-6)
    mask[1] = False
    wrong = audio.clone()
    wrong[1] = audio[1].flip(0)
    one = margin_sync_loss(audio, wrong, mask, **settings)  # type: ignore[arg-type]
    assert one.count == 4 and float(one.total) == pytest.approx(0.0, abs=1e-6)
    leaning = torch.nn.functional.normalize(audio + 0.3, dim=-1).requires_grad_()
    margin_sync_loss(leaning, audio, mask, **settings).total.backward()  # type: ignore[arg-type]
    assert leaning.grad is not None and torch.isfinite(leaning.grad).all()
    with pytest.raises(ValueError, match="margin is 0"):
        margin_sync_loss(audio, audio, mask, margin=0.0)
    with pytest.raises(ValueError, match="min_shift is 0"):
        margin_sync_loss(audio, audio, mask, margin=1.0, min_shift=0)
