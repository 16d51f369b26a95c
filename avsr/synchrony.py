"""Which of several faces talks: mouths that open when the voice rises.

A jaw that opens lets more of the voice's first formants out: the velocity of the mouth's opening
and the change of the sound level between 300 and 3000 Hz go up and down together. Their correlation
over a few seconds is the measure (in the spirit of Hershey and Movellan, NIPS 1999, who correlate
pixels with loudness). It needs no training and knows no language.
"""

# S samples, T frames at 25 fps, N faces

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_FPS
from avsr.video import smooth_in_time

VOICE_HZ = (300.0, 3000.0)
LEVEL_FLOOR = 1e-6  # of a [-1, 1] signal's power: about the noise of 16-bit sound
SMOOTHING_FRAMES = 0.7
MIN_FRAMES = 12  # fewer frames say nothing about synchrony


@dataclass(frozen=True)
class SynchronyConfig:
    """How the talking face is chosen.

    context_s: sound and motion are compared over so much time around a moment. step_s: the choice
    may change only from step to step. max_lag_frames: sound may come so much early or late.
    lag_penalty: taken off the correlation for each frame of lag. switch_cost: what another face
    must gain, in seconds of correlation 1, before the choice changes. size_weight: preference for
    the largest face, against a correlation of 1.
    """

    context_s: float = 4.0
    step_s: float = 0.4
    max_lag_frames: int = 2
    lag_penalty: float = 0.1
    switch_cost: float = 0.5
    size_weight: float = 0.05

    def __post_init__(self) -> None:
        if not 0.04 <= self.step_s <= self.context_s:
            raise ValueError(
                f"step_s {self.step_s} and context_s {self.context_s} must be in ascending order, "
                "at least 0.04 s"
            )
        if self.max_lag_frames < 0:
            raise ValueError(f"max_lag_frames {self.max_lag_frames} must be 0 or more")
        if min(self.lag_penalty, self.switch_cost, self.size_weight) < 0:
            raise ValueError(
                f"lag_penalty {self.lag_penalty}, switch_cost {self.switch_cost} and size_weight "
                f"{self.size_weight} must be 0 or more"
            )


def voice_level_db(waveform: np.ndarray) -> np.ndarray:
    """Level of the voice's band at each frame of float (640 T,): float64 (T,) in dB.

    A Hann window of two frames around each frame's middle, power between 300 and 3000 Hz.
    """
    frames = len(waveform) // SAMPLES_PER_FRAME
    half = SAMPLES_PER_FRAME // 2
    padded = np.pad(np.asarray(waveform, np.float64), half)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * SAMPLES_PER_FRAME)
    spectrum = np.fft.rfft(
        windows[::SAMPLES_PER_FRAME][:frames] * np.hanning(2 * SAMPLES_PER_FRAME)
    )
    hertz = np.fft.rfftfreq(2 * SAMPLES_PER_FRAME, 1 / SAMPLE_RATE_HZ)
    inside = (hertz >= VOICE_HZ[0]) & (hertz < VOICE_HZ[1])
    power = (np.abs(spectrum[:, inside]) ** 2).sum(1) / (2 * SAMPLES_PER_FRAME)
    return 10 * np.log10(power + LEVEL_FLOOR)


def synchrony(opening: np.ndarray, level_db: np.ndarray, config: SynchronyConfig) -> float:
    """Correlation of the mouth's opening velocity with the change of the level, in [-1, 1].

    Args:
        opening: float (T,), any unit, NaN where the face was not seen.
        level_db: float (T,), of :func:`voice_level_db`.
        config: the best correlation over lags within ``max_lag_frames`` counts, less its penalty.

    Returns:
        0.0 where fewer than 12 frames can be compared, or nothing moves.
    """
    motion, change = velocity(opening), velocity(level_db)
    best = -1.0
    for lag in range(-config.max_lag_frames, config.max_lag_frames + 1):
        shifted = slice(max(0, -lag), len(motion) - max(0, lag))
        heard = slice(max(0, lag), len(change) - max(0, -lag))
        x, y = motion[shifted], change[heard]
        known = np.isfinite(x) & np.isfinite(y)
        value = _correlation(x[known], y[known]) if known.sum() >= MIN_FRAMES else 0.0
        best = max(best, value - config.lag_penalty * abs(lag))
    return best


def velocity(values: np.ndarray) -> np.ndarray:
    """Central difference of float (T,), lightly smoothed; NaN beside and at unknown values."""
    known = np.isfinite(values)
    if len(values) < 2 or not known.any():
        return np.full(len(values), np.nan)
    filled = np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])
    change = np.gradient(smooth_in_time(filled, SMOOTHING_FRAMES))
    near = known.copy()
    near[1:] &= known[:-1]
    near[:-1] &= known[1:]
    return np.where(near, change, np.nan)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 1e-12 else 0.0


def choose_talker(
    openings: np.ndarray,
    sizes: np.ndarray,
    level_db: np.ndarray | None,
    config: SynchronyConfig,
    previous: int | None = None,
) -> np.ndarray:
    """Which face talks at each frame.

    The sequence of choices with the highest sum of synchrony less the cost of its changes
    (Viterbi): it follows a change of talker, and does not flicker. A face that is gone costs
    nothing to leave.

    Args:
        openings: float (N, T), mouth openings of N faces, NaN where a face was not seen.
        sizes: float (N,), sizes of the faces in pixels, above 0.
        level_db: float (T,) of :func:`voice_level_db`, or ``None`` without sound: then the face
            whose mouth moves most is taken.
        config: what decides.
        previous: the face chosen just before the first frame, ``None`` = none.

    Returns:
        int64 (T,), index of the face, -1 at frames at which the chosen face was not seen.
    """
    number, frames = openings.shape
    if number == 0 or frames == 0:
        return np.full(frames, -1)
    seen = np.isfinite(openings)
    step = max(1, round(config.step_s * VIDEO_FPS))
    edges = [*range(0, frames, step), frames]
    gain = np.zeros((len(edges) - 1, number))
    there = np.zeros(gain.shape, dtype=bool)
    for row, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        gain[row] = _gains(openings, sizes, level_db, (start + end) // 2, config)
        share = seen[:, start:end].mean(1)
        there[row] = share > 0
        # A face that is seen beats one that is not, whatever their synchrony (within 2).
        gain[row] = (gain[row] + 3.0 * share) * (end - start) / VIDEO_FPS
    path = _best_sequence(gain, there, config.switch_cost, previous)
    chosen = np.repeat(path, np.diff(edges))
    return np.where(seen[chosen, np.arange(frames)], chosen, -1)


def _gains(
    openings: np.ndarray,
    sizes: np.ndarray,
    level_db: np.ndarray | None,
    middle: int,
    config: SynchronyConfig,
) -> np.ndarray:
    """Synchrony (N,) around a frame, with the preference for large faces."""
    reach = round(config.context_s * VIDEO_FPS / 2)
    part = slice(max(0, middle - reach), middle + reach)
    if level_db is None:
        moved = np.array([_motion(row[part]) for row in openings])
        scores = moved / max(moved.max(), 1e-12)
    else:
        scores = np.array([synchrony(row[part], level_db[part], config) for row in openings])
    return scores + config.size_weight * sizes / sizes.max()


def _motion(opening: np.ndarray) -> float:
    speed = velocity(opening)
    known = np.isfinite(speed)
    return float(np.abs(speed[known]).mean()) if known.sum() >= MIN_FRAMES else 0.0


def _best_sequence(
    gain: np.ndarray, there: np.ndarray, switch_cost: float, previous: int | None
) -> np.ndarray:
    """States of highest total gain; leaving a face costs, unless it is gone in the next step."""
    number = gain.shape[1]
    total = gain[0].copy()
    if previous is not None and there[0, previous]:
        total -= switch_cost * (np.arange(number) != previous)
    came_from = np.zeros(gain.shape, dtype=np.int64)
    for row in range(1, len(gain)):
        leaving = np.where(there[row], switch_cost, 0.0)  # by the face that is left
        cost = leaving[:, None] * (1 - np.eye(number))
        options = total[:, None] - cost
        came_from[row] = options.argmax(0)
        total = options.max(0) + gain[row]
    path = np.empty(len(gain), dtype=np.int64)
    state = int(total.argmax())
    for row in range(len(gain) - 1, -1, -1):
        path[row] = state
        state = int(came_from[row, state])
    return path
