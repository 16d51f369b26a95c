"""Styles: known speakers, their average, a clip; and a student without them is unchanged."""

from __future__ import annotations

import math

import pytest
import torch

from learn2talk.models.student import Student, StudentConfig
from learn2talk.models.styles import (
    LIP_PARTS,
    NUM_STATISTICS,
    StyleEncoder,
    average_style,
    clip_style,
    speaker_style,
    style_statistics,
)

SMALL = StudentConfig(width=16, layers=1, heads=2, feedforward=16)
STYLED = StudentConfig(width=16, layers=1, heads=2, feedforward=16, num_styles=3)


def neutral_lips() -> torch.Tensor:
    angle = math.pi + 2 * math.pi * torch.arange(20) / 20
    outer = torch.stack([25 * angle.cos(), 9 * angle.sin(), torch.zeros(20)], dim=1)
    return torch.cat([outer, 0.8 * outer + torch.tensor([0.0, 0.0, 1.0])])


def opening(num_frames: int, size_mm: float, period: float) -> torch.Tensor:
    """Lips whose lower half drops by a sine of `size_mm` and the upper half rises as much."""
    lips = neutral_lips().repeat(num_frames, 1, 1)
    wave = size_mm * torch.sin(2 * math.pi * torch.arange(num_frames) / period)
    lips[:, LIP_PARTS[1], 1] -= wave[:, None]
    lips[:, LIP_PARTS[3], 1] += wave[:, None]
    return lips


def test_every_lip_point_is_in_one_part() -> None:
    assert sorted(point for part in LIP_PARTS for point in part) == list(range(40))


def test_statistics_of_a_sine() -> None:
    mean, spread, speed = style_statistics(opening(100, 2.0, 20.0), neutral_lips()).view(3, 4, 3)
    lower = (1, 1)  # part, axis
    assert abs(float(mean[lower])) < 1e-3
    assert float(spread[lower]) == pytest.approx(2.0 / math.sqrt(2), rel=0.05)
    # A sine of 2 mm at 25 / 20 Hz covers 4 x 2 mm a period: 10 mm/s.
    assert float(speed[lower]) == pytest.approx(10.0, rel=0.05)
    assert float(spread[:, 0].max()) < 0.1  # nothing goes to the side
    assert float(spread[3, 1]) == pytest.approx(float(spread[lower]), rel=0.05)


def test_speed_is_per_second_and_a_still_face_has_none() -> None:
    slow = style_statistics(opening(100, 2.0, 20.0), neutral_lips(), fps=25)
    fast = style_statistics(opening(200, 2.0, 40.0), neutral_lips(), fps=50)
    torch.testing.assert_close(slow, fast, atol=0.2, rtol=0.02)
    still = style_statistics(neutral_lips().repeat(30, 1, 1), neutral_lips())
    assert still.shape == (NUM_STATISTICS,) and still.abs().max() < 1e-4


def test_moving_the_head_does_not_change_the_style() -> None:
    lips = opening(60, 2.0, 15.0)
    moved = lips + torch.linspace(0, 5, 60)[:, None, None]
    plain = style_statistics(lips, neutral_lips())
    torch.testing.assert_close(style_statistics(moved, neutral_lips()), plain, atol=1e-3, rtol=0)


def test_speakers_average_and_clip_are_one_space() -> None:
    torch.manual_seed(0)
    encoder = StyleEncoder(3, 8)
    rows = torch.cat([encoder(speaker_style(i, 3)) for i in range(3)])[:, 0]
    torch.testing.assert_close(rows, encoder.table)
    torch.testing.assert_close(encoder(average_style(3))[0, 0], rows.mean(dim=0))
    assert encoder(average_style(3, batch=4)).shape == (4, 1, 8)
    statistics = torch.linspace(-1, 1, NUM_STATISTICS)
    expected = encoder.from_statistics(statistics)
    torch.testing.assert_close(encoder(clip_style(statistics, 3))[0, 0], expected)
    # A clip far beyond the training set's counts as 3 standard deviations away.
    far, farther = (encoder(clip_style(scale * statistics.sign(), 3)) for scale in (3, 300))
    torch.testing.assert_close(far, farther)
    with pytest.raises(ValueError, match="weights for 2 speakers, the network knows 3"):
        encoder(speaker_style(0, 2))


def test_the_style_moves_the_face_and_none_is_the_average() -> None:
    torch.manual_seed(0)
    student = Student(STYLED, 4).eval()
    torch.nn.init.normal_(student.styles.table)  # type: ignore[union-attr]
    features = torch.randn(2, 40, 80)
    first, second = (student(features, style=speaker_style(i, 3)) for i in (0, 1))
    assert (first - second).abs().max() > 1e-2
    torch.testing.assert_close(student(features), student(features, style=average_style(3)))
    pieces = student.forward_windows(features[0], 3, speaker_style(1, 3))
    torch.testing.assert_close(torch.cat(list(pieces)), second[0], atol=1e-5, rtol=0)


def test_without_styles_nothing_is_there() -> None:
    torch.manual_seed(0)
    plain = Student(SMALL, 4).eval()
    torch.manual_seed(0)
    styled = Student(STYLED, 4).eval()
    names = set(styled.state_dict()) - set(plain.state_dict())
    assert {name.split(".")[0] for name in names} == {"styles"}
    for name, value in plain.state_dict().items():  # drawn before the styles
        assert torch.equal(value, styled.state_dict()[name])
    with pytest.raises(ValueError, match="this student has no styles"):
        plain(torch.zeros(1, 40, 80), style=speaker_style(0, 3))
    with pytest.raises(ValueError, match="sizes must be positive"):
        StudentConfig(num_styles=-1)
