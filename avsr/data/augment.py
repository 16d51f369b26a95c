"""Random changes of a training example; every draw comes from the generator that is passed in."""

# T frames, F mel bands, P lip points

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avsr.units import FEATURES_PER_FRAME, MODEL_CROP_SIZE, SAMPLES_PER_FRAME


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly training examples are changed; zeros switch a change off."""

    stretch: float = 0.1  # duration is scaled by 1 +- this, all streams alike
    gain_db: float = 6.0  # level of speech and noise together, +- dB
    time_masks: int = 2  # spans hidden in each stream, independently
    time_mask_frames: int = 8  # longest hidden span, frames at 25 fps
    frequency_masks: int = 2  # bands of the log-mel hidden
    frequency_mask_bands: int = 12  # widest hidden band
    brightness: float = 0.15  # +- of the gray range
    contrast: float = 0.3  # gray range scaled by 1 +- this
    flip: bool = True  # mirror half of the clips
    lip_noise_mm: float = 0.2  # standard deviation of a constant shift of each lip point

    def __post_init__(self) -> None:
        for name in ("stretch", "brightness", "contrast"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise ValueError(f"augment {name} {value} must be in [0, 1)")


def stretch_index(num_frames: int, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Fractional source frame of each frame of the stretched clip, float (T',)."""
    factor = 1.0 + rng.uniform(-config.stretch, config.stretch)
    count = max(1, round(num_frames * factor))
    return np.linspace(0.0, num_frames - 1.0, count) if count > 1 else np.zeros(1)


def interpolate(sequence: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Linear interpolation of (T, ...) at fractional ``positions`` (T',) along the first axis."""
    low = np.clip(np.floor(positions).astype(int), 0, len(sequence) - 1)
    high = np.minimum(low + 1, len(sequence) - 1)
    weight = (positions - low).reshape(-1, *([1] * (sequence.ndim - 1))).astype(np.float32)
    return sequence[low] * (1 - weight) + sequence[high] * weight


def stretch_features(features: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Log-mel (4 T, F) on the time base of video ``positions`` (T',): (4 T', F)."""
    steps = FEATURES_PER_FRAME
    # The last frame lasts as long as the others; holding its start would lose its other features.
    last_step = positions[-1] - positions[-2] if len(positions) > 1 else 1.0
    edges = np.append(positions, positions[-1] + last_step)
    fine = np.interp(np.arange(len(positions) * steps) / steps, np.arange(len(edges)), edges)
    return interpolate(features, fine * steps)


def stretch_waveform(waveform: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Waveform (640 T,) on the time base of video ``positions`` (T',): float32 (640 T',).

    The pitch changes with the speed (speed perturbation, Ko et al. 2015), unlike that of
    :func:`stretch_features`.
    """
    last_step = positions[-1] - positions[-2] if len(positions) > 1 else 1.0
    edges = np.append(positions, positions[-1] + last_step)
    samples = np.arange(len(positions) * SAMPLES_PER_FRAME) / SAMPLES_PER_FRAME
    fine = np.interp(samples, np.arange(len(edges)), edges) * SAMPLES_PER_FRAME
    return np.interp(fine, np.arange(len(waveform)), waveform).astype(np.float32)


def mask_waveform(
    waveform: np.ndarray, config: AugmentConfig, rng: np.random.Generator
) -> np.ndarray:
    """Copy of (S,) with spans silenced, as :func:`mask_features` hides them; no bands."""
    longest = config.time_mask_frames * SAMPLES_PER_FRAME
    heard = hide_spans(np.ones(len(waveform), bool), config.time_masks, longest, rng)
    return np.where(heard, waveform, np.float32(0))


def hide_spans(
    present: np.ndarray, count: int, longest: int, rng: np.random.Generator
) -> np.ndarray:
    """Copy of bool (T,) in which up to ``count`` random spans of up to ``longest`` are False."""
    present = present.copy()
    for _ in range(count):
        length = int(rng.integers(0, longest + 1))
        start = int(rng.integers(0, max(1, len(present) - length + 1)))
        present[start : start + length] = False
    return present


def mask_features(
    features: np.ndarray, config: AugmentConfig, rng: np.random.Generator
) -> np.ndarray:
    """SpecAugment (Park et al. 2019) without warping: parts of (4 T, F) set to the mean."""
    features = features.copy()
    mean = features.mean()
    spans = hide_spans(
        np.ones(len(features), bool),
        config.time_masks,
        config.time_mask_frames * FEATURES_PER_FRAME,
        rng,
    )
    bands = hide_spans(
        np.ones(features.shape[1], bool), config.frequency_masks, config.frequency_mask_bands, rng
    )
    features[~spans] = mean
    features[:, ~bands] = mean
    return features


def crop_offsets(size: int, rng: np.random.Generator | None) -> tuple[int, int]:
    """Top and left of a model crop in a stored crop: random, or the middle for ``None``."""
    room = size - MODEL_CROP_SIZE
    if rng is None:
        return room // 2, room // 2
    return int(rng.integers(0, room + 1)), int(rng.integers(0, room + 1))


def augment_crops(crops: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Random window, brightness and contrast of a whole clip uint8 (T, 96, 96) -> (T, 88, 88)."""
    top, left = crop_offsets(crops.shape[1], rng)
    crops = crops[:, top : top + MODEL_CROP_SIZE, left : left + MODEL_CROP_SIZE]
    scale = 1.0 + rng.uniform(-config.contrast, config.contrast)
    shift = 255.0 * rng.uniform(-config.brightness, config.brightness)
    middle = crops.mean()
    # A table of 256 entries: the clip is 600 000 pixels.
    table = (np.arange(256) - middle) * scale + middle + shift
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)[crops]


def mirror_lips(lips: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Mirror lips (T, P, 3) at the plane x = their mean x; ``order`` (P,) swaps left and right."""
    mirrored = lips[:, order].copy()
    mirrored[..., 0] = 2 * lips[..., 0].mean() - mirrored[..., 0]
    return mirrored


def _mirror_order() -> np.ndarray:
    # A contour of 20 starts at the left corner (0), runs along the lower lip to the right corner
    # (10) and back along the upper lip: mirroring maps i to 10 - i, modulo 20.
    contour = (10 - np.arange(20)) % 20
    return np.concatenate([contour, 20 + contour])


MIRROR_ORDER = _mirror_order()
