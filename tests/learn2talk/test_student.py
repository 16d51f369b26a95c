from __future__ import annotations

import pytest
import torch

from avsr.audio import log_mel
from learn2talk.models.layers import band_bias, rigid_free_motion, split_budget
from learn2talk.models.student import Student, StudentConfig

SMALL = StudentConfig(width=32, layers=2, heads=2, feedforward=48, look_back_frames=8)


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    return Student(SMALL, num_vertices=5).eval()


def test_utterance_alone_equals_utterance_in_a_padded_batch(student: Student) -> None:
    features = torch.randn(2, 160, 80)
    valid = torch.arange(40)[None] < torch.tensor([[40], [23]])
    together = student(features, valid)
    alone = student(features[1:, : 4 * 23])
    torch.testing.assert_close(together[1, :23], alone[0], atol=1e-5, rtol=0)
    assert (together[1, 23:] == 0).all()
    # What the padding holds must not matter either.
    features[1, 4 * 23 :] = 1e3
    torch.testing.assert_close(student(features, valid)[1, :23], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("look_ahead", [1, 4, 10])
def test_sound_beyond_the_look_ahead_changes_nothing(look_ahead: int) -> None:
    torch.manual_seed(0)
    config = StudentConfig(
        width=32,
        layers=3,
        heads=2,
        feedforward=48,
        look_back_frames=9,
        look_ahead_frames=look_ahead,
    )
    student = Student(config, num_vertices=5).eval()
    sound = torch.rand(1, 640 * 40) * 2 - 1
    frame = 15
    horizon = 640 * (frame + 1 + look_ahead)
    changed = sound.clone()
    changed[:, horizon:] = torch.rand(1, sound.shape[1] - horizon) * 2 - 1
    first, second = student(log_mel(sound)), student(log_mel(changed))
    torch.testing.assert_close(first[:, : frame + 1], second[:, : frame + 1], atol=1e-6, rtol=0)
    assert (first[:, frame + 1] - second[:, frame + 1]).abs().max() > 1e-5  # the bound is tight


def test_pieces_equal_the_whole(student: Student) -> None:
    features = torch.randn(4 * 101, 80)
    pieces = torch.cat(list(student.forward_windows(features, window_frames=13)))
    torch.testing.assert_close(pieces, student(features[None])[0], atol=1e-5, rtol=0)


def test_look_back_is_bounded(student: Student) -> None:
    features = torch.randn(1, 160, 80)
    changed = features.clone()
    changed[:, :4] += 5.0
    moved = (student(features) - student(changed)).abs().amax(dim=(0, 2, 3))
    assert moved[: SMALL.look_back_frames + 2].max() > 1e-5
    assert moved[SMALL.look_back_frames + 2 :].max() < 1e-6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"look_ahead_frames": 0}, "look_ahead_frames is 0"),
        ({"width": 30, "heads": 4}, "not divisible by 4 heads"),
        ({"layers": 0}, "must be positive"),
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StudentConfig(**change)


def test_features_must_be_whole_frames(student: Student) -> None:
    with pytest.raises(ValueError, match="161 log-mel frames"):
        student(torch.zeros(1, 161, 80))


def test_budget_is_spent_exactly() -> None:
    assert split_budget(9, 4) == [3, 2, 2, 2]
    assert split_budget(0, 3) == [0, 0, 0]


def test_rigid_movement_of_the_lips_is_removed_and_opening_is_kept() -> None:
    torch.manual_seed(0)
    neutral = torch.randn(1, 40, 3, dtype=torch.float64) * 20
    angle = 1e-4
    turn = torch.tensor([[1, -angle, 0], [angle, 1, 0], [0, 0, 1]], dtype=torch.float64)
    rigid = (neutral @ turn.T + torch.tensor([3.0, -2.0, 1.0]))[:, None]
    assert rigid_free_motion(rigid, neutral).abs().max() < 1e-6
    opening = torch.zeros_like(neutral)
    opening[:, :20, 1] = -5.0
    kept = rigid_free_motion((neutral + opening)[:, None], neutral)
    assert kept.norm() > 0.5 * opening.norm()
    # The remainder is what a second removal leaves alone.
    again = rigid_free_motion(neutral[:, None] + kept.view(1, 1, 40, 3), neutral)
    torch.testing.assert_close(again, kept)


@pytest.mark.parametrize(
    ("back", "ahead", "queries", "keys", "first"),
    [(3, 2, 6, 6, 0), (0, 0, 4, 4, 0), (9, 9, 3, 3, 0), (3, 1, 2, 7, 3), (2, 3, 5, 9, 1)],
)
def test_the_band_is_the_offsets_bias_and_nothing_outside(
    back: int, ahead: int, queries: int, keys: int, first: int
) -> None:
    table = torch.randn(2, back + ahead + 1)
    bias = band_bias(table, back, queries, keys, first)
    assert bias.shape == (2, queries, keys)
    for query in range(queries):
        for key in range(keys):
            offset = key - (first + query)
            inside = -back <= offset <= ahead
            expected = table[:, offset + back] if inside else torch.full((2,), -torch.inf)
            assert torch.equal(bias[:, query, key], expected)


def test_the_mask_of_whole_clips_is_the_same_with_and_without_gradients(student: Student) -> None:
    attention = student.layers[0].attention
    torch.nn.init.normal_(attention.offset_bias)
    valid = torch.ones(1, 33, dtype=torch.bool)
    with torch.no_grad():
        fast = attention._mask(valid)
    assert torch.equal(attention._mask(valid), fast)
