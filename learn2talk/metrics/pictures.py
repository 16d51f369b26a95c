"""How like two films of a mouth are.

Axis letters: T frames, H W picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW, SIGMA = 11, 1.5  # of the paper
K1, K2 = 0.01, 0.03


def _blurred(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian means (T, H - 10, W - 10) of every whole window."""
    at = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(at**2) / (2 * SIGMA**2))
    kernel /= kernel.sum()
    for axis in (1, 2):
        windows = np.lib.stride_tricks.sliding_window_view(pictures, WINDOW, axis=axis)
        pictures = windows @ kernel
    return pictures


def structural_similarity(
    *, reference: NDArray[np.uint8], prediction: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """SSIM of each frame, (T,), in [-1, 1]; 1 is the same picture.

    Mean over all whole 11 x 11 Gaussian windows (sigma 1.5) of grey pictures with the range 255.

    Args:
        reference, prediction: uint8 (T, H, W), H and W at least 11.

    Raises:
        ValueError: shapes differ, no frame, or pictures smaller than a window.

    Source: Wang, Bovik, Sheikh, Simoncelli 2004, eq. 13, with the constants of section III.B.
    """
    if reference.shape != prediction.shape or reference.ndim != 3 or not len(reference):
        raise ValueError(
            f"pictures {reference.shape} and {prediction.shape} must have one shape (T, H, W)"
        )
    if min(reference.shape[1:]) < WINDOW:
        raise ValueError(f"pictures of {reference.shape[1:]} are smaller than a window of {WINDOW}")
    values = []
    for real, made in zip(reference, prediction, strict=True):  # a film of windows is large
        pair = np.stack([real, made]).astype(np.float64)
        mean = _blurred(pair)
        spread = _blurred(np.square(pair)) - np.square(mean)
        both = _blurred((pair[0] * pair[1])[None])[0] - mean[0] * mean[1]
        c1, c2 = (K1 * 255) ** 2, (K2 * 255) ** 2
        similarity = (2 * mean[0] * mean[1] + c1) * (2 * both + c2)
        similarity /= (np.square(mean).sum(0) + c1) * (spread.sum(0) + c2)
        values.append(similarity.mean())
    return np.array(values)


def peak_signal_to_noise_db(
    *, reference: NDArray[np.uint8], prediction: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """PSNR of each frame, (T,), dB; infinite for the same picture. Arguments as for SSIM."""
    if reference.shape != prediction.shape or reference.ndim != 3 or not len(reference):
        raise ValueError(
            f"pictures {reference.shape} and {prediction.shape} must have one shape (T, H, W)"
        )
    away = reference.astype(np.float64) - prediction
    error = np.square(away).mean((1, 2))
    with np.errstate(divide="ignore"):
        decibels: NDArray[np.float64] = 10 * np.log10(255.0**2 / error)
    return decibels
