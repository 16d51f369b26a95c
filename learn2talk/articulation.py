"""From phones with times to a moving procedural head: visemes, coarticulation, skin movement.

Coarticulation blends the phones' targets by dominance functions that fall exponentially with the
distance in time (Cohen & Massaro, "Modeling coarticulation in synthetic visual speech", 1993,
equations 1-4), with two additions: closures of the lips are guaranteed, and a phone's dominance
stays flat over its middle. Axis letters: T frames, V vertices, N phones, C controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avsr.schema import PhoneTime
from avsr.units import VIDEO_FPS
from learn2talk.head import INSIDE_RINGS, LIP_RINGS, SPOKES, Head

CONTROLS = ("jaw", "spread", "round", "upper", "lower", "tuck", "press", "seal", "tongue")
"""jaw open; lips spread; rounded and pushed out; upper lip raised; lower lip lowered; lower lip
tucked under the upper teeth (f, v); lips pressed; lips sealed (p, b, m); tongue tip raised. Each 0
to 1."""

JAW_ANGLE = np.radians(12.0)  # at jaw = 1: about 20 mm between the incisors
_JAW_AXIS_Y, _JAW_AXIS_Z = -22.0, -62.0  # near the ears, mm
_LIP_CLEARANCE_MM = 0.1
_JAW, _SPREAD, _ROUND, _UPPER, _LOWER, _TUCK, _PRESS, _SEAL, _TONGUE = range(len(CONTROLS))

# Targets by IPA letter, in the order of CONTROLS, then the dominance (how much neighbours yield).
_TARGETS: dict[str, tuple[float, ...]] = {
    # jaw spread round upper lower tuck press seal tongue | dominance
    **dict.fromkeys("pbm", (0.06, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0, 2.5)),
    **dict.fromkeys("fv", (0.10, 0.1, 0.0, 0.35, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0)),
    **dict.fromkeys("θð", (0.20, 0.15, 0.0, 0.2, 0.25, 0.0, 0.0, 0.0, 1.0, 1.0)),
    **dict.fromkeys("tdnɾ", (0.14, 0.2, 0.0, 0.15, 0.3, 0.0, 0.0, 0.0, 0.6, 0.6)),
    **dict.fromkeys("sz", (0.05, 0.4, 0.0, 0.25, 0.45, 0.0, 0.0, 0.0, 0.3, 1.2)),
    **dict.fromkeys("ʃʒ", (0.08, 0.0, 0.6, 0.5, 0.5, 0.0, 0.0, 0.0, 0.3, 1.4)),
    **dict.fromkeys("l", (0.25, 0.1, 0.0, 0.15, 0.2, 0.0, 0.0, 0.0, 0.9, 0.6)),
    **dict.fromkeys("kɡgŋhxʔç", (0.22, 0.1, 0.0, 0.05, 0.15, 0.0, 0.0, 0.0, 0.0, 0.3)),
    **dict.fromkeys("jʲ", (0.10, 0.5, 0.0, 0.15, 0.2, 0.0, 0.0, 0.0, 0.0, 0.8)),
    **dict.fromkeys("wʍ", (0.06, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0)),
    **dict.fromkeys("ɹrɻ", (0.14, 0.0, 0.6, 0.15, 0.3, 0.0, 0.0, 0.0, 0.2, 0.9)),
    **dict.fromkeys("i", (0.14, 0.9, 0.0, 0.3, 0.35, 0.0, 0.0, 0.0, 0.1, 1.2)),
    **dict.fromkeys("ɪᵻɨ", (0.24, 0.5, 0.0, 0.2, 0.25, 0.0, 0.0, 0.0, 0.1, 0.9)),
    **dict.fromkeys("e", (0.34, 0.6, 0.0, 0.2, 0.25, 0.0, 0.0, 0.0, 0.0, 1.1)),
    **dict.fromkeys("ɛ", (0.46, 0.4, 0.0, 0.2, 0.25, 0.0, 0.0, 0.0, 0.0, 1.1)),
    **dict.fromkeys("æa", (0.72, 0.35, 0.0, 0.3, 0.3, 0.0, 0.0, 0.0, 0.0, 1.3)),
    **dict.fromkeys("ɑ", (0.90, 0.0, 0.05, 0.1, 0.15, 0.0, 0.0, 0.0, 0.0, 1.3)),
    **dict.fromkeys("ɒ", (0.70, 0.0, 0.40, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0, 1.2)),
    **dict.fromkeys("ɔ", (0.55, 0.0, 0.65, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0, 1.2)),
    **dict.fromkeys("o", (0.38, 0.0, 0.75, 0.05, 0.1, 0.0, 0.0, 0.0, 0.0, 1.2)),
    **dict.fromkeys("ʊ", (0.20, 0.0, 0.65, 0.05, 0.1, 0.0, 0.0, 0.0, 0.0, 1.0)),
    **dict.fromkeys("uʉ", (0.12, 0.0, 0.95, 0.0, 0.05, 0.0, 0.0, 0.0, 0.0, 1.4)),
    **dict.fromkeys("ʌɐ", (0.52, 0.1, 0.0, 0.1, 0.15, 0.0, 0.0, 0.0, 0.0, 1.0)),
    **dict.fromkeys("ə", (0.28, 0.1, 0.0, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0, 0.6)),
    **dict.fromkeys("ɚɜɝ", (0.30, 0.0, 0.4, 0.1, 0.25, 0.0, 0.0, 0.0, 0.1, 0.9)),
}
_REST = (0.0,) * len(CONTROLS) + (0.8,)
_MIN_PAUSE_S = 0.08


@dataclass(frozen=True)
class Style:
    """How a talker articulates: ``strength`` scales openings (0.7-1.3), ``speed`` the sharpness of
    transitions (0.7-1.3), ``lead_s`` how far the mouth runs before the sound (0-0.06 s)."""

    strength: float = 1.0
    speed: float = 1.0
    lead_s: float = 0.02


def random_style(generator: np.random.Generator) -> Style:
    """A talker's style drawn from ``generator``."""
    return Style(
        strength=float(generator.uniform(0.8, 1.2)),
        speed=float(generator.uniform(0.8, 1.2)),
        lead_s=float(generator.uniform(0.0, 0.06)),
    )


def control_curves(
    phones: Sequence[PhoneTime],
    num_frames: int,
    style: Style = Style(),
    fps: float = VIDEO_FPS,
) -> np.ndarray:
    """Articulation over time.

    Args:
        phones: IPA with times, in order; what lies between them is a pause.
        num_frames: T, 0 or more; frame t is taken at its middle, (t + 0.5) / fps seconds.
        style: the talker's.
        fps: frames a second.

    Returns:
        float64 (T, C), each 0-1.2, in the order of ``CONTROLS``. Letters that are not in the table
        of targets do not move the mouth.
    """
    times = (np.arange(num_frames) + 0.5) / fps + style.lead_s
    segments = _segments(phones, num_frames / fps + 1.0)
    start, end = segments[:, 0], segments[:, 1]
    targets, strength = segments[:, 2:-1], segments[:, -1]
    middle, half = (start + end) / 2, (end - start) / 2
    # Flat over the middle 60 % of a phone, then e-fold every 35 ms.
    distance = np.maximum(np.abs(times[:, None] - middle) - 0.6 * half, 0.0)
    dominance = strength * np.exp(-style.speed * distance / 0.035)
    curves = dominance @ targets / dominance.sum(axis=1, keepdims=True)
    openings = [_JAW, _SPREAD, _ROUND, _UPPER, _LOWER]
    curves[:, openings] *= style.strength
    # A closure is complete whatever its neighbours want: held over the phone, 50 ms in and out.
    for control in (_SEAL, _TUCK):
        hold = np.maximum(half, 0.025)
        outside = np.maximum(np.abs(times[:, None] - middle) - hold, 0.0) * style.speed / 0.05
        ramp = 0.5 + 0.5 * np.cos(np.pi * np.clip(outside, 0.0, 1.0))
        held = (ramp * targets[:, control]).max(axis=1)
        curves[:, control] = np.maximum(curves[:, control] * (control != _SEAL), held)
    return np.clip(curves, 0.0, 1.2)


def _segments(phones: Sequence[PhoneTime], end_s: float) -> np.ndarray:
    """(N, 2 + C + 1): start, end, targets, dominance; one row a letter or pause."""
    rows = []
    before = -1.0
    for phone in phones:
        if phone.start_s - before >= _MIN_PAUSE_S:
            rows.append((before, phone.start_s, *_REST))
        letters = [letter for letter in phone.phone if letter in _TARGETS]
        step = (phone.end_s - phone.start_s) / max(len(letters), 1)
        for index, letter in enumerate(letters):
            start = phone.start_s + index * step
            rows.append((start, start + step, *_TARGETS[letter]))
        before = phone.end_s
    rows.append((before, max(end_s, before + 0.5), *_REST))
    return np.array(rows)


def animate_head(head: Head, curves: np.ndarray) -> np.ndarray:
    """Move a head.

    Args:
        head: the neutral head.
        curves: (T, C) in the order of ``CONTROLS``, 0-1.2.

    Returns:
        float32 (T, V, 3) mm, head-pose-free. The lips never pass through each other, except where
        the lower one is tucked behind the upper.
    """
    if curves.ndim != 2 or curves.shape[1] != len(CONTROLS):
        raise ValueError(
            f"control curves have shape {curves.shape}; give (T, {len(CONTROLS)}): "
            + ", ".join(CONTROLS)
        )
    ids, movement = _movement_basis(head)
    neutral = head.template.vertices.astype(np.float64)
    moved = np.repeat(neutral[None], len(curves), axis=0)
    moved[:, ids] += np.einsum("tc,cvk->tvk", curves, movement)
    jawed = np.flatnonzero(head.jaw > 0)
    angle = JAW_ANGLE * curves[:, _JAW, None] * head.jaw[jawed]
    y, z = moved[:, jawed, 1] - _JAW_AXIS_Y, moved[:, jawed, 2] - _JAW_AXIS_Z
    moved[:, jawed, 1] = _JAW_AXIS_Y + np.cos(angle) * y - np.sin(angle) * z
    moved[:, jawed, 2] = _JAW_AXIS_Z + np.sin(angle) * y + np.cos(angle) * z
    _close_lips(head, moved, curves)
    return moved.astype(np.float32)


def _close_lips(head: Head, moved: np.ndarray, curves: np.ndarray) -> None:
    """Bring the inner contours together by ``seal``, and keep them from crossing; in place."""
    lower = np.arange(1, SPOKES // 2)
    upper = SPOKES - lower
    inner = moved[:, :SPOKES]
    gap = inner[:, upper, 1] - inner[:, lower, 1]
    seal = np.clip(curves[:, _SEAL, None], 0.0, 1.0)
    free = np.clip(curves[:, _TUCK, None], 0.0, 1.0)  # a tucked lip may stand behind the other
    clearance = np.where(free > 0.3, gap, _LIP_CLEARANCE_MM)
    wanted = np.maximum(gap * (1.0 - seal) + _LIP_CLEARANCE_MM * seal, clearance)
    shift = np.zeros((len(moved), SPOKES, 2))
    shift[:, lower, 0] = -(wanted - gap) / 2
    shift[:, upper, 0] = (wanted - gap) / 2
    apart = (inner[:, upper, 2] - inner[:, lower, 2]) * seal / 2
    shift[:, lower, 1], shift[:, upper, 1] = apart, -apart
    follows = np.flatnonzero(head.ring < 99)
    ring = head.ring[follows]
    share = np.where(ring < 0, head.reach[follows], 1.0 - 0.12 * np.minimum(ring, LIP_RINGS - 1))
    share = np.where(ring >= LIP_RINGS, 0.64 * head.reach[follows], share)
    moved[:, follows, 1:] += shift[:, head.spoke[follows]] * share[:, None]


def skin_movement(head: Head, inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """How skin and mouth follow the two lip contours.

    Args:
        head: the neutral head.
        inner, outer: float (SPOKES, 3) mm, displacement of each spoke's point on the contours.

    Returns:
        float64 (M, 3) mm: displacement of the vertices with ``head.ring`` below 99, ascending.
    """
    ids = np.flatnonzero(head.ring < 99)
    ring, spoke, reach = head.ring[ids], head.spoke[ids], head.reach[ids]
    outward = np.clip(ring / (LIP_RINGS - 1.0), 0.0, 1.0)[:, None]
    share = np.where((ring >= 0) & (ring < LIP_RINGS), 1.0, reach)[:, None]
    share = np.where((ring == -INSIDE_RINGS)[:, None], 0.1, share)
    return share * ((1.0 - outward) * inner[spoke] + outward * outer[spoke])


def _movement_basis(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Moving vertices (M,) and their displacement at control 1, (C, M, 3) mm; 0 for jaw, seal."""
    step = np.arange(SPOKES)
    across = -np.cos(2.0 * np.pi * step / SPOKES)
    arch = np.abs(np.sin(2.0 * np.pi * step / SPOKES))
    up = (step > SPOKES // 2).astype(float)
    down = ((step > 0) & (step < SPOKES // 2)).astype(float)
    zero = np.zeros(SPOKES)
    scale = head.mouth_half_width / 25.0
    side = np.sign(across) * np.abs(across) ** 1.2
    # (x, y, z) of the inner and of the outer contour.
    fields: dict[int, tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]] = {
        _SPREAD: (
            (4.5 * side, arch * (0.8 * down - 0.6 * up), -3.0 * across**2),
            (5.0 * side, arch * (0.9 * down - 0.6 * up), -3.0 * across**2),
        ),
        _ROUND: (
            (-8.5 * across, arch * (1.8 * up - 2.4 * down), 6.5 - 2.5 * across**2),
            (-8.0 * across, arch * (1.2 * up - 1.0 * down), 5.5 - 2.5 * across**2),
        ),
        _UPPER: (
            (zero, up * (4.6 * arch + 0.4), 0.6 * up * arch),
            (zero, up * (4.2 * arch + 0.6), 0.2 * up * arch),
        ),
        _LOWER: (
            (zero, -6.0 * down * arch, 0.8 * down * arch),
            (zero, -5.0 * down * arch, 0.5 * down * arch),
        ),
        _TUCK: (
            (zero, down * 2.6 * arch + up * 1.0 * arch, -6.0 * down * arch),
            (zero, down * 3.2 * arch + up * 0.8 * arch, -3.0 * down * arch),
        ),
        _PRESS: (
            (0.6 * side, zero, -1.6 * arch),
            (0.8 * side, arch * (2.6 * down - 2.0 * up), -1.2 * arch),
        ),
    }
    ids = np.flatnonzero(head.ring < 99)
    tongue = head.template.region("tongue")
    basis = np.zeros((len(CONTROLS), len(ids) + len(tongue), 3))
    for control, (inner, outer) in fields.items():
        near, far = (np.stack(contour, axis=1) * scale for contour in (inner, outer))
        basis[control, : len(ids)] = skin_movement(head, near, far)
    tip = np.clip(
        (head.template.vertices[tongue, 2] - head.template.vertices[tongue, 2].min()) / 24.0, 0, 1
    )
    basis[_TONGUE, len(ids) :, 1] = 7.5 * tip
    basis[_TONGUE, len(ids) :, 2] = 5.0 * tip
    return np.concatenate([ids, tongue]), basis
