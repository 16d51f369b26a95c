"""When eyes blink, and how far the lids are closed then.

People who talk blink some 17 times a minute at irregular intervals (Bentivoglio et al., "Analysis
of blink rate patterns in normal subjects", 1997: 17 at rest, 26 in conversation); a lid falls about
twice as fast as it rises. Axis letters: T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsr.units import VIDEO_FPS


@dataclass(frozen=True)
class BlinkConfig:
    """How eyes blink."""

    per_minute: float = 17.0
    """Blinks a minute, in the long run; 0: none."""
    regularity: float = 2.0
    """Shape of the gamma distribution of the pauses; 1 is a Poisson process, higher more even."""
    shortest_s: float = 0.15
    """Shortest blink, from open to open."""
    longest_s: float = 0.30
    """Longest blink."""
    held_s: float = 0.04
    """How long the eye stays closed in it: one frame at 25 fps, so that each blink is seen."""

    def __post_init__(self) -> None:
        if not 0 < self.held_s < self.shortest_s <= self.longest_s or not self.regularity > 0:
            raise ValueError(
                f"blinks need 0 < held_s < shortest_s <= longest_s and regularity above 0: {self}"
            )
        if not 0 <= self.per_minute * self.longest_s < 60:
            raise ValueError(f"{self.per_minute} blinks a minute do not fit; give 0 to 60")


def eyelid_closure(
    num_frames: int,
    generator: np.random.Generator,
    config: BlinkConfig = BlinkConfig(),
    fps: float = VIDEO_FPS,
) -> NDArray[np.float32]:
    """How far both upper lids are closed over time.

    Args:
        num_frames: T, 0 or more; frame t is taken at its middle, (t + 0.5) / fps seconds.
        generator: of times and lengths; the start of a longer sequence is the shorter one.
        config: rate and lengths.
        fps: frames a second.

    Returns:
        float32 (T,) in [0, 1], 0 = open, 1 = closed.

    Raises:
        ValueError: a negative number of frames, or fps not positive.
    """
    if num_frames < 0 or not fps > 0:
        raise ValueError(f"{num_frames} frames at {fps} a second cannot be; give 0 or more")
    closure = np.zeros(num_frames)
    if config.per_minute == 0:
        return closure.astype(np.float32)
    times = (np.arange(num_frames, dtype=np.float64) + 0.5) / fps
    mean_pause = 60.0 / config.per_minute - (config.shortest_s + config.longest_s) / 2
    # A film begins somewhere in a pause, more likely in a long one: there the shape is 1 higher.
    start = generator.uniform() * generator.gamma(config.regularity + 1) * mean_pause
    start /= config.regularity
    while start < num_frames / fps:
        length = generator.uniform(config.shortest_s, config.longest_s)
        during = slice(*np.searchsorted(times, [start, start + length]))
        closure[during] = _blink(times[during] - start, length, config.held_s)
        pause = generator.gamma(config.regularity) * mean_pause / config.regularity
        start += length + pause
    return closure.astype(np.float32)


def _blink(since_s: NDArray, length_s: float, held_s: float) -> NDArray[np.float64]:
    """One blink: a third of what is not held closes, two thirds open, each without a jerk."""
    falls = (length_s - held_s) / 3.0
    rises = length_s - held_s - falls
    down = np.clip(since_s / falls, 0.0, 1.0)
    up = np.clip((since_s - falls - held_s) / rises, 0.0, 1.0)
    closed: NDArray[np.float64] = 0.5 * (np.cos(np.pi * up) - np.cos(np.pi * down))
    return closed
