"""Speech in, a moving face out, as arrays; `learn2talk.animation_files` writes files.

The module can be called itself: `learn2talk.animate("speech.wav")`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.data.dataset import features_of
from avsr.files import read_audio
from avsr.units import SAMPLES_PER_FRAME, VIDEO_FPS
from learn2talk.data.hearing import log_mel_in_pieces
from learn2talk.data.styles import AVERAGE
from learn2talk.default_student import default_student
from learn2talk.files import TrainedStudent, load_student
from learn2talk.head_motion_files import TrainedHeadMotion
from learn2talk.head_pose import without_head_pose
from learn2talk.liveliness import PIECE_FRAMES, lively
from learn2talk.models.styles import (
    Style,
    average_style,
    clip_style,
    speaker_style,
    style_statistics,
)
from learn2talk.schema import FaceTemplate, Motion

MIN_STYLE_S = 1.0  # of a reference clip: statistics of less are those of a word


def checked_waveform(waveform: NDArray, name: str) -> NDArray[np.float32]:
    """`waveform` as float32 (S,), or a ValueError."""
    array = np.asarray(waveform, dtype=np.float32)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; give mono sound (S,) at 16 kHz")
    if len(array) < SAMPLES_PER_FRAME:
        raise ValueError(
            f"{name} has {len(array)} samples at 16 kHz; one frame of the face lasts "
            f"{SAMPLES_PER_FRAME}, give at least that much speech"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has NaN or infinite samples; write the sound again")
    return array


def style_of(student: TrainedStudent, style: str | Motion | None) -> Style | None:
    """What a student is told about who moves.

    Args:
        student: from `learn2talk.files.load_student`.
        style: name of a known speaker, "average", or a motion of at least 1 s whose talker's way of
            moving the lips is taken (any topology, any frame rate); None is the average, and
            nothing for a student without styles.

    Raises:
        ValueError: a student without styles, an unknown name, a motion that is too short.
    """
    if style is None:
        return None
    names = student.style_names
    if not names:
        raise ValueError(
            "this student has no styles; leave the style out, or train one with "
            "--config.styles.per-speaker"
        )
    if isinstance(style, Motion):
        style = without_head_pose(style)
        if style.duration_s < MIN_STYLE_S or len(style.vertices) < 2:
            raise ValueError(
                f"the motion that gives the style lasts {style.duration_s:.2f} s; give at least "
                f"{MIN_STYLE_S:g} s of speech"
            )
        lips, neutral = torch.from_numpy(style.lips), torch.from_numpy(style.template.lips)
        statistics = style_statistics(lips, neutral, style.fps)
        if not torch.isfinite(statistics).all():
            raise ValueError("the motion that gives the style has lips that are not finite")
        return clip_style(statistics, len(names))
    if style == AVERAGE:
        return average_style(len(names))
    if style not in names:
        raise ValueError(
            f"style {style!r} is not known; this student knows {', '.join(names)} and {AVERAGE}, "
            "or give a motion to take the style from"
        )
    return speaker_style(names.index(style), len(names))


@torch.no_grad()
def displacement_of(
    student: TrainedStudent, waveform: NDArray, style: str | Motion | None = None
) -> NDArray[np.float32]:
    """Displacement of the animated vertices from the template, (ceil(S / 640), R, 3), mm.

    Args:
        student: from `learn2talk.files.load_student`.
        waveform: float (S,) at 16 kHz in [-1, 1], S >= 640, any length.
        style: see `style_of`.

    Raises:
        ValueError: not mono, shorter than a frame, or not finite; a style that the student lacks.
    """
    sound = checked_waveform(waveform, "speech")
    chosen, num_mels = style_of(student, style), student.model.config.num_mels
    if num_mels is None:
        features = torch.from_numpy(features_of(sound, None))
    else:
        features = log_mel_in_pieces(torch.from_numpy(sound), num_mels, PIECE_FRAMES)
    pieces = list(student.model.forward_windows(features, PIECE_FRAMES, chosen))
    return torch.cat(pieces).numpy()


def generate_lips(
    student: TrainedStudent, waveforms: Sequence[NDArray]
) -> list[NDArray[np.float32]]:
    """Canonical lip points that belong to some speech, as a recogniser takes them.

    Args:
        student: from `learn2talk.files.load_student`.
        waveforms: float (S,) each, at 16 kHz in [-1, 1], S >= 640; clean or noisy.

    Returns:
        float32 (ceil(S / 640), 40, 3) each, mm.
    """
    positions = np.searchsorted(student.animated_ids, student.template.lip_ids)
    neutral = student.template.lips
    return [neutral + displacement_of(student, waveform)[:, positions] for waveform in waveforms]


def animate(
    audio: Path | str | NDArray,
    student: Path | str | TrainedStudent | None = None,
    template: FaceTemplate | None = None,
    style: str | Motion | None = None,
    *,
    head_motion: Path | str | TrainedHeadMotion | None = None,
    blinks: bool = False,
    seed: int = 0,
) -> Motion:
    """The motion of a face that says some speech.

    Args:
        audio: sound or video file (any rate, any channels), or float (S,) at 16 kHz in [-1, 1].
        student: folder of a trained student, or what `load_student` made of it; None takes the one
            that comes with the package.
        template: neutral face to move, of the student's topology; None takes the student's own.
        style: a known speaker, "average", or a motion to take the style from; see `style_of`.
        head_motion: folder of a trained head motion, or what `load_head_motion` made of it, which
            turns and moves the whole face once the lips are made; None: the head stays still.
        blinks: whether the eyes blink; the face must have eyelids (the procedural head has).
        seed: of head motion and blinks, 0 or more.

    Returns:
        Motion with vertices (ceil(S / 640), V, 3), mm, at 25 fps; its `head_pose` is that of the
        head motion.

    Raises:
        ValueError: the sound cannot be read or is shorter than a frame, a folder holds no student
            or no head motion, the template has another topology, the student lacks the style, or
            the face has no eyelids to blink with.
    """
    if isinstance(student, TrainedStudent):
        trained = student
    else:
        trained = load_student(default_student() if student is None else student)
    face = trained.face_of(template)
    if isinstance(audio, (str, Path)):
        waveform = checked_waveform(read_audio(audio), str(audio))
    else:
        waveform = checked_waveform(audio, "speech")
    displacement = displacement_of(trained, waveform, style)
    vertices = np.repeat(face.vertices[None], len(displacement), axis=0)
    vertices[:, trained.animated_ids] += displacement
    motion = Motion(vertices, float(VIDEO_FPS), face)
    return lively(motion, waveform, head_motion, blinks, seed)


class _CallableModule(ModuleType):
    """Python binds the submodule to `learn2talk.animate`, hiding a function of that name."""

    def __call__(
        self,
        audio: Path | str | NDArray,
        student: Path | str | TrainedStudent | None = None,
        template: FaceTemplate | None = None,
        style: str | Motion | None = None,
        **lively: Any,
    ) -> Motion:
        """As the function `animate`."""
        return animate(audio, student, template, style, **lively)


sys.modules[__name__].__class__ = _CallableModule
