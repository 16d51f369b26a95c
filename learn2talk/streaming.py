"""A face that moves while the speech arrives: samples in, vertices out, at a known latency."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from learn2talk.animate import style_of
from learn2talk.files import TrainedStudent
from learn2talk.models.student import Student
from learn2talk.models.student_streaming import StreamingStudent
from learn2talk.schema import FaceTemplate, Motion


class LiveFace:
    """One utterance of a student, frame by frame; the frames are those of `learn2talk.animate`.

    With fewer look-ahead frames than the student has they come sooner, and each is what it would be
    if the sound ended after its look-ahead; `benchmarks/results/live_latency.md` has the deviation.

    Args:
        student: from `learn2talk.files.load_student`.
        template: neutral face to move, of the student's topology; None takes the student's own.
        style: as in `learn2talk.animate.style_of`.
        look_ahead_frames: frames of sound that a frame waits for; None takes the student's own.

    Raises:
        ValueError: a student that cannot stream (autoregressive, or with a pretrained encoder), a
            style that it lacks, a template of another topology, a look-ahead that is longer than
            the student's or below 1.
    """

    def __init__(
        self,
        student: TrainedStudent,
        template: FaceTemplate | None = None,
        style: str | Motion | None = None,
        look_ahead_frames: int | None = None,
    ) -> None:
        if not isinstance(student.model, Student):
            raise ValueError(
                "streaming needs a parallel student; an autoregressive one has no bounded "
                "look-ahead and is here to compare with"
            )
        self.face = student.face_of(template)
        self.animated_ids = student.animated_ids
        self.streaming = StreamingStudent(
            student.model, style_of(student, style), look_ahead_frames
        )

    @property
    def latency_ms(self) -> float:
        """From the first sample of a frame until the frame can come out, without computing."""
        return self.streaming.latency_ms

    @property
    def num_frames(self) -> int:
        """Frames given out so far."""
        return self.streaming.num_frames

    def push(self, samples: NDArray) -> NDArray[np.float32]:
        """Take the next samples, any number of them, 0 too.

        Args:
            samples: float (S,), mono, at 16 kHz in [-1, 1].

        Returns:
            float32 (N, V, 3), mm: the frames that are complete now, N from 0 on.

        Raises:
            ValueError: not mono, not finite, or the utterance is finished.
        """
        sound = np.asarray(samples, dtype=np.float32)
        if sound.ndim != 1:
            raise ValueError(f"samples have shape {sound.shape}; give mono sound (S,) at 16 kHz")
        if not np.isfinite(sound).all():
            raise ValueError("samples are NaN or infinite; nothing of this piece was taken")
        return self._vertices(self.streaming.push(torch.from_numpy(np.ascontiguousarray(sound))))

    def finish(self) -> NDArray[np.float32]:
        """The last frames (N, V, 3), mm."""
        return self._vertices(self.streaming.finish())

    def _vertices(self, moved: torch.Tensor) -> NDArray[np.float32]:
        vertices = np.repeat(self.face.vertices[None], len(moved), axis=0)
        vertices[:, self.animated_ids] += moved.cpu().numpy()
        return vertices
