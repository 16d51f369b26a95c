"""Sound and mouth crops as the published networks were trained on them."""

# S samples at 16 kHz, T frames at 25 fps, F features a frame, H W image

from __future__ import annotations

from functools import lru_cache

import numpy as np

from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

CROP_MEAN, CROP_DEVIATION = 0.421, 0.165  # of grey levels in [0, 1], both projects
CROP_SIDE = 88  # of the 96 that are cut from the film
NORM_EPS = 1e-8
FILTER_BANKS, STACKED = 26, 4
FFT_SIZE, WINDOW, HOP = 512, 400, 160
PREEMPHASIS = 0.97


def network_crops(crops: np.ndarray) -> np.ndarray:
    """The middle 88 x 88 of each crop, normalised.

    Args:
        crops: uint8 (T, H, W), H and W 88 or more; both projects cut 96 x 96.

    Returns:
        float32 (T, 88, 88).
    """
    if crops.ndim != 3 or min(crops.shape[1:]) < CROP_SIDE:
        raise ValueError(
            f"crops have shape {crops.shape}; give uint8 (T, H, W) of {CROP_SIDE} pixels or more"
        )
    top, left = ((side - CROP_SIDE) // 2 for side in crops.shape[1:])
    middle = crops[:, top : top + CROP_SIDE, left : left + CROP_SIDE].astype(np.float32)
    return (middle / 255.0 - CROP_MEAN) / CROP_DEVIATION


def fitted_waveform(waveform: np.ndarray, num_frames: int | None) -> np.ndarray:
    """Samples (640 T,) of ``num_frames`` frames, cut or filled with zeros; ``None``: whole frames.

    Raises:
        ValueError: less than one frame of sound.
    """
    if num_frames is not None:
        length = num_frames * SAMPLES_PER_FRAME
        return np.pad(waveform[:length], (0, max(0, length - len(waveform))))
    if len(waveform) < SAMPLES_PER_FRAME:
        raise ValueError(
            f"{len(waveform)} samples are less than one frame of {SAMPLES_PER_FRAME}; give more "
            "sound"
        )
    return waveform


def auto_avsr_waveform(waveform: np.ndarray, num_frames: int | None = None) -> np.ndarray:
    """Waveform for Auto-AVSR: zero mean and unit variance over the utterance, in whole frames.

    Args:
        waveform: float (S,) at 16 kHz.
        num_frames: T of the film that it belongs to; ``None`` without one.

    Returns:
        float32 (640 T,).
    """
    fitted = fitted_waveform(waveform, num_frames).astype(np.float64)
    normal = (fitted - fitted.mean()) / np.sqrt(fitted.var() + NORM_EPS)
    whole = len(normal) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
    return normal[:whole].astype(np.float32)


def stacked_filter_banks(waveform: np.ndarray) -> np.ndarray:
    """Log mel filter banks of 16-bit sample values, four 10 ms frames side by side.

    As ``python_speech_features.logfbank`` computes them with its defaults: pre-emphasis 0.97, 25 ms
    without a window function, 26 triangles from 0 to 8 kHz.

    Args:
        waveform: float (S,) at 16 kHz in [-1, 1].

    Returns:
        float32 (T, 104); the last row is filled up with zeros.
    """
    samples = np.asarray(waveform, np.float64) * 32768.0
    emphasised = np.append(samples[:1], samples[1:] - PREEMPHASIS * samples[:-1])
    count = 1 + max(0, -(-(len(samples) - WINDOW) // HOP))
    padded = np.pad(emphasised, (0, (count - 1) * HOP + WINDOW - len(samples)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]
    power = np.abs(np.fft.rfft(windows, FFT_SIZE)) ** 2 / FFT_SIZE
    banks = power @ _triangles().T
    logs = np.log(np.where(banks == 0, np.finfo(float).eps, banks)).astype(np.float32)
    return np.pad(logs, ((0, -count % STACKED), (0, 0))).reshape(-1, STACKED * FILTER_BANKS)


@lru_cache(maxsize=1)
def _triangles() -> np.ndarray:
    """Mel triangles (26, 257) with corners on whole FFT bins."""
    highest = 2595.0 * np.log10(1.0 + SAMPLE_RATE_HZ / 2 / 700.0)
    corners_hz = 700.0 * (10.0 ** (np.linspace(0.0, highest, FILTER_BANKS + 2) / 2595.0) - 1.0)
    corners = np.floor((FFT_SIZE + 1) * corners_hz / SAMPLE_RATE_HZ)
    bins = np.arange(FFT_SIZE // 2 + 1)
    triangles = np.zeros((FILTER_BANKS, len(bins)))
    for row, (left, top, right) in enumerate(
        zip(corners[:-2], corners[1:-1], corners[2:], strict=True)
    ):
        rising, falling = (bins >= left) & (bins < top), (bins >= top) & (bins < right)
        triangles[row, rising] = (bins[rising] - left) / (top - left)
        triangles[row, falling] = (right - bins[falling]) / (right - top)
    return triangles


def av_hubert_features(waveform: np.ndarray, num_frames: int | None = None) -> np.ndarray:
    """Sound for AV-HuBERT: stacked filter banks, each frame with zero mean and unit variance.

    Args:
        waveform: float (S,) at 16 kHz in [-1, 1], one frame or more.
        num_frames: T of the film that it belongs to; ``None`` without one.

    Returns:
        float32 (T, 104), cut or filled with zeros to ``num_frames``.
    """
    if num_frames is None:
        fitted_waveform(waveform, None)
    stacked = stacked_filter_banks(waveform)
    if num_frames is not None:
        stacked = np.pad(stacked[:num_frames], ((0, max(0, num_frames - len(stacked))), (0, 0)))
    mean = stacked.mean(1, keepdims=True)
    return ((stacked - mean) / np.sqrt(stacked.var(1, keepdims=True) + 1e-5)).astype(np.float32)
