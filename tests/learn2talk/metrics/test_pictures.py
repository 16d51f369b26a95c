"""Likeness of pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from learn2talk.metrics.pictures import peak_signal_to_noise_db, structural_similarity


def test_the_same_picture_is_perfect() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 20, 24), dtype=np.uint8)
    assert structural_similarity(reference=pictures, prediction=pictures) == pytest.approx([1, 1])
    assert peak_signal_to_noise_db(reference=pictures, prediction=pictures).tolist() == [
        math.inf,
        math.inf,
    ]


def test_two_flat_pictures_by_hand() -> None:
    """Without any contrast only the means count: (2 a b + C1) / (a^2 + b^2 + C1)."""
    a, b = np.full((1, 16, 16), 100, np.uint8), np.full((1, 16, 16), 150, np.uint8)
    c1 = 2.55**2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert structural_similarity(reference=a, prediction=b) == pytest.approx([expected])
    expected = 10 * math.log10(255**2 / 50**2)
    assert peak_signal_to_noise_db(reference=a, prediction=b) == pytest.approx([expected])


def test_one_window_is_the_formula() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 256, (2, 1, 11, 11), dtype=np.uint8)
    at = np.arange(11) - 5
    kernel = np.exp(-(at**2) / 4.5)
    kernel = np.outer(kernel, kernel) / np.outer(kernel, kernel).sum()
    x, y = a[0].astype(float), b[0].astype(float)
    mx, my = (kernel * x).sum(), (kernel * y).sum()
    vx, vy = (kernel * (x - mx) ** 2).sum(), (kernel * (y - my) ** 2).sum()
    cov = (kernel * (x - mx) * (y - my)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert structural_similarity(reference=a, prediction=b) == pytest.approx([expected])


@pytest.mark.parametrize("measure", [structural_similarity, peak_signal_to_noise_db])
def test_pictures_that_do_not_fit_are_refused(measure: object) -> None:
    a = np.zeros((2, 16, 16), np.uint8)
    for b in (a[:1], a[0], a[:0]):
        with pytest.raises(ValueError, match=r"must have one shape \(T, H, W\)"):
            measure(reference=a, prediction=b)  # type: ignore[operator]
    with pytest.raises(ValueError, match="smaller than a window of 11"):
        structural_similarity(reference=a[:, :8], prediction=a[:, :8])
