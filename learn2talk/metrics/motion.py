"""How lips move, whatever they should have done: speed, jitter, motion in silence, diversity.

Arrays are numpy, millimetres, frames first. Axis letters: T frames, L lip vertices, S samples,
K motions of one sound, V vertices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avsr.units import SAMPLE_RATE_HZ

SILENCE_BELOW_DB = 30.0  # GRID's pauses lie 31 dB under its loudest frames, fricatives above

Array = NDArray[np.floating]


def _check_lips(lips: Array) -> None:
    if lips.ndim != 3 or lips.shape[-1] != 3 or lips.shape[1] == 0:
        raise ValueError(f"lips have shape {lips.shape}; give (T, L, 3), mm, L at least 1")


def lip_speed_mm_s(lips: Array, *, fps: float) -> Array:
    """Mean over lip vertices of their speed from each frame to the next, (T - 1,), mm/s.

    Per second, so that a film's frame rate does not scale it.

    Args:
        lips: float (T, L, 3), mm.
        fps: frames a second.
    """
    _check_lips(lips)
    return np.linalg.norm(np.diff(lips, axis=0), axis=-1).mean(axis=1) * fps


def lip_jitter(lips: Array) -> Array:
    """Mean over lip vertices of the length of their third difference, (T - 3,), mm/frame^3.

    It grows with the cube of the frame's duration: compare at one frame rate only. A still face
    has none, so the truth's own jitter is the aim, not zero.

    Args:
        lips: float (T, L, 3), mm.
    """
    _check_lips(lips)
    return np.linalg.norm(np.diff(lips.astype(np.float64), n=3, axis=0), axis=-1).mean(axis=1)


def _check_waveform(waveform: Array) -> None:
    if waveform.ndim != 1 or not np.issubdtype(waveform.dtype, np.floating):
        raise ValueError(
            f"waveform is {waveform.dtype} of shape {waveform.shape}; give float samples (S,): "
            "squares of int16 overflow"
        )


def silent_frames(
    waveform: Array,
    num_frames: int,
    *,
    fps: float,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    below_db: float = SILENCE_BELOW_DB,
) -> NDArray[np.bool_]:
    """Frames whose sound lies far under the clip's loudest frame, bool (T,).

    Args:
        waveform: float (S,).
        num_frames: T; frame t covers [t / fps, (t + 1) / fps); frames beyond the sound are silent.
        fps: frames a second.
        sample_rate_hz: samples a second.
        below_db: how far under the loudest frame's RMS level is silence, dB.

    Raises:
        ValueError: not float samples (S,).
    """
    _check_waveform(waveform)
    edges = np.floor(np.arange(num_frames + 1) * sample_rate_hz / fps).astype(int)
    energy = np.concatenate([[0.0], np.square(waveform, dtype=np.float64).cumsum()])
    inside = edges.clip(0, len(waveform))
    power = np.diff(energy[inside]) / np.maximum(np.diff(edges), 1)
    return power <= power.max(initial=0.0) * 10 ** (-below_db / 10)


def silence_motion_mm_s(lips: Array, silent: NDArray[np.bool_], *, fps: float) -> Array:
    """Lip speed from each silent frame to a next one that is silent too, (N,), mm/s.

    Real lips move before a sound begins, so the truth's own motion in silence is the aim.

    Args:
        lips: float (T, L, 3), mm.
        silent: bool (T,).
        fps: frames a second.

    Raises:
        ValueError: lengths differ.
    """
    if len(silent) != len(lips):
        raise ValueError(f"{len(silent)} silent flags for {len(lips)} frames; give one a frame")
    return lip_speed_mm_s(lips, fps=fps)[silent[1:] & silent[:-1]]


def diversity_mm(motions: Array) -> float:
    """Spread of several motions for one sound: mean distance over all pairs of them, mm.

    For every pair of motions the mean over frames and vertices of the distance, then the mean
    over pairs (after FaceDiffuser, Stan et al. 2023, which compares styles).

    Args:
        motions: float (K, T, V, 3), mm: one sound with K seeds or K styles.

    Returns:
        NaN for a single motion, which has no pair; 0 where all are equal.

    Raises:
        ValueError: not of that shape, or no vertex.
    """
    if motions.ndim != 4 or motions.shape[-1] != 3 or 0 in motions.shape:
        raise ValueError(f"motions have shape {motions.shape}; give (K, T, V, 3), none of them 0")
    apart = [
        float(np.linalg.norm(motions[i] - motions[j], axis=-1).mean(dtype=np.float64))
        for i in range(len(motions))
        for j in range(i)
    ]
    return float(np.mean(apart)) if apart else float("nan")


def lip_intensity_mm_s(lips: Array, *, fps: float) -> float:
    """Root mean square over time of the mean lip speed, mm/s; NaN for a single frame.

    evaluation/extract_lip_intensity.py of kaist-ami/Perceptual-3D-Talking-Head takes mm a frame;
    per second it does not scale with the frame rate. Arguments as in `lip_speed_mm_s`.
    """
    speed = lip_speed_mm_s(lips, fps=fps)
    return float(np.sqrt(np.square(speed, dtype=np.float64).mean())) if len(speed) else np.nan


def speech_intensity(waveform: Array) -> float:
    """Root mean square of a waveform, full scale 1; NaN without samples.

    Args:
        waveform: float (S,).

    Raises:
        ValueError: integer samples, whose squares overflow, or not (S,).
    """
    _check_waveform(waveform)
    if not len(waveform):
        return float("nan")
    return float(np.sqrt(np.square(waveform, dtype=np.float64).mean()))
